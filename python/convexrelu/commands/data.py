"""The data of a command: which arguments name them, and training and test rows apart."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convexrelu.standardizer import distinct, is_constant
from convexrelu.table import InputError, Table, read_table

Array = NDArray[np.float64]

_SMALLEST, _LARGEST = 1e-100, 1e100  # whose squares and quotients stay within float64

CONCRETE = Path(__file__).parents[1] / "data" / "concrete.csv"


@dataclass(frozen=True)
class Data:
    """Training rows X (n, d), y (n,) and test rows, as they stand in the file."""

    path: Path
    features: tuple[str, ...]
    target: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    n_dropped: int

    @property
    def constant(self) -> tuple[str, ...]:
        """The features that do not vary over the training rows, beyond the last bits."""
        flags = is_constant(self.X)
        return tuple(name for name, is_so in zip(self.features, flags, strict=True) if is_so)

    @property
    def classes(self) -> tuple[float, float] | None:
        """The two values of the target, where there are just two, beyond the last bits."""
        values = distinct(np.concatenate([self.y, self.y_test]))
        return (float(values[0]), float(values[1])) if len(values) == 2 else None


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares FILE, --target, --test and --drop-missing."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        default=CONCRETE,
        help=".csv or .csv.gz: a line of column names, then numbers "
        "(the compressive strength of concrete, which comes with the package)",
    )
    parser.add_argument("--target", metavar="NAME", help="the column to predict (the last one)")
    parser.add_argument(
        "--test",
        metavar="FRACTION|FILE",
        default=0.2,
        type=_fraction_or_path,
        help="the share of rows to keep for testing, or a file of them (%(default)s)",
    )
    parser.add_argument(
        "--drop-missing", action="store_true", help="leave out rows with missing cells"
    )


def _fraction_or_path(text: str) -> float | Path:
    try:
        fraction = float(text)
    except ValueError:
        return Path(text)
    if not 0.0 <= fraction < 1.0:
        raise argparse.ArgumentTypeError(
            f"must be a share of the rows in [0, 1), or a file, got {text!r}"
        )
    return fraction


def read_data(arguments: argparse.Namespace, rng: np.random.Generator) -> Data:
    """Reads what the arguments name; ``rng`` draws the test rows.

    Raises `InputError` if nothing could be learned (fewer than two training rows, or a target or
    features that do not vary over them) and if standardising could leave float64.
    """
    table = read_table(arguments.file, drop_missing=arguments.drop_missing)
    if len(table.columns) < 2:
        raise InputError(f"{table.path}: a single column; features and a target are needed")
    target = table.columns[-1] if arguments.target is None else arguments.target
    column = table.column_index(target)
    n_dropped = table.n_dropped
    if isinstance(arguments.test, Path):
        train = table.values
        test_table = read_table(arguments.test, drop_missing=arguments.drop_missing)
        test = test_table.select(table.columns)
        n_dropped += test_table.n_dropped
    else:
        is_test = _draw(len(table.values), arguments.test, rng)
        train, test = table.values[~is_test], table.values[is_test]
    data = Data(
        path=table.path,
        features=table.columns[:column] + table.columns[column + 1 :],
        target=target,
        X=np.delete(train, column, axis=1),
        y=train[:, column],
        X_test=np.delete(test, column, axis=1),
        y_test=test[:, column],
        n_dropped=n_dropped,
    )
    _check_trainable(data, table)
    _check_range(data)
    return data


def _draw(n: int, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Marks a share of n rows, at least one unless the share is 0."""
    n_test = max(1, round(fraction * n)) if fraction else 0
    is_test = np.zeros(n, dtype=bool)
    is_test[rng.permutation(n)[:n_test]] = True
    return is_test


def _check_trainable(data: Data, table: Table) -> None:
    n = len(data.y)
    if n < 2:
        problem = f"{n} training row{'' if n == 1 else 's'}; at least 2 are needed"
    elif is_constant(data.y[:, None]):
        problem = f"the target {data.target!r} is {data.y[0]:g} in all {n} training rows"
    elif data.constant == data.features:
        problem = f"no feature varies over the {n} training rows"
    else:
        return
    if table.missing:
        worst = sorted(table.missing, key=lambda name: -table.missing[name])[:3]
        counts = ", ".join(f"{name} {table.missing[name]}" for name in worst)
        problem += (
            f"\n{table.n_dropped} of {table.n_dropped + len(table.values)} rows were left out for "
            f"missing cells (most: {counts}).\nRemove the columns that are mostly empty first."
        )
    raise InputError(f"{table.path}: {problem}")


def _check_range(data: Data) -> None:
    train = np.column_stack([data.X, data.y])
    test = np.column_stack([data.X_test, data.y_test])
    size = np.abs(np.concatenate([train, test])).max(axis=0)
    spread = train.max(axis=0) / 2 - train.min(axis=0) / 2
    bad = (size > _LARGEST) | ((spread > 0) & (spread < _SMALLEST))
    for j in np.flatnonzero(bad)[:1]:
        what = f"holds {size[j]:g}" if size[j] > _LARGEST else f"varies by {2 * spread[j]:g} only"
        raise InputError(
            f"{data.path}: column {(*data.features, data.target)[j]!r} {what}; use another unit, "
            f"in which numbers lie between {_SMALLEST:g} and {_LARGEST:g}"
        )
