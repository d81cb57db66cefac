"""The projection onto activation cones, against its definition and against other solvers."""

from __future__ import annotations

import itertools
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import nnls

from convexrelu._core import ConeProjector, Projection, find_hyperplanes

Array = NDArray[np.float64]
TOLERANCE = 1e-12
# Everything from exact ties to generic data; subnormals lose digits before they get here.
ENTRIES = {
    "integers": st.integers(-2, 2).map(float),
    "binary": st.integers(0, 1).map(float),
    "floats": st.floats(-1e3, 1e3, allow_subnormal=False),
}


@st.composite
def cones(draw: Any, max_rows: int = 30, max_features: int = 6) -> tuple[Array, Array, Array]:
    """Normals (d, h) of data, the sides of a gate or any sides, and a point."""
    entries = ENTRIES[draw(st.sampled_from(sorted(ENTRIES)))]
    n, d = draw(st.integers(1, max_rows)), draw(st.integers(1, max_features))
    planes = find_hyperplanes(draw(arrays(float, (n, d), elements=entries)))
    h = planes.normals.shape[1]
    if draw(st.booleans()):
        gate = draw(arrays(float, d, elements=st.integers(-3, 3).map(float)))
        sigma = np.where(planes.normals.T @ gate >= 0, 1, -1)
    else:
        sigma = draw(arrays(np.int8, h, elements=st.integers(-1, 1)))
    c = draw(
        arrays(
            float,
            d,
            elements=st.sampled_from([ENTRIES["integers"], ENTRIES["floats"]]).flatmap(lambda e: e),
        )
    )
    return planes.normals, sigma.astype(np.int8), c


def project(normals: Array, sigma: Array, c: Array, threshold: float = -1.0) -> Projection:
    return ConeProjector(normals).project(sigma, c, [], threshold)


def cone(normals: Array, sigma: Array) -> Array:
    """Rows C with K = {u : C u >= 0}: an equality is two of them."""
    rows, both = sigma[:, None] * normals.T, normals.T[sigma == 0]
    return np.concatenate([rows[sigma != 0], both, -both])


def kkt_error(normals: Array, sigma: Array, c: Array, p: Projection) -> float:
    """Violation of Moreau's conditions, by numpy, relative to ||c|| + sum |tau|."""
    tau = np.array(p.multipliers)
    face_normals = normals[:, p.face]
    errors = [
        np.linalg.norm(p.q - c - face_normals @ tau),
        np.abs(face_normals.T @ p.q).max(initial=0.0),
        -(sigma[p.face] * tau).min(initial=0.0),
        -(cone(normals, sigma) @ p.q).min(initial=0.0),
    ]
    scale = np.linalg.norm(c) + np.abs(tau).sum()
    return max(errors) / scale if scale > 0 else max(errors)


@given(cones())
def test_moreau(case: tuple[Array, Array, Array]) -> None:
    normals, sigma, c = case
    p = project(normals, sigma, c)
    assert p.converged
    assert p.kkt_error <= TOLERANCE
    assert kkt_error(normals, sigma, c, p) <= TOLERANCE
    assert p.norm == pytest.approx(np.linalg.norm(p.q), rel=1e-14)
    assert np.linalg.matrix_rank(normals[:, p.face]) == len(p.face)
    # The weights of a solution lie in their cone to this, relative to their own size.
    violation = -(cone(normals, sigma) @ p.q).min(initial=0.0)
    assert violation <= TOLERANCE * max(p.norm, 1e-8 * np.linalg.norm(c))


@given(cones(max_rows=8, max_features=4))
def test_nearest_point(case: tuple[Array, Array, Array]) -> None:
    """Of the projections of c onto all faces q is the nearest that is feasible."""
    normals, sigma, c = case
    rows = cone(normals, sigma)
    best = np.zeros_like(c)
    for size in range(1 + normals.shape[1]):
        for face in itertools.combinations(range(normals.shape[1]), size):
            u, singular_values, _ = np.linalg.svd(normals[:, face], full_matrices=False)
            basis = u[:, singular_values > 1e-9]
            candidate = c - basis @ (basis.T @ c)
            feasible = (rows @ candidate >= -1e-9 * np.linalg.norm(c)).all()
            if feasible and np.linalg.norm(candidate - c) < np.linalg.norm(best - c):
                best = candidate
    q = project(normals, sigma, c).q
    # Feasibility to 1e-9 moves the nearest point by the square root of it at most.
    assert np.linalg.norm(q - c) <= np.linalg.norm(best - c) + 1e-8 * np.linalg.norm(c)
    assert np.linalg.norm(best - c) <= np.linalg.norm(q - c) + 1e-8 * np.linalg.norm(c)


