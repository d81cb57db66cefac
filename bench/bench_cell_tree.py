"""Enumeration of all activation patterns: patterns per second, beside a tree of linear programs.

    python -m bench.bench_cell_tree [--lp]

Patterns per second of CPU on one thread and of wall clock on one and on two, bits written, of the
best of some runs; every count is checked. ``--lp`` adds the usual incremental enumeration (Rada &
Cerny 2018): a row at a time, two linear programs by HiGHS (scipy) for each cell found so far. A
sample of these programs is solved, and checked, and stands for all.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.optimize import linprog

from bench.compare import machine
from convexrelu import enumerate_patterns, max_pattern_count

SIZES = ((300, 3), (1000, 3), (100, 4), (250, 4), (60, 5), (90, 5), (35, 6))
LP_SIZES = ((50, 3), (30, 5))
LP_SHARE = 200  # one in so many linear programs is solved
REPEATS = 5


def general(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d))


def rates(X: np.ndarray, n_threads: int) -> tuple[float, float]:
    """Patterns per second of CPU and of wall clock."""
    count = max_pattern_count(*X.shape)
    best_cpu = best_wall = np.inf
    for _ in range(REPEATS):
        cpu, wall = time.process_time(), time.perf_counter()
        patterns = enumerate_patterns(X, max_patterns=count, n_threads=n_threads)
        best_cpu = min(best_cpu, time.process_time() - cpu)
        best_wall = min(best_wall, time.perf_counter() - wall)
        assert len(patterns) == count
    return count / best_cpu, count / best_wall


def lp_rate(X: np.ndarray) -> float:
    """Cells per second of CPU; two linear programs decide on which sides of a row a cell lies."""
    rng = np.random.default_rng(0)
    n, d = X.shape
    zero = np.zeros(d)
    seconds = 0.0
    masks = enumerate_patterns(X[:1]).masks
    for k in range(1, n):
        longer = enumerate_patterns(X[: k + 1]).masks
        cells = {mask.tobytes() for mask in longer.T}
        n_solved = -(-masks.shape[1] // LP_SHARE)
        spent = 0.0
        for i in rng.choice(masks.shape[1], n_solved, replace=False):
            mask = np.append(masks[:, i], rng.random() < 0.5)
            start = time.process_time()
            rows = -np.where(mask, 1.0, -1.0)[:, None] * X[: k + 1]
            exists = linprog(zero, rows, -np.ones(k + 1), bounds=(None, None)).status == 0
            spent += time.process_time() - start
            assert exists == (mask.tobytes() in cells)
        # One half of the cells mirrors the other, and each asks for two programs.
        seconds += spent / n_solved * masks.shape[1]
        masks = longer
    return masks.shape[1] / seconds


def main() -> None:
    print(machine.headline())
    names = ("CPU, 1", "wall, 1", "wall, 2")
    print(f"{'n':>5}{'d':>3}{'patterns':>12}" + "".join(f"{x:>12}" for x in names) + "  ratio")
    for n, d in SIZES:
        (cpu, one), (_, two) = (rates(general(n, d), n_threads) for n_threads in (1, 2))
        columns = "".join(f"{x / 1e6:10.2f} M" for x in (cpu, one, two))
        print(f"{n:5}{d:3}{max_pattern_count(n, d):12}{columns}{two / one:7.2f}", flush=True)
    if "--lp" in sys.argv[1:]:
        for n, d in LP_SIZES:
            X = general(n, d)
            tree, lp = rates(X, 1)[0], lp_rate(X)
            print(
                f"{n:5}{d:3}  per second of CPU: tree {tree:.3g}, linear programs {lp:.3g}:"
                f" {tree / lp:.0f} times",
                flush=True,
            )


if __name__ == "__main__":
    main()
