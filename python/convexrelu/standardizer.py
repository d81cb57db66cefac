"""Raw rows to standardised ones with a bias, and a network that predicts from raw rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import _validate
from convexrelu.network import Network


class Standardizer:
    """The affine maps ``x -> ((x - x_mean) / x_scale, 1)`` and ``y -> (y - y_mean) / y_scale``.

    Made by `Standardizer.fit`, or from its four parts. Immutable.

    Parameters
    ----------
    x_mean, x_scale : (d,) arrays
    y_mean, y_scale : float
        Scales are positive.
    """

    __slots__ = ("_x_mean", "_x_scale", "_y_mean", "_y_scale")

    def __init__(self, x_mean: Any, x_scale: Any, y_mean: float, y_scale: float) -> None:
        self._x_mean = _frozen(_validate.vector(x_mean, "x_mean"))
        size = self._x_mean.shape[0]
        self._x_scale = _frozen(_validate.vector(x_scale, "x_scale", size=size, like="x_mean"))
        if not (self._x_scale > 0).all():
            raise ValueError(f"x_scale must be positive, got {self._x_scale.min():g}")
        self._y_mean = _validate.number(y_mean, "y_mean")
        self._y_scale = _validate.number(y_scale, "y_scale", low=0.0, open_low=True)

    @classmethod
    def fit(cls, X: Any, y: Any) -> Standardizer:
        """Means and standard deviations of X (n, d) and y (n,).

        The scale of a constant column is 1, so that it becomes a column of zeros; likewise that of
        a constant y.
        """
        X = _validate.matrix(X, "X")
        y = _validate.vector(y, "y", size=X.shape[0])
        x_mean, x_scale = _mean_and_scale(X)
        y_mean, y_scale = _mean_and_scale(y[:, None])
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

    def transform(self, X: Any) -> NDArray[np.float64]:
        """``((x - x_mean) / x_scale, 1)`` (n, d + 1) for the rows of X (n, d)."""
        X = _validate.matrix(X, "X", n_cols=self.x_mean.shape[0])
        return np.column_stack([(X - self.x_mean) / self.x_scale, np.ones(X.shape[0])])

    def transform_target(self, y: Any) -> NDArray[np.float64]:
        """``(y - y_mean) / y_scale`` (n,)."""
        return (_validate.vector(y, "y") - self.y_mean) / self.y_scale

    def restore_target(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """``y_mean + y_scale t`` (n,)."""
        return self.y_mean + self.y_scale * t

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
        return f"<Standardizer: {self.x_mean.shape[0]} columns>"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.x_mean.copy(), self.x_scale.copy(), self.y_mean, self.y_scale)
        return (Standardizer, parts)


class StandardizedNetwork:
    """A network over standardised rows, together with the maps from and to raw data.

    The network inside is the one that was trained and certified, bit for bit: ``objective`` of
    ``network`` on the standardised data is the certified one.

    Parameters
    ----------
    network : Network
        Over rows ``standardizer.transform(X)``.
    standardizer : Standardizer
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
        return self.standardizer.x_mean.shape[0]

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.network.n_neurons

    def predict(self, X: Any, *, n_threads: int = 1) -> NDArray[np.float64]:
        """Predictions (n,) for raw rows X (n, d), in the units of the raw targets."""
        rows = self.standardizer.transform(X)
        return self.standardizer.restore_target(self.network.predict(rows, n_threads=n_threads))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StandardizedNetwork):
            return NotImplemented
        return self.network == other.network and self.standardizer == other.standardizer

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<StandardizedNetwork: {self.n_neurons} neurons on {self.n_features} raw columns>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (StandardizedNetwork, (self.network, self.standardizer))


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _mean_and_scale(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = X.mean(axis=0)
    scale = X.std(axis=0)
    # What the mean of equal entries leaves by rounding is no spread.
    constant = scale <= 1e-14 * np.abs(X).max(axis=0)
    mean[constant] = X[0, constant]
    scale[constant] = 1.0
    return mean, scale