@given(cones(), st.floats(0, 1.1))
def test_threshold(case: tuple[Array, Array, Array], ratio: float) -> None:
    normals, sigma, c = case
    exact = project(normals, sigma, c)
    threshold = ratio * np.linalg.norm(c)
    p = project(normals, sigma, c, threshold)
    if p.stopped_early:
        assert exact.norm <= p.norm <= threshold
    else:
        assert p.norm == exact.norm
        assert exact.norm >= threshold * (1 - TOLERANCE) - 1e-13 * np.linalg.norm(c)


@given(cones(), st.data())
def test_any_start_ends_in_the_projection(
    case: tuple[Array, Array, Array], data: st.DataObject
) -> None:
    normals, sigma, c = case
    h = normals.shape[1]
    start = data.draw(st.lists(st.integers(0, max(h - 1, 0)), max_size=h, unique=True))
    p = ConeProjector(normals).project(sigma, c, start if h > 0 else [], -1.0)
    assert p.converged
    assert kkt_error(normals, sigma, c, p) <= TOLERANCE


def test_clarabel_agrees() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        X = rng.integers(-2, 3, size=(30, 5)).astype(float)
        normals = find_hyperplanes(X).normals
        sigma = np.where(normals.T @ rng.standard_normal(5) >= 0, 1, -1).astype(np.int8)
        c = rng.standard_normal(5)
        u = cp.Variable(5)
        program = cp.Problem(cp.Minimize(cp.sum_squares(u - c)), [cone(normals, sigma) @ u >= 0])
        # Strong convexity: an objective right to 1e-11 is a point right to 1e-5.
        program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        np.testing.assert_allclose(project(normals, sigma, c).q, u.value, atol=1e-5)


class TestCube:
    """The 3-cube with a column of ones: four hyperplanes meet wherever three do."""

    X = np.array([[*corner, 1.0] for corner in itertools.product([-1.0, 1.0], repeat=3)])
    normals = find_hyperplanes(X).normals

    def cells(self) -> Array:
        gates = np.random.default_rng(0).standard_normal((2000, 4))
        return np.unique(np.where(gates @ self.normals >= 0, 1, -1).astype(np.int8), axis=0)

    def test_where_nnls_is_wrong(self) -> None:
        """scipy.optimize.nnls 1.17.1 returns a point outside the cone, and says nothing."""
        sigma = np.where(self.normals[0] < 0, 1, -1).astype(np.int8)
        c = np.array([0.0, 1.0, 0.0, 0.0])
        p = project(self.normals, sigma, c)
        assert kkt_error(self.normals, sigma, c, p) <= 1e-15
        np.testing.assert_allclose(p.q, [-0.5, 0.5, 0, 0], atol=1e-15)

    def test_all_cells(self) -> None:
        cells = self.cells()
        assert len(cells) == 104  # threshold functions of three inputs
        wrong = 0
        for sigma in cells:
            rows = cone(self.normals, sigma)
            for c in itertools.product([-1.0, 0.0, 1.0], repeat=4):
                c = np.array(c)
                p = project(self.normals, sigma, c)
                assert p.converged
                assert kkt_error(self.normals, sigma, c, p) <= TOLERANCE
                rho, _ = nnls(rows.T, -c)
                other = c + rho @ rows
                if (rows @ other).min() < -1e-8 or abs(other @ (other - c)) > 1e-8:
                    wrong += 1
                else:
                    np.testing.assert_allclose(p.q, other, atol=1e-7)
        # Not a claim about scipy, only that most of these are compared.
        assert wrong < 0.1 * len(cells) * 81


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": np.zeros(3)}, "c must have"),
        ({"sigma": np.ones(3, np.int8)}, "sigma must have"),
        ({"sigma": np.array([1, 2], np.int8)}, "sigma must be"),
        ({"face": [2]}, "face must"),
        ({"face": [-1]}, "face must"),
    ],
)
def test_arguments(change: dict[str, Any], message: str) -> None:
    arguments = {"sigma": np.ones(2, np.int8), "c": np.ones(2), "face": [], "threshold": -1.0}
    with pytest.raises(ValueError, match=message):
        ConeProjector(np.eye(2)).project(**(arguments | change))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_no_answer(bad: float) -> None:
    p = project(np.eye(2), np.ones(2, np.int8), np.array([1.0, bad]))
    assert not p.converged
    assert np.isnan(p.kkt_error)
