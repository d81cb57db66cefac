"""One yardstick for every solver: the duality gap of a point, from the data and the weights alone.

    X (n, d)   y (n,)   masks (n, P)   b = (i, s) a block   w_b (d,)
    K_i = {u : (2 D_i - I) X u >= 0}, or all of R^d in the gated formulation

    primal(w) = 1/(2n) ||y - sum_b s D_i X w_b||^2 + lam sum_b ||w_b||     where w_b in K_i
    dual(theta) = y . theta - n/2 ||theta||^2     where ||Proj_{K_i}(s X' D_i theta)|| <= lam

The dual point is the residual of w, scaled: theta = kappa r / n with the best feasible kappa.
Nothing of a solver is used, neither its dual variables nor its objective, and nothing of this
project's library: plain numpy, slow and obvious. Points of the relu problem are first projected
onto their cones; how far they were outside is reported beside the gap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TOL = 1e-13  # rows of unit length: u is in the cone when C u >= -TOL ||u||


class Instance(NamedTuple):
    """A training problem over a fixed list of patterns, without lam."""

    X: np.ndarray
    y: np.ndarray
    masks: np.ndarray
    formulation: str  # "gated" or "relu"

    @property
    def signs(self) -> tuple[int, ...]:
        return (1, -1) if self.formulation == "relu" else (1,)

    def cone(self, pattern: int) -> np.ndarray:
        """Rows of unit length (zero rows left out) whose half spaces make K_pattern."""
        rows = np.where(self.masks[:, [pattern]], self.X, -self.X)
        norms = np.linalg.norm(rows, axis=1)
        return rows[norms > 0] / norms[norms > 0, None]


class Score(NamedTuple):
    primal: float
    dual: float
    gap: float  # (primal - dual) / primal
    violation: float  # before projection: max -x_k . w / (||x_k|| max ||w||) over blocks and rows
    n_active: int


def score(instance: Instance, lam: float, blocks: np.ndarray, weights: np.ndarray) -> Score:
    """The certificate of the point with weights (k, d) on blocks (k, 2: pattern, sign)."""
    nonzero = np.any(weights != 0, axis=1)
    blocks, weights = blocks[nonzero], weights[nonzero]
    if not np.isfinite(weights).all():
        return Score(np.inf, -np.inf, np.inf, np.inf, len(weights))
    violation = 0.0
    if instance.formulation == "relu":
        weights, violation = _project_weights(instance, blocks, weights)
    residual = instance.y - fitted(instance, blocks, weights)
    n = len(residual)
    primal = residual @ residual / (2 * n) + lam * np.linalg.norm(weights, axis=1).sum()
    dual = _dual_value(instance, lam, residual)
    gap = (primal - dual) / primal if primal > 0 else 0.0
    return Score(float(primal), float(dual), float(gap), violation, len(weights))


def fitted(instance: Instance, blocks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sum_b s D_i X w_b, in chunks of blocks so that no (n, P) float array is held."""
    total = np.zeros(len(instance.X))
    for chunk in _chunks(len(blocks)):
        masks = instance.masks[:, blocks[chunk, 0]]
        total += np.where(masks, instance.X @ weights[chunk].T, 0.0) @ blocks[chunk, 1]
    return total


def lambda_max(instance: Instance) -> float:
    """The least lam at which the zero network is optimal."""
    return _largest_projection(instance, instance.y, 0.0)


def project_onto_cone(rows: np.ndarray, c: np.ndarray, short: float = 0.0) -> np.ndarray:
    """The projection of c onto {u : rows u >= 0}, rows of unit length.

    It is q = c + rows_F' rho with rho >= 0 the non-negative least squares solution of min ||q||,
    found by the active set method of Lawson and Hanson (1974). The result always has this form, so
    ||q|| bounds the length of the projection from above even where rounding stops the search early.
    It falls from step to step, and the search ends as soon as it is not above `short`.
    """
    if len(rows) == 0:
        return c
    length = np.linalg.norm(c)
    face: list[int] = []
    rho = np.zeros(0)
    refused: set[int] = set()  # rows that would leave the face at once: dependent on it
    q = c
    for _ in range(10 * len(c) + 100):
        slack = rows @ q
        slack[face + list(refused)] = 0.0
        worst = int(np.argmin(slack))
        if slack[worst] >= -TOL * length or np.linalg.norm(q) <= short:
            break
        trial, multipliers = _extend_face(rows, c, face, rho, worst)
        if worst not in trial:
            refused.add(worst)
            continue
        candidate = c + rows[trial].T @ multipliers
        if np.linalg.norm(candidate) >= np.linalg.norm(q):  # no descent left above rounding
            refused.add(worst)
            continue
        face, rho, q = trial, multipliers, candidate
        refused.clear()
    return q


def _extend_face(
    rows: np.ndarray, c: np.ndarray, face: list[int], rho: np.ndarray, row: int
) -> tuple[list[int], np.ndarray]:
    """Adds `row` to the face and drops the rows whose multipliers reach zero on the way."""
    face, rho = [*face, row], np.append(rho, 0.0)
    while face:
        target = np.linalg.lstsq(rows[face].T, -c, rcond=None)[0]
        if (target > 0).all():
            return face, target
        falling = target <= 0
        steps = np.full(len(face), np.inf)
        moving = falling & (rho > 0)
        steps[falling] = 0.0
        steps[moving] = rho[moving] / (rho[moving] - target[moving])
        step = steps.min()
        rho = rho + step * (target - rho)
        keep = ~(falling & (steps <= step))
        face, rho = [k for k, kept in zip(face, keep, strict=True) if kept], rho[keep]
    return face, rho


def _project_weights(
    instance: Instance, blocks: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    projected = weights.copy()
    largest = np.linalg.norm(weights, axis=1).max(initial=0.0)
    violation = 0.0
    for j, pattern in enumerate(blocks[:, 0]):
        rows = instance.cone(pattern)
        outside = -(rows @ weights[j]).min(initial=0.0)
        if outside > 0:
            violation = max(violation, outside / largest)
            projected[j] = project_onto_cone(rows, weights[j])
    return projected, float(violation)


def _dual_value(instance: Instance, lam: float, residual: np.ndarray) -> float:
    n, square = len(residual), residual @ residual
    if square == 0:
        return 0.0
    limit = lam / max(_largest_projection(instance, residual, lam), lam)
    kappa = np.clip(instance.y @ residual / square, 0.0, limit)
    return (2 * kappa * (instance.y @ residual) - kappa**2 * square) / (2 * n)


def _largest_projection(instance: Instance, residual: np.ndarray, floor: float) -> float:
    """max_b ||Proj_{K_i}(s X' D_i r / n)||; where that is below `floor`, anything below `floor`."""
    largest = 0.0
    for chunk in _chunks(instance.masks.shape[1]):
        masked = np.where(instance.masks[:, chunk], residual[:, None], 0.0)
        correlations = (instance.X.T @ masked).T / len(residual)
        if instance.formulation == "gated":
            largest = max(largest, np.linalg.norm(correlations, axis=1).max())
            continue
        lengths = np.linalg.norm(correlations, axis=1)
        for j in np.argsort(-lengths):
            if lengths[j] <= max(largest, floor):
                break
            rows = instance.cone(chunk.start + j)
            for sign in instance.signs:
                q = project_onto_cone(rows, sign * correlations[j], max(largest, floor))
                largest = max(largest, np.linalg.norm(q))
    return float(largest)


def _chunks(count: int, size: int = 256) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
