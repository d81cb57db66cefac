"""This library, through its public contract, under the same clock as everybody else."""

from __future__ import annotations

import time

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
            lambda tol=tol: _grid(problem, task, tol),
            _points,
        )


def _grid(problem: convexrelu.Problem, task: Task, tol: float) -> list[convexrelu.Solution]:
    """Each lam warm-started by the one before; what the time limit cuts short still counts."""
    deadline = time.process_time() + 0.9 * task.time_limit
    solutions: list[convexrelu.Solution] = []
    for lam in task.lams:
        solutions.append(
            convexrelu.solve(
                problem,
                float(lam),
                tol=tol,
                warm_start=solutions[-1] if solutions else None,
                time_limit=max(deadline - time.process_time(), 1e-3),
                n_threads=task.threads,
            )
        )
    return solutions


def _points(solutions: list[convexrelu.Solution]) -> list[Point]:
    return [(solution.active_set, solution.weights) for solution in solutions]


if __name__ == "__main__":
    run(solve, "convexrelu", "numpy")
