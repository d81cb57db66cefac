"""Standardised data with a bias, and networks that predict raw rows.

The penalty of a network depends on the units of its data, so networks are trained on standardised
columns, a column of ones beside them, and standardised targets. Both are undone here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _validate
from convexrelu.network import Network

# Of entries below 2 in size: what two sums of a few terms, equal but for their order, differ by.
_LAST_BITS = 8 * np.finfo(np.float64).eps
_STRIPE = 1 << 20  # entries that moments are taken of at once: 8 MB each temporary


class Standardizer:
    """The maps ``x -> ((x - x_mean) / x_scale, 1)`` and ``y -> (y - y_mean) / y_scale``.

    Immutable. Usually made by `Standardizer.fit`.

    Parameters
    ----------
    x_mean, x_scale : (d,) arrays
        Means and scales of the columns.
    y_mean, y_scale : float
        Mean and scale of the targets. Scales are positive.

    Examples
    --------
    >>> from convexrelu import Standardizer
    >>> standardizer = Standardizer.fit([[10.0], [30.0]], [1.0, 5.0])
    >>> standardizer.transform([[20.0], [40.0]])
    array([[0., 1.],
           [2., 1.]])
    >>> standardizer.inverse_transform_target([0.0, 1.0])
    array([3., 5.])
    """

    __slots__ = ("_x_mean", "_x_scale", "_y_mean", "_y_scale")

    def __init__(
        self, x_mean: ArrayLike, x_scale: ArrayLike, y_mean: float, y_scale: float
    ) -> None:
        self._x_mean = _frozen(_validate.vector(x_mean, "x_mean"))
        size = self._x_mean.shape[0]
        self._x_scale = _frozen(_validate.vector(x_scale, "x_scale", size=size, like="x_mean"))
        if not (self._x_scale > 0).all():
            raise ValueError(f"x_scale must be positive, got {self._x_scale.min():g}")
        self._y_mean = _validate.number(y_mean, "y_mean")
        self._y_scale = _validate.number(y_scale, "y_scale", low=0.0, open_low=True)

    @classmethod
    def fit(
        cls, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> Standardizer:
        """Means and standard deviations of the columns of X (n, d) and of y (n,).

        With ``sample_weight`` (n,) rows count so many times; those of weight 0 do not count at all.

        The scale of a constant column is 1, so that it becomes a column of zeros and has no weight
        in a trained network; likewise that of a constant y. Entries that differ in their last bits
        only count as constant.
        """
        X = _validate.matrix(X, "X")
        y = _validate.vector(y, "y", size=X.shape[0])
        weight = _validate.sample_weight(sample_weight, len(X))
        if weight.size:
            X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        shares = weight / weight.max() if weight.size else None
        moments = [_mean_and_scale(stripe, shares) for stripe in _stripes(X)]
        x_mean, x_scale = map(np.concatenate, zip(*moments, strict=True))
        y_mean, y_scale = _mean_and_scale(y[:, None], shares)
        return cls(x_mean, x_scale, float(y_mean[0]), float(y_scale[0]))

    @property
    def x_mean(self) -> NDArray[np.float64]:
        """Means of the columns (d,), read-only."""
        return self._x_mean

    @property
    def x_scale(self) -> NDArray[np.float64]:
        """Scales of the columns (d,), read-only."""
        return self._x_scale

    @property
    def y_mean(self) -> float:
        """Mean of the targets."""
        return self._y_mean

    @property
    def y_scale(self) -> float:
        """Scale of the targets."""
        return self._y_scale

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """``((x - x_mean) / x_scale, 1)`` for the rows x of X (n, d); shape (n, d + 1)."""
        X = _validate.matrix(X, "X", n_cols=self.x_mean.shape[0])
        rows = np.ones((X.shape[0], X.shape[1] + 1), order="F")  # as the core takes it
        with np.errstate(over="ignore"):
            np.subtract(X, self.x_mean, out=rows[:, :-1])
            rows[:, :-1] /= self.x_scale
        _check_range(rows, "standardised, X")
        return rows

    def transform_target(self, y: ArrayLike) -> NDArray[np.float64]:
        """``(y - y_mean) / y_scale`` (n,)."""
        y = _validate.vector(y, "y")
        with np.errstate(over="ignore"):
            t: NDArray[np.float64] = (y - self.y_mean) / self.y_scale
        _check_range(t, "standardised, y")
        return t

    def inverse_transform_target(self, t: ArrayLike) -> NDArray[np.float64]:
        """``y_mean + y_scale t`` (n,): standardised predictions in the units of y."""
        t = _validate.vector(t, "t")
        with np.errstate(over="ignore"):
            y: NDArray[np.float64] = self.y_mean + self.y_scale * t
        _check_range(y, "in the units of y, t")
        return y

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Standardizer):
            return NotImplemented
        return (
            np.array_equal(self.x_mean, other.x_mean)
            and np.array_equal(self.x_scale, other.x_scale)
            and (self.y_mean, self.y_scale) == (other.y_mean, other.y_scale)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Standardizer: {self.x_mean.shape[0]} features>"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.x_mean.copy(), self.x_scale.copy(), self.y_mean, self.y_scale)
        return (Standardizer, parts)

    def __copy__(self) -> Standardizer:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Standardizer:
        return self


class StandardizedNetwork:
    """A network that was trained on standardised data and predicts raw rows.

    ``predict(X)`` is ``y_mean + y_scale f((x - x_mean) / x_scale, 1)``. The network inside stays
    as it was trained: its objective on the standardised data is the one that was certified.

    Parameters
    ----------
    network : Network
        f, over rows ``standardizer.transform(X)``.
    standardizer : Standardizer

    Examples
    --------
    >>> from convexrelu import Network, StandardizedNetwork, Standardizer
    >>> standardizer = Standardizer.fit([[10.0], [30.0]], [1.0, 5.0])
    >>> model = StandardizedNetwork(Network([[1.0, 0.0]], [1.0]), standardizer)
    >>> model.predict([[0.0], [20.0], [30.0]])
    array([3., 3., 5.])
    """

    __slots__ = ("_network", "_standardizer")

    def __init__(self, network: Network, standardizer: Standardizer) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        if not isinstance(standardizer, Standardizer):
            raise TypeError(
                f"standardizer must be a Standardizer, got {type(standardizer).__name__}"
            )
        expected = standardizer.x_mean.shape[0] + 1
        if network.n_features != expected:
            raise ValueError(
                f"network must have {expected} features, one more than the standardizer has "
                f"columns, got {network.n_features}"
            )
        self._network = network
        self._standardizer = standardizer

    @property
    def network(self) -> Network:
        """The network over standardised rows."""
        return self._network

    @property
    def standardizer(self) -> Standardizer:
        """The maps from and to raw data."""
        return self._standardizer

    @property
    def n_features(self) -> int:
        """Number of raw features."""
        return len(self.standardizer.x_mean)

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.network.n_neurons

    def predict(self, X: ArrayLike, *, n_threads: int = 1) -> NDArray[np.float64]:
        """Predictions (n,) for raw rows X (n, d), in the units of the raw targets."""
        rows = self.standardizer.transform(X)
        outputs = self.network.predict(rows, n_threads=n_threads)
        return self.standardizer.inverse_transform_target(outputs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StandardizedNetwork):
            return NotImplemented
        return self.network == other.network and self.standardizer == other.standardizer

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<StandardizedNetwork: {self.network!r}, {self.n_features} raw features>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (StandardizedNetwork, (self.network, self.standardizer))

    def __copy__(self) -> StandardizedNetwork:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> StandardizedNetwork:
        return self


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    copy: NDArray[np.float64] = array.copy()
    copy.flags.writeable = False
    return copy


def _check_range(values: NDArray[np.float64], what: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{what} exceeds the range of float64")


def is_constant(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns of X (n, d) have entries that differ in their last bits at most (d,)."""
    spreads = [np.ptp(stripe / _units(stripe), axis=0) for stripe in _stripes(X)]
    flags: NDArray[np.bool_] = np.concatenate(spreads) <= _LAST_BITS
    return flags


