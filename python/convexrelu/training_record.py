"""What is known of a training once it is over, to be kept with the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FACTS = ("lam", "objective", "lower_bound", "global_lower_bound", "n_rows", "is_searched")
CURVE = ("network", "lam", "mean_error", "standard_error", "n_neurons")


class TrainingRecord:
    """Certificates and curves of cross-validation, in plain numbers; immutable.

    Parameters
    ----------
    facts : (k, 6) array
        For each network: lam, objective, lower bounds over its patterns and over all (nan where
        nothing is proven), rows it was trained on, and 1 where a search over all patterns came to
        its end, else 0.
    curve : (m, 5) array
        For each lam that was tried: of which network, lam, mean squared error on rows left out and
        its standard error in the units of the target, mean number of neurons. Empty where lam was
        given.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that does not fit.

    Examples
    --------
    >>> from convexrelu import TrainingRecord
    >>> record = TrainingRecord([[0.1, 2.0, 1.999, 1.0, 50, 1]], [])
    >>> round(record.gap(0), 6), record.global_gap(0)
    (0.0005, 0.5)
    """

    __slots__ = ("_curve", "_facts")

    def __init__(self, facts: ArrayLike, curve: ArrayLike = ()) -> None:
        self._facts = _table(facts, "facts", len(FACTS))
        self._curve = _table(curve, "curve", len(CURVE))
        if not len(self._facts):
            raise ValueError("facts must have a row")
        known = self._facts[:, [0, 1, 2, 4, 5]]
        if not (np.isfinite(known).all() and (known[:, 0] > 0).all()):
            raise ValueError("facts must be finite, but for bounds over all patterns, and lam > 0")
        if not np.isin(self._curve[:, 0], np.arange(len(self._facts))).all():
            raise ValueError("curve must name networks that facts have")

    @property
    def facts(self) -> Array:
        """A row for each network (k, 6), read-only."""
        return self._facts

    @property
    def curve(self) -> Array:
        """A row for each lam tried (m, 5), read-only."""
        return self._curve

    def curve_of(self, network: int) -> Array:
        """The rows of one network, from large lam to small."""
        own: Array = self._curve[self._curve[:, 0] == network]
        return own[np.argsort(-own[:, 1])]

    def gap(self, network: int) -> float:
        """The relative gap over its patterns."""
        return _gap(self._facts[network, 1], self._facts[network, 2])

    def global_gap(self, network: int) -> float:
        """That over all patterns; nan where nothing is proven."""
        return _gap(self._facts[network, 1], self._facts[network, 3])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrainingRecord):
            return NotImplemented
        return np.array_equal(self.facts, other.facts, equal_nan=True) and np.array_equal(
            self.curve, other.curve, equal_nan=True
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        k = len(self._facts)
        return f"<TrainingRecord: {k} network{'s' if k > 1 else ''}, {len(self._curve)} lam tried>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (TrainingRecord, (self._facts.copy(), self._curve.copy()))


def _gap(objective: float, bound: float) -> float:
    return float((objective - bound) / objective) if objective else 0.0 * float(bound)


def _table(value: Any, name: str, n_columns: int) -> Array:
    array = np.array(value, dtype=np.float64)
    if array.size == 0:
        array = np.empty((0, n_columns))
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns, got shape {array.shape}")
    array.flags.writeable = False
    return array
