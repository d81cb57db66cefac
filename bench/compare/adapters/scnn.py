"""scnn: accelerated proximal gradients (R-FISTA) and an augmented Lagrangian (Mishkin et al. 2022).

On a CPU it computes with numpy; the precision is that of X and of `dtype`, both. Its solvers take a
callback but its front door does not pass one; it is slipped in where the front door builds the
solver. Units of columns are left alone (`unitize_data=False`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scnn.optimize
import torch
from scnn.metrics import Metrics
from scnn.models import ConvexGatedReLU, ConvexReLU
from scnn.regularizers import NeuronGL1
from scnn.solvers import AL, RFISTA

from bench.compare.protocol import Point, Recorder, Skip, Task, run

FOREVER = 10**9
AL_TOLS = (1e-4, 1e-6, 1e-8)  # squared norms; a looser one ends early, a tighter one stays inside


def solve(task: Task, recorder: Recorder, dtype: str = "float64") -> None:
    if len(task.lams) > 1:
        raise Skip("grids: its path has no gap to stop at")
    torch.set_num_threads(task.threads)
    recorder.ready()
    if task.formulation == "gated":
        recorder.trace(
            f"R-FISTA {dtype}",
            lambda tick: _train(task, partial(RFISTA, max_iters=FOREVER, tol=0.0), tick, dtype),
            lambda model: _points(task, model),
        )
        return
    for tol in AL_TOLS:
        build = partial(
            AL, max_primal_iters=FOREVER, max_dual_iters=FOREVER, tol=tol, constraint_tol=tol
        )
        recorder.trace(
            f"AL {dtype} tol={tol:.0e}",
            lambda tick, build=build: _train(task, build, tick, dtype),
            lambda model: _points(task, model),
        )


def _train(task: Task, build: Callable[[Any], Any], tick: Callable[[Any], None], dtype: str) -> Any:
    """Runs scnn's optimiser to its end; returns its internal model."""
    last = None

    def callback(model: Any, *_: Any) -> Any:
        nonlocal last
        last = model
        tick(model)
        return model

    original = scnn.optimize.build_optimizer
    scnn.optimize.build_optimizer = lambda *arguments: partial(
        original(*arguments), callback=callback
    )
    try:
        convex = ConvexReLU if task.formulation == "relu" else ConvexGatedReLU
        model = convex(task.gates)
        scnn.optimize.optimize_model(
            model,
            build(model),
            Metrics(objective=False, grad_norm=False, time=False),
            task.X.astype(dtype),
            task.y.astype(dtype),
            regularizer=NeuronGL1(float(task.lams[0])),
            return_convex=True,
            unitize_data=False,
            dtype=dtype,
        )
    finally:
        scnn.optimize.build_optimizer = original
    return last


def _points(task: Task, model: Any) -> list[Point]:
    """Its gates are a subset of ours in another order, at its precision."""
    precision = np.asarray(model.U).dtype
    ours = {gate.tobytes(): i for i, gate in enumerate(task.gates.T.astype(precision))}
    patterns = np.array([ours[gate.tobytes()] for gate in np.asarray(model.U).T])
    weights = np.asarray(model.weights, dtype=float).reshape(len(task.signs), len(patterns), -1)
    blocks = [np.column_stack([patterns, np.full_like(patterns, s)]) for s in task.signs]
    return [(np.vstack(blocks), np.vstack(list(weights)))]


if __name__ == "__main__":
    run(solve, "pyscnn", "torch", "numpy")
