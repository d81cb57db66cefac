"""This library's answer to descent: solve_global, timed to a given objective and at a given time.

Prints two lines of JSON: the CPU seconds until an objective was not above `target`, and the
objective after `seconds` of CPU or at the end. Every objective is recomputed here from the weights
with the ReLU itself; what is proven over all patterns is quoted beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

import convexrelu
from bench import data


def objective(solution: convexrelu.Solution, X: np.ndarray, y: np.ndarray, lam: float) -> float:
    """1/(2n) ||sum_b s (X w_b)_+ - y||^2 + lam sum ||w_b||."""
    signs = solution.active_set[:, 1]
    residual = y - np.maximum(X @ solution.weights.T, 0.0) @ signs
    penalty = np.linalg.norm(solution.weights, axis=1).sum()
    return float(residual @ residual / (2 * len(y)) + lam * penalty)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("lam", type=float)
    parser.add_argument("--target", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    _, X, y, _ = data.load(args.dataset)

    def report(target: float, *, certify: bool) -> None:
        start = time.process_time()

        def is_enough(progress: convexrelu.Progress) -> bool:
            return progress.objective <= target or time.process_time() - start >= args.seconds

        solution = convexrelu.solve_global(
            X,
            y,
            args.lam,
            tol=1e-9,
            certify=certify,
            rng=args.seed,
            n_threads=args.threads,
            callback=is_enough,
        )
        facts = {
            "cpu": time.process_time() - start,
            "objective": objective(solution, X, y, args.lam),
            "global_lower_bound": solution.global_lower_bound,
            "n_neurons": len(solution.weights),
            "status": str(solution.status),
        }
        print(json.dumps(facts), flush=True)

    report(args.target, certify=False)
    report(-math.inf, certify=True)


if __name__ == "__main__":
    main()
