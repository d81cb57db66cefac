"""Solving the training problem over all activation patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from convexrelu import _core, _validate
from convexrelu.network import Network, to_network
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
    warm_start: Solution | Network | None = None,
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
        A relative gap over all patterns, ``(objective - bound) / objective``. It is proven where
        the status is "optimal". Without a proof it is estimated, with the largest price that the
        local search finds in the place of the largest there is, and the work ends where the
        estimate is at most half of tol (the other half is for the proof). So ``tol=0.1`` stops
        after a small part of the time that the last digits take. The gap is a cautious measure:
        in the cases of docs/theory/global/global_solver.md the objective was then within a tenth
        of tol of
        the best one found with any.
    certify : bool
        Whether to look for that bound. It is within reach for some four features; for more it
        depends on the data and is usually open. The work for it is limited, by a count of cones or
        by what `time_limit` leaves.
    warm_start : Solution or Network, optional
        Where to begin, with any features scaled as those of X, at any lam: the objective of the
        answer is never above that of its neurons at this lam.
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
        "optimal" (``global_gap`` is within tol), "unproven" (the search found nothing more that
        tol asks for, which proves nothing), "stalled" (what it found brings next to nothing),
        "time_limit", "callback", "numerical_failure".

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
    docs/theory/global/global_solver.md

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
    start = None if warm_start is None else _start(warm_start, X.shape[1])
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
        None if start is None else start._core,
        _validate.time_limit(time_limit),
        int(_validate.rng(rng).integers(2**63)),
        _validate.n_threads(n_threads),
        callback,
    )
    return Solution(core, Problem._from_core(core.problem))


def _start(value: object, n_features: int) -> Network:
    """The network that warm_start means."""
    if not isinstance(value, (Solution, Network)):
        hint = "; pass its .network" if hasattr(value, "network") else ""
        raise TypeError(
            f"warm_start must be a Solution or a Network, got {type(value).__name__}{hint}"
        )
    formulation = value.formulation if isinstance(value, Network) else value.problem.formulation
    if formulation != "relu":
        raise ValueError("warm_start must be a relu network, got a gated one")
    network = value if isinstance(value, Network) else to_network(value)
    if network.n_features != n_features:
        raise ValueError(
            f"warm_start must have as many features as X has columns ({n_features}), "
            f"got {network.n_features}"
        )
    if network.intercept:
        raise ValueError(
            f"warm_start must have no intercept, which solve_global fits none of, "
            f"got {network.intercept:g}"
        )
    with np.errstate(over="ignore"):
        weights = network.output[:, None] * network.hidden
    if not np.isfinite(weights).all():
        raise ValueError("warm_start must have weights a_j W_j within the range of float64")
    return network
