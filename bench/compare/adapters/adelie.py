"""adelie: group elastic net by block coordinate descent on screened groups (Yang & Hastie 2024).

Its ReLU matrices keep X and the masks apart, so nothing is expanded; the relu problem takes one
linear constraint per block. Defaults that would spoil the comparison are switched off: the
intercept, penalties of sqrt(group size), and stopping early on explained deviance.
"""

from __future__ import annotations

import logging

import adelie as ad
import numpy as np

from bench.compare.protocol import Recorder, Task, run

TOLS = 10.0 ** -np.array([4, 6, 8, *range(9, 25)])  # bounds the change of an epoch, not the gap


def solve(task: Task, recorder: Recorder) -> None:
    ad.logger.logger.setLevel(logging.ERROR)
    n_blocks, d = len(task.blocks), task.X.shape[1]
    with recorder.modelling():
        matrix = ad.matrix.convex_relu(
            task.X, task.masks, gated=task.formulation == "gated", n_threads=task.threads
        )
        constraints = _cones(task) if task.formulation == "relu" else None
    recorder.ready()
    for tol in TOLS:
        recorder.measure(
            f"tol={tol:.0e}",
            lambda tol=tol: ad.grpnet(
                matrix,
                ad.glm.gaussian(task.y),
                constraints=constraints,
                groups=d * np.arange(n_blocks),
                penalty=np.ones(n_blocks),
                lmda_path=task.lams,
                intercept=False,
                early_exit=False,
                adev_tol=1.0,
                ddev_tol=0.0,
                tol=tol,
                max_iters=10**9,
                n_threads=task.threads,
                progress_bar=False,
            ),
            lambda state: task.points(state.betas.toarray()),
        )


def _cones(task: Task) -> list:
    n = len(task.X)
    rows = [np.asfortranarray(np.where(mask[:, None], task.X, -task.X)) for mask in task.masks.T]
    return [
        ad.constraint.linear(rows[pattern], lower=np.zeros(n), upper=np.full(n, np.inf))
        for pattern, _ in task.blocks
    ]


if __name__ == "__main__":
    run(solve, "adelie", "numpy")
