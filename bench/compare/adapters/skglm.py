"""skglm: block coordinate descent, working sets, Anderson acceleration (Bertrand et al. 2022).

Compiled at first use; a warm-up on a few rows keeps that out of the clock, as part of startup.
"""

from __future__ import annotations

import warnings

import numpy as np
from numba import float64, njit
from skglm.datafits import QuadraticGroup
from skglm.penalties import WeightedGroupL2
from skglm.solvers import GroupBCD
from skglm.utils.data import grp_converter
from skglm.utils.jit_compilation import compiled_clone

from bench.compare.adapters.expansion import expand
from bench.compare.protocol import Recorder, Task, run

TOLS = 10.0 ** -np.arange(2, 15)


class CachedQuadraticGroup(QuadraticGroup):
    """The datafit, with its Lipschitz constants computed once and not once per lam."""

    def __init__(self, grp_ptr: np.ndarray, grp_indices: np.ndarray, lipschitz: np.ndarray) -> None:
        self.grp_ptr, self.grp_indices, self.lipschitz = grp_ptr, grp_indices, lipschitz

    def get_spec(self) -> tuple:
        return (*QuadraticGroup.get_spec(self), ("lipschitz", float64[:]))

    def params_to_dict(self) -> dict:
        return {**QuadraticGroup.params_to_dict(self), "lipschitz": self.lipschitz}

    def get_lipschitz(self, X: np.ndarray, _: np.ndarray) -> np.ndarray:
        if len(self.lipschitz) == 0:
            self.lipschitz = group_lipschitz(X, self.grp_ptr, self.grp_indices)
        return self.lipschitz


@njit
def group_lipschitz(X: np.ndarray, grp_ptr: np.ndarray, grp_indices: np.ndarray) -> np.ndarray:
    constants = np.zeros(len(grp_ptr) - 1)
    for g in range(len(constants)):
        columns = X[:, grp_indices[grp_ptr[g] : grp_ptr[g + 1]]]
        constants[g] = np.linalg.norm(columns, ord=2) ** 2 / len(X)
    return constants


class Path:
    """The grid on one expanded matrix, each lam warm-started by the one before."""

    def __init__(self, expanded: np.ndarray, y: np.ndarray, d: int, lams: np.ndarray) -> None:
        self._X, self._y, self._lams = expanded, y, lams
        n_features = expanded.shape[1]
        indices, pointers = grp_converter(d, n_features)
        ones = np.ones(n_features // d)
        self._datafit = compiled_clone(CachedQuadraticGroup(pointers, indices, np.zeros(0)))
        self._penalty = compiled_clone(WeightedGroupL2(1.0, ones, pointers, indices))

    def solve(self, tol: float) -> list[np.ndarray]:
        """tol bounds the distance to the subdifferential, relative to lam."""
        w, fitted = np.zeros(self._X.shape[1]), np.zeros(len(self._y))
        self._datafit.lipschitz = np.zeros(0)
        path = []
        for lam in self._lams:
            self._penalty.alpha = float(lam)
            solver = GroupBCD(max_iter=1000, max_epochs=10_000, tol=tol * float(lam))
            w = solver.solve(self._X, self._y, self._datafit, self._penalty, w, fitted)[0]
            path.append(w.copy())
        return path


def solve(task: Task, recorder: Recorder) -> None:
    warnings.simplefilter("ignore")  # not converged: the gap says so
    d = task.X.shape[1]
    with recorder.modelling():
        expanded = expand(task)
        path = Path(expanded, task.y, d, task.lams)
    Path(np.asfortranarray(expanded[:20, : 2 * d]), task.y[:20], d, task.lams[:1]).solve(1e-2)
    recorder.ready()
    for tol in TOLS:
        recorder.measure(f"tol={tol:.0e}", lambda tol=tol: path.solve(tol), task.points)


if __name__ == "__main__":
    run(solve, "skglm", "numba", "numpy")
