"""Certifying that no pattern is worth more than lam: CPU seconds to a relative bound of 1e-3.

    python -m bench.bench_pricing [n,d ...]

Data: Gaussian rows, a ReLU teacher of five neurons, noise; lam = 0.1 lambda_max. The residual is
that of the optimum over patterns that grow until a local search finds nothing above 1.001 lam.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from bench.compare import machine
from convexrelu import Problem, patterns_from_gates, price_patterns, solve

SIZES = ((1000, 4), (1000, 5), (500, 6), (1000, 6), (500, 7))
TOL = 1e-3


def planted(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d))
    teacher = np.maximum(X @ rng.standard_normal((d, 5)), 0) @ rng.standard_normal(5) / 2
    return X, teacher + 0.3 * rng.standard_normal(n)


def ascend(X: np.ndarray, r: np.ndarray, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best values on the way of u <- X'D r / ||X'D r|| from the columns of U, and where."""
    best, where = np.zeros(U.shape[1]), U
    for _ in range(30):
        U = U / np.maximum(np.linalg.norm(U, axis=0), 1e-300)
        C = X.T @ ((X @ U > 0) * r[:, None]) / len(r)
        F = (C * U).sum(axis=0)
        better = np.abs(F) > best
        best, where = np.where(better, np.abs(F), best), np.where(better, U, where)
        U = np.sign(F) * C
    return best, where


def optimal_residual(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    d = X.shape[1]
    gates = rng.standard_normal((d, 100))
    for _ in range(30):
        patterns = patterns_from_gates(X, gates)
        solution = solve(Problem(X, y, patterns), lam, tol=1e-7)
        w = solution.weights.T
        near = np.repeat(w, 10, axis=1) + 0.2 * np.linalg.norm(w, axis=0).repeat(
            10
        ) * rng.standard_normal((d, 10 * w.shape[1]))
        starts = np.column_stack([rng.standard_normal((d, 1000)), w, -w, near, -near])
        values, found = ascend(X, solution.residual, starts)
        if values.max() <= (1 + TOL) * lam:
            break
        order = np.argsort(-values)[:200]
        _, first = np.unique(X @ found[:, order] > 0, axis=1, return_index=True)
        new = order[np.sort(first)][:30]
        kept = np.unique(solution.active_set[:, 0])
        gates = np.column_stack([patterns.gates[:, kept], found[:, new[values[new] > lam]]])
    return solution.residual


def measure(n: int, d: int) -> str:
    X, y = planted(n, d)
    lam = 0.1 * price_patterns(X, y, tol=0.05, rng=0).value
    r = optimal_residual(X, y, lam)
    start, cpu = time.perf_counter(), time.process_time()
    priced = price_patterns(X, r, tol=TOL, rng=0)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    assert priced.is_exact
    assert priced.value <= priced.upper_bound <= (1 + 1.01 * TOL) * priced.value
    start = time.perf_counter()
    assert price_patterns(X, r, tol=TOL, rng=0, n_threads=2).value == priced.value
    seconds = (cpu, wall, time.perf_counter() - start)
    found = (priced.value / lam, priced.upper_bound / lam)
    return (
        f"{n:6}{d:3}"
        + "".join(f"{x:12.6f}" for x in found)
        + "".join(f"{x:12.3f}" for x in seconds)
    )


def main() -> None:
    print(machine.headline())
    sizes = [tuple(map(int, size.split(","))) for size in sys.argv[1:]] or SIZES
    names = ("value/lam", "bound/lam", "CPU s", "wall s", "2 threads")
    print(f"{'n':>6}{'d':>3}" + "".join(f"{x:>12}" for x in names))
    for n, d in sizes:
        print(measure(n, d), flush=True)


if __name__ == "__main__":
    main()
