"""The training problem as a second-order cone program, the same for every conic solver.

Variables (w, t, r): all coefficients, a bound on the norm of each block, the residual.

    minimise   1/(2n) r'r + lam sum_b t_b
    subject to A w + r = y                   zero cone, n rows
               C_i w_b >= 0                  non-negative cone (relu), n rows a block
               (t_b, w_b) in the second-order cone, d + 1 rows a block

in the form min 1/2 z'Pz + q'z, b - Gz in the cones, which Clarabel and SCS share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from bench.compare.protocol import Skip, Task


class ConicProgram(NamedTuple):
    P: sp.csc_matrix  # upper triangle
    q: np.ndarray
    G: sp.csc_matrix
    b: np.ndarray
    n_zero: int
    n_nonnegative: int
    second_order: list[int]


def conic_program(task: Task) -> ConicProgram:
    if len(task.lams) > 1:
        raise Skip("no warm start along a grid")
    n, d = task.X.shape
    n_blocks = len(task.blocks)
    is_relu = task.formulation == "relu"
    task.require_memory(100 * n * d * n_blocks * (0.5 + is_relu), "the cone program")

    n_nonnegative = n * n_blocks if is_relu else 0
    columns = [sp.csc_matrix(s * np.where(task.masks[:, [i]], task.X, 0.0)) for i, s in task.blocks]
    equality = [sp.hstack(columns), sp.csc_matrix((n, n_blocks)), sp.identity(n)]
    rows = [sp.hstack(equality)]
    if is_relu:
        cones = [np.where(task.masks[:, [i]], -task.X, task.X) for i, _ in task.blocks]
        rows.append(sp.hstack([sp.block_diag(cones), sp.csc_matrix((n_nonnegative, n_blocks + n))]))
    rows.append(_norm_rows(n_blocks, d, n))

    n_variables = n_blocks * d + n_blocks + n
    q = np.zeros(n_variables)
    q[n_blocks * d : n_blocks * (d + 1)] = task.lams[0]
    quadratic = np.zeros(n_variables)
    quadratic[n_blocks * (d + 1) :] = 1.0 / n
    b = np.concatenate([task.y, np.zeros(n_nonnegative + n_blocks * (d + 1))])
    P = sp.diags(quadratic, format="csc")
    P.eliminate_zeros()
    return ConicProgram(
        P, q, sp.vstack(rows, format="csc"), b, n, n_nonnegative, [d + 1] * n_blocks
    )


def _norm_rows(n_blocks: int, d: int, n: int) -> sp.csc_matrix:
    """-(t_b, w_b) for each block, one after another."""
    first = (d + 1) * np.arange(n_blocks)
    coefficient_rows = (first[:, None] + np.arange(1, d + 1)).ravel()
    rows = np.concatenate([coefficient_rows, first])
    columns = np.arange(n_blocks * (d + 1))
    shape = (n_blocks * (d + 1), n_blocks * (d + 1) + n)
    return sp.csc_matrix((-np.ones(len(rows)), (rows, columns)), shape=shape)
