"""The convex training problem of a two-layer ReLU network over a set of activation patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate, losses
from convexrelu.losses import Loss
from convexrelu.patterns import Patterns


class Problem:
    """Minimise ``1/(2n) ||sum_b A_b w_b - y||^2 + lam sum_b ||w_b||_2`` over ``w_b`` in ``K_b``.

    Block b = (pattern i, sign s) has the columns ``A_b = s D_i X``, D_i the i-th pattern as a
    diagonal. With another loss l, an intercept and an offset o it is
    ``1/n sum_k l(f_k, y_k) + lam sum_b ||w_b||_2``, ``f = o + intercept + sum_b A_b w_b``.
    A problem is immutable, holds copies of its data and serves every ``lam``.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    y : (n,) array
        The targets, as the loss takes them.
    patterns : Patterns
        Patterns of n samples and d features. Any make a problem, those of other data too; it is
        complete only with those that were enumerated from this very X.
    formulation : "relu" or "gated"
        "relu" (C-ReLU): both signs, and ``w_b`` in the activation cone
        ``{u : (2 D_i - I) X u >= 0}``; the network is sum_j a_j (W_j . x)_+.
        "gated" (C-GReLU): one sign, no cones; gates are fixed:
        sum_j a_j 1[g_j . x >= 0] (W_j . x).
    sample_weight : (n,) array, optional
        Non-negative weights v. The loss becomes ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``; a row
        of weight 0 is left out, of the cones too, and what is fitted there is what the network
        predicts.
    loss : str or Loss
        "squared" ``(f - y)^2 / 2``; "logistic", y in [0, 1], labels or probabilities, f the
        log-odds; "poisson", y >= 0, f the logarithm of the expected count; "huber" (of delta 1, or
        ``losses.Huber(delta)``); "squared_hinge", y = -1 or +1. See `losses`.
    fit_intercept : bool
        Whether an unpenalised number is added to the fit. (A column of ones in X is penalised and
        masked, as every feature is.)
    offset : (n,) array, optional
        Added to the fit, known: log exposures, or the fit of another model.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong and what would be right. With an intercept "logistic"
        needs both classes and "poisson" a count above 0, or no intercept would be best.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> problem
    <Problem: relu, n=7, d=2, 14 patterns>
    >>> round(problem.lambda_max, 4)
    2.1759
    >>> Problem(X, x > 1, problem.patterns, loss="logistic", fit_intercept=True)
    <Problem: relu, logistic, n=7, d=2, 14 patterns, intercept>
    """

    __slots__ = ("_core", "_patterns")

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        patterns: Patterns,
        *,
        formulation: str = "relu",
        sample_weight: ArrayLike | None = None,
        loss: str | Loss = "squared",
        fit_intercept: bool = False,
        offset: ArrayLike | None = None,
    ) -> None:
        X = _validate.matrix(X, "X")
        y = _validate.vector(y, "y", size=X.shape[0])
        if not isinstance(patterns, Patterns):
            raise TypeError(f"patterns must be a Patterns, got {type(patterns).__name__}")
        for what, here, there in (
            ("samples", patterns.n_samples, X.shape[0]),
            ("features", patterns.n_features, X.shape[1]),
        ):
            if here != there:
                raise ValueError(f"patterns are of {here} {what}, but X has {there}")
        _validate.choice(formulation, "formulation", _validate.FORMULATIONS)
        weight = _validate.sample_weight(sample_weight, X.shape[0])
        self._core = _core.Problem(
            X,
            y,
            patterns._core,
            _core.Formulation.__members__[formulation],
            weight,
            losses._to_core(losses.as_loss(loss)),
            _validate.boolean(fit_intercept, "fit_intercept"),
            _validate.offset(offset, X.shape[0]),
        )
        self._patterns = patterns

    @classmethod
    def _from_core(cls, core: _core.Problem) -> Problem:
        problem = cls.__new__(cls)
        problem._core = core
        problem._patterns = Patterns(core.patterns)
        return problem

    @property
    def X(self) -> NDArray[np.float64]:
        """The data (n, d), read-only."""
        return self._core.X

    @property
    def y(self) -> NDArray[np.float64]:
        """The targets (n,), read-only."""
        return self._core.y

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights (n,), read-only, or None."""
        weight = self._core.sample_weight
        return weight if weight.size else None

    @property
    def patterns(self) -> Patterns:
        """The patterns."""
        return self._patterns

    @property
    def formulation(self) -> str:
        """Which of the two problems: "relu" or "gated"."""
        return self._core.formulation.name

    @property
    def loss(self) -> Loss:
        """The loss."""
        return losses._from_core(self._core.loss)

    @property
    def fit_intercept(self) -> bool:
        """Whether an unpenalised intercept is fitted."""
        return self._core.fit_intercept

    @property
    def offset(self) -> NDArray[np.float64] | None:
        """What is added to the fit (n,), read-only, or None."""
        offset = self._core.offset
        return offset if offset.size else None

    @property
    def n_blocks(self) -> int:
        """Number of blocks: P patterns with two signs ("relu") or one ("gated")."""
        return self._core.n_blocks

    @property
    def is_complete(self) -> bool:
        """Whether the patterns are all of the data: `enumerate_patterns` made them from this very
        X, to the last bit. With columns or rows in other units it is another X.
        """
        return self._core.is_complete

    @property
    def lambda_max(self) -> float:
        """The smallest lam whose optimum is zero, ``max_b ||Proj_{K_b}(A_b'y / n)||``; of other
        losses, with an intercept or an offset, that of -dl/df in the place of y, where the network
        is zero.

        Computed at the first access: O(n d P) and some projections.
        """
        return self._core.lambda_max()

    def __repr__(self) -> str:
        n, d = self.X.shape
        loss = "" if self.loss == losses.Squared() else f", {self.loss.name}"
        parts = (
            (self.sample_weight is not None, "weighted"),
            (self.fit_intercept, "intercept"),
            (self.offset is not None, "offset"),
        )
        rest = "".join(f", {word}" for given, word in parts if given)
        size = f"n={n}, d={d}, {len(self.patterns)} patterns"
        return f"<Problem: {self.formulation}{loss}, {size}{rest}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _restore,
            (
                self.X.copy(order="F"),
                self.y.copy(),
                self.patterns,
                self.formulation,
                None if self.sample_weight is None else self.sample_weight.copy(),
                self.loss,
                self.fit_intercept,
                None if self.offset is None else self.offset.copy(),
            ),
        )

    def __copy__(self) -> Problem:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Problem:
        return self


def _restore(
    X: ArrayLike,
    y: ArrayLike,
    patterns: Patterns,
    formulation: str,
    sample_weight: ArrayLike | None,
    loss: Loss | None = None,  # what files and pickles of earlier versions lack
    fit_intercept: bool | None = None,
    offset: ArrayLike | None = None,
) -> Problem:
    return Problem(
        X,
        y,
        patterns,
        formulation=formulation,
        sample_weight=sample_weight,
        loss=loss or "squared",
        fit_intercept=bool(fit_intercept),
        offset=offset,
    )
