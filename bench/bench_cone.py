"""Projections onto the cones of random patterns: microseconds each, cold and warm, beside NNLS.

    python -m bench.bench_cone [dataset ...]

Cold starts from no face, warm from the right one (as at the end of a solve: what remains is one
product with all normals). Every projection is checked before its time counts; `wrong` counts the
answers of scipy.optimize.nnls, which solves the dual problem, that are off by more than 1e-8.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

from bench import data
from convexrelu._core import ConeProjector, find_hyperplanes

DATASETS = ("iris", "diabetes", "breast-cancer-wisconsin", "concrete", "digits-even-odd")
N_PATTERNS = 30
REPEATS = 5


def microseconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the least of some."""
    best = np.inf
    for _ in range(REPEATS):
        start = time.thread_time_ns()
        work()
        best = min(best, time.thread_time_ns() - start)
    return best / 1e3


def measure(name: str) -> str:
    dataset = data.load(name)
    X, y = dataset.X, dataset.y
    n, d = X.shape
    normals = find_hyperplanes(X).normals
    projector = ConeProjector(normals)
    rng = np.random.default_rng(0)
    cold, warm, peer, faces, steps, wrong = [], [], [], [], [], 0
    for gate in rng.standard_normal((N_PATTERNS, d)):
        sigma = np.where(normals.T @ gate >= 0, 1, -1).astype(np.int8)
        c = X.T @ ((X @ gate >= 0) * y) / n
        p = projector.project(sigma, c, [], -1.0)
        assert p.converged
        projector.project(sigma, c, p.face, -1.0)  # its factorisation stays
        warm.append(microseconds(lambda s=sigma, c=c, f=p.face: projector.project(s, c, f, -1.0)))
        cold.append(microseconds(lambda s=sigma, c=c: projector.project(s, c, [], -1.0)))
        rows = sigma[:, None] * normals.T
        peer.append(microseconds(lambda rows=rows, c=c: nnls(rows.T, -c)))
        q = c + nnls(rows.T, -c)[0] @ rows
        wrong += bool(np.linalg.norm(q - p.q) > 1e-8 * np.linalg.norm(c))
        faces.append(len(p.face))
        steps.append(p.n_steps)
    columns = (np.mean(faces), np.mean(steps), np.mean(cold), np.mean(warm), np.mean(peer))
    return (
        f"{name:26}{normals.shape[1]:6}{d:5}" + "".join(f"{x:9.1f}" for x in columns) + f"{wrong:7}"
    )


def main() -> None:
    columns = ("|F|", "steps", "cold us", "warm us", "nnls us")
    print(f"{'':26}{'h':>6}{'d':>5}" + "".join(f"{x:>9}" for x in columns) + "  wrong")
    for name in sys.argv[1:] or DATASETS:
        try:
            print(measure(name))
        except data.MissingData as missing:
            print(f"{name:26} skipped: {missing}")


if __name__ == "__main__":
    main()
