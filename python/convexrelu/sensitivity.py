"""How an optimum moves with lam, y and X."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu.solution import Solution

Array = NDArray[np.float64]


class Gradient(NamedTuple):
    """The derivatives of one number with respect to everything a solution depends on.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, differentiate, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> sensitivity = differentiate(solve(problem, 0.1))
    >>> gradient = sensitivity.d_objective
    >>> round(gradient.lam, 4), gradient.y.shape, gradient.X.shape
    (1.83, (7,), (7, 2))
    """

    lam: float
    y: Array
    """(n,)"""
    X: Array
    """(n, d), with the patterns as they are; nan where not differentiable in X."""


class PredictionSensitivity(NamedTuple):
    """Derivatives of predictions at m new rows; nan for rows on a kink that moves.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, differentiate, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> sensitivity = differentiate(solve(problem, 0.1))
    >>> sensitivity.predictions([[5.0, 1.0]]).d_lam.round(4)
    array([-3.2487])
    """

    d_lam: Array
    """(m,)"""
    d_y: Array
    """(m, n)"""


class Sensitivity:
    """The derivatives of an optimum. Made by `differentiate`; immutable.

    With the patterns as they are the weights w_b = alpha_b q_b of a unique optimum are a smooth
    function of lam, y and X as long as the same neurons are active and their kinks stay on the same
    samples; the derivatives come from the linear system of the optimality conditions. Neurons that
    two neighbouring patterns share are one neuron here.

    Where the optimum is no such function, ``differentiable`` is False, ``why`` says what stands
    in the way, and what does not exist is nan: a tie (a block that is about to become active), a
    zero multiplier (a neuron about to move its kink off a sample) or dependent activations (the
    optimum is not unique). The objective always has its derivatives in lam and y, the fit that in
    lam where both sides agree and that in y where ``fit_differentiable``; `one_sided` gives the
    derivatives from either.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, differentiate, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> sensitivity = differentiate(solve(problem, 0.1))
    >>> sensitivity
    <Sensitivity: lam=0.1, differentiable>
    >>> round(sensitivity.degrees_of_freedom, 4), sensitivity.jvp(d_lam=1.0).shape
    (3.0879, (2, 2))
    """

    def __init__(
        self, core: _core.Sensitivity | None, solution: Solution, side: str | None = None
    ) -> None:
        self._solution = solution
        self._side = side
        if core is not None:
            self._core = core

    @cached_property
    def _core(self) -> _core.Sensitivity:
        """The system of the derivatives, which a pickle leaves out and the first question finds."""
        core = _core.Sensitivity(self._solution._core)
        return core if self._side is None else core.one_sided(self._side == "above")

    @property
    def solution(self) -> Solution:
        """What the derivatives are of: the solution given, or a more accurate one of its problem
        where it was not accurate to 1e-9.
        """
        return self._solution

    @cached_property
    def differentiable(self) -> bool:
        """Whether the weights are differentiable in lam and y."""
        return self._core.differentiable

    @cached_property
    def differentiable_in_X(self) -> bool:
        """Whether they are in X too: not where a kink lies on samples whose rows are parallel or
        dependent, because these would have to move together, and not where a row is zero (relu).
        """
        return self._core.differentiable_in_X

    @cached_property
    def fit_differentiable(self) -> bool:
        """Whether the fit is differentiable in lam and y: wherever the weights are, and at optima
        that are not unique, where one of them decides how the fit moves, whatever y does.
        """
        return self._core.fit_differentiable

    @cached_property
    def why(self) -> str:
        """What stands in the way of derivatives; empty where nothing does."""
        return self._core.why

    @cached_property
    def active_set(self) -> NDArray[np.int64]:
        """The blocks (k, 2) whose weights are differentiated: ``solution.active_set``; from one
        side, the blocks that are active there.
        """
        return self._core.active_set

    @cached_property
    def weights(self) -> Array:
        """Their weights (k, d), read-only: ``solution.weights``, or what they tend to from the
        side.
        """
        weights: Array = self._core.weights.T
        return weights

    @cached_property
    def d_lam(self) -> Array:
        """Derivatives of the weights with respect to lam (k, d), in the order of ``active_set``."""
        d_lam: Array = self._core.d_lam().T
        return d_lam

    @cached_property
    def d_fitted_d_lam(self) -> Array:
        """Derivatives of the fitted values with respect to lam (n,).

        A row of weight 0 on the kink of a neuron that moves has one on either side (`one_sided`);
        otherwise it is nan.
        """
        return self._core.d_fitted_d_lam()

    @cached_property
    def d_fitted_d_y(self) -> Array:
        """Derivatives (n, n) of the fitted values (rows) with respect to y (columns).
        O(n^3).

        nan unless ``fit_differentiable``, and in rows of weight 0 on the kink of a neuron that
        moves.
        """
        return self._core.d_fitted_d_y()

    @property
    def degrees_of_freedom(self) -> float:
        """The trace of ``d_fitted_d_y``: how many independent numbers the fit takes from y (Stein
        1981). O(n^3).
        """
        return self._freedom[0]

    @property
    def d_degrees_of_freedom_d_lam(self) -> float:
        """The derivative of ``degrees_of_freedom`` with respect to lam."""
        return self._freedom[1]

    @cached_property
    def _freedom(self) -> tuple[float, float]:
        return self._core.degrees_of_freedom()

    @cached_property
    def d_objective(self) -> Gradient:
        """Derivatives of the objective, in the 1/(2n) scaling: ``sum_b ||w_b||`` in lam."""
        return Gradient(*self._core.d_objective())

    def jvp(
        self, *, d_lam: float = 0.0, d_y: ArrayLike | None = None, d_X: ArrayLike | None = None
    ) -> Array:
        """The change of the weights (k, d) for a change of lam, y (n,) and X (n, d).

        The derivative in the direction given; one solve with a matrix factored already. The
        patterns stay as they are.
        """
        n, d = self.solution.problem.X.shape
        d_lam = _validate.number(d_lam, "d_lam")
        y = np.empty(0) if d_y is None else _validate.vector(d_y, "d_y", size=n)
        X = np.empty((0, 0)) if d_X is None else _validate.matrix(d_X, "d_X", n_cols=d)
        if d_X is not None and len(X) != n:
            raise ValueError(f"d_X must have {n} rows, got {len(X)}")
        motion: Array = self._core.jvp(d_lam, y, X).T
        return motion

    def vjp(self, grad_weights: ArrayLike) -> Gradient:
        """The derivatives of a number whose gradient with respect to the weights (k, d) is given.

        The transpose of `jvp`; one solve gives all of lam, y and X.
        """
        k, d = self.weights.shape
        grad = _validate.matrix(grad_weights, "grad_weights", n_cols=d, min_rows=0)
        if len(grad) != k:
            raise ValueError(
                f"grad_weights must have a row per active block ({k}), got {len(grad)}"
            )
        return Gradient(*self._core.vjp(grad.T))

    def predictions(self, X: ArrayLike) -> PredictionSensitivity:
        """Derivatives of ``to_network(solution).predict(X)`` in lam (m,) and in y (m, n).

        A solve per row of X (m, d). Rows on the kink of a neuron that turns have none: nan.
        """
        X = _validate.matrix(X, "X", n_cols=self.solution.problem.X.shape[1])
        return PredictionSensitivity(*self._core.predictions(X))

    def one_sided(self, side: str) -> Sensitivity:
        """The limits of the derivatives from one side of lam.

        Parameters
        ----------
        side : {"below", "above"}
            Where lam comes from.

        Returns
        -------
        Sensitivity
            Of the same lam. Its ``active_set`` and ``weights`` are the limits too: a block about to
            enter has zero weights, and a neuron whose kink is about to leave a sample is in the
            block that it goes to. ``differentiable`` is True where the derivatives exist on that
            side; where ties persist there or the optimum is not unique, those in y and X are nan,
            and in lam those that not all optima share. Where this object is ``differentiable``, the
            same derivatives.
        """
        side = _validate.choice(side, "side", ("below", "above"))
        return Sensitivity(self._core.one_sided(side == "above"), self.solution, side)

    def __repr__(self) -> str:
        where = "" if self._side is None else f" from {self._side}"
        state = "differentiable" if self.differentiable else f"not differentiable: {self.why}"
        return f"<Sensitivity: lam={self.solution.lam:.6g}{where}, {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        for name in _CARRIED:
            getattr(self, name)
        known = {name: value for name, value in vars(self).items() if name != "_core"}
        return _restore, (self._solution, self._side), known

    def __setstate__(self, known: dict[str, Any]) -> None:
        vars(self).update(known)


# What a pickle carries whether it was asked for or not; with what was, it answers at once.
_CARRIED = (
    "differentiable",
    "differentiable_in_X",
    "fit_differentiable",
    "why",
    "active_set",
    "weights",
)


def _restore(solution: Solution, side: str | None) -> Sensitivity:
    return Sensitivity(None, solution, side)


def differentiate(solution: Solution) -> Sensitivity:
    """The derivatives of an optimum with respect to lam, y and X.

    Parameters
    ----------
    solution : Solution
        An optimum of the problem over its own patterns. Where its certificate leaves more than
        1e-9 of stationarity it is solved further first.

    Returns
    -------
    Sensitivity
        Whether the weights are differentiable, and if so, everything that moves with them.

    Raises
    ------
    AccuracyError
        Where 1e-9 cannot be reached, naming what was. From what it returns: where the linear system
        cannot be solved to 1e-8, naming the residual that was attained.
    ValueError
        For a solution pruned below the minimum.

    Notes
    -----
    Mishkin & Pilanci (2023, section 3) give the derivatives of minimal solutions, with the
    objective ``1/2 ||.||^2 + lambda sum_b ||w_b||``: their lambda is n times the one here.

    Cost: one scan of the patterns (2 n d P), and the factorisation of a matrix of the order
    min(n, free dimensions of the active blocks).

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, differentiate, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> sensitivity = differentiate(solve(problem, 0.1))
    >>> sensitivity.differentiable, sensitivity.d_lam.round(3).tolist()
    (True, [[0.787, 0.685], [-0.787, 0.685]])
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
    core = _core.Sensitivity(solution._core)
    return Sensitivity(core, Solution(core.solution, solution.problem))
