"""Coercion at the door: every argument that comes from outside passes through here, once.

Each function returns the value in the one form the core takes, never changes what it was given, and
raises TypeError or ValueError with a message that names the argument, what was wrong and
what would be right.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Seed = int | np.integer[Any] | np.random.Generator | np.random.SeedSequence | None
"""What a source of randomness may be: `rng`."""

FORMULATIONS = ("relu", "gated")


def _real(value: Any, name: str) -> Array:
    """The value as an array of finite float64, of any shape."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(
                f"{name} is a masked array with masked entries; fill or drop them first"
            )
        value = value.data
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a sparse matrix; pass a dense one: {name}.toarray()")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} must be a rectangular array of numbers, got ragged rows"
        ) from None
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, got complex numbers; pass {name}.real")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        result = array.astype(np.float64, copy=False)
    if not np.isfinite(result).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        place = ", ".join(str(i) for i in where)
        raise ValueError(
            f"{name} must be finite, but {name}[{place}] is {array[where]}; "
            "drop or impute such entries first"
        )
    return result


def _from_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    result = np.empty(array.shape)
    for index, entry in np.ndenumerate(array):
        place = ", ".join(str(i) for i in index)
        if not isinstance(entry, numbers.Real):
            raise TypeError(
                f"{name} must be an array of numbers, but {name}[{place}] is "
                f"{entry!r:.60} ({type(entry).__name__})"
            )
        try:
            result[index] = float(entry)
        except OverflowError:  # an integer of hundreds of digits
            raise ValueError(
                f"{name} must fit float64, but {name}[{place}] is larger than 1e308"
            ) from None
    return result


def matrix(value: Any, name: str, *, n_cols: int | None = None, min_rows: int = 1) -> Array:
    """A finite (n, d) matrix with at least one row (or none) and one column."""
    array = _real(value, name)
    if array.ndim != 2:
        hint = f"; use {name}.reshape(-1, 1) for one column" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, got shape {array.shape}{hint}")
    if array.shape[0] < min_rows or array.shape[1] == 0:
        rows = "one row and " if min_rows else ""
        raise ValueError(f"{name} must have at least {rows}one column, got shape {array.shape}")
    if n_cols is not None and array.shape[1] != n_cols:
        raise ValueError(f"{name} must have {n_cols} columns, got {array.shape[1]}")
    return array


def vector(value: Any, name: str, *, size: int | None = None, like: str = "X has rows") -> Array:
    """A finite vector; a single column is taken as one."""
    array = _real(value, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if size is not None and array.shape[0] != size:
        raise ValueError(
            f"{name} must have as many entries as {like} ({size}), got {array.shape[0]}"
        )
    return array


def sample_weight(value: Any, n: int) -> Array:
    """Non-negative weights (n,), not all zero; no entries stand for None, equal weights."""
    if value is None:
        return np.empty(0)
    weight = vector(value, "sample_weight", size=n)
    if (weight < 0).any():
        k = int(np.argmax(weight < 0))
        raise ValueError(
            f"sample_weight must be non-negative, but sample_weight[{k}] is {weight[k]:g}"
        )
    if not weight.any():
        raise ValueError("sample_weight must have a positive entry, but all are zero")
    return weight


def offset(value: Any, n: int) -> Array:
    """Numbers (n,); no entries stand for None, no offset."""
    return np.empty(0) if value is None else vector(value, "offset", size=n)


def number(
    value: Any, name: str, *, low: float = -np.inf, high: float = np.inf, open_low: bool = False
) -> float:
    """A finite real number in [low, high] (or (low, high])."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r:.60}")
    try:
        result = float(value)
    except OverflowError:  # an integer of hundreds of digits
        result = -np.inf if value < 0 else np.inf
    too_low = result <= low if open_low else result < low
    if not np.isfinite(result) or too_low or result > high:
        bounds = []
        if low > -np.inf:
            bounds.append(f"{'>' if open_low else '>='} {low:g}")
        if high < np.inf:
            bounds.append(f"<= {high:g}")
        raise ValueError(
            f"{name} must be a finite number{' ' + ' and '.join(bounds) if bounds else ''}, "
            f"got {result:g}"
        )
    return result


def integer(value: Any, name: str, *, low: int = 0, fits_int32: bool = True) -> int:
    """An integer of at least low."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r:.60}")
    result = int(value)
    if result < low:
        raise ValueError(f"{name} must be at least {low}, got {result}")
    if fits_int32 and result > np.iinfo(np.int32).max:
        raise ValueError(f"{name} must be below 2**31, got {result}")
    return result


def boolean(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r:.60}")
    return bool(value)


def choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """One of the given words."""
    if not isinstance(value, str) or value not in choices:
        words = " or ".join(repr(c) for c in choices)
        raise ValueError(f"{name} must be {words}, got {value!r:.60}")
    return value


def lam(value: Any, name: str = "lam") -> float:
    """A regularisation strength: positive. With 0 an optimal network need not be finite."""
    return number(value, name, low=0.0, open_low=True)


def tol(value: Any, name: str = "tol") -> float:
    """A relative tolerance in (0, 1]."""
    return number(value, name, low=0.0, high=1.0, open_low=True)


def time_limit(value: Any, name: str = "time_limit") -> float | None:
    """None or a number of seconds."""
    return None if value is None else number(value, name, low=0.0)


def n_threads(value: Any, name: str = "n_threads") -> int:
    """A number of threads, or -1 for all; the core takes no more than there are processors."""
    number = integer(value, name, low=-(2**31))
    if number < 1 and number != -1:
        raise ValueError(f"{name} must be at least 1, or -1 for all processors, got {number}")
    return number


def rng(value: Any, name: str = "rng") -> np.random.Generator:
    """None, a seed of any size or a numpy Generator, as a Generator."""
    if isinstance(value, np.random.Generator):
        return value
    if value is None or isinstance(value, np.random.SeedSequence):
        return np.random.default_rng(value)
    return np.random.default_rng(integer(value, name, fits_int32=False))
