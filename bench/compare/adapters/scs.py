"""SCS: operator splitting on one sparse factorisation (O'Donoghue et al. 2016), called directly."""

from __future__ import annotations

import numpy as np
import scs

from bench.compare.adapters.conic import ConicProgram, conic_program
from bench.compare.protocol import Recorder, Task, run

TOLS = 10.0 ** -np.arange(2, 13)


def solve(task: Task, recorder: Recorder) -> None:
    with recorder.modelling():
        program = conic_program(task)
    recorder.ready()
    n_weights = len(task.blocks) * task.X.shape[1]
    for tol in TOLS:
        recorder.measure(
            f"tol={tol:.0e}",
            lambda tol=tol: _solve(program, tol),
            lambda solution: task.points([solution["x"][:n_weights]]),
        )


def _solve(program: ConicProgram, tol: float) -> dict:
    return scs.SCS(
        {"P": program.P, "A": program.G, "b": program.b, "c": program.q},
        {"z": program.n_zero, "l": program.n_nonnegative, "q": program.second_order},
        eps_abs=tol,
        eps_rel=tol,
        max_iters=10**8,
        verbose=False,
    ).solve()


if __name__ == "__main__":
    run(solve, "scs", "scipy", "numpy")
