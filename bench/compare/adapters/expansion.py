"""The dense matrix [D_1 X ... D_P X] for solvers that know nothing of masks."""

from __future__ import annotations

import numpy as np

from bench.compare.protocol import Skip, Task


def expand(task: Task) -> np.ndarray:
    """(n, P d), Fortran order; gated problems only, since these solvers have no cones."""
    if task.formulation != "gated":
        raise Skip("no conic constraints")
    n, d = task.X.shape
    n_patterns = task.masks.shape[1]
    task.require_memory(8 * n * n_patterns * d, "the dense expansion")
    expanded = np.empty((n, n_patterns * d), order="F")
    for i in range(n_patterns):
        expanded[:, i * d : (i + 1) * d] = np.where(task.masks[:, [i]], task.X, 0.0)
    return expanded
