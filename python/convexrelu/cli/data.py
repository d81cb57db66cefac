"""The data of a command: which arguments name them, and training and test rows apart."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from convexrelu.cli.table import InputError, Table, join_counts, join_names, read_table
from convexrelu.preprocessor import Cells, Preprocessor, TableNetwork, make_from_cells
from convexrelu.standardizer import distinct, is_constant

Array = NDArray[np.float64]

_SMALLEST, _LARGEST = 1e-100, 1e100  # whose squares and quotients stay within float64

_MOST_CLASSES = 100  # each has a network of its own

CONCRETE = Path(__file__).parents[1] / "data" / "concrete.csv"


@dataclass(frozen=True)
class Data:
    """Training rows X (n, d), y (n,) and test rows: the features that ``preprocessor`` makes of the
    columns of the file.
    """

    path: Path
    preprocessor: Preprocessor
    target: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    n_dropped: int
    missing: dict[str, int]  # cells that were filled, by column
    class_names: tuple[str, ...] | None = None  # y says which, where the target is one of classes
    weight: Array | None = None  # of the training rows (n,)
    weight_test: Array | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of X."""
        return self.preprocessor.features

    @property
    def constant(self) -> tuple[str, ...]:
        """The features that do not vary over the training rows, beyond the last bits."""
        flags = is_constant(self.X)
        return tuple(name for name, is_so in zip(self.features, flags, strict=True) if is_so)

    @property
    def classes(self) -> tuple[float, float] | None:
        """The two numbers that the target is, where there are just two, beyond the last bits."""
        if self.class_names is not None:
            return None
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
        help=".csv or .csv.gz: a line of column names, then numbers or texts "
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
        "--drop-missing",
        action="store_true",
        help="leave out rows with missing cells (they are filled with medians)",
    )
    parser.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a column to leave out; may be given several times",
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


def read_data(
    arguments: argparse.Namespace,
    rng: np.random.Generator,
    model: TableNetwork | None = None,
    *,
    takes_classes: bool = False,
) -> Data:
    """Reads what the arguments name; ``rng`` draws the test rows.

    The features are those of a model, or those that are learned from the training rows. With
    ``takes_classes`` the target may be of texts, or of any numbers with ``--classes``. Raises
    `InputError` if nothing could be learned (fewer than two training rows, or a target or features
    that do not vary over them) and if standardising could leave float64.
    """
    target = arguments.target
    only = None
    if model is not None:
        target = model.target if target is None else target
        only = (*model.preprocessor.names, target)
    options = {"drop_missing": arguments.drop_missing, "ignored": arguments.ignore}
    table = read_table(arguments.file, only=only, **options)
    if len(table.columns) < 2:
        raise InputError(f"{table.path}: a single column; features and a target are needed")
    target = table.columns[-1] if target is None else target
    table.column_index(target)
    tables = [table]
    if isinstance(arguments.test, Path):
        test_table = read_table(
            arguments.test, drop_missing=arguments.drop_missing, only=table.columns
        )
        tables.append(test_table)
        train, test = table.cells(), test_table.cells()
    else:
        is_test = _draw(len(table.values), arguments.test, rng)
        train, test = table.cells(~is_test), table.cells(is_test)
    own, own_test = train.pop(target), test.pop(target)
    class_names = None
    if takes_classes and (own.texts is not None or arguments.classes):
        class_names = _class_names(own, own_test, target, table)
        y, y_test = (_codes(cells, class_names) for cells in (own, own_test))
    else:
        y = numbers_of_target(own, target, tables[0].path)
        y_test = numbers_of_target(own_test, target, tables[-1].path)
    weight, weight_test = _weights(arguments, (train, test), target, table)
    if class_names is None:
        _check_target(y, target, table)
    try:
        preprocessor = make_from_cells(train, weight) if model is None else model.preprocessor
        X, X_test = preprocessor.transform_cells(train), preprocessor.transform_cells(test)
    except (TypeError, ValueError) as error:
        hint = "\n--ignore NAME leaves out a column." if isinstance(error, ValueError) else ""
        raise InputError(f"{table.path}: {error}{hint}") from None
    data = Data(
        path=table.path,
        preprocessor=preprocessor,
        target=target,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        n_dropped=sum(t.n_dropped for t in tables),
        missing={} if arguments.drop_missing else table.missing,
        class_names=class_names,
        weight=weight,
        weight_test=weight_test,
    )
    if data.constant == data.features:
        _refuse(f"no feature varies over the {len(y)} training rows", table)
    _check_range(data)
    return data


