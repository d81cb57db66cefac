"""Networks that tell classes: scores, and the probabilities that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _validate
from convexrelu.standardizer import StandardizedNetwork

Array = NDArray[np.float64]

# Newton's method on two numbers. From where its steps halve there are no more digits to win; the
# bound is never met otherwise than by data at the end of float64.
_MAX_STEPS = 100


class ClassNetwork:
    """Networks that tell classes apart, with the sigmoids that turn their scores into
    probabilities.

    For two classes there is one network, whose score speaks for the second; for more there is one
    for each, against all others. The logit of a class is ``slope * score + offset``.

    Parameters
    ----------
    networks : sequence of StandardizedNetwork
        One, or one for each of more than two classes; of the same features.
    slopes, offsets : (k,) arrays
        Of the sigmoid of each network, slopes not below 0.
    classes : sequence of str
        The names of the classes, all different.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that does not fit.

    Examples
    --------
    >>> from convexrelu import ClassNetwork, Network, StandardizedNetwork, Standardizer
    >>> standardizer = Standardizer([0.0], [1.0], 0.0, 1.0)
    >>> network = StandardizedNetwork(Network([[1.0, 0.0]], [1.0]), standardizer)
    >>> model = ClassNetwork([network], [2.0], [-3.0], ["no", "yes"])
    >>> model.logits([[0.0], [2.0]])
    array([-3.,  1.])
    >>> model.predict([[0.0], [2.0]]).tolist()
    ['no', 'yes']
    >>> model.probabilities([[1.5]])
    array([[0.5, 0.5]])
    """

    __slots__ = ("_classes", "_networks", "_offsets", "_slopes")

    def __init__(
        self,
        networks: Sequence[StandardizedNetwork],
        slopes: ArrayLike,
        offsets: ArrayLike,
        classes: Sequence[str],
    ) -> None:
        self._networks = tuple(networks)
        self._classes = tuple(classes)
        if not all(isinstance(name, str) for name in self._classes):
            raise TypeError("classes must be texts")
        if len(set(self._classes)) < max(2, len(self._classes)):
            raise ValueError(f"classes must be two or more different texts, got {self._classes}")
        for network in self._networks:
            if not isinstance(network, StandardizedNetwork):
                raise TypeError(
                    f"networks must be of type StandardizedNetwork, got {type(network).__name__}"
                )
        expected = 1 if len(self._classes) == 2 else len(self._classes)
        if len(self._networks) != expected:
            raise ValueError(
                f"networks must be {expected} for {len(self._classes)} classes, got "
                f"{len(self._networks)}"
            )
        if len({network.n_features for network in self._networks}) > 1:
            raise ValueError("networks must have the same features")
        self._slopes = _frozen(_validate.vector(slopes, "slopes", size=expected, like="networks"))
        self._offsets = _frozen(
            _validate.vector(offsets, "offsets", size=expected, like="networks")
        )
        if (self._slopes < 0).any():
            raise ValueError(f"slopes must not be negative, got {self._slopes.min():g}")

    @property
    def networks(self) -> tuple[StandardizedNetwork, ...]:
        """The networks."""
        return self._networks

    @property
    def slopes(self) -> Array:
        """The slope of each sigmoid, read-only."""
        return self._slopes

    @property
    def offsets(self) -> Array:
        """The offset of each sigmoid, read-only."""
        return self._offsets

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._classes

    @property
    def n_features(self) -> int:
        """Number of raw features."""
        return self._networks[0].n_features

    @property
    def n_neurons(self) -> int:
        """Number of neurons of all networks."""
        return sum(network.n_neurons for network in self._networks)

    def logits(self, X: ArrayLike, *, n_threads: int = 1) -> Array:
        """``slope * score + offset``: (n,) for two classes, positive where it is the second;
        (n, classes) for more.
        """
        X = _validate.matrix(X, "X", n_cols=self.n_features)
        scores = [network.predict(X, n_threads=n_threads) for network in self._networks]
        logits: Array = np.column_stack(scores) * self._slopes + self._offsets
        return logits[:, 0] if len(self._classes) == 2 else logits

    def probabilities(self, X: ArrayLike, *, n_threads: int = 1) -> Array:
        """The probability of each class (n, classes)."""
        return probabilities(self.logits(X, n_threads=n_threads))

    def codes(self, X: ArrayLike, *, n_threads: int = 1) -> NDArray[np.intp]:
        """The place in `classes` of the most probable one (n,)."""
        logits = self.logits(X, n_threads=n_threads)
        if logits.ndim == 1:
            return (logits > 0).astype(np.intp)
        codes: NDArray[np.intp] = np.argmax(logits, axis=1)
        return codes

    def predict(self, X: ArrayLike, *, n_threads: int = 1) -> NDArray[Any]:
        """The name of the most probable class (n,)."""
        return np.array(self._classes)[self.codes(X, n_threads=n_threads)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassNetwork):
            return NotImplemented
        return (
            self._networks == other._networks
            and self._classes == other._classes
            and np.array_equal(self._slopes, other._slopes)
            and np.array_equal(self._offsets, other._offsets)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ClassNetwork: {len(self._classes)} classes, {self.n_neurons} neurons>"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._networks, self._slopes.copy(), self._offsets.copy(), self._classes)
        return (ClassNetwork, parts)

    def __copy__(self) -> ClassNetwork:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ClassNetwork:
        return self


def probabilities(logits: Array) -> Array:
    """Of two classes from the logits (n,) of the second; of more from one column for each, taken
    one against all others and made to add up to one.
    """
    if logits.ndim == 1:
        return np.column_stack([sigmoid(-logits), sigmoid(logits)])
    # The softmax of logarithms of sigmoids, which float64 holds where the sigmoids are all 0.
    logs = -np.logaddexp(0.0, -logits)
    shares: Array = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def sigmoid(z: Array) -> Array:
    """``1 / (1 + exp(-z))`` without overflow."""
    small = np.exp(-np.abs(z))
    values: Array = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return values


def fit_sigmoid(
    scores: Array, is_positive: NDArray[np.bool_], weight: Array | None = None
) -> tuple[float, float]:
    """The slope (not below 0) and offset of the sigmoid that predicts best which are positive.

    By the log loss, with the targets of Platt (1999) in the place of 0 and 1, as if one more of
    each class had been seen: so both are finite however well scores tell the classes apart.
    """
    weight = np.ones(len(scores)) if weight is None else weight
    n_positive, n_negative = weight[is_positive].sum(), weight[~is_positive].sum()
    high, low = (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2)
    targets = np.where(is_positive, high, low)
    base = float(np.average(targets, weights=weight))
    flat = (0.0, float(np.log(base / (1 - base))))
    middle = np.average(scores, weights=weight)
    spread = np.sqrt(np.average((scores - middle) ** 2, weights=weight))
    if not spread > 1e-12 * (1 + abs(middle)):
        return flat
    columns = np.column_stack([(scores - middle) / spread, np.ones(len(scores))])
    at = np.array(flat)

    def loss(at: Array) -> float:
        z = columns @ at
        return float(weight @ (np.logaddexp(0.0, z) - targets * z))

    value = loss(at)
    for _ in range(_MAX_STEPS):
        p = sigmoid(columns @ at)
        slope = columns.T @ (weight * (p - targets))
        curvature = (columns.T * (weight * p * (1 - p))) @ columns
        step = np.linalg.lstsq(curvature, -slope, rcond=None)[0]
        length = 1.0
        # The loss is convex, and halving ends where float64 sees no descent.
        while length > 1e-9 and not loss(at + length * step) < value:
            length /= 2
        if length <= 1e-9:
            break
        at = at + length * step
        value = loss(at)
    if at[0] <= 0.0:
        return flat
    return float(at[0] / spread), float(at[1] - at[0] * middle / spread)


def _frozen(array: Array) -> Array:
    copy: Array = array.copy()
    copy.flags.writeable = False
    return copy
