"""This library, through its public contract, under the same clock as everybody else."""

from __future__ import annotations

import numpy as np

import convexrelu
from bench.compare.protocol import Point, Recorder, Task, run

TOLS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)


def solve(task: Task, recorder: Recorder) -> None:
    with recorder.modelling():
        patterns = convexrelu.patterns_from_gates(task.X, task.gates)
        problem = convexrelu.Problem(task.X, task.y, patterns, formulation=task.formulation)
    if not np.array_equal(patterns.masks, task.masks):
        raise ValueError("the gates give other patterns than those of the problem")
    recorder.ready()
    for tol in TOLS:
        recorder.measure(
            f"tol={tol:.0e}",
            lambda tol=tol: _grid(problem, task.lams, tol, task.threads),
            _points,
        )


def _grid(
    problem: convexrelu.Problem, lams: np.ndarray, tol: float, threads: int
) -> list[convexrelu.Solution]:
    solutions: list[convexrelu.Solution] = []
    for lam in lams:
        warm_start = solutions[-1] if solutions else None
        solutions.append(
            convexrelu.solve(problem, float(lam), tol=tol, warm_start=warm_start, n_threads=threads)
        )
    return solutions


def _points(solutions: list[convexrelu.Solution]) -> list[Point]:
    return [(solution.active_set, solution.weights) for solution in solutions]


if __name__ == "__main__":
    run(solve, "convexrelu", "numpy")
