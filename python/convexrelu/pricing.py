"""The most valuable activation pattern of all, with a proof that there is no better one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu.losses import Loss
from convexrelu.patterns import patterns_from_gates
from convexrelu.problem import Problem

_MAX_CONES = 1000  # of `lambda_max` without a time limit: a proof where one is near


class Pricing(NamedTuple):
    """What `price_patterns` found: a neuron's direction, its value and a bound on all others.

    Examples
    --------
    >>> from convexrelu import price_patterns
    >>> pricing = price_patterns([[1.0], [-2.0]], [1.0, 1.0])
    >>> pricing.value, pricing.direction, pricing.sign, pricing.is_exact
    (1.0, array([-1.]), 1, True)
    """

    value: float
    """The largest value found, ``sign * residual @ maximum(X @ direction, 0) / n``."""
    upper_bound: float
    """No pattern's value is above it; 1e-9 is added for rounding."""
    direction: NDArray[np.float64]
    """The unit vector (d,) that attains `value`."""
    sign: int
    """+1 or -1, the sign of the output weight of the neuron that would be added."""
    is_exact: bool
    """Whether ``upper_bound <= (1 + tol) * value`` was proven."""

    def __repr__(self) -> str:
        kind = "exact" if self.is_exact else "not proven to be the largest"
        return f"<Pricing: {self.value:.6g}, at most {self.upper_bound:.6g}, {kind}>"


def price_patterns(
    X: ArrayLike,
    residual: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-3,
    max_cones: int | None = None,
    time_limit: float | None = None,
    rng: _validate.Seed = None,
    n_threads: int = 1,
) -> Pricing:
    """The largest ``||q_b||`` over **all** activation patterns and both signs.

    That is the maximum of ``|residual @ maximum(X @ u, 0)| / n`` over unit vectors u. A stationary
    network whose residual has a value of at most lam is a global optimum, whatever its width; at
    ``residual = y`` the value is the smallest lam for which zero is optimal. Branch and bound on
    the cells of the hyperplanes x_k . u = 0, which are not enumerated.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    residual : (n,) array
        ``y - fitted``, or any vector.
    sample_weight : (n,) array, optional
        Weights v of the loss: residual[k] counts v[k] n / sum(v) times, rows of weight 0 not at
        all.
    tol : float
        The relative gap between `value` and `upper_bound` at which the search ends.
    max_cones : int, optional
        Ends the search after about so many cones, as `time_limit` does, but with the same result
        on every machine.
    time_limit : float, optional
        Seconds of wall clock. What is proven by then is returned: `upper_bound` is the largest
        bound that is still open.
    rng : None, int or numpy.random.Generator
        For the random starts of the local search that comes first.
    n_threads : int
        Does not change the result, unless time is limited.

    Returns
    -------
    Pricing
        ``.value .upper_bound .direction .sign .is_exact``

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: some hundredths of a second for d <= 5 and a thousand samples, seconds for d = 6, a minute
    for d = 7; it grows fast with d and as the residual shrinks. Above rank 20 the bound is one
    formula. See docs/theory/pricing/pricing.md.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import price_patterns
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> price_patterns(X, np.abs(x))
    <Pricing: 2.17594, at most 2.17594, exact>
    """
    X = _validate.matrix(X, "X")
    residual = _validate.vector(residual, "residual", size=X.shape[0])
    weight = _validate.sample_weight(sample_weight, X.shape[0])
    tol = _validate.tol(tol)
    if max_cones is not None:
        max_cones = _validate.integer(max_cones, "max_cones", low=0)
    time_limit = _validate.time_limit(time_limit)
    seed = int(_validate.rng(rng).integers(2**63))
    n_threads = _validate.n_threads(n_threads)
    if weight.size:
        used = weight > 0
        relative = weight[used] / weight.max()
        X = X[used]
        weighted: _validate.Array = residual[used] * (relative * (used.sum() / relative.sum()))
        residual = weighted
    found = _core.price_patterns(
        X,
        residual,
        tol=tol,
        threshold=0.0,
        max_cones=max_cones,
        time_limit=time_limit,
        seed=seed,
        n_threads=n_threads,
        callback=None,
    )
    return Pricing(found.value, found.upper_bound, found.direction, found.sign, found.is_exact)


def lambda_max(
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    loss: str | Loss = "squared",
    fit_intercept: bool = False,
    offset: ArrayLike | None = None,
    time_limit: float | None = None,
    rng: _validate.Seed = None,
) -> Pricing:
    """The smallest lam at which the best network of any width is zero: ``lambda_max(X, y).value``.

    From there on down the network grows, so lam is best thought of as a share of it. It is the
    value of `price_patterns` at ``residual = y``; of another loss, with an intercept or an offset
    at what `Solution.residual` is where the network is zero. `Problem.lambda_max` is that over the
    patterns of a problem, which is smaller where these are not all.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    y : (n,) array
        The targets.
    sample_weight : (n,) array, optional
        Non-negative weights v. The loss becomes ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``.
    loss, fit_intercept, offset
        Those of `Problem`.
    time_limit : float, optional
        Seconds of wall clock for the proof that no pattern has a larger value. By default it ends
        after a number of cones, with the same result on every machine.
    rng : None, int or numpy.random.Generator
        For the random starts of the local search that comes first.

    Returns
    -------
    Pricing
        ``value`` is the largest value found, ``is_exact`` says whether it is proven to be the
        largest, ``upper_bound`` what it is at most.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: 160 n d flops for each of some hundred starts of the local search, and as much again for
    the cones. The value is found by the first part, whatever becomes of the proof.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import lambda_max, solve_global
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> largest = lambda_max(X, np.abs(x), rng=0)
    >>> largest
    <Pricing: 2.17594, at most 2.17594, exact>
    >>> [len(solve_global(X, np.abs(x), r * largest.value).active_set) for r in (1.001, 0.9)]
    [0, 2]
    """
    X = _validate.matrix(X, "X")
    any_pattern = patterns_from_gates(X, np.zeros((X.shape[1], 1)))
    null = Problem(
        X,
        y,
        any_pattern,
        formulation="gated",
        sample_weight=sample_weight,
        loss=loss,
        fit_intercept=fit_intercept,
        offset=offset,
    )
    return price_patterns(
        X,
        null._core.null_residual,
        sample_weight=sample_weight,
        max_cones=_MAX_CONES if time_limit is None else None,
        time_limit=time_limit,
        rng=rng,
    )
