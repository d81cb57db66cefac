"""Optimal sets beside a conic program for every neuron, a linear program for every range.

    python -m bench.bench_optimal_set [pruning] [ranges] [diabetes]

CPU time of one thread; every answer is checked before its time is shown. Ends with status 1 where a
ratio misses its target.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import clarabel
import cvxpy as cp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from bench import data
from convexrelu import (
    Network,
    OptimalSet,
    Problem,
    Solution,
    find_optimal_set,
    patterns_from_gates,
    prune,
    sample_patterns,
    solve,
)

Array = NDArray[np.float64]
T = TypeVar("T")


def timed(work: Callable[[], T], repeats: int = 1) -> tuple[T, float]:
    """The result of a call and its CPU seconds, the least of some."""
    seconds = np.inf
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds = min(seconds, time.process_time() - start)
    return result, seconds


missed: list[str] = []


def target(name: str, ratio: float, least: float) -> None:
    """Shows a ratio beside what it should be at least."""
    holds = ratio >= least
    if not holds:
        missed.append(name)
    print(f"  {name}: {ratio:.1f}, target {least:g} {'holds' if holds else 'MISSED'}")


def conic_least_norm(Z: Array, z: Array) -> Array | None:
    """min ||x||^2 with Z x = z by Clarabel, None where it finds no solution."""
    n, m = Z.shape
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    P, A = sparse.eye(m, format="csc"), sparse.csc_matrix(Z)
    solver = clarabel.DefaultSolver(P, np.zeros(m), A, z, [clarabel.ZeroConeT(n)], settings)
    found = solver.solve()
    return np.array(found.x) if found.status == clarabel.SolverStatus.Solved else None


def conic_least_squares(Z: Array, z: Array) -> Array:
    """min ||Z x - z||^2 over the columns that are not zero: smaller, and always solvable."""
    live = np.flatnonzero(Z.any(axis=0))
    n, m = len(z), len(live)
    P = sparse.diags(np.concatenate([np.zeros(m), np.ones(n)]), format="csc")
    A = sparse.hstack([sparse.csc_matrix(Z[:, live]), -sparse.eye(n)], format="csc")
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    solver = clarabel.DefaultSolver(P, np.zeros(n + m), A, z, [clarabel.ZeroConeT(n)], settings)
    x = np.zeros(Z.shape[1])
    x[live] = np.array(solver.solve().x)[:m]
    return x


def modelled_least_norm(Z: Array, z: Array) -> Array | None:
    """The same through cvxpy, which is how the published code does it (with MOSEK)."""
    x = cp.Variable(Z.shape[1])
    cp.Problem(cp.Minimize(cp.sum(x**2)), [Z @ x == z]).solve(solver=cp.CLARABEL)
    return x.value


def prune_by_programs(
    Z: Array, n_neurons: int, least_norm: Callable[[Array, Array], Array | None]
) -> Array:
    """Optimal pruning as published (Mishkin & Pilanci 2023, Algorithm 1): one program for each
    neuron that goes, in the coefficients of all; where it has no solution, that of the next
    neuron. Returns the factors.
    """
    factors = np.ones(Z.shape[1])
    while (active := np.flatnonzero(factors)).size > n_neurons:
        for neuron in active:
            columns = Z * factors
            column = columns[:, neuron].copy()
            columns[:, neuron] = 0.0
            nu = least_norm(columns, column)
            if nu is not None:
                break
        else:
            break
        nu[neuron] = -1.0
        largest = int(np.argmax(np.abs(nu)))
        factors *= 1 - nu / nu[largest]
        factors[largest] = 0.0
    return factors


def bench_pruning() -> None:
    """200 neurons on 100 samples, to 100."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 20))
    network = Network(rng.standard_normal((200, 20)), rng.standard_normal(200))
    f = network.predict(X)
    pruned, seconds = timed(lambda: prune(network, X), 5)
    assert pruned.n_neurons == 100
    assert np.abs(pruned.predict(X) - f).max() < 1e-9 * np.abs(f).max()
    Z = np.maximum(X @ network.hidden.T, 0) * network.output
    print(f"pruning 200 -> 100 neurons, n = 100: {1e3 * seconds:.2f} ms, fit kept to 1e-9")
    for name, solver, least in (
        ("as published, Clarabel", conic_least_norm, 1000),
        ("as published, cvxpy and Clarabel", modelled_least_norm, 1000),
        ("least squares of its own, Clarabel", conic_least_squares, 0),
    ):
        factors, peer_seconds = timed(lambda: prune_by_programs(Z, 100, solver))  # noqa: B023
        error = np.abs(Z @ factors - f).max() / np.abs(f).max()
        assert (factors > 0).sum() == 100
        assert error < 1e-6
        print(f"  one program a neuron, {name}: {peer_seconds:.2f} s, off by {error:.0e}")
        target("times as long as prune", peer_seconds / seconds, least)


