"""Enumeration of all activation patterns: patterns per second, beside a tree of linear programs.

    python -m bench.bench_cell_tree [--lp]

Wall-clock rates on one and on two threads, bits written, of the best of some runs; every count is
checked. ``--lp`` adds the usual incremental enumeration (Rada & Cerny 2018): a row at a time, two
linear programs by HiGHS for each cell found so far, and takes some minutes.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.optimize import linprog

from convexrelu import enumerate_patterns, max_pattern_count

SIZES = ((300, 3), (1000, 3), (100, 4), (250, 4), (60, 5), (90, 5), (35, 6))
LP_SIZES = ((50, 3), (30, 5))
REPEATS = 5


def general(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d))


def rate(X: np.ndarray, n_threads: int) -> float:
    """Patterns per second."""
    count = max_pattern_count(*X.shape)
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        patterns = enumerate_patterns(X, max_patterns=count, n_threads=n_threads)
        best = min(best, time.perf_counter() - start)
        assert len(patterns) == count
    return count / best


def lp_rate(X: np.ndarray) -> float:
    """Cells per second of CPU; two linear programs decide on which sides of a row a cell lies."""

    def exists(signs: np.ndarray) -> bool:
        rows = -signs[:, None] * X[: len(signs)]
        zero = np.zeros(X.shape[1])
        return bool(linprog(zero, rows, -np.ones(len(rows)), bounds=(None, None)).status == 0)

    start = time.process_time()
    cells = [np.ones(1)]  # one half; the other one mirrors it
    for _ in range(1, len(X)):
        cells = [
            longer for signs in cells for s in (1.0, -1.0) if exists(longer := np.append(signs, s))
        ]
    assert 2 * len(cells) == max_pattern_count(*X.shape)
    return 2 * len(cells) / (time.process_time() - start)


def main() -> None:
    print(f"{'n':>5}{'d':>3}{'patterns':>12}{'1 thread':>12}{'2 threads':>12}{'ratio':>7}")
    for n, d in SIZES:
        one, two = (rate(general(n, d), n_threads) for n_threads in (1, 2))
        print(
            f"{n:5}{d:3}{max_pattern_count(n, d):12}{one / 1e6:10.2f} M{two / 1e6:10.2f} M"
            f"{two / one:7.2f}"
        )
    if "--lp" in sys.argv[1:]:
        for n, d in LP_SIZES:
            X = general(n, d)
            tree, lp = rate(X, 1), lp_rate(X)
            print(
                f"{n:5}{d:3}  tree {tree:.3g}/s, linear programs {lp:.3g}/s: {tree / lp:.0f} times"
            )


if __name__ == "__main__":
    main()
