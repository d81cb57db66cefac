"""Tables of any columns as numbers: categories, missing cells, columns by name.

A table is a mapping of names to columns, a frame of pandas or polars, a structured array of numpy,
or a matrix whose columns are in the order of training. Columns hold numbers (booleans count as
such) or texts; None, NaN, masked entries and empty texts are missing cells.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convexrelu import _validate
from convexrelu.class_network import ClassNetwork
from convexrelu.standardizer import StandardizedNetwork
from convexrelu.training_record import TrainingRecord

Array = NDArray[np.float64]

_LISTED = 12  # names in a message before it says how many more there are


class Cells(NamedTuple):
    """A column that has been read."""

    values: Array
    """(n,): the numbers, or which of the texts; nan where a cell is missing."""
    texts: tuple[str, ...] | None
    """The distinct texts; None for a column of numbers."""


class Column(NamedTuple):
    """What is known of one column of the training table.

    Examples
    --------
    >>> from convexrelu import make_preprocessor
    >>> make_preprocessor({"age": [20.0, None, 30.0], "sex": ["f", "m", "f"]}).columns
    (Column(name='age', levels=None, median=25.0, has_missing=True), Column(name='sex', \
levels=('f',), median=nan, has_missing=False))
    """

    name: str
    levels: tuple[str, ...] | None
    """The texts that become features, in order; None for a column of numbers."""
    median: float
    """What a missing number is replaced by; nan for a column of texts."""
    has_missing: bool
    """Whether cells were missing, so that there is a feature that says so."""


class Preprocessor:
    """The map from the columns of a table to a matrix of numbers; immutable.

    Usually made by `make_preprocessor`. A column of numbers is one feature, its missing cells
    replaced by the median of training. A column of texts is a 0/1 feature for each of its levels;
    a text that is none of them has zeros. Where cells were missing in training there is one more
    0/1 feature that says where they are.

    Parameters
    ----------
    columns : sequence of Column
        With distinct names.

    Raises
    ------
    ValueError, TypeError
        Naming what is wrong with the columns.

    Examples
    --------
    >>> from convexrelu import make_preprocessor
    >>> table = {"age": [20.0, None, 30.0, 40.0], "sex": ["f", "m", "f", "m"]}
    >>> preprocessor = make_preprocessor(table)
    >>> preprocessor.features
    ('age', 'age is missing', 'sex=f', 'sex=m')
    >>> preprocessor.transform({"sex": ["m", "x"], "shoes": [42, 37], "age": [25.0, None]})
    array([[25.,  0.,  0.,  1.],
           [30.,  1.,  0.,  0.]])
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        if not self._columns:
            raise ValueError("columns must not be empty")
        for column in self._columns:
            if not isinstance(column, Column):
                raise TypeError(f"columns must be of type Column, got {type(column).__name__}")
            if column.levels is None and not np.isfinite(column.median):
                raise ValueError(
                    f"columns must have a finite median where they are of numbers, but that of "
                    f"{column.name!r} is {column.median}"
                )
            if column.levels is not None and len(set(column.levels)) < len(column.levels):
                raise ValueError(f"columns must have distinct levels, but not so {column.name!r}")
        if len(set(self.names)) < len(self._columns):
            raise ValueError("columns must have distinct names")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in the order of training."""
        return self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """Their names: what a table must have."""
        return tuple(column.name for column in self._columns)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of what `transform` makes."""
        names: list[str] = []
        for name, levels, _, has_missing in self._columns:
            names += [name] if levels is None else [f"{name}={level}" for level in levels]
            names += [f"{name} is missing"] if has_missing else []
        return tuple(names)

    def transform(self, table: Any) -> Array:
        """The matrix (n, len(features)) of a table of n rows.

        Its columns are found by their names, in any order; others are ignored. A matrix has no
        names: its columns are those of training, in their order.

        Raises
        ------
        ValueError, TypeError
            Naming the columns that the table lacks, or that have texts in the place of numbers.
        """
        return self.transform_cells(_cells_of(table, self.names))

    def transform_cells(self, cells: Mapping[str, Cells]) -> Array:
        """The same for columns that have been read."""
        parts: list[Array] = []
        for name, levels, median, has_missing in self._columns:
            values, texts = cells[name]
            is_missing = np.isnan(values)
            if levels is None:
                if texts:
                    raise TypeError(f"column {name!r} must be of numbers, but has {texts[0]!r:.60}")
                parts.append(np.where(is_missing, median, values)[:, None])
            else:
                if texts is None and not is_missing.all():
                    first = values[np.argmin(is_missing)]
                    raise TypeError(f"column {name!r} must be of texts, but has {first:g}")
                place = {text: j for j, text in enumerate(texts or ())}
                codes = np.array([place.get(level, -1) for level in levels], dtype=float)
                parts.append((values[:, None] == codes).astype(float))
            if has_missing:
                parts.append(is_missing[:, None].astype(float))
        return np.concatenate(parts, axis=1)

    @property
    def table(self) -> Array:
        """How it is saved (k, 3): of each column how many levels (-1 for numbers), its median and
        whether it has missing cells.
        """
        rows = [
            (-1 if c.levels is None else len(c.levels), c.median, c.has_missing)
            for c in self._columns
        ]
        return np.array(rows, dtype=float)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of all columns, one after another."""
        return tuple(level for column in self._columns for level in column.levels or ())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Preprocessor):
            return NotImplemented
        return repr(self._columns) == repr(other._columns)  # nan is nan

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Preprocessor: {len(self._columns)} columns, {len(self.features)} features>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Preprocessor, (self._columns,))


def make_preprocessor(table: Any, *, sample_weight: Any = None) -> Preprocessor:
    """What is to be known of the columns of a training table, to make numbers of any like it.

    Parameters
    ----------
    table : mapping, frame of pandas or polars, or structured array
        Columns of numbers or of texts, by name; without the target.
    sample_weight : (n,) array, optional
        How many times each row counts, in medians and in the occurrences of texts.

    Returns
    -------
    Preprocessor
        Which also transforms the table itself. A column of numbers keeps its median, a column of
        texts those that occur twice at least. Its features are to be standardised:
        ``Standardizer.fit(preprocessor.transform(table), y)``.

    Raises
    ------
    ValueError, TypeError
        Naming a column that has no number, no text that occurs twice, or both numbers and texts.

    Notes
    -----
    Cost: O(n) and a sort of every column.

    Examples
    --------
    >>> from convexrelu import make_preprocessor
    >>> preprocessor = make_preprocessor({"sex": ["f", "m", "f", "m"], "age": [20, 30, 40, 60]})
    >>> preprocessor.features
    ('sex=f', 'sex=m', 'age')
    >>> preprocessor.transform({"age": [25], "sex": ["m"]})
    array([[ 0.,  1., 25.]])
    """
    names = names_of(table)
    if names is None:
        raise TypeError(
            "table must have columns with names (a mapping, a frame or a structured array), got "
            f"{type(table).__name__}"
        )
    return make_from_cells(_cells_of(table, names), sample_weight)


def make_from_cells(cells: Mapping[str, Cells], sample_weight: Any = None) -> Preprocessor:
    """The same for columns that have been read."""
    n = len(next(iter(cells.values())).values) if cells else 0
    weight = None if sample_weight is None else _validate.sample_weight(sample_weight, n)
    return Preprocessor([_learn(name, *column, weight) for name, column in cells.items()])


def _learn(name: str, values: Array, texts: tuple[str, ...] | None, weight: Array | None) -> Column:
    counted = np.full(len(values), True) if weight is None else weight > 0
    is_missing = np.isnan(values)
    is_present = ~is_missing & counted
    present = values[is_present]
    has_missing = bool((is_missing & counted).any())
    if not len(present):
        raise ValueError(f"column {name!r} has no value; leave it out")
    times = None if weight is None else weight[is_present]
    if texts is None:
        return Column(name, None, _median(present, times), has_missing)
    counts = np.bincount(present.astype(np.intp), weights=times, minlength=len(texts))
    levels = tuple(sorted(text for text, count in zip(texts, counts, strict=True) if count > 1))
    if not levels:
        raise ValueError(f"column {name!r} has no text that occurs twice; leave it out")
    return Column(name, levels, np.nan, has_missing)


def _median(values: Array, weight: Array | None) -> float:
    """The middle of the values; with weights, that of each repeated so many times."""
    if weight is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    middle = below[-1] / 2
    low, high = (np.searchsorted(below, middle, side) for side in ("left", "right"))
    ordered = values[order]
    return float(ordered[low] / 2 + ordered[min(high, len(ordered) - 1)] / 2)


class TableNetwork:
    """A network that predicts the rows of tables, whose columns it finds by name.

    ``predict(table)`` is ``network.predict(preprocessor.transform(table))``.

    Parameters
    ----------
    network : StandardizedNetwork or ClassNetwork
        Of ``preprocessor.features``.
    preprocessor : Preprocessor
    target : str
        The name of what is predicted.
    record : TrainingRecord, optional
        What is known of the training.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that does not fit.

    Examples
    --------
    >>> from convexrelu import (
    ...     Network, StandardizedNetwork, Standardizer, TableNetwork, make_preprocessor
    ... )
    >>> preprocessor = make_preprocessor({"age": [20.0, 40.0], "size": [1.0, 2.0]})
    >>> standardizer = Standardizer([30.0, 1.5], [10.0, 0.5], 100.0, 5.0)
    >>> network = StandardizedNetwork(Network([[1.0, 0.0, 0.0]], [1.0]), standardizer)
    >>> model = TableNetwork(network, preprocessor, "price")
    >>> model.predict({"size": [1.0, 2.0], "colour": ["red", "blue"], "age": [50.0, 20.0]})
    array([110., 100.])
    """

    __slots__ = ("_network", "_preprocessor", "_record", "_target")

    def __init__(
        self,
        network: StandardizedNetwork | ClassNetwork,
        preprocessor: Preprocessor,
        target: str,
        record: TrainingRecord | None = None,
    ) -> None:
        kinds: tuple[tuple[str, object, tuple[type, ...]], ...] = (
            ("network", network, (StandardizedNetwork, ClassNetwork)),
            ("preprocessor", preprocessor, (Preprocessor,)),
            ("target", target, (str,)),
            ("record", record, (TrainingRecord, type(None))),
        )
        for name, value, types in kinds:
            if not isinstance(value, types):
                wanted = " or ".join(kind.__name__ for kind in types)
                raise TypeError(f"{name} must be a {wanted}, got {type(value).__name__}")
        if network.n_features != len(preprocessor.features):
            raise ValueError(
                f"network must have {len(preprocessor.features)} features, those that the "
                f"preprocessor makes, got {network.n_features}"
            )
        self._network = network
        self._preprocessor = preprocessor
        self._target = target
        self._record = record

    @property
    def network(self) -> StandardizedNetwork | ClassNetwork:
        """The network over the features."""
        return self._network

    @property
    def preprocessor(self) -> Preprocessor:
        """The map from tables to features."""
        return self._preprocessor

    @property
    def target(self) -> str:
        """The name of what is predicted."""
        return self._target

    @property
    def record(self) -> TrainingRecord | None:
        """What is known of the training."""
        return self._record

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.network.n_neurons

    def predict(self, table: Any, *, n_threads: int = 1) -> NDArray[Any]:
        """Predictions (n,) for the rows of a table, in the units of the target; of classes their
        names.

        See `Preprocessor.transform`.
        """
        return self.network.predict(self.preprocessor.transform(table), n_threads=n_threads)

    def probabilities(self, table: Any, *, n_threads: int = 1) -> Array:
        """The probability of each class (n, classes); TypeError where there are no classes."""
        if not isinstance(self.network, ClassNetwork):
            raise TypeError("probabilities are those of a ClassNetwork, this one predicts numbers")
        features = self.preprocessor.transform(table)
        return self.network.probabilities(features, n_threads=n_threads)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TableNetwork):
            return NotImplemented
        return (
            self.network == other.network
            and self.preprocessor == other.preprocessor
            and self.target == other.target
            and self.record == other.record
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"<TableNetwork: {self.target!r} from {len(self.preprocessor.columns)} columns, "
            f"{self.n_neurons} neurons>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (TableNetwork, (self.network, self.preprocessor, self.target, self.record))


def names_of(table: Any) -> tuple[str, ...] | None:
    """The names of the columns, or None for a matrix."""
    if isinstance(table, Mapping):
        names = list(table)
    elif isinstance(table, np.ndarray) or not hasattr(table, "columns"):
        structure = getattr(getattr(table, "dtype", None), "names", None)
        if structure is None:
            return None
        names = list(structure)
    else:
        names = list(table.columns)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the names of columns must be texts, but one is {name!r:.60}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two columns have the name {twice!r}")
    return tuple(names)


def _cells_of(table: Any, names: Sequence[str]) -> dict[str, Cells]:
    """The columns of those names, read; those of a matrix in order."""
    there = names_of(table)
    if there is None:
        matrix = table if isinstance(table, np.ndarray) else np.array(table, dtype=object)
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise ValueError(
                f"a table without names must have the {len(names)} columns of training in their "
                f"order, got shape {matrix.shape}"
            )
        columns: Mapping[str, Any] = {name: matrix[:, j] for j, name in enumerate(names)}
    else:
        known = set(there)
        if lacking := [name for name in names if name not in known]:
            more = f" and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
            raise ValueError(
                f"the table lacks {', '.join(map(repr, lacking[:_LISTED]))}{more}, which the "
                "training data had"
            )
        columns = {name: table[name] for name in names}
    cells = {name: _read(column, name) for name, column in columns.items()}
    sizes = {name: len(column.values) for name, column in cells.items()}
    for name, size in sizes.items():
        if size != sizes[names[0]]:
            raise ValueError(
                f"columns must have the same number of rows, but {names[0]!r} has "
                f"{sizes[names[0]]} and {name!r} {size}"
            )
    return cells


def _read(column: Any, name: str) -> Cells:
    if isinstance(column, np.ma.MaskedArray):
        array: NDArray[Any] = column
    elif isinstance(column, (list, tuple)):
        array = np.array(column, dtype=object)  # else numbers among texts would become texts
    else:
        array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} must have one dimension, got shape {array.shape}")
    if array.dtype.kind in "biuf" and not isinstance(array, np.ma.MaskedArray):
        values = array.astype(np.float64)
        _check_finite(values, name)
        return Cells(values, None)
    if array.dtype.kind in "Mm":
        raise TypeError(f"column {name!r} must be of numbers or texts, got dtype {array.dtype}")
    values = np.full(len(array), np.nan)
    place: dict[str, int] = {}
    first: float | None = None
    for k, cell in enumerate(array.tolist() if array.dtype.kind != "O" else array):
        if _is_missing(cell):
            continue
        if isinstance(cell, str):
            values[k] = place.setdefault(str(cell), len(place))
        elif isinstance(cell, (numbers.Real, np.bool_)):
            values[k] = float(cell)
            first = values[k] if first is None else first
        else:
            raise TypeError(
                f"column {name!r} must be of numbers or texts, but row {k} is {cell!r:.60} "
                f"({type(cell).__name__})"
            )
    if place and first is not None:
        raise TypeError(
            f"column {name!r} must be of numbers or of texts, but has both {first:g} and "
            f"{next(iter(place))!r:.60}"
        )
    if not place:
        _check_finite(values, name)
    return Cells(values, tuple(place) if place else None)


def _is_missing(cell: Any) -> bool:
    if cell is None or cell is np.ma.masked or (isinstance(cell, str) and not cell.strip()):
        return True
    if isinstance(cell, (float, np.floating)):
        return bool(cell != cell)
    return type(cell).__name__ in {"NAType", "NaTType"}  # of pandas, which need not be here


def _check_finite(values: Array, name: str) -> None:
    if np.isinf(values).any():
        k = int(np.argmax(np.isinf(values)))
        raise ValueError(f"column {name!r} must be of finite numbers, but row {k} is {values[k]}")
