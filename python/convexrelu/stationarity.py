"""What a trained network is worth, wherever it came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu._deadline import Deadline
from convexrelu.global_solver import solve_global
from convexrelu.network import Network, _wrap
from convexrelu.optimal_set import OptimalSet, find_optimal_set
from convexrelu.patterns import Patterns
from convexrelu.problem import Problem
from convexrelu.pruning import prune
from convexrelu.solution import Solution, proven, relative_gap


class NetworkPlace(NamedTuple):
    """Where an optimal network is in the set of all optima.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import check_network, solve_global, to_network
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> best = to_network(solve_global(X, np.abs(x), 0.1, rng=0))
    >>> report = check_network(best, X, np.abs(x), 0.1, rng=0)
    >>> place = report.place()
    >>> place.is_vertex, place.n_neurons, place.fewest
    (True, 2, 2)
    """

    optimal_set: OptimalSet
    """All optima: over all patterns where the network is proven global and these can be listed
    (`OptimalSet.is_complete`), over its own elsewhere.
    """
    alpha: NDArray[np.float64]
    """The point (k,) of the set that the network is, or is nearest to."""
    distance: float
    """How far its weights are from that point, relative to the sum of their norms."""
    is_vertex: bool
    """Whether the point is a vertex: its neurons have independent activations, and none can go
    without a change of the fit.
    """
    n_neurons: int
    """Neurons of the point, parallel ones counted once."""
    fewest: int | None
    """The fewest that any point of the set has; None where they could not be proven, mostly for
    the time limit.
    """


class NetworkReport:
    """What `check_network` found; immutable.

    Gaps are relative to the objective of the network as it is: a gap of 0.2 says that a fifth of
    the objective could be saved, by the network itself or by any other.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import check_network, solve_global, to_network
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> best = to_network(solve_global(X, np.abs(x), 0.1, rng=0))
    >>> report = check_network(best, X, np.abs(x), 0.1, rng=0)
    >>> report.is_stationary, report.is_global, round(report.objective, 6)
    (True, True, 0.190977)
    """

    def __init__(
        self,
        objective: float,
        has_all_sides: bool,
        merged: Network,
        solution: Solution,
        best: Solution,
        global_lower_bound: float,
        tol: float,
    ) -> None:
        self._objective = objective
        self._has_all_sides = has_all_sides
        self._merged = merged
        self._solution = solution
        self._best = best
        self._global_lower_bound = global_lower_bound
        self._tol = tol

    @property
    def objective(self) -> float:
        """``1/(2n) ||f(X) - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)`` of the network as it is."""
        return self._objective

    @property
    def merged(self) -> Network:
        """The network balanced, parallel neurons merged, dead ones left out: the same function."""
        return self._merged

    @property
    def solution(self) -> Solution:
        """The network as a point of the convex program over its own patterns, those on all sides of
        kinks that lie on samples included (see `has_all_sides`).
        """
        return self._solution

    @property
    def best(self) -> Solution:
        """The optimum of that program: what a network with these patterns can reach."""
        return self._best

    @property
    def tol(self) -> float:
        """The relative gap below which the network counts as stationary or global."""
        return self._tol

    @property
    def gap(self) -> float:
        """How much of the objective a network with the same patterns can save: 0 where the network
        is stationary, balanced and without parallel neurons that cancel or dead ones that cost; and
        only there, if `has_all_sides`.
        """
        return relative_gap(self.objective, self.best.lower_bound)

    @property
    def has_all_sides(self) -> bool:
        """Whether the network was compared with all others around it. A neuron with many kinks on
        samples, more than its dimension, can be left to more sides than can be looked at: then
        those across each of these kinks are.
        """
        return self._has_all_sides

    @property
    def is_stationary(self) -> bool:
        """Whether it is proven that no small change of the weights lowers the objective by more
        than tol: the gap is at most that and `has_all_sides`, or `is_global`. Where it is False for
        want of sides, ``gap <= tol`` still says that no single kink is worth crossing.
        """
        return self.gap <= self.tol and (self.has_all_sides or self.is_global)

    @property
    def global_lower_bound(self) -> float:
        """No relu network of any width has a lower objective; nan for gated ones."""
        return self._global_lower_bound

    @property
    def global_gap(self) -> float:
        """How much of the objective any network can save, at most; nan for gated ones."""
        return relative_gap(self.objective, self.global_lower_bound)

    @property
    def is_global(self) -> bool:
        """Whether that is proven to be at most tol."""
        return self.global_gap <= self.tol

    def place(self, *, time_limit: float | None = 60.0) -> NetworkPlace:
        """The place of a stationary network in the set of all optima, see `find_optimal_set`.

        A network with a `gap` of at most `tol` is near a point of the set; that point is described.
        Where it is proven global the set is that over all patterns, unless these are too many to be
        listed in time, or X has a rank above 20: then it is the part of it that the network's own
        patterns hold, and ``optimal_set.is_complete`` is False.

        Raises
        ------
        ValueError
            Where the network is not optimal over its own patterns (`gap`), so that it belongs to no
            such set.
        LimitExceeded
            Where not even that part is found in the same time again; so long may `fewest` take too.
        """
        if not self.gap <= self.tol:
            raise ValueError(
                "the network has no place in an optimal set: its gap to the best with its patterns "
                f"is {self.gap:.1e}, more than tol = {self.tol:g}"
            )
        optima = self._find_optima(time_limit)
        alpha, distance = optima.nearest(self.solution)
        point = optima.solution(alpha)
        n_neurons = len(point.active_set)
        is_vertex = len(prune(point).active_set) == n_neurons
        fewest: int | None
        try:
            fewest = int((optima.smallest(time_limit=time_limit) > 0).sum())
        except _core.LimitExceeded:  # the time
            fewest = None
        return NetworkPlace(optima, alpha, distance, is_vertex, n_neurons, fewest)

    def _find_optima(self, time_limit: float | None) -> OptimalSet:
        if self.is_global:
            try:
                return find_optimal_set(self.best, all_patterns=True, time_limit=time_limit)
            except (_core.AccuracyError, _core.LimitExceeded, ValueError):
                pass  # with its own patterns it either works or says why not
        return find_optimal_set(self.best, time_limit=time_limit)

    def __repr__(self) -> str:
        stationary = f"gap {self.gap:.1e} to stationary"
        if self.is_stationary:
            stationary = "stationary"
        elif self.gap <= self.tol:
            stationary = "not all sides looked at"
        if np.isnan(self.global_gap):
            place = ""
        else:
            place = ", global" if self.is_global else f", at most {self.global_gap:.1e} to global"
        return f"<NetworkReport: objective {self.objective:.8g}, {stationary}{place}>"


def check_network(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    lam: float,
    *,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-6,
    kink_tol: float = 1e-9,
    time_limit: float | None = 60.0,
    rng: _validate.Seed = None,
    n_threads: int = 1,
) -> NetworkReport:
    """How far a network is from stationary, and from the best network of any width.

    The network may come from anywhere: hidden weights W (m, d) and output weights a (m,) make a
    `Network`; with a bias, W has a column for it and X a column of ones.

    Parameters
    ----------
    network : Network
    X, y : (n, d) and (n,) arrays
        What it was trained on.
    lam : float
        Strength of the regularisation, positive: the objective is ``1/(2n) ||f(X) - y||^2 + lam/2
        sum_j (||W_j||^2 + a_j^2)``. With the mean squared error as loss, without the 1/2, a weight
        decay of c is ``lam = c / 2``.
    sample_weight : (n,) array, optional
        The loss becomes ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``.
    tol : float
        The relative gap up to which the network counts as stationary, and as global.
    kink_tol : float
        A kink lies on sample k where ``|x_k . W_j| <= kink_tol ||x_k|| ||W_j||``. Gradient descent
        jumps to and fro over such kinks: a larger value recognises them.
    time_limit : float, optional
        Seconds of wall clock, most of which go into the bound over all patterns: it is within reach
        for some four features, for more it depends on the data and usually takes what it gets. What
        is proven by then counts: bounds may be 0. The objective is computed in any case. None: as
        long as it needs.
    rng : None, int or numpy.random.Generator
        Of the local search that the bound begins with.
    n_threads : int
        Does not change the result, unless time is limited.

    Returns
    -------
    NetworkReport
        ``.gap .is_stationary`` against the best network with the same patterns (``.best``),
        ``.global_gap .is_global`` against any network.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.

    Notes
    -----
    Stationary points of the training problem are the optima of convex programs over subsets of
    the patterns (Wang, Lacotte & Pilanci 2022; Mishkin & Pilanci 2023, section 4). Stationary means
    here that no direction descends; at a kink that is more than Clarke's condition.

    Cost: one solve over few patterns, and for relu networks one call of `price_patterns`.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Network, check_network
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> report = check_network(Network([[1.0, 0.0]], [1.0]), X, np.abs(x), 0.1, rng=0)
    >>> report.is_stationary, round(report.objective, 4), round(report.best.objective, 4)
    (False, 1.1, 1.0946)
    """
    deadline = Deadline(time_limit)
    X, y, lam, weight = _data(network, X, y, lam, sample_weight)
    tol = _validate.tol(tol)
    kink_tol = _validate.number(kink_tol, "kink_tol", low=0.0, high=1.0)
    seed = int(_validate.rng(rng).integers(2**63))
    n_threads = _validate.n_threads(n_threads)
    objective, has_all_sides, merged, own, best = _core.check_network(
        network._core, X, y, lam, weight, tol, kink_tol, deadline.left(), n_threads
    )
    bounded = _core.bound_globally(best, tol / 4, seed, deadline.left(), n_threads)
    problem = Problem._from_core(best.problem)
    return NetworkReport(
        objective,
        has_all_sides,
        _wrap(merged),
        Solution(own, problem),
        Solution(best, problem),
        # Not kept in best, optimal over its own patterns only.
        proven(bounded.global_lower_bound, best.objective),
        tol,
    )


def descent_path(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    lam: float,
    *,
    sample_weight: ArrayLike | None = None,
    patterns: Patterns | None = None,
    n_steps: int = 20,
    time_limit: float | None = None,
    rng: _validate.Seed = None,
    n_threads: int = 1,
) -> list[Network]:
    """Networks from a given one to the best of any width, whose objective never rises.

    First the network as it is, then balanced, then with its neurons of one activation pattern
    added up; from there the straight line, in ``n_steps`` steps, to the optimum of the convex
    program over its own patterns and those that the best network has. The objective is convex
    along the line and lowest at its end, so no step climbs: however bad the network, there is a
    way down from it that meets no hill, if it may have enough neurons (Kim, Mishkin & Pilanci
    2025).

    Parameters
    ----------
    network, X, y, lam, sample_weight
        As for `check_network`.
    patterns : Patterns, optional
        Those to add to its own, by default those that `solve_global` finds, without its proof; a
        gated network keeps its own. With those of ``check_network(...).best.problem`` the path
        ends at the best network with its own patterns.
    n_steps : int
        Steps on the straight line.
    time_limit : float, optional
        Seconds of wall clock, for `solve_global` and what follows; the path ends at the best that
        is known by then.
    rng : None, int or numpy.random.Generator
        Of its local search.

    Returns
    -------
    list of Network
        ``n_steps + 3`` networks. Each step moves the weights continuously, up to neurons that are
        replaced by others with the same sum.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Network, descent_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> start = Network([[1.0, 0.0]], [1.0])
    >>> steps = descent_path(start, X, np.abs(x), 0.1, n_steps=3, rng=0)
    >>> [round(network.objective(X, np.abs(x), 0.1), 3) for network in steps]
    [1.1, 1.1, 1.1, 0.595, 0.292, 0.191]
    """
    deadline = Deadline(time_limit)
    X, y, lam, weight = _data(network, X, y, lam, sample_weight)
    if patterns is not None and not isinstance(patterns, Patterns):
        raise TypeError(f"patterns must be Patterns, got {type(patterns).__name__}")
    if patterns is not None and (patterns.n_samples, patterns.n_features) != X.shape:
        raise ValueError(
            f"patterns are of {patterns.n_samples} samples and {patterns.n_features} features, "
            f"but X has {X.shape[0]} and {X.shape[1]}"
        )
    n_steps = _validate.integer(n_steps, "n_steps", low=1)
    n_threads = _validate.n_threads(n_threads)
    rng = _validate.rng(rng)
    if patterns is not None:
        more = patterns._core
    elif network.formulation == "relu":
        solution = solve_global(
            X,
            y,
            lam,
            sample_weight=sample_weight,
            certify=False,
            time_limit=deadline.left(),
            rng=rng,
            n_threads=n_threads,
        )
        more = solution._core.problem.patterns
    else:
        more = _core.patterns_from_gates(X, np.empty((X.shape[1], 0)), distinct=False)
    path = _core.descent_path(
        network._core, X, y, lam, weight, more, n_steps, deadline.left(), n_threads
    )
    return [_wrap(step) for step in path]


def _data(
    network: Network, X: ArrayLike, y: ArrayLike, lam: float, sample_weight: ArrayLike | None
) -> tuple[_validate.Array, _validate.Array, float, _validate.Array]:
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    X = _validate.matrix(X, "X", n_cols=network.n_features)
    y = _validate.vector(y, "y", size=X.shape[0])
    return X, y, _validate.lam(lam), _validate.sample_weight(sample_weight, X.shape[0])
