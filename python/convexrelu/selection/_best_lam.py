"""The lam of a path at which a criterion is least."""

from __future__ import annotations

from itertools import pairwise
from math import inf, log
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from convexrelu import _validate
from convexrelu.path import Path
from convexrelu.patterns import patterns_from_gates
from convexrelu.sensitivity import differentiate


def best_lam(path: Path, criterion: str | tuple[ArrayLike, ArrayLike] = "gcv") -> float:
    """The lam of a path at which a criterion is least.

    Parameters
    ----------
    path : Path
    criterion : "gcv", "aic" or (X, y)
        With the mean squared error E on the training rows and the degrees of freedom df of
        `differentiate`: "gcv" is generalised cross-validation, ``E / (1 - df / n)^2``; "aic"
        is Akaike's ``n log E + 2 df``. (X, y): the mean squared error on validation rows
        X (m, d), as the problem has them (standardised, with the column of ones), and y (m,).

    Returns
    -------
    float
        In [``path.lam_min``, ``path.lam_max``].

    Raises
    ------
    ValueError, TypeError
        Naming what is wrong with the criterion.

    Notes
    -----
    Between breakpoints all of these are smooth, and their derivatives in lam are exact. The
    candidates are the two ends of every segment, its middle and, where the derivative changes
    sign between these, its root. df jumps at breakpoints: there the two sides count. A segment
    on which "gcv" or "aic" cannot fall below what was found already is passed over, as E falls
    with lam and df is at least the number of neurons. Cost: O(n^3) for each of their values.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> from convexrelu.selection import best_lam
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> noise = np.array([0.3, -0.1, 0.2, -0.4, 0.1, -0.3, 0.2])
    >>> path = trace_path(Problem(X, np.abs(x) + noise, enumerate_patterns(X)), 1e-3)
    >>> rows = np.array([[-2.5, 1.0], [2.5, 1.0]])
    >>> bool(path.lam_min < best_lam(path, (rows, np.array([2.5, 2.5]))) < path.lam_max)
    True
    """
    if isinstance(criterion, str):
        _validate.choice(criterion, "criterion", ("gcv", "aic"))
        return _least(path, InformationCriterion(path, criterion))
    if not isinstance(criterion, tuple) or len(criterion) != 2:
        raise TypeError(
            f"criterion must be 'gcv', 'aic' or a pair (X, y), got {type(criterion).__name__}"
        )
    X = _validate.matrix(criterion[0], "X", n_cols=path.problem.X.shape[1])
    y = _validate.vector(criterion[1], "y", size=len(X))
    return _least(path, ValidationError(path, X, y))


class Criterion(Protocol):
    """A function of lam that is smooth on the segments of a path."""

    @property
    def is_continuous(self) -> bool:
        """Whether it has a value at breakpoints too."""

    def __call__(self, lam: float) -> tuple[float, float]:
        """The value and its derivative in lam."""

    def lower_bound(self, low: float, high: float) -> float:
        """Of its values on a segment."""


def _least(path: Path, criterion: Criterion) -> float:
    """The candidates are both ends of each segment, or points just inside where the criterion
    jumps, its middle, and roots of the derivative between these. Segments are taken in the order of
    their lower bounds, until these are above what was found.
    """
    # Close enough to a breakpoint, and far enough for a block that entered there to be seen.
    inside = 1e-6
    ends = np.unique([path.lam_max, *path.segment_ends])
    segments = [(criterion.lower_bound(low, high), low, high) for low, high in pairwise(ends)]
    exact = ends if criterion.is_continuous else ends[[0, -1]]
    value, best = min((criterion(lam)[0], lam) for lam in exact)
    for bound, low, high in sorted(segments):
        if bound >= value:
            break
        room = inside * (high - low)
        points = [low + room, (low + high) / 2, high - room]
        found = [criterion(lam) for lam in points]
        for j in range(2):
            if found[j][1] < 0 < found[j + 1][1]:
                within = points[j : j + 2]
                root = brentq(lambda lam: criterion(lam)[1], *within, xtol=1e-12 * high)
                points.append(root)
                found.append(criterion(root))
        here = [(at, lam) for (at, _), lam in zip(found, points, strict=True)]
        value, best = min((value, best), *here)
    return float(best)


class InformationCriterion:
    """Generalised cross-validation or Akaike's criterion.

    The mean squared error falls with lam. With k neurons whose activations are independent at
    least k degrees of freedom are taken from y: the fit follows y in the span of these. These jump
    at breakpoints.
    """

    is_continuous = False

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._of = gcv if name == "gcv" else aic
        self._v = path.problem.sample_weight
        n = len(path.problem.y) if self._v is None else np.count_nonzero(self._v)
        self._n = float(n)

    def __call__(self, lam: float) -> tuple[float, float]:
        solution = self._path(lam)
        sensitivity = differentiate(solution)
        residual = solution.residual
        error = self._mean(residual**2)
        d_error = -2 * self._mean(residual * sensitivity.d_fitted_d_lam)
        df, d_df = sensitivity.degrees_of_freedom, sensitivity.d_degrees_of_freedom_d_lam
        if not (df < self._n and error > 0):
            return inf, 0.0
        value, by_error, by_df = self._of(error, df, self._n)
        return value, by_error * d_error + by_df * d_df

    def lower_bound(self, low: float, high: float) -> float:
        residual = self._path._core.at(low)[3]
        k = int(self._path.n_active((low + high) / 2)[0])
        error = self._mean(residual**2)
        return self._of(error, k, self._n)[0] if k < self._n and error > 0 else -inf

    def _mean(self, values: NDArray[np.float64]) -> float:
        return float(np.average(values, weights=self._v))


def gcv(error: float, df: float, n: float) -> tuple[float, float, float]:
    """The value and its derivatives in the mean squared error and the degrees of freedom."""
    left = 1 - df / n
    return error / left**2, 1 / left**2, 2 * error / (n * left**3)


def aic(error: float, df: float, n: float) -> tuple[float, float, float]:
    """The same."""
    return n * log(error) + 2 * df, n / error, 2.0


class ValidationError:
    """Mean of (f(x) - y)^2 over given rows."""

    is_continuous = True

    def __init__(self, path: Path, X: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        self._path = path
        self._X = X
        self._y = y
        self._masks: NDArray[np.bool_] | None = None
        if path.problem.formulation == "gated":
            self._masks = patterns_from_gates(X, path.problem.patterns.gates).masks

    def __call__(self, lam: float) -> tuple[float, float]:
        blocks, weights, slopes, _ = self._path._core.at(float(lam))
        inner = self._X @ weights
        active = inner > 0 if self._masks is None else self._masks[:, blocks[:, 0]]
        signs = blocks[:, 1]
        residual = (active * inner) @ signs - self._y
        change = (active * (self._X @ slopes)) @ signs
        return float(np.mean(residual**2)), float(2 * np.mean(residual * change))

    def lower_bound(self, *_: float) -> float:
        return 0.0
