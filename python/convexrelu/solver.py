"""Solving the convex problem at one lam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convexrelu import _core, _validate
from convexrelu.patterns import Patterns
from convexrelu.problem import Problem
from convexrelu.solution import Solution


def solve(
    problem: Problem,
    lam: float,
    *,
    tol: float = 1e-8,
    warm_start: Solution | None = None,
    max_iter: int | None = None,
    time_limit: float | None = None,
    n_threads: int = 1,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> Solution:
    """Minimises ``1/(2n) ||sum_b A_b w_b - y||^2 + lam sum_b ||w_b||``, or another loss of the
    problem with the same penalty, to certified optimality.

    Proximal steps whose smooth dual problems are solved by Newton's method on a working set of
    blocks, then Newton's method on the optimality conditions themselves. Blocks outside the
    optimum are exactly zero. Where float64 allows, the answer is far more accurate than ``tol``
    asks for: stationary to rounding.

    Parameters
    ----------
    problem : Problem
    lam : float
        The regularisation strength, positive, in the 1/(2n) scaling. At
        ``problem.lambda_max`` and above the solution is zero.
    tol : float
        The relative duality gap at which the status is "optimal".
    warm_start : Solution, optional
        A solution at another lam, of a problem with the same patterns: its weights, and its dual
        point scaled to lam. Ignored where zero weights have the lower objective. Along a grid
        of decreasing lam it saves more than half of the factorisations.
    max_iter : int, optional
        The largest number of factorisations.
    time_limit : float, optional
        Seconds of wall clock.
    n_threads : int
        The result is the same to the last bit for any number of threads.
    callback : callable, optional
        Called with a `Progress` (phase, iteration, objective, gap, seconds); a true return value
        stops.

    Returns
    -------
    Solution
        With its certificate. Stopping early is no error: ``status`` says so, ``gap`` how far it is.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: each of some tens of iterations factors a matrix of the order min(n, free dimensions of
    the active blocks) and multiplies by the working set; every few also by all patterns, 2 n d P.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> solution = solve(problem, 0.1)
    >>> solution.status, round(solution.objective, 6)
    ('optimal', 0.190977)
    >>> solve(problem, 0.05, warm_start=solution).status
    'optimal'
    >>> classes = Problem(X, x > 1, problem.patterns, loss="logistic", fit_intercept=True)
    >>> solution = solve(classes, 0.01)
    >>> solution.gap < 1e-8, ((solution.fitted > 0) == (x > 1)).all()
    (True, np.True_)
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem, got {type(problem).__name__}")
    lam = _validate.lam(lam)
    tol = _validate.tol(tol)
    if warm_start is not None:
        if not isinstance(warm_start, Solution):
            raise TypeError(f"warm_start must be a Solution, got {type(warm_start).__name__}")
        here, there = problem, warm_start.problem
        if here.formulation != there.formulation or not _have_same_masks(
            here.patterns, there.patterns
        ):
            raise ValueError(
                "warm_start must be of a problem with the same patterns and formulation"
            )
    max_iter = None if max_iter is None else _validate.integer(max_iter, "max_iter")
    core = _core.solve(
        problem._core,
        lam,
        tol,
        None if warm_start is None else warm_start._core,
        max_iter,
        _validate.time_limit(time_limit),
        _validate.n_threads(n_threads),
        callback,
    )
    return Solution(core, problem)


def _have_same_masks(here: Patterns, there: Patterns) -> bool:
    """Whatever their gates, which only enumerated patterns would have to compute."""
    return here._core is there._core or (
        here.n_samples == there.n_samples and np.array_equal(here.packed, there.packed)
    )
