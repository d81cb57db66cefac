"""What solve_global reaches, and when: objective against CPU seconds, one thread.

    python -m bench.bench_global_solver [--seconds 10] [dataset ...]

Every objective is recomputed from the weights with the ReLU itself. `best known`
are the lowest values that any method has reached here in long runs; they are no bounds.
The last lines are problems whose optimum is certified, with the bound over all patterns.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from bench import data
from bench.compare.growth import objective
from convexrelu import Progress, solve_global

# dataset: (lam, best known)
PROBLEMS = {
    "diabetes": ((0.061742, 0.2848278928), (0.006174, 0.1752461)),
    "concrete": ((0.0566135, 0.2298261428), (0.00566135, 0.0810734)),
    "pima": ((0.0600094, 0.3518882923), (0.00600094, 0.260703)),
    "energy-heating": ((0.0932102, 0.1406941005), (0.00932102, 0.0400883434)),
    "ionosphere": ((0.0938208, 0.2239423794), (0.00938208, 0.0639146)),
}
MARKS = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


def grow(name: str, lam: float, best_known: float, seconds: float) -> None:
    """The objective at each mark, and the answer after `seconds` of CPU time."""
    _, X, y, _ = data.load(name)
    marks: dict[float, float] = {}
    start = time.process_time()

    def record(progress: Progress) -> bool:
        spent = time.process_time() - start
        for mark in MARKS:
            if spent <= mark:
                marks[mark] = progress.objective
        return spent > seconds

    solution = solve_global(X, y, lam, tol=1e-9, certify=False, rng=0, callback=record)
    spent = time.process_time() - start
    value = objective(solution, X, y, lam)
    assert abs(value - solution.objective) <= 1e-9 * value
    print(
        f"{name} lam={lam:g}: {value:.10f} after {spent:.2f} s (best known {best_known:.10f}), "
        f"{len(solution.weights)} neurons, {solution.status}"
    )
    print("   " + "  ".join(f"{mark:g} s {marks[mark]:.7f}" for mark in MARKS if mark in marks))


def certify(name: str, X: np.ndarray, y: np.ndarray, lam: float) -> None:
    """Time to a gap of 1e-4 over all patterns."""
    start = time.process_time()
    solution = solve_global(X, y, lam, tol=1e-4, rng=0)
    spent = time.process_time() - start
    value = objective(solution, X, y, lam)
    assert abs(value - solution.objective) <= 1e-9 * value
    print(
        f"{name} lam={lam:g}: {value:.8f}, bound {solution.global_lower_bound:.8f}, "
        f"{solution.status} in {spent:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    for name in args.datasets:
        try:
            for lam, best_known in PROBLEMS[name]:
                grow(name, lam, best_known, args.seconds)
        except data.MissingData as missing:
            print(f"{name} skipped: {missing}")
    planted = data.planted(200, 4)
    certify("planted 200x4", planted.X, planted.y, 0.03)
    _, X, y, _ = data.load("diabetes")
    certify("diabetes bmi s5 bp bias", X[:, [2, 8, 3, 10]], y, 0.03)


if __name__ == "__main__":
    main()
