"""Linear programs over one polyhedron, beside HiGHS (brute force:
tests/cpp/numeric/test_simplex.cpp)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from tests.strategies import integers, reals

from convexrelu import LimitExceeded, _core

Array = NDArray[np.float64]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Array, Array]:
    """Q (m, k) and a point (k,) of a polytope; ties and equal columns are common."""
    m, k = draw(st.integers(1, 8)), draw(st.integers(1, 20))
    entries = draw(st.sampled_from([reals, lambda shape: integers(shape, -1, 1)]))
    Q = draw(entries((m, k)))
    if draw(st.booleans()):
        Q[:, k // 2 :] = Q[:, : k - k // 2]
    if draw(st.booleans()):
        Q[m // 2 :] = Q[: m - m // 2]
    Q = np.vstack([Q, np.ones(k)])
    point = draw(st.one_of(integers(k, 0, 2), reals(k).map(np.abs)))
    return Q * draw(st.sampled_from([1e-8, 1.0, 1e8])), point


@given(programs(), st.data())
def test_minima_are_those_of_highs(program: tuple[Array, Array], data: st.DataObject) -> None:
    Q, point = program
    simplex = _core.Simplex(Q, point)
    unit = np.abs(Q).max()
    for _ in range(3):
        k = len(point)
        cost = data.draw(st.one_of(reals(k), integers(k, -1, 1)))
        assert simplex.minimize(cost)
        x = simplex.point
        expected = linprog(cost, A_eq=Q / unit, b_eq=Q @ point / unit, method="highs")
        size = 1 + point.sum()
        assert cost @ x == pytest.approx(expected.fun, abs=1e-6 * size)
        assert (x >= 0).all()
        assert np.abs(Q @ x - Q @ point).max() <= 1e-9 * unit * size
        # A vertex: its columns are independent.
        assert np.linalg.matrix_rank(Q[:, x > 0] / unit, tol=1e-9) == (x > 0).sum()


@given(programs())
def test_reduction_ends_at_a_vertex(program: tuple[Array, Array]) -> None:
    Q, point = program
    simplex = _core.Simplex(Q, point)
    n_steps = 0
    while (zero := simplex.reduce(np.ones(len(point)))) >= 0:
        assert simplex.point[zero] == 0
        assert simplex.point.sum() <= point.sum() * (1 + 1e-12)
        n_steps += 1
    assert n_steps <= len(point) - simplex.rank
    assert (simplex.point > 0).sum() <= simplex.rank == len(simplex.basis)


def test_vertices_of_a_cube() -> None:
    """x + slack = 1 in 8 dimensions, 256 vertices."""
    Q = np.hstack([np.eye(8), np.eye(8)])
    simplex = _core.Simplex(Q, np.full(16, 0.5))
    vertices = simplex.vertices(256)
    assert {tuple(v) for v in vertices[:, :8]} == {
        tuple(map(float, f"{i:08b}")) for i in range(256)
    }
    with pytest.raises(LimitExceeded, match="max_vertices = 255 is fewer than there are"):
        simplex.vertices(255)


def test_cycling_example() -> None:
    """Beale (1955): Dantzig's rule with the first of the rows that tie cycles here."""
    A = np.array([[0.25, -8, -1, 9], [0.5, -12, -0.5, 3], [0, 0, 1, 0]])
    Q = np.hstack([A, np.eye(3)])
    cost = np.array([-0.75, 20, -0.5, 6, 0, 0, 0])
    simplex = _core.Simplex(Q, np.array([0.0, 0, 0, 0, 0, 0, 1]))
    assert simplex.minimize(cost)
    assert cost @ simplex.point == pytest.approx(-1.25)


def test_columns_whose_inverse_length_is_no_number() -> None:
    """Are zero: 1 / 5e-324 is infinite."""
    Q = np.array([[1.0, 5e-324, 1.0], [1.0, 0.0, 2.0]])
    simplex = _core.Simplex(Q, np.ones(3))
    assert simplex.rank == 2
    assert simplex.minimize(np.ones(3))
    assert np.isfinite(simplex.point).all()
    assert np.allclose(Q @ simplex.point, [2.0, 3.0])


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e300])
def test_steps_that_round_to_nothing(unit: float) -> None:
    """Coordinates at the ends of the range of float64: every step still makes one of them zero."""
    Q = np.array([[1.0, 1.0, 1.0, 2.0]])
    simplex = _core.Simplex(Q, unit * np.array([1.0, 3.0, 0.0, 1.0]))
    for _ in range(4):
        if simplex.reduce(np.ones(4)) < 0:
            break
    assert simplex.reduce(np.ones(4)) == -1
    assert (simplex.point > 0).sum() == 1
