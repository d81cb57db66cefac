"""Solving the training problem over all activation patterns."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from convexrelu import _core, _validate
from convexrelu.problem import Problem
from convexrelu.solution import Solution


def solve_global(
    X: ArrayLike,
    y: ArrayLike,
    lam: float,
    *,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-4,
    certify: bool = True,
    time_limit: float | None = None,
    rng: _validate.Seed = None,
    n_threads: int = 1,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> Solution:
    """The best two-layer ReLU network of any width, and what is proven of it.

    Minimises ``1/(2n) ||sum_j a_j (X W_j)_+ - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)``, which is
    the convex problem of `solve` ("relu") over all activation patterns, without listing them. A
    network grows from nothing: a local search looks for neurons that the present residual asks for,
    Newton's method on the smoothed network moves all of them, and when little is left to gain
    the convex problem over the patterns of the network is solved exactly, until the search
    finds no violated pattern. Then branch and bound looks for a proof.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones. Neither the order nor the multiplicity of rows
        matters, beyond rounding.
    y : (n,) array
        The targets.
    lam : float
        The regularisation strength, positive, in the 1/(2n) scaling.
    sample_weight : (n,) array, optional
        Non-negative weights v. The loss becomes ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``.
    tol : float
        The relative gap to the bound over all patterns at which the status is "optimal"; the
        local search looks for improvements of a tenth of it.
    certify : bool
        Whether to look for that bound. It is within reach for some four features; for more it
        depends on the data and is usually open. The work for it is limited, by a count of cones or
        by what `time_limit` leaves.
    time_limit : float, optional
        Seconds of wall clock.
    rng : int, numpy Generator, optional
        Of the starts of the local search.
    n_threads : int
        Without a time limit the result is the same to the last bit for any number of threads.
    callback : callable, optional
        Called with a `Progress`, whose objective is that of the best network so far; a true return
        value stops.

    Returns
    -------
    Solution
        Of a problem that holds the patterns grown. ``objective`` is that of the network; ``gap``
        and ``lower_bound`` are over these patterns; ``global_lower_bound``, ``global_gap`` and
        ``is_global`` say what is proven over all patterns, nan where nothing is. ``status``:
        "optimal" (``global_gap`` is within tol), "unproven" (no violated pattern was found, which
        proves nothing), "stalled" (no progress in float64), "time_limit", "callback",
        "numerical_failure".

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: a network of m neurons takes some 50 to 200 factorisations of order min(n, m d), and
    in every round 160 n d flops for each of some hundred starts of the local search.
    docs/theory/global_solver.md

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import solve_global, to_network
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> solution = solve_global(X, np.abs(x), 0.1, rng=0)
    >>> solution.is_global, round(solution.objective, 6)
    (True, 0.190977)
    >>> to_network(solution).n_neurons
    2
    """
    X = _validate.matrix(X, "X")
    y = _validate.vector(y, "y", size=X.shape[0])
    lam = _validate.lam(lam)
    weight = _validate.sample_weight(sample_weight, X.shape[0])
    core = _core.solve_global(
        X,
        y,
        lam,
        weight,
        _validate.tol(tol),
        _validate.boolean(certify, "certify"),
        _validate.time_limit(time_limit),
        int(_validate.rng(rng).integers(2**63)),
        _validate.n_threads(n_threads),
        callback,
    )
    return Solution(core, Problem._from_core(core.problem))
