"""celer: working sets and dual extrapolation (Massias, Gramfort & Salmon 2018), dense expansion."""

from __future__ import annotations

import warnings

import numpy as np
from celer.homotopy import celer_path

from bench.compare.adapters.expansion import expand
from bench.compare.protocol import Recorder, Task, run

TOLS = 10.0 ** -np.arange(2, 15)


def solve(task: Task, recorder: Recorder) -> None:
    warnings.simplefilter("ignore")  # not converged: the gap says so
    with recorder.modelling():
        expanded = expand(task)
    d = task.X.shape[1]
    recorder.ready()
    for tol in TOLS:
        recorder.measure(
            f"tol={tol:.0e}",
            lambda tol=tol: celer_path(
                expanded,
                task.y,
                "grouplasso",
                alphas=task.lams,
                groups=d,
                weights=np.ones(task.masks.shape[1]),
                max_iter=1000,
                max_epochs=10**6,
                prune=True,
                tol=tol,
            )[1],
            lambda coefficients: task.points(coefficients.T),
        )


if __name__ == "__main__":
    run(solve, "celer", "numpy")