def set_of_dimension_ten() -> OptimalSet:
    """14 points on a line, gates with a kink or two in every gap, either side active."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.arange(14.0), np.ones(14)])
    y = np.sin(X[:, 0]) + 0.3 * rng.standard_normal(14)
    kinks = rng.uniform(0, 1, 13) + np.arange(13)
    for gap in range(13):
        gates = np.hstack([np.stack([s * np.ones(len(kinks)), -s * kinks]) for s in (1, -1)])
        problem = Problem(X, y, patterns_from_gates(X, gates), formulation="gated")
        optima = find_optimal_set(solve_at(problem, 1e-3))
        if optima.dimension >= 10:
            break
        kinks = np.append(kinks, gap + rng.uniform(0, 1))
    return optima


def solve_at(problem: Problem, ratio: float) -> Solution:
    return solve(problem, ratio * problem.lambda_max)


def bench_ranges() -> None:
    """10,000 ranges over a set of dimension 10."""
    optima = set_of_dimension_ten()
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.uniform(0, 13, 10_000), np.ones(10_000)])
    (low, high), seconds = timed(lambda: optima.prediction_range(X), 3)

    n_peer = 100
    costs = optima._core.outputs(X[:n_peer])
    Q, fitted = optima.Q, optima.fitted
    scale = np.linalg.norm(Q, axis=0)

    def peer() -> Array:
        ends = [
            [
                sign * linprog(sign * c / scale, A_eq=Q / scale, b_eq=fitted, method="highs").fun
                for sign in (1, -1)
            ]
            for c in costs
        ]
        return np.array(ends)

    ends, peer_seconds = timed(peer)
    size = np.abs(high).max()
    error = max(np.abs(ends[:, 0] - low[:n_peer]).max(), np.abs(ends[:, 1] - high[:n_peer]).max())
    assert error < 1e-5 * size
    each, peer_each = seconds / len(X), peer_seconds / n_peer
    print(
        f"{len(X)} prediction ranges, dimension {optima.dimension}, k = {len(Q.T)}, n = {len(Q)}: "
        f"{1e6 * each:.1f} us each"
    )
    print(f"  scipy linprog (HiGHS): {1e6 * peer_each:.0f} us each, agrees to {error / size:.0e}")
    target("times as long as prediction_range", peer_each / each, 20)


def bench_diabetes() -> None:
    """The optimal set of a solution, beside the solution."""
    dataset = data.load("diabetes")
    patterns = sample_patterns(dataset.X, 2000, rng=0)
    for formulation in ("gated", "relu"):
        problem = Problem(dataset.X, dataset.y, patterns, formulation=formulation)
        for ratio in (0.1, 0.01):
            solution, seconds = timed(lambda: solve_at(problem, ratio))  # noqa: B023
            optima, set_seconds = timed(lambda: find_optimal_set(solution), 2)  # noqa: B023
            assert optima.contains(solution)
            print(
                f"diabetes P=2000 {formulation} lam={ratio} lambda_max: solve {seconds:.2f} s, "
                f"optimal set {set_seconds:.3f} s; {optima!r}"
            )
            target("times as long as find_optimal_set", seconds / set_seconds, 10)


BENCHES = {"pruning": bench_pruning, "ranges": bench_ranges, "diabetes": bench_diabetes}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHES:
        BENCHES[name]()
    if missed:
        sys.exit("missed: " + "; ".join(missed))
