"""The regularisation path: the optimum as a function of lam, exactly, with every breakpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu._path_parts import PathParts, core_path, parts_of
from convexrelu.optimal_set import find_optimal_set
from convexrelu.problem import Problem
from convexrelu.solution import Solution


class Event(NamedTuple):
    """What changes at a breakpoint.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> path = trace_path(problem, 0.01)
    >>> [(event.kind, round(event.lam, 4), event.pattern, event.sign) for event in path.events]
    [('enter', 2.1759, 3, 1), ('enter', 2.1759, 11, 1)]
    """

    kind: str
    """"enter", "leave": a block of the active set. "bind", "release": a sample comes to lie on the
    kink of an active neuron, or ceases to. "restart": what lies beyond was found by solving there
    anew."""
    lam: float
    pattern: int
    """The block: its pattern, -1 for a restart,"""
    sign: int
    """and its sign."""
    sample: int
    """The sample, the first of those with the same hyperplane; -1 for the other kinds."""


class Coefficients(NamedTuple):
    """The weights at several lam, as one array.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> path = trace_path(problem, 0.01)
    >>> blocks, weights = path.coefficients([2.5, 1.0, 0.1])
    >>> blocks.tolist(), weights.shape
    ([[3, 1], [11, 1]], (3, 2, 2))
    """

    blocks: NDArray[np.int64]
    """(k, 2): pattern and sign of every block that is active at one of them."""
    weights: NDArray[np.float64]
    """(len(lams), k, d)."""


class Continuity(NamedTuple):
    """What `Path.continuity` found.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> path = trace_path(problem, 0.01)
    >>> path.continuity().is_continuous
    True
    """

    intervals: NDArray[np.float64]
    """(m, 2): the ranges of lam, from larger to smaller, in which the optimum is not unique."""
    dimensions: NDArray[np.int64]
    """(m,): the dimension of the optimal set there."""
    jumps: NDArray[np.float64]
    """(j,): the lams at which the network of the path jumps."""

    @property
    def is_continuous(self) -> bool:
        """Whether the network of the path never jumps."""
        return len(self.jumps) == 0


class Path:
    """The optimum for every lam between ``lam_max`` and ``lam_min``, by `trace_path`; immutable.

    Between breakpoints the path is a polynomial in 1/lam, so it can be evaluated anywhere without
    solving anything. ``path(lam)`` is a `Solution`, certified like any other; where the optimal set
    is not a point, it is a vertex of it.

    ``status`` says how tracing ended: "optimal" (it reached ``lam_min`` and the gap at the end of
    every segment is within the tolerance), "max_iter" (``max_segments``), "time_limit", "callback"
    (stopped early), "stalled" (no way on in float64, or a gap beyond the tolerance),
    "out_of_memory" or "numerical_failure" (the data exceed the range of float64). What was traced
    is there in all cases.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> path = trace_path(problem, 0.01)
    >>> path
    <Path: relu, lam 2.176 to 0.01, optimal, 1 breakpoints>
    >>> path(0.1).status, path.n_active([2.0, 0.1]).tolist()
    ('optimal', [2, 2])
    >>> path.predict([[5.0, 1.0]], [1.0, 0.1]).round(1)
    array([[2.5],
           [4.6]])
    """

    __slots__ = ("_core", "_events", "_problem")

    def __init__(self, core: _core.Path, problem: Problem) -> None:
        self._core = core
        self._problem = problem
        self._events: tuple[Event, ...] | None = None

    @property
    def problem(self) -> Problem:
        """The problem whose path it is."""
        return self._problem

    @property
    def lam_max(self) -> float:
        """Where it begins: at ``problem.lambda_max`` unless it was given a start."""
        return self._core.lam_max

    @property
    def lam_min(self) -> float:
        """Where it ends: as asked for, unless it was stopped early."""
        return self._core.lam_min

    @property
    def tol(self) -> float:
        """The relative gap within which a point is called optimal."""
        return self._core.tol

    @property
    def status(self) -> str:
        """How tracing ended."""
        return self._core.status.name

    @property
    def events(self) -> tuple[Event, ...]:
        """What changes where, in the order of decreasing lam."""
        if self._events is None:
            self._events = tuple(Event(*event) for event in self._core.events)
        return self._events

    @property
    def breakpoints(self) -> NDArray[np.float64]:
        """The distinct lam of the events, decreasing (m,)."""
        lams = {event.lam for event in self.events if event.kind != "restart"}
        return np.array(sorted(lams, reverse=True))

    @property
    def n_restarts(self) -> int:
        """How often the active set ahead was found by solving anew: a last resort, at ties."""
        return sum(event.kind == "restart" for event in self.events)

    @property
    def n_segments(self) -> int:
        """Number of polynomials."""
        return self._core.n_segments

    @property
    def n_factorisations(self) -> int:
        """Number of factorisations that tracing took, those of restarts apart."""
        return self._core.n_factorisations

    @property
    def segment_ends(self) -> NDArray[np.float64]:
        """The lam at which each segment ends, decreasing (n_segments,)."""
        return self._core.segment_ends

    @property
    def gaps(self) -> NDArray[np.float64]:
        """The relative duality gap at the end of each segment (n_segments,)."""
        return self._core.gaps

    def __call__(self, lam: float, *, n_threads: int = 1) -> Solution:
        """The optimum at one lam, certified: O(n d P) for the certificate, and no system is solved.

        ``lam`` must be at least ``lam_min``; above ``problem.lambda_max`` the weights are zero.
        """
        lam = self._lams(_validate.lam(lam))[0]
        return Solution(self._core.solution(lam, _validate.n_threads(n_threads)), self._problem)

    def objective(self, lams: ArrayLike) -> NDArray[np.float64]:
        """The objective (1/(2n) scaling) at each of the lams (m,): a vector (m,).

        O((n + k) order) each.
        """
        return self._core.objectives(self._lams(lams))

    def n_active(self, lams: ArrayLike) -> NDArray[np.int64]:
        """The number of active blocks at each of the lams (m,): a vector (m,)."""
        return self._core.n_active(self._lams(lams))

    def coefficients(self, lams: ArrayLike) -> Coefficients:
        """The weights at each of the lams (m,).

        Returns
        -------
        Coefficients
            ``blocks`` (k, 2) and ``weights`` (m, k, d); a block that is not active at a lam has
            zeros there. O(n d k) each.
        """
        points = [self._core.at(lam) for lam in self._lams(lams)]
        pairs = {(int(i), int(s)) for blocks, _, _, _ in points for i, s in blocks}
        ordered = sorted(pairs, key=lambda block: (block[0], -block[1]))
        place = {block: j for j, block in enumerate(ordered)}
        weights = np.zeros((len(points), len(ordered), self._problem.X.shape[1]))
        for at, (blocks, columns, _, _) in zip(weights, points, strict=True):
            at[[place[int(i), int(s)] for i, s in blocks]] = columns.T
        return Coefficients(np.array(ordered, dtype=np.int64).reshape(-1, 2), weights)

    def predict(self, X: ArrayLike, lams: ArrayLike, *, n_threads: int = 1) -> NDArray[np.float64]:
        """What the networks of the path say of rows X (r, d), at each of the lams: (m, r)."""
        X = _validate.matrix(X, "X", n_cols=self._problem.X.shape[1])
        return self._core.predict(X, self._lams(lams), _validate.n_threads(n_threads))

    def dimension(self, lams: ArrayLike) -> NDArray[np.int64]:
        """The dimension of the set of all optima at each of the lams (m,): a vector (m,).

        0 where the optimal network is unique. Elsewhere ``path(lam)`` is a vertex of the set;
        ``find_optimal_set(path(lam))`` has the others, the one of least norm among them.
        """
        return np.array(
            [find_optimal_set(self(lam)).dimension for lam in self._lams(lams)], dtype=np.int64
        )

    def continuity(self) -> Continuity:
        """Where the optimal set is not a point, and where the path jumps within it.

        Fit, penalty and dual point are continuous everywhere; so is the network where its optimum
        is unique. Elsewhere the path follows a vertex of the optimal set, and may jump from one to
        another at a breakpoint. The dimension is found once for each segment, in its middle.
        """
        ends = np.concatenate([[self.lam_max], self.segment_ends])
        dimensions = self.dimension((ends[1:] + ends[:-1]) / 2)
        pieces: list[list[float]] = []
        for begin, end, dimension in zip(ends[:-1], ends[1:], dimensions, strict=True):
            if not dimension:
                continue
            if pieces and pieces[-1][1] == begin and pieces[-1][2] == dimension:
                pieces[-1][1] = end
            else:
                pieces.append([begin, end, dimension])
        intervals = np.array(pieces).reshape(-1, 3)
        inner = ends[1:-1]
        probes = np.random.default_rng(0).standard_normal((64, self._problem.X.shape[1]))
        above = self.predict(probes, inner)
        below = self.predict(probes, np.nextafter(inner, 0.0))
        size = 1e-6 * np.abs(above).max(axis=1, initial=0.0)
        jumps = inner[np.abs(above - below).max(axis=1, initial=0.0) > size]
        return Continuity(intervals[:, :2], intervals[:, 2].astype(np.int64), jumps)

    def best_lam(self, criterion: str | tuple[ArrayLike, ArrayLike] = "gcv") -> float:
        """The lam of the path at which a criterion is least.

        The same as ``convexrelu.selection.best_lam(path, criterion)``, which says how.

        Parameters
        ----------
        criterion : "gcv", "aic" or (X, y)
            Generalised cross-validation, Akaike's criterion, or the mean squared error on
            validation rows X (m, d), as the problem has them, and y (m,).

        Returns
        -------
        float
            In [``lam_min``, ``lam_max``].
        """
        from convexrelu.selection import best_lam

        return best_lam(self, criterion)

    def plot(self, ax: Any = None, *, n_points: int = 400) -> Any:
        """Draws the norms of the neurons against lam: ``convexrelu.plots.path``, which says how."""
        from convexrelu import plots

        return plots.path(self, ax, n_points=n_points)

    def _lams(self, lams: ArrayLike) -> NDArray[np.float64]:
        values = _validate.vector(np.atleast_1d(lams), "lams")
        low, high = self.lam_min, self.lam_max
        if self.lam_max >= self._problem.lambda_max:
            high = np.inf
        wrong = ~((values >= low) & (values <= high))
        if wrong.any():
            at = int(np.argmax(wrong))
            upper = "" if high == np.inf else f" and at most {high:.17g}"
            raise ValueError(
                f"lams must be at least {low:.17g}{upper}, where the path is, "
                f"but one is {values[at]:.17g}"
            )
        return values

    def _repr_html_(self) -> str:
        from convexrelu.report.pieces import of_path

        return of_path(self)

    def __repr__(self) -> str:
        return (
            f"<Path: {self._problem.formulation}, lam {self.lam_max:.4g} to {self.lam_min:.4g}, "
            f"{self.status}, {len(self.breakpoints)} breakpoints>"
        )

    @property
    def parts(self) -> PathParts:
        """The path as plain arrays."""
        return parts_of(self._core)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.lam_max, self.tol, self.status, self.n_factorisations)
        return (_restore, (self.problem, *fields, self.parts))

    def __copy__(self) -> Path:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Path:
        return self


def _restore(
    problem: Problem,
    lam_max: float,
    tol: float,
    status: str,
    n_factorisations: int,
    parts: PathParts,
) -> Path:
    """A path from its parts. ValueError where they do not fit together."""
    core = core_path(problem._core, lam_max, tol, status, n_factorisations, parts)
    return Path(core, problem)


def trace_path(
    problem: Problem,
    lam_min: float,
    *,
    start: Solution | None = None,
    tol: float = 1e-9,
    time_limit: float | None = None,
    max_segments: int | None = None,
    n_threads: int = 1,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> Path:
    """Follows the optimum of ``1/(2n) ||sum_b A_b w_b - y||^2 + lam sum_b ||w_b||`` as lam falls.

    Exact: not a grid of solutions, but every lam at which a block enters or leaves or a sample
    meets or leaves the kink of a neuron, and polynomials between them.

    Parameters
    ----------
    problem : Problem
    lam_min : float
        Where to end, positive, in the 1/(2n) scaling.
    start : Solution, optional
        Begin there, rather than at ``problem.lambda_max``: an optimum of the same problem. It
        should be optimal to rounding, as `solve` leaves it.
    tol : float
        The relative duality gap that points of the path should be within.
    time_limit : float, optional
        Seconds of wall clock.
    max_segments : int, optional
        The largest number of segments.
    n_threads : int
        The result is the same to the last bit for any number of threads.
    callback : callable, optional
        Called with a `Progress` (phase, iteration, objective, gap, seconds) once per segment; a
        true return value stops.

    Returns
    -------
    Path
        Down to ``lam_min``, or as far as it got: see `Path.status`. One that begins at ``start``
        and got nowhere has that point.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    MemoryError
        Where there is no room for even the first segment; later the path ends there.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: a factorisation per segment (of the order min(n, free dimensions of the active blocks)),
    8 to 24 solves with it, and two passes over all patterns, 2 n d P each. Gated problems have 1 to
    3 events per finally active block, C-ReLU several times that.

    Source: Mishkin & Pilanci (2023), the section on solution paths; docs/theory/path/path.md.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> path = trace_path(problem, 0.01)
    >>> path.status, path.breakpoints.round(4)
    ('optimal', array([2.1759]))
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem, got {type(problem).__name__}")
    lam_min = _validate.lam(lam_min, "lam_min")
    tol = _validate.tol(tol)
    if start is not None:
        if not isinstance(start, Solution):
            raise TypeError(f"start must be a Solution, got {type(start).__name__}")
        if start.problem is not problem:
            raise ValueError("start must be a solution of the same problem object")
        if start.lam < lam_min:
            raise ValueError(f"start has lam {start.lam:g}, below lam_min {lam_min:g}")
    if max_segments is not None:
        max_segments = _validate.integer(max_segments, "max_segments")
    core = _core.trace_path(
        problem._core,
        lam_min,
        tol,
        None if start is None else start._core,
        max_segments,
        _validate.time_limit(time_limit),
        _validate.n_threads(n_threads),
        callback,
    )
    return Path(core, problem)
