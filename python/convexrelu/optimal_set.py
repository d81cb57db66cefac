"""The set of all optima at one lam: a polytope that can be asked things."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu.network import Network, to_network
from convexrelu.problem import Problem
from convexrelu.solution import Solution

Array = NDArray[np.float64]


class CriticalWidths(NamedTuple):
    """At which widths the set of optimal networks changes its shape (Kim, Mishkin & Pilanci
    2025).

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, find_optimal_set, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> optima = find_optimal_set(solve(problem, 0.1))
    >>> optima.critical_widths()
    CriticalWidths(smallest=2, largest=2, connected=4)
    """

    smallest: int
    """m*: the fewest neurons of any optimal network. With m* neurons there are finitely many."""
    largest: int
    """M*: the most neurons of an optimal network that cannot be pruned, a vertex."""
    connected: int
    """``min(m* + M*, n + 1)``: from this width on the set of optimal networks is connected."""


class OptimalSet:
    """All optima of a convex problem at one lam (Mishkin & Pilanci 2023, Corollary 4.1).

    The optima are ``w_b = alpha_b q_b`` with ``alpha`` in the polytope
    ``{alpha >= 0 : Q alpha = fitted}``, where b runs over the k distinct neurons (q_b, sign) of the
    equicorrelation set ``||q_b|| = lam``. Points are ``alpha`` (k,) in the order of `blocks`; the
    norm of a neuron is ``||w_b|| = alpha_b lam``. Neighbouring patterns share neurons on their
    common boundary: each is counted once here, and `merged` lists its blocks.

    Made by `find_optimal_set`; immutable. The set is that of the patterns of ``problem``;
    ``is_complete`` says whether no other pattern of the data can be active. Data that are tied to
    within rounding are treated as tied, and `tie_error` says so. Every point that is returned has
    been checked: its entries are not negative and it fits to 1e-8 of ``||y||``; where near ties do
    not allow that, the call raises AccuracyError and names them.

    Examples
    --------
    The parity of three bits, with a bias:

    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, find_optimal_set, solve
    >>> X = np.array([[a, b, c, 1.0] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    >>> problem = Problem(X, X.prod(axis=1), enumerate_patterns(X))
    >>> optima = find_optimal_set(solve(problem, 0.02))
    >>> optima.dimension, len(optima.blocks), optima.is_complete
    (8, 16, True)
    >>> optima.vertices().shape, int((optima.smallest() > 0).sum())
    ((130, 16), 4)
    >>> low, high = optima.prediction_range([[2.0, 2.0, 2.0, 1.0]])
    >>> bool(low[0] < high[0])
    True
    """

    __slots__ = ("_core", "_is_complete", "_problem", "_tol")

    def __init__(
        self, core: _core.OptimalSet, problem: Problem, tol: float, is_complete: bool
    ) -> None:
        self._core = core
        self._problem = problem
        self._tol = tol
        self._is_complete = is_complete

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self._problem

    @property
    def lam(self) -> float:
        """The regularisation strength, in the 1/(2n) scaling."""
        return self._core.lam

    @property
    def objective(self) -> float:
        """The objective of every point, ``1/(2n) ||fitted - y||^2 + lam sum_b ||w_b||``."""
        return self._core.solution.objective

    @property
    def fitted(self) -> Array:
        """The fitted values (n,) of every point, read-only."""
        return self._core.solution.fitted

    @property
    def blocks(self) -> NDArray[np.int64]:
        """One block (pattern, sign) for each distinct neuron (k, 2)."""
        return self._core.blocks

    @property
    def merged(self) -> list[NDArray[np.int64]]:
        """For each neuron all of its blocks (j, 2), j >= 1; the first is the one in `blocks`."""
        return self._core.merged

    @property
    def directions(self) -> Array:
        """The vectors q_b (k, d), of length lam, read-only."""
        return np.transpose(self._core.directions)

    @property
    def Q(self) -> Array:
        """The activations A_b q_b, one a column (n, k)."""
        return self._core.Q

    @property
    def dimension(self) -> int:
        """The dimension of the polytope."""
        return self._core.dimension

    @property
    def is_unique(self) -> bool:
        """Whether the convex problem has one optimum: the polytope is a point, and no active neuron
        has several blocks between which its weight could be divided.
        """
        return self._core.is_unique

    @property
    def is_p_unique(self) -> bool:
        """Whether there is one optimal network, up to permutation and splitting of its neurons: the
        polytope is a point (Mishkin & Pilanci 2023, Proposition 4.3).
        """
        return self._core.is_p_unique

    @property
    def is_complete(self) -> bool:
        """Whether these are the optima over all activation patterns of the data, so all optimal
        networks: the problem's patterns are enumerated, or ``all_patterns`` was asked for.
        """
        return self._is_complete

    @property
    def tie_error(self) -> float:
        """How far the data are from a problem whose optimal set is exactly this one.

        Ties are often broken by rounding, of a table printed with nine decimals or of float32.
        Neurons that are optimal to within ``tol``, directions that differ by such rounding and
        activations that depend on each other up to it are taken for tied where every point then
        still fits to 1e-8. This is the largest of the misses of ``||q_b|| = lam`` and of the
        distances between directions that were merged, both relative to lam, and of the misfits
        ``||Q alpha - fitted||`` relative to ``||y||`` at the vertices that were met; some 1e-12 and
        less is rounding of float64, so exact.
        """
        return self._core.tie_error

    @property
    def support(self) -> NDArray[np.bool_]:
        """Which neurons are active in some optimum (k,)."""
        return self._mask(self._core.support)

    @property
    def necessary(self) -> NDArray[np.bool_]:
        """Which neurons are active in every optimum (k,)."""
        return self._mask(self._core.necessary)

    def _mask(self, indices: list[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.blocks), dtype=bool)
        mask[indices] = True
        return mask

    def norm_bounds(self) -> tuple[Array, Array]:
        """The least and the largest norm ``||w_b||`` of each neuron over all optima: (k,) and (k,).

        Two linear programs for each neuron of the support, from vertex to vertex.
        """
        return self._core.norm_bounds()

    def minimize(self, cost: ArrayLike) -> Array:
        """A point (k,), a vertex, that minimises ``cost @ alpha``; cost (k,)."""
        return self._core.minimize(self._vector(cost, "cost"))

    def min_norm(self) -> Array:
        """The one point (k,) of least ``||alpha||_2``."""
        return self._core.min_norm()

    def best_for(self, X_val: ArrayLike, y_val: ArrayLike) -> Array:
        """A point (k,) whose predictions of y_val (m,) at X_val (m, d) have the least squared
        error.

        A convex quadratic program over the polytope. Where several points predict the same, it
        is one of them.
        """
        X_val = _validate.matrix(X_val, "X_val", n_cols=self.problem.X.shape[1])
        y_val = _validate.vector(y_val, "y_val", size=len(X_val), like="X_val has rows")
        return self._core.best_for(self._core.outputs(X_val), y_val)

    def smallest(self, *, time_limit: float | None = None) -> Array:
        """A point (k,), a vertex, with the fewest neurons, proven.

        Where there are a few thousand vertices or less they are looked at, one by one; where there
        are more, branch and bound over linear programs finds and proves it, in the worst case in
        a time that is exponential in the dimension.

        Raises
        ------
        LimitExceeded
            Where the time limit (seconds) ends the work before the proof; the message says how many
            are enough and how many are needed at least.
        """
        return self._core.smallest(_validate.time_limit(time_limit))

    def vertices(self, max_vertices: int = 100_000) -> Array:
        """All vertices (v, k): the optima that cannot be pruned, whose activations are independent.

        Raises
        ------
        LimitExceeded
            Where there are more than max_vertices; the list is never short.
        """
        return self._core.vertices(_validate.integer(max_vertices, "max_vertices", low=1))

    def sample(self, size: int, rng: _validate.Seed = None) -> Array:
        """Points (size, k), uniform on the polytope in its affine hull (hit-and-run).

        Consecutive points are some ``dimension ** 2`` steps apart, with directions that are uniform
        after the covariance of a first run has been made the identity. rng: None, a seed or a
        Generator.
        """
        size = _validate.integer(size, "size")
        return self._core.sample(size, int(_validate.rng(rng).integers(2**63)))

    def critical_widths(self, max_vertices: int = 100_000) -> CriticalWidths:
        """The widths at which the set of optimal networks becomes non-empty and connected.

        From all vertices; `smallest` alone needs no list of them.

        Raises
        ------
        LimitExceeded
            Where there are more than max_vertices.
        """
        sizes = (self.vertices(max_vertices) > 0).sum(axis=1)
        smallest, largest = int(sizes.min()), int(sizes.max())
        connected = min(smallest + largest, len(self.problem.y) + 1)
        return CriticalWidths(smallest, largest, connected)

    def prediction_range(self, X: ArrayLike) -> tuple[Array, Array]:
        """The least and the largest prediction at rows X (m, d) over all optimal networks:
        (m,), (m,).

        Two linear programs for each row, each from the vertex at which the last one ended.
        """
        X = _validate.matrix(X, "X", n_cols=self.problem.X.shape[1])
        return self._core.prediction_range(X)

    def agreement(self, X: ArrayLike) -> float:
        """The share of rows X (m, d) at which all optimal networks predict the same class, the
        sign of their output.
        """
        low, high = self.prediction_range(X)
        return float(np.mean(np.sign(low) == np.sign(high)))

    def solution(self, alpha: ArrayLike) -> Solution:
        """The optimum at a point alpha (k,), with the bound of the set.

        Raises
        ------
        ValueError
            Where alpha is not in the set: negative, or its fit is off by more than 1e-8 of
            ``||y||``.
        """
        alpha = self._vector(alpha, "alpha")
        return Solution(self._core.solution_at(alpha), self.problem)

    def network(self, alpha: ArrayLike) -> Network:
        """The optimal network at a point alpha (k,): ``W_b = sqrt(alpha_b / lam) q_b``,
        ``a_b = s sqrt(alpha_b lam)``, one neuron for each positive entry.
        """
        return to_network(self.solution(alpha))

    def contains(self, solution: Solution) -> bool:
        """Whether a solution on the same data is one of the set.

        It must have the lam of the set, and weights that are multiples of directions of the set
        with its fit, both to 1e-7. Its patterns may be others, as long as its neurons are
        these.
        """
        if not isinstance(solution, Solution):
            raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
        return self._core.contains(solution._core, 1e-7)

    def nearest(self, solution: Solution) -> tuple[Array, float]:
        """The point (k,) nearest to a solution that need not be optimal, and its distance.

        Each weight is taken for a multiple of the neuron that is closest to it, and the point of
        the set with the least ``||alpha - multiples||`` is sought. The distance is that of the
        weights, relative to the sum of their norms.
        """
        if not isinstance(solution, Solution):
            raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
        here, there = self.problem, solution.problem
        if (there.formulation, there.X.shape) != (here.formulation, here.X.shape):
            raise ValueError(
                f"solution must be of a {here.formulation} problem with X {here.X.shape}, got one "
                f"of a {there.formulation} problem with X {there.X.shape}"
            )
        return self._core.nearest(solution._core)

    def _vector(self, value: Any, name: str) -> Array:
        return _validate.vector(value, name, size=len(self.blocks), like="there are blocks")

    def _repr_html_(self) -> str:
        from convexrelu.report.pieces import of_optimal_set

        return of_optimal_set(self)

    def __repr__(self) -> str:
        k, active = len(self.blocks), int(self.support.sum())
        complete = "" if self.is_complete else " of these patterns"
        return (
            f"<OptimalSet{complete}: dimension {self.dimension}, {active} of {k} neurons can be "
            f"active, {len(self._core.necessary)} must be, lam={self.lam:.6g}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        solution = Solution(self._core.solution, self.problem)
        return _restore, (solution, self._tol, self._is_complete)

    def __copy__(self) -> OptimalSet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimalSet:
        return self


def find_optimal_set(
    solution: Solution,
    *,
    all_patterns: bool = False,
    time_limit: float | None = None,
    tol: float = 1e-9,
) -> OptimalSet:
    """The set of all optima of the problem and lam of a solution.

    Parameters
    ----------
    solution : Solution
        One optimum. Where it is not accurate enough it is solved further first.
    all_patterns : bool
        Whether to find the optima over all activation patterns of the data, of which the problem
        may hold any part: `solve_global` returns the few that it needed, sampling whatever it
        drew. Branch and bound lists all patterns that are violated or can be active; those that the
        problem lacks join it, and where the solution is not optimal over all of them it is solved
        further. The ``problem`` of the set has them all. Within reach for few features, as the
        proof of `solve_global` is.
    time_limit : float, optional
        Seconds of wall clock.
    tol : float
        Blocks with ``||q_b|| >= lam (1 - tol)`` are in the equicorrelation set, and the
        solution's dual point has to satisfy the optimality conditions to tol.

    Returns
    -------
    OptimalSet

    Raises
    ------
    AccuracyError
        Where the solution cannot be made accurate enough, naming what was attained, and where the
        data have near ties that float64 cannot tell from what is real.
    ValueError
        With all_patterns, for a gated problem and where X has a rank above 20.
    LimitExceeded
        At the time limit; no part of the set is returned.

    Notes
    -----
    Cost: one scan of all blocks, 2 n d P and a projection for each with ``||c_b|| >= lam``; a
    QR of the k activations and some k small linear programs.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, find_optimal_set, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> optima = find_optimal_set(solve(problem, 0.1))
    >>> optima
    <OptimalSet: dimension 0, 2 of 2 neurons can be active, 2 must be, lam=0.1>
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
    tol = _validate.tol(tol)
    all_patterns = _validate.boolean(all_patterns, "all_patterns")
    if all_patterns and solution.problem.formulation == "gated":
        raise ValueError(
            "all_patterns must be False for a gated problem: its neurons have the gates given"
        )
    limit = _validate.time_limit(time_limit)
    core = _core.find_optimal_set(solution._core, tol, all_patterns, 1, limit)
    is_same = len(core.problem.patterns) == len(solution.problem.patterns)
    problem = solution.problem if is_same else Problem._from_core(core.problem)
    return OptimalSet(core, problem, tol, core.is_complete)


def _restore(solution: Solution, tol: float, is_complete: bool) -> OptimalSet:
    """The set of an accurate solution whose problem has all blocks of the set: nothing is solved,
    and no other pattern is looked for.
    """
    core = _core.find_optimal_set(solution._core, tol, False, 1, None)
    return OptimalSet(core, solution.problem, tol, is_complete)