def _class_names(own: Cells, test: Cells, target: str, table: Table) -> tuple[str, ...]:
    """The classes of all rows, in order; of numbers in that of numbers."""
    for cells in (own, test):
        if np.isnan(cells.values).any():
            _refuse_missing(cells.values, target, table.path)
    names = set[str]()
    for cells in (own, test):
        names |= set(_names(cells))
    ordered = sorted(names) if own.texts is not None else sorted(names, key=float)
    if len(ordered) > _MOST_CLASSES:
        raise InputError(
            f"{table.path}: the target {target!r} has {len(ordered)} classes; at most "
            f"{_MOST_CLASSES} are taken"
        )
    if len(set(_names(own))) < 2:
        _refuse(f"the target {target!r} is {_names(own)[0]} in all {len(own.values)} rows", table)
    return tuple(ordered)


def _names(cells: Cells) -> list[str]:
    if cells.texts is not None:
        return [cells.texts[int(value)] for value in cells.values]
    return [f"{value:.17g}" if value % 1 else f"{value:.0f}" for value in cells.values]


def _codes(cells: Cells, class_names: tuple[str, ...]) -> Array:
    place = {name: float(k) for k, name in enumerate(class_names)}
    return np.array([place[name] for name in _names(cells)])


def codes_of_target(cells: Cells, class_names: tuple[str, ...], target: str, path: Path) -> Array:
    """Which class each row is of; InputError where it is none of those."""
    if np.isnan(cells.values).any():
        _refuse_missing(cells.values, target, path)
    if unknown := sorted(set(_names(cells)) - set(class_names)):
        raise InputError(
            f"{path}: the target {target!r} has {join_names(unknown)}, which are no classes of the "
            "training rows"
        )
    return _codes(cells, class_names)


def _weights(
    arguments: argparse.Namespace,
    parts: tuple[dict[str, Cells], dict[str, Cells]],
    target: str,
    table: Table,
) -> tuple[Array | None, Array | None]:
    """The column that --weight names, which is no feature."""
    name = getattr(arguments, "weight", None)
    if name is None:
        return None, None
    table.column_index(name)
    if name == target:
        raise InputError(f"{table.path}: {name!r} cannot be both target and weight")
    found = []
    for cells in parts:
        column = cells.pop(name)
        if column.texts is not None or not (column.values >= 0).all():
            raise InputError(f"{table.path}: the weight {name!r} must have numbers of at least 0")
        found.append(column.values)
    if not found[0].any():
        _refuse(f"the weight {name!r} is 0 in all {len(found[0])} training rows", table)
    return found[0], found[1]


def numbers_of_target(cells: Cells, target: str, path: Path) -> Array:
    """The targets; InputError where they are none."""
    if cells.texts is not None:
        values = join_names([repr(text) for text in cells.texts])
        raise InputError(
            f"{path}: the target {target!r} has texts ({values}), but must have numbers: 0 and 1 "
            "for two classes"
        )
    if np.isnan(cells.values).any():
        _refuse_missing(cells.values, target, path)
    return cells.values


def _refuse_missing(values: Array, target: str, path: Path) -> NoReturn:
    n = int(np.isnan(values).sum())
    raise InputError(
        f"{path}: the target {target!r} is missing in {n} row{'' if n == 1 else 's'}; leave "
        "these out with --drop-missing, or fill the cells in first"
    )


def _draw(n: int, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Marks a share of n rows, at least one unless the share is 0."""
    n_test = max(1, round(fraction * n)) if fraction else 0
    is_test = np.zeros(n, dtype=bool)
    is_test[rng.permutation(n)[:n_test]] = True
    return is_test


def _check_target(y: Array, target: str, table: Table) -> None:
    n = len(y)
    if n < 2:
        _refuse(f"{n} training row{'' if n == 1 else 's'}; at least 2 are needed", table)
    if is_constant(y[:, None]):
        _refuse(f"the target {target!r} is {y[0]:g} in all {n} training rows", table)


def _refuse(problem: str, table: Table) -> NoReturn:
    if table.n_dropped:
        problem += (
            f"\n{table.n_dropped} of {table.n_dropped + len(table.values)} rows were left out for "
            f"missing cells (most: {join_counts(table.missing)}).\n"
            "Leave out the columns that are mostly empty with --ignore."
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