def _stripes(X: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Consecutive columns, few enough that temporaries are small beside a large X."""
    width = max(1, _STRIPE // len(X))
    for first in range(0, X.shape[1], width):
        yield X[:, first : first + width]


def distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values in order, the least one of those that differ from the next in their last bits."""
    ordered: NDArray[np.float64] = np.unique(values)
    steps = np.diff(ordered / _units(ordered[:, None]))
    firsts: NDArray[np.float64] = ordered[np.append(True, steps > _LAST_BITS)]
    return firsts


def _units(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """A power of two for each column, by which its entries have sizes below 2: dividing by it
    changes no digit.
    """
    units: NDArray[np.float64] = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1] - 1)
    return units


def _mean_and_scale(
    X: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each column, computed where neither sums nor squares overflow or vanish."""
    unit = _units(X)
    relative = X / unit
    mean = np.average(relative, axis=0, weights=weight)
    deviation = relative - mean
    largest = np.abs(deviation).max(axis=0)
    constant = np.ptp(relative, axis=0) <= _LAST_BITS
    largest[constant] = 1.0
    variance = np.average(np.square(deviation / largest), axis=0, weights=weight)
    scale = largest * np.sqrt(variance)
    smallest = np.finfo(np.float64).smallest_subnormal
    return (
        np.where(constant, X[0], mean * unit),
        np.where(constant, 1.0, np.maximum(scale * unit, smallest)),
    )
