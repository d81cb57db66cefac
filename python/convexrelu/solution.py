"""Solutions, and the certificate that any of them can be given."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu.problem import Problem


def _contradicts(bound: float, objective: float) -> bool:
    """Whether a lower bound exceeds the objective by more than rounding; as in solution.hpp."""
    return bound > objective * (1 + 1e-9) + sys.float_info.min


class Certificate(NamedTuple):
    """What `certify` found, recomputed from X, y and the weights alone.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, certify, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> certificate = certify(solve(problem, 0.1))
    >>> certificate.dual <= certificate.primal, certificate.gap < 1e-8
    (True, True)
    """

    primal: float
    """The objective, in the 1/(2n) scaling."""
    dual: float
    """A lower bound on the objective of every other choice of weights over the same patterns."""
    gap: float
    """``(primal - dual) / primal``; 0 where both are 0."""
    stationarity: float
    """The largest violation of the optimality conditions: over active blocks
    ``||q_b / lam - w_b / ||w_b||||``, over the others ``(||q_b|| / lam - 1)_+``, with q_b at the
    better dual candidate r, and ``||r - (y - fitted)|| / ||y||``; of other losses, with an
    intercept or an offset, what `Solution.residual` is, and its size where the network is zero."""
    cone_violation: float
    """The largest ``-(2 D_i - I) x_k . w_b / (||x_k|| ||w_b||)``, at least 0; 0 if gated."""


class Solution:
    """The weights of a convex problem at one lam, with what is proven of them.

    Made by `solve` and `solve_global`; immutable. ``status`` says how the solver ended: "optimal"
    (``gap``, of `solve_global` ``global_gap``, is within the tolerance), "max_iter", "time_limit",
    "callback" (stopped early), "stalled" (no further progress in float64), "unproven" (nothing
    violated was found over all patterns, which is no proof), "pruned" (`prune` left fewer neurons
    than an optimum needs) or "numerical_failure" (the data exceed the range of float64; or a lower
    bound exceeds the objective, so that nothing is proven). In every case ``objective``,
    ``lower_bound`` and ``gap`` are those of the weights here.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> solution = solve(problem, 0.1)
    >>> solution.status, round(solution.objective, 6), solution.gap < 1e-8
    ('optimal', 0.190977, True)
    >>> solution.active_set.tolist()  # pattern, sign
    [[3, 1], [11, 1]]
    >>> solution.predict([[5.0, 1.0], [-5.0, 1.0]]).round(3)
    array([4.645, 4.645])
    """

    __slots__ = ("_core", "_problem")

    def __init__(self, core: _core.Solution, problem: Problem) -> None:
        self._core = core
        self._problem = problem

    @property
    def problem(self) -> Problem:
        """The problem solved."""
        return self._problem

    @property
    def lam(self) -> float:
        """The regularisation strength, in the 1/(2n) scaling."""
        return self._core.lam

    @property
    def status(self) -> str:
        """How the solver ended."""
        return self._core.status.name

    @property
    def objective(self) -> float:
        """``1/(2n) ||fitted - y||^2 + lam sum_b ||w_b||``; of another loss l
        ``1/n sum_k l(fitted_k, y_k)`` and the same penalty.
        """
        return self._core.objective

    @property
    def lower_bound(self) -> float:
        """A certified lower bound on the optimum over the patterns of the problem."""
        return self._core.lower_bound

    @property
    def gap(self) -> float:
        """``(objective - lower_bound) / objective``; 0 where both are 0."""
        return self._core.gap

    @property
    def n_iter(self) -> int:
        """Number of factorisations."""
        return self._core.n_iter

    @property
    def active_set(self) -> NDArray[np.int64]:
        """The blocks with non-zero weights (k, 2): index of the pattern, sign."""
        return self._core.active_set

    @property
    def weights(self) -> NDArray[np.float64]:
        """Their weights (k, d), read-only."""
        weights: NDArray[np.float64] = self._core.weights.T
        return weights

    @property
    def intercept(self) -> float:
        """The unpenalised intercept; 0 of a problem without one."""
        return self._core.intercept

    @property
    def fitted(self) -> NDArray[np.float64]:
        """Fitted values sum_b A_b w_b (n,), with the intercept and the offset, read-only; on rows
        of weight 0 too they are what the network predicts. Those of "logistic" are log-odds, those
        of "poisson" logarithms of counts.
        """
        return self._core.fitted

    @property
    def residual(self) -> NDArray[np.float64]:
        """y - fitted (n,), read-only. Of another loss -dl/df, which takes its place everywhere: the
        label less its probability, the count less its expectation, y - fitted cut to +-delta.
        """
        return self._core.residual

    @property
    def dual(self) -> NDArray[np.float64]:
        """The solver's dual point (n,), read-only: the residual, to more digits than y - fitted has
        where lam is small.
        """
        return self._core.dual

    @property
    def global_lower_bound(self) -> float:
        """A certified lower bound over all patterns, so on every relu network of any width: that of
        `solve_global`, or `lower_bound` where the problem has all patterns; else nan.
        """
        over_all = self.problem.is_complete and self.problem.formulation == "relu"
        bound = self.lower_bound if over_all else self._core.global_lower_bound
        return proven(bound, self.objective)

    @property
    def global_gap(self) -> float:
        """``(objective - global_lower_bound) / objective``; nan where nothing is proven."""
        return relative_gap(self.objective, self.global_lower_bound)

    @property
    def is_global(self) -> bool:
        """Whether the objective is proven optimal over all patterns, to the tolerance asked for."""
        return self.status == "optimal" and not np.isnan(self.global_lower_bound)

    def predict(self, X: ArrayLike, *, n_threads: int = 1) -> NDArray[np.float64]:
        """The outputs (m,) for rows X (m, d) of the network that the solution means, with its
        intercept; of "logistic" log-odds, of "poisson" logarithms of counts.

        ``to_network(solution).predict(X)``; on the rows of the problem it is `fitted`, less the
        offset.

        Raises
        ------
        ValueError
            Where X does not fit, or the solution is gated and no network has its fit.
        """
        X = _validate.matrix(X, "X", n_cols=self.problem.X.shape[1])
        return _core.to_network(self._core).predict(X, _validate.n_threads(n_threads))

    def _repr_html_(self) -> str:
        from convexrelu.report.pieces import of_solution

        return of_solution(self)

    def __repr__(self) -> str:
        return (
            f"<Solution: {self.status}, lam={self.lam:.6g}, objective={self.objective:.10g}, "
            f"gap={self.gap:.1e}, {len(self.active_set)} of {self.problem.n_blocks} blocks active>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _restore,
            (
                self.problem,
                self.lam,
                self.status,
                self.active_set,
                np.array(self.weights.T, order="F"),
                self.dual.copy(),
                self.n_iter,
                self.global_lower_bound,
                self.intercept,
            ),
        )

    def __copy__(self) -> Solution:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Solution:
        return self


def proven(bound: float, objective: float) -> float:
    """A lower bound, cut to the objective where rounding lifted it above; nan where it is nan or
    contradicts the objective.
    """
    return (
        math.nan if math.isnan(bound) or _contradicts(bound, objective) else min(bound, objective)
    )


def relative_gap(objective: float, bound: float) -> float:
    """The share of the objective that a bound leaves open, not below 0; nan without a bound, 1
    where it contradicts the objective.
    """
    if np.isnan(bound) or not objective:
        return 0.0 * bound
    if not objective < np.inf or _contradicts(bound, objective):
        return 1.0
    return max(0.0, (objective - bound) / objective)


def _restore(
    problem: Problem,
    lam: float,
    status: str,
    active_set: NDArray[np.int64],
    weights: NDArray[np.float64],
    dual: NDArray[np.float64],
    n_iter: int,
    global_lower_bound: float,
    intercept: float = 0.0,
) -> Solution:
    """A solution from its parts, certified anew. weights (d, k)."""
    core = _core.make_solution(
        problem._core,
        lam,
        _core.Status.__members__[status],
        active_set,
        weights,
        dual,
        n_iter,
        global_lower_bound,
        intercept,
    )
    return Solution(core, problem)


def certify(solution: Solution, *, n_threads: int = 1) -> Certificate:
    """Checks a solution without trusting how it was made.

    Everything is recomputed from X, y, lam and the weights. ``solution.dual`` and
    ``solution.residual``, recomputed, are candidates for the dual point; each is put into the
    domain of the loss's conjugate, balanced where there is an intercept, scaled until it is
    feasible for all blocks, and the better bound is reported.

    Parameters
    ----------
    solution : Solution
    n_threads : int
        Does not change the result.

    Returns
    -------
    Certificate
        ``.primal .dual .gap .stationarity .cone_violation``

    Notes
    -----
    Cost: O(n d P) and a projection for every block whose correlation exceeds lam.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, certify, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> certify(solve(problem, 0.1)).gap < 1e-8
    True
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
    n_threads = _validate.n_threads(n_threads)
    return Certificate(*_core.certify(solution._core, n_threads))
