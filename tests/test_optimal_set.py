"""The optimal set, beside HiGHS on its definition and lists of all vertices."""

from __future__ import annotations

import itertools
import pickle
import re
import runpy
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from bench import data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linprog
from tests import oracles
from tests.strategies import (
    Case,
    bits,
    cases,
    cube,
    designs,
    integers,
    sample_weights,
    targets,
    with_ones,
)

from convexrelu import (
    AccuracyError,
    LimitExceeded,
    OptimalSet,
    Problem,
    Solution,
    _core,
    enumerate_patterns,
    find_optimal_set,
    patterns_from_gates,
    prune,
    sample_patterns,
    solve,
    solve_global,
)

Array = NDArray[np.float64]

RATIOS = (1.0, 0.9, 0.5, 0.1, 0.01)
FEW = settings(max_examples=30)


CUBE, BITS = cube(3), bits(3)
PLANE = np.array([[a, b, 1.0] for a in (-1, 0, 1) for b in (-1, 0, 1)])


@st.composite
def flat_cases(draw: st.DrawFn) -> tuple[Problem, float]:
    """Cubes and a grid of the plane with symmetric targets, or a line, and a lam: sets of positive
    dimension are common."""
    kind = draw(st.sampled_from(["cube", "bits", "line", "plane"]))
    if kind == "plane":
        X, by_norm = PLANE, np.array([draw(st.integers(-1, 1)) for _ in range(3)], dtype=float)
        norm = draw(st.sampled_from([1, np.inf]))
        y = by_norm[np.linalg.norm(X[:, :2], norm, axis=1).astype(int)]
        ratio = draw(st.sampled_from([0.3, 0.03]))
    elif kind == "line":
        n = draw(st.integers(2, 7))
        X = np.column_stack([draw(integers(n, -3, 3)), np.ones(n)])
        y, ratio = draw(targets(X)), draw(st.sampled_from([0.1, 0.005]))
    else:
        X = CUBE if kind == "cube" else BITS
        by_count = np.array([draw(st.integers(-1, 1)) for _ in range(4)], dtype=float)
        parity = np.array([1.0, -1, 1, -1])
        y = draw(st.sampled_from([by_count, parity]))[BITS.sum(axis=1).astype(int)]
        ratio = draw(st.sampled_from([0.3, 0.03]))
        if draw(st.booleans()):
            X = np.column_stack([X, np.ones(8)])
    problem = Problem(X, y, enumerate_patterns(X))
    return problem, ratio * (problem.lambda_max or 1.0)


def optimal_set_of(problem: Problem, ratio: float) -> OptimalSet:
    return find_optimal_set(solve(problem, ratio * (problem.lambda_max or 1.0)))


def parity(X: Array) -> Problem:
    """xor of the three coordinates of the cube."""
    return Problem(X, CUBE.prod(axis=1), enumerate_patterns(X))


def monks_rule() -> tuple[Array, Array]:
    grid = np.array(list(itertools.product([1.0, 2, 3], [1.0, 2, 3], [1.0, 2, 3, 4])))
    return grid, np.where((grid[:, 0] == grid[:, 1]) | (grid[:, 2] == 1), 1.0, -1.0)


class Definition:
    """The set as it is defined: all blocks with ||q_b|| = lam, nothing merged."""

    def __init__(self, optima: OptimalSet) -> None:
        problem, lam = optima.problem, optima.lam
        solution = solve(problem, lam)
        blocks = list(oracles.blocks(problem))
        q = oracles.directions(problem, solution.dual)
        self.members = np.flatnonzero(np.linalg.norm(q, axis=1) >= lam * (1 - 1e-8))
        self.blocks = [(blocks[j].pattern, blocks[j].sign) for j in self.members]
        self.q = q[self.members]
        v = np.sqrt(oracles.weights_of(problem))
        columns = [v * (blocks[j].columns @ q[j]) for j in self.members]
        self.Q = np.array(columns).reshape(-1, len(v)).T
        self.fitted = v * solution.fitted
        self.size = 1e-300 + np.linalg.norm(v * problem.y)

    def extreme(self, cost: Array, sign: float) -> float:
        """min (+1) or max (-1) of cost @ alpha, by HiGHS."""
        if not len(cost):
            return 0.0
        scale = np.linalg.norm(self.Q, axis=0)
        found = linprog(
            sign * cost / scale,
            A_eq=self.Q / scale / self.size,
            b_eq=self.fitted / self.size,
            bounds=(0, None),
            method="highs",
        )
        assert found.status == 0
        return sign * found.fun


def slow_vertices(Q: Array, fitted: Array, size: float) -> list[frozenset[int]]:
    """The supports of all vertices: independent columns with a positive solution."""
    found = []
    k = Q.shape[1]
    lengths = np.linalg.norm(Q, axis=0)
    for m in range(min(k, len(Q)) + 1):
        for columns in map(list, itertools.combinations(range(k), m)):
            units = Q[:, columns] / lengths[columns]
            if m and np.linalg.svd(units, compute_uv=False)[-1] < 1e-8:
                continue
            x = np.linalg.lstsq(units, fitted)[0] if m else np.zeros(0)
            fits = np.linalg.norm(units @ x - fitted) <= 1e-9 * size
            if fits and (x > 1e-9 * size).all():
                found.append(frozenset(columns))
    return found


def weighted_Q(optima: OptimalSet) -> Array:
    return np.sqrt(oracles.weights_of(optima.problem))[:, None] * optima.Q


def check_members(optima: OptimalSet, points: Array) -> None:
    problem = optima.problem
    used = oracles.weights_of(problem) > 0
    y = 1e-300 + np.linalg.norm(problem.y)
    for alpha in points:
        assert (alpha >= 0).all()
        member = optima.solution(alpha)
        assert member.objective == pytest.approx(optima.objective, rel=1e-9)
        assert np.linalg.norm((member.fitted - optima.fitted)[used]) <= 1e-8 * y
        value = oracles.objective(problem, optima.lam, member.active_set, member.weights)
        assert value == pytest.approx(optima.objective, rel=1e-9)
        assert oracles.cone_violation(problem, member.active_set, member.weights) < 1e-10
        assert optima.contains(member)
        assert member.status == "optimal"
        point, distance = optima.nearest(member)
        assert np.abs(point - alpha).max(initial=0.0) <= 1e-7 * alpha.max(initial=0.0)
        assert distance <= 1e-7


class TestDefinition:
    @given(cases(ratios=RATIOS))
    def test_blocks_are_the_equicorrelation_set(self, case: Case) -> None:
        self.check_blocks(find_optimal_set(solve(case.problem, case.lam)))

    @FEW
    @given(flat_cases())
    def test_blocks_of_flat_sets(self, drawn: tuple[Problem, float]) -> None:
        self.check_blocks(find_optimal_set(solve(*drawn)))

    @staticmethod
    def check_blocks(optima: OptimalSet) -> None:
        definition = Definition(optima)
        raw = [tuple(b) for blocks in optima.merged for b in blocks.tolist()]
        assert sorted(raw) == sorted(definition.blocks)
        assert [blocks[0].tolist() for blocks in optima.merged] == optima.blocks.tolist()
        index = dict(zip(definition.blocks, definition.q, strict=True))
        for blocks, q in zip(optima.merged, optima.directions, strict=True):
            for block in blocks.tolist():
                assert np.linalg.norm(index[tuple(block)] - q) <= 1e-7 * optima.lam
                assert block[1] == blocks[0][1]

    @given(cases(ratios=RATIOS))
    def test_bounds_are_those_of_highs(self, case: Case) -> None:
        self.check_bounds(find_optimal_set(solve(case.problem, case.lam)))

    @FEW
    @given(flat_cases())
    def test_bounds_of_flat_sets(self, drawn: tuple[Problem, float]) -> None:
        self.check_bounds(find_optimal_set(solve(*drawn)))

    @staticmethod
    def check_bounds(optima: OptimalSet) -> None:
        definition = Definition(optima)
        low, high = optima.norm_bounds()
        total = 1e-300 + high.sum()
        for j, blocks in enumerate(optima.merged):
            names = {tuple(b) for b in blocks.tolist()}
            cost = optima.lam * np.array([b in names for b in definition.blocks], dtype=float)
            assert low[j] == pytest.approx(definition.extreme(cost, 1.0), abs=1e-5 * total)
            assert high[j] == pytest.approx(definition.extreme(cost, -1.0), abs=1e-5 * total)
        assert ((high > 0) == optima.support).all()
        assert ((low > 0) == optima.necessary).all()
        rng = np.random.default_rng(0)
        X = rng.standard_normal((3, optima.problem.X.shape[1]))
        low, high = optima.prediction_range(X)
        gated = optima.problem.formulation == "gated"
        for k, x in enumerate(X):
            cost = []
            for (pattern, sign), q in zip(definition.blocks, definition.q, strict=True):
                gate = optima.problem.patterns.gates[:, pattern] if gated else q
                cost.append(sign * (gate @ x >= 0) * (q @ x))
            size = 1e-5 * (total * np.linalg.norm(x) + 1e-300)
            assert low[k] == pytest.approx(definition.extreme(np.array(cost), 1.0), abs=size)
            assert high[k] == pytest.approx(definition.extreme(np.array(cost), -1.0), abs=size)


class TestPoints:
    @given(cases(ratios=RATIOS), st.integers(0, 99))
    def test_members(self, case: Case, seed: int) -> None:
        self.check(find_optimal_set(solve(case.problem, case.lam)), seed)

    @FEW
    @given(flat_cases(), st.integers(0, 99))
    def test_members_of_flat_sets(self, drawn: tuple[Problem, float], seed: int) -> None:
        self.check(find_optimal_set(solve(*drawn)), seed)

    @staticmethod
    def check(optima: OptimalSet, seed: int) -> None:
        rng = np.random.default_rng(seed)
        k, d = optima.directions.shape
        X_val, y_val = rng.standard_normal((6, d)), rng.standard_normal(6)
        points = [
            optima.min_norm(),
            optima.best_for(X_val, y_val),
            optima.minimize(rng.standard_normal(k)),
            *optima.sample(3, rng=seed),
        ]
        check_members(optima, np.array(points))

        # Convex functions are minimal where no vertex is downhill.
        vertices = optima.vertices()
        check_members(optima, vertices[:5])
        size = 1e-300 + vertices.max(initial=0.0)
        nearest = points[0]
        assert ((vertices - nearest) @ nearest >= -1e-9 * size**2).all()
        F = np.array([optima.network(v).predict(X_val) for v in vertices])
        best = optima.network(points[1]).predict(X_val)
        slope = (F - best) @ (best - y_val)
        size = np.abs(F).max() + 1e-300
        spread = 1e-7 * np.abs(F - best).max() + 1e-14 * size  # the latter is rounding of F
        assert (slope >= -spread * (size + np.linalg.norm(best - y_val))).all()
        low, high = optima.prediction_range(X_val)
        assert np.abs(F.min(axis=0) - low).max() <= 1e-8 * (1 + np.abs(F).max())
        assert np.abs(F.max(axis=0) - high).max() <= 1e-8 * (1 + np.abs(F).max())
        assert optima.agreement(X_val) == np.mean(np.sign(low) == np.sign(high))

    @given(flat_cases())
    def test_vertices_are_all(self, drawn: tuple[Problem, float]) -> None:
        optima = find_optimal_set(solve(*drawn))
        if len(optima.blocks) <= 9:
            self.check_vertices(optima)

    def test_vertices_on_lines(self) -> None:
        """Some points on a line, gates with two kinks in every gap: sets of dimension 1 to 6."""
        n_flat = 0
        seed = 0
        while n_flat < 120:
            rng = np.random.default_rng(seed := seed + 1)
            x = np.sort(rng.choice(8, rng.integers(2, 5), replace=False)).astype(float)
            kinks = (x[:-1] + np.diff(x) * rng.uniform(0.05, 0.95, (2, len(x) - 1))).ravel()
            gates = np.hstack([s * np.array([np.ones(len(kinks)), -kinks]) for s in (1, -1)])
            X, y = with_ones(x[:, None]), rng.integers(-2, 3, len(x))
            optima = optimal_set_of(
                Problem(X, y, patterns_from_gates(X, gates), formulation="gated"), 0.05
            )
            if optima.dimension > 0 and len(optima.blocks) <= 9:
                self.check_vertices(optima)
                n_flat += 1

    def test_vertices_of_the_parity_of_bits(self) -> None:
        """12 neurons, activations of rank 7."""
        optima = optimal_set_of(parity(BITS), 0.3)
        assert (len(optima.blocks), optima.dimension, optima.necessary.sum()) == (12, 5, 3)
        assert len(optima.vertices()) == 24
        self.check_vertices(optima)

    @given(cases(ratios=(0.5, 0.1)))
    def test_vertices_of_sampled_patterns(self, case: Case) -> None:
        optima = find_optimal_set(solve(case.problem, case.lam))
        if len(optima.blocks) <= 9:
            self.check_vertices(optima)

    @staticmethod
    def check_vertices(optima: OptimalSet) -> None:
        v = np.sqrt(oracles.weights_of(optima.problem))
        size = 1e-300 + np.linalg.norm(v * optima.problem.y)
        expected = slow_vertices(weighted_Q(optima), v * optima.fitted, size)
        vertices = optima.vertices()
        assert sorted(map(sorted, expected)) == sorted(
            np.flatnonzero(vertex).tolist() for vertex in vertices
        )
        sizes = [len(support) for support in expected]
        assert (optima.smallest() > 0).sum() == min(sizes)
        m, M, connected = optima.critical_widths()
        assert (m, M) == (min(sizes), max(sizes))
        assert connected == min(m + M, len(v) + 1)
        assert optima.is_p_unique == (len(expected) == 1) == (optima.dimension == 0)
        spanned = vertices - vertices[0]
        assert np.linalg.matrix_rank(spanned, tol=1e-9 * (1e-300 + vertices.max(initial=0))) == (
            optima.dimension
        )

    def test_outside_is_refused(self) -> None:
        problem = parity(BITS)
        X, optima = problem.X, optimal_set_of(problem, 0.3)
        alpha = optima.min_norm()
        for wrong in (1.001 * alpha, alpha + 1e-5 * np.eye(len(alpha))[0], -alpha):
            with pytest.raises(ValueError, match="alpha is not in the optimal set"):
                optima.solution(wrong)
        with pytest.raises(ValueError, match="alpha must have as many entries as there are blocks"):
            optima.solution(alpha[1:])
        solution = optima.solution(alpha)
        assert optima.contains(solution)
        assert not optima.contains(solve(problem, 1.01 * solution.lam))
        assert not optima.contains(solve(Problem(X, -problem.y, problem.patterns), solution.lam))
        away = solution.weights + 1e-4 * np.eye(3)[0]
        for weights in (1.0001 * solution.weights, away, solution.weights[::-1]):
            outsider = with_weights(solution, weights)
            assert not optima.contains(outsider)
            point, distance = optima.nearest(outsider)
            assert distance > 1e-6
            assert optima.contains(optima.solution(point))
        with pytest.raises(ValueError, match="solution must be of a relu problem with X"):
            optima.nearest(simplex_set(1).solution(simplex_set(1).min_norm()))
        with pytest.raises(TypeError, match="solution must be a Solution"):
            optima.nearest(optima)  # type: ignore[arg-type]


def with_weights(solution: Solution, weights: Array) -> Solution:
    core = _core.make_solution(
        solution.problem._core,
        solution.lam,
        _core.Status.optimal,
        solution.active_set,
        np.asfortranarray(weights.T),
        solution.dual,
        0,
        np.nan,
    )
    return Solution(core, solution.problem)


class TestMembers:
    """Sets of positive dimension: many points, one objective, one fit, many functions."""

    SETS = (
        (BITS, 0.3, 5),
        (with_ones(CUBE), 0.3, 8),
    )

    @pytest.mark.parametrize(("X", "ratio", "dimension"), SETS)
    def test_a_thousand(self, X: Array, ratio: float, dimension: int) -> None:
        optima = optimal_set_of(parity(X), ratio)
        assert optima.dimension == dimension
        vertices = optima.vertices()
        points = np.vstack([optima.sample(1000, rng=0), vertices])
        check_members(optima, np.vstack([points[:20], vertices[:20]]))
        # As networks, straight from the definition.
        w = points[:, :, None] * optima.directions
        fits = np.einsum("pkn,k->pn", np.maximum(w @ X.T, 0.0), optima.blocks[:, 1])
        loss = ((fits - optima.problem.y) ** 2).mean(axis=1) / 2
        objectives = loss + optima.lam * np.linalg.norm(w, axis=2).sum(axis=1)
        np.testing.assert_allclose(objectives, optima.objective, rtol=1e-9)
        y = np.linalg.norm(optima.problem.y)
        assert np.linalg.norm(fits - optima.fitted, axis=1).max() <= 1e-8 * y
        assert all(optima.contains(optima.solution(alpha)) for alpha in points)
        # Elsewhere they differ, at the samples they do not.
        rng = np.random.default_rng(0)
        for rows, differ in ((X, False), (rng.standard_normal((20, X.shape[1])), True)):
            spread = np.ptp(points @ optima._core.outputs(rows).T, axis=0)
            assert (spread > 1e-2).mean() > 0.5 if differ else spread.max() < 1e-8
        for direction in rng.standard_normal((20, len(optima.blocks))):
            with pytest.raises(ValueError, match="alpha is not in the optimal set"):
                optima.solution(points[0] + 1e-3 * points[0].max() * direction)

    @pytest.mark.parametrize(("X", "ratio", "dimension"), SETS)
    def test_random_optima_of_clarabel(self, X: Array, ratio: float, dimension: int) -> None:
        """The points of the definition, raw blocks, that are nearest to random ones."""
        optima = optimal_set_of(parity(X), ratio)
        definition = Definition(optima)
        scale = np.linalg.norm(definition.Q, axis=0)
        left, sizes, _ = np.linalg.svd(definition.Q / scale, full_matrices=False)
        rows = left[:, sizes > 1e-9].T
        neuron = {tuple(b): j for j, blocks in enumerate(optima.merged) for b in blocks.tolist()}
        neurons = [neuron[b] for b in definition.blocks]
        share = optima.min_norm() / [len(blocks) for blocks in optima.merged]
        rng = np.random.default_rng(1)
        reached = []
        for _ in range(20):
            x = cp.Variable(len(scale), nonneg=True)
            goal = scale * (2 * rng.random(len(share)) * share)[neurons]
            program = cp.Problem(
                cp.Minimize(cp.sum_squares(x - goal)),
                [rows @ definition.Q / scale @ x == rows @ definition.fitted],
            )
            limits = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12)
            program.solve(solver=cp.CLARABEL, **limits)
            alpha = np.maximum(x.value, 0.0) / scale
            core = _core.make_solution(
                optima.problem._core,
                optima.lam,
                _core.Status.optimal,
                np.array(definition.blocks),
                np.asfortranarray((alpha[:, None] * definition.q).T),
                optima.problem.y - optima.fitted,
                0,
                np.nan,
            )
            member = Solution(core, optima.problem)
            assert optima.contains(member)
            assert member.objective == pytest.approx(optima.objective, rel=1e-9)
            assert np.linalg.norm(member.fitted - optima.fitted) <= 1e-8 * np.linalg.norm(
                optima.problem.y
            )
            reached.append(optima.nearest(member)[0])
        spread = np.array(reached) - reached[0]
        assert np.linalg.matrix_rank(spread, tol=1e-2 * np.abs(spread).max()) == dimension


class TestOtherSolvers:
    def test_optima_of_clarabel_are_members(self) -> None:
        """Interior-point solutions, then polished, of problems with many optima."""
        rng = np.random.default_rng(0)
        n_flat = 0
        problems = [parity(BITS), parity(CUBE), parity(with_ones(BITS)), parity(with_ones(CUBE))]
        for _ in range(4):
            X = with_ones(rng.integers(-3, 4, (6, 1)))
            problems.append(Problem(X, rng.integers(-2, 3, 6), enumerate_patterns(X)))
        for problem in problems:
            X, d = problem.X, problem.X.shape[1]
            lam = 0.05 * (problem.lambda_max or 1.0)
            optima = find_optimal_set(solve(problem, lam))
            blocks = list(oracles.blocks(problem))
            w = [cp.Variable(d) for _ in blocks]
            fit = sum(b.columns @ x for b, x in zip(blocks, w, strict=True))
            penalty = sum(cp.norm(x) for x in w)
            program = cp.Problem(
                cp.Minimize(cp.sum_squares(fit - problem.y) / (2 * len(X)) + lam * penalty),
                [b.cone @ x >= 0 for b, x in zip(blocks, w, strict=True)],
            )
            program.solve(solver=cp.CLARABEL)
            weights = np.array([x.value for x in w])
            core = _core.make_solution(
                problem._core,
                lam,
                _core.Status.optimal,
                np.array([(b.pattern, b.sign) for b in blocks]),
                np.asfortranarray(weights.T),
                problem.y - fit.value,
                0,
                np.nan,
            )
            rough = Solution(core, problem)
            polished = solve(problem, lam, warm_start=rough)
            assert optima.contains(polished)
            again = find_optimal_set(rough)
            assert again.blocks.tolist() == optima.blocks.tolist()
            assert again.dimension == optima.dimension
            n_flat += optima.dimension > 0
        assert n_flat >= 3


class TestKnownSets:
    def test_xor(self) -> None:
        """Four points, no bias: every pattern of the plane; counts with and without merging."""
        X = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        problem = Problem(X, [1.0, -1, -1, 1], enumerate_patterns(X))
        optima = optimal_set_of(problem, 0.5)
        # Rows are antiparallel in pairs: 4 cells. Neurons lie on the two diagonals.
        assert len(problem.patterns) == 4
        assert optima.is_complete
        assert len(optima.blocks) == 4
        assert all(len(blocks) == 2 for blocks in optima.merged)
        assert optima.is_p_unique
        assert not optima.is_unique
        assert optima.necessary.all()

    def test_a_plane(self) -> None:
        """A chequered grid of nine points: all patterns of a two-dimensional arrangement."""
        y = np.where(np.abs(PLANE[:, :2]).sum(axis=1) % 2 == 0, 1.0, -1.0)
        optima = optimal_set_of(Problem(PLANE, y, enumerate_patterns(PLANE)), 0.1)
        assert len(optima.problem.patterns) == 58
        assert (optima.dimension, len(optima.blocks), sum(map(len, optima.merged))) == (3, 12, 64)
        assert not optima.necessary.any()
        TestDefinition.check_blocks(optima)
        TestPoints.check_vertices(optima)

    def test_monks_rule(self) -> None:
        """a = b or c = 1, on all values of the three attributes of monks-1 that it is about."""
        X, y = monks_rule()
        optima = optimal_set_of(Problem(X, y, enumerate_patterns(X)), 0.03)
        assert len(optima.problem.patterns) == 768
        assert (optima.dimension, len(optima.blocks), sum(map(len, optima.merged))) == (4, 14, 84)
        assert optima.necessary.sum() == 7
        check_members(optima, optima.vertices()[:2])

    def test_duplicated_gates(self) -> None:
        """Repeated patterns of one gate are one neuron; of different gates they are several."""
        X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
        same = Problem(X, y, patterns_from_gates(X, [[1.0, 1.0, 1.0]]), formulation="gated")
        optima = optimal_set_of(same, 0.1)
        assert [len(b) for b in optima.merged] == [3]
        assert optima.is_p_unique
        assert not optima.is_unique
        other = Problem(X, y, patterns_from_gates(X, [[1.0, 2.0, 3.0]]), formulation="gated")
        optima = optimal_set_of(other, 0.1)
        assert [len(b) for b in optima.merged] == [1, 1, 1]
        assert optima.dimension == 2
        assert optima.critical_widths() == (1, 1, 2)

    def test_parity_of_the_cube(self) -> None:
        """16 neurons by symmetry, none of them necessary, each on three hyperplanes: 8 patterns."""
        optima = optimal_set_of(parity(with_ones(CUBE)), 0.3)
        assert len(optima.problem.patterns) == 104
        assert [len(blocks) for blocks in optima.merged] == [8] * 16
        assert optima.dimension == 8
        assert optima.support.all()
        assert not optima.necessary.any()
        assert len(optima.vertices()) == 130
        # At samples all agree, elsewhere they do not.
        low, high = optima.prediction_range(optima.problem.X)
        assert np.abs(low - optima.fitted).max() < 1e-8
        assert np.abs(high - optima.fitted).max() < 1e-8
        assert optima.agreement(optima.problem.X) == 1.0
        away = with_ones(np.random.default_rng(0).standard_normal((50, 3)))
        low, high = optima.prediction_range(away)
        assert (high - low).max() > 0.1
        assert 0 < optima.agreement(away) < 1

    def test_monks(self) -> None:
        """Data of small integers, on which a solver found one neuron in two patterns."""
        try:
            monks = data.load("monks-1")
        except data.MissingData as missing:
            pytest.skip(str(missing))
        problem = Problem(monks.X, monks.y, sample_patterns(monks.X, 500, rng=0))
        optima = optimal_set_of(problem, 0.1)
        assert (len(optima.blocks), sum(map(len, optima.merged))) == (20, 21)
        assert optima.is_p_unique
        assert not optima.is_unique

    def test_duplicated_rows(self) -> None:
        """Rows twice over change neither the functions nor their number."""
        once = optimal_set_of(parity(BITS), 0.3)
        X = np.vstack([BITS, 2 * BITS])  # and proportional ones bring no pattern
        twice = Problem(X, np.r_[once.problem.y, 2 * once.problem.y], enumerate_patterns(X))
        optima = optimal_set_of(twice, 0.3)
        assert len(twice.patterns) == len(once.problem.patterns)
        assert len(optima.blocks) == len(once.blocks)
        assert optima.dimension == once.dimension
        assert len(optima.vertices()) == len(once.vertices())

    def test_a_line(self) -> None:
        """Many networks, one function: relu(u) - relu(-u) = u for every kink."""
        X = with_ones(np.arange(7.0)[:, None])
        problem = Problem(X, [0.0, 2, -1, 3, -2, 2, 0], enumerate_patterns(X))
        optima = optimal_set_of(problem, 1e-3)
        assert (optima.dimension, len(optima.blocks)) == (3, 10)
        low, high = optima.prediction_range(with_ones(np.linspace(-1, 7, 81)[:, None]))
        assert np.abs(high - low).max() < 1e-8

    def test_nothing_is_active(self) -> None:
        X, y = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([1.0, -1, 2])
        problem = Problem(X, y, sample_patterns(X, 10, rng=0))
        for ratio in (1.0, 2.0):
            optima = optimal_set_of(problem, ratio)
            k = len(optima.blocks)
            assert (k > 0) == (ratio == 1.0)
            assert optima.dimension == 0
            assert optima.is_unique
            assert not optima.support.any()
            assert optima.vertices().tolist() == [[0.0] * k]
            assert optima.sample(2, rng=0).tolist() == [[0.0] * k] * 2
            assert optima.smallest().tolist() == optima.min_norm().tolist() == [0.0] * k
            assert optima.critical_widths() == (0, 0, 0)
            assert optima.prediction_range(X)[1].tolist() == [0.0] * 3
            assert optima.network(np.zeros(k)).n_neurons == 0
            assert optima.agreement(X) == 1.0

    @pytest.mark.parametrize("exponent", [-100, -30, 30, 100])
    def test_units(self, exponent: int) -> None:
        """X and y in other units: alpha scales with 1 / unit(X)^2."""
        X = np.column_stack([np.arange(6.0), np.ones(6)])
        y = np.array([0.0, 2, 1, 3, 1, 2])
        patterns = enumerate_patterns(X)
        a = optimal_set_of(Problem(X, y, patterns), 0.05)
        unit = 2.0**exponent
        b = optimal_set_of(Problem(unit * X, y / unit, patterns), 0.05)
        assert b.dimension == a.dimension
        assert b.blocks.tolist() == a.blocks.tolist()
        assert np.allclose(b.min_norm() * unit**2, a.min_norm(), rtol=1e-9, atol=1e-9)
        check_members(b, b.sample(3, rng=0))


@st.composite
def small_data(draw: st.DrawFn) -> tuple[Array, Array, Array | None, float]:
    """X, y, sample weights and lam / lambda_max of problems whose patterns can be listed."""
    X = draw(designs(max_n=7, max_d=4))
    ratio = draw(st.sampled_from([1.5, 1.0, 0.5, 0.1, 0.02]))
    return X, draw(targets(X)), draw(sample_weights(len(X))), ratio


class TestAllPatterns:
    """The set from a solution over few patterns, beside the one of all patterns, enumerated."""

    @given(small_data())
    def test_any_data(self, drawn: tuple[Array, Array, Array | None, float]) -> None:
        X, y, v, ratio = drawn
        problem = Problem(X, y, enumerate_patterns(X), sample_weight=v)
        lam = ratio * (problem.lambda_max or 1.0)
        self.check(problem, lam, solve_global(X, y, lam, sample_weight=v, rng=0))

    @FEW
    @given(flat_cases())
    def test_flat_sets(self, drawn: tuple[Problem, float]) -> None:
        problem, lam = drawn
        self.check(problem, lam, solve_global(problem.X, problem.y, lam, rng=0))

    @given(small_data(), st.integers(1, 3))
    @FEW
    def test_from_few_patterns(
        self, drawn: tuple[Array, Array, Array | None, float], n_gates: int
    ) -> None:
        """The solution is far from the optimum over all patterns."""
        X, y, v, ratio = drawn
        problem = Problem(X, y, enumerate_patterns(X), sample_weight=v)
        lam = ratio * (problem.lambda_max or 1.0)
        few = sample_patterns(X, n_gates, rng=0)
        self.check(problem, lam, solve(Problem(X, y, few, sample_weight=v), lam))

    @pytest.mark.parametrize("points", [CUBE, BITS, CUBE[:, :2], BITS[:, :2]])
    @pytest.mark.parametrize("bias", [True, False])
    def test_xor(self, points: Array, bias: bool) -> None:
        signs = np.where(points > 0, 1.0, -1.0)
        X = with_ones(points) if bias else points
        problem = Problem(X, signs.prod(axis=1), enumerate_patterns(X))
        for ratio in (0.3, 0.05):
            lam = ratio * (problem.lambda_max or 1.0)
            self.check(problem, lam, solve_global(X, problem.y, lam, rng=0))

    @pytest.mark.parametrize("ratio", [0.3, 0.03])
    def test_monks(self, ratio: float) -> None:
        X, y = monks_rule()
        X = with_ones(X) if ratio == 0.3 else X
        problem = Problem(X, y, enumerate_patterns(X))
        lam = ratio * problem.lambda_max
        self.check(problem, lam, solve_global(problem.X, y, lam, rng=0))

    @staticmethod
    def check(problem: Problem, lam: float, solution: Solution) -> None:
        expected = find_optimal_set(solve(problem, lam))
        optima = find_optimal_set(solution, all_patterns=True)
        assert expected.is_complete
        assert optima.is_complete
        assert not find_optimal_set(solution).is_complete
        member = expected.solution(expected.min_norm())
        assert find_optimal_set(member, all_patterns=True).is_complete

        # The same neurons, in some order.
        assert optima.directions.shape == expected.directions.shape
        distance = np.linalg.norm(optima.directions[:, None] - expected.directions, axis=2)
        distance[optima.blocks[:, None, 1] != expected.blocks[:, 1]] = np.inf
        k = len(distance)
        order = distance.argmin(axis=0) if k else np.zeros(0, dtype=int)
        assert sorted(order) == list(range(k))
        assert (distance[order, range(k)] <= 1e-7 * lam).all()
        # With all of their blocks.
        for j, blocks in enumerate(expected.merged):
            masks = problem.patterns.masks[:, blocks[:, 0]].T
            ours = optima.merged[order[j]]
            known = optima.problem.patterns.masks[:, ours[:, 0]].T
            used = oracles.weights_of(problem) > 0
            assert {*map(tuple, masks[:, used])} <= {*map(tuple, known[:, used])}
            assert (ours[:, 1] == blocks[0, 1]).all()

        assert optima.dimension == expected.dimension
        assert np.array_equal(optima.support[order], expected.support)
        assert np.array_equal(optima.necessary[order], expected.necessary)
        assert optima.is_p_unique == expected.is_p_unique
        assert optima.objective == pytest.approx(expected.objective, rel=1e-9, abs=1e-300)
        for mine, other in zip(optima.norm_bounds(), expected.norm_bounds(), strict=True):
            assert np.abs(mine[order] - other).max(initial=0) <= 1e-6 * other.sum()
        if expected.dimension <= 4:
            mine, other = optima.vertices()[:, order] > 0, expected.vertices() > 0
            assert sorted(mine.tolist()) == sorted(other.tolist())
        assert expected.contains(optima.solution(optima.min_norm()))
        assert optima.contains(member)

    def test_copies_are_complete(self) -> None:
        problem = parity(BITS)
        solution = solve_global(problem.X, problem.y, 0.05, rng=0)
        optima = find_optimal_set(solution, all_patterns=True)
        again = pickle.loads(pickle.dumps(optima))
        assert again.is_complete
        assert again.blocks.tolist() == optima.blocks.tolist()
        assert np.array_equal(again.Q, optima.Q)
        assert not pickle.loads(pickle.dumps(find_optimal_set(solution))).is_complete

    def test_limit(self) -> None:
        """No short list is returned."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((300, 12)), rng.standard_normal(300)
        problem = Problem(X, y, sample_patterns(X, 20, rng=0))
        solution = solve(problem, 0.5 * problem.lambda_max)
        with pytest.raises(LimitExceeded, match="time_limit"):
            find_optimal_set(solution, all_patterns=True, time_limit=0.3)

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="all_patterns must be False for a gated problem"):
            find_optimal_set(simplex_set(1).solution(simplex_set(1).min_norm()), all_patterns=True)
        X = np.random.default_rng(0).standard_normal((21, 21))
        solution = solve_global(X, X[:, 0], 0.1, certify=False)
        with pytest.raises(ValueError, match="X must have rank 20 at most, got more"):
            find_optimal_set(solution, all_patterns=True)
        with pytest.raises(TypeError, match="all_patterns must be True or False"):
            find_optimal_set(solution, all_patterns=1)  # type: ignore[arg-type]


def simplex_set(dimension: int) -> OptimalSet:
    """One pattern with dimension + 1 different gates: any division between them is optimal."""
    X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
    gates = np.arange(1.0, dimension + 2)[None]
    problem = Problem(X, y, patterns_from_gates(X, gates), formulation="gated")
    return optimal_set_of(problem, 0.1)


class TestSampling:
    @pytest.mark.parametrize("dimension", [1, 2, 5, 10])
    def test_uniform_on_simplices(self, dimension: int) -> None:
        """Shares are Dirichlet(1, ..., 1): each, and the sum of some, has a beta distribution."""
        optima = simplex_set(dimension)
        assert optima.dimension == dimension
        points = optima.sample(2000, rng=0)
        shares = points / points.sum(axis=1, keepdims=True)
        for share in shares.T:
            assert stats.kstest(share, stats.beta(1, dimension).cdf).pvalue > 1e-3
        half = (dimension + 1) // 2
        beta = stats.beta(half, dimension + 1 - half)
        assert stats.kstest(shares[:, :half].sum(axis=1), beta.cdf).pvalue > 1e-3
        # Consecutive points are nearly independent.
        centred = shares[:, 0] - shares[:, 0].mean()
        assert abs(centred[1:] @ centred[:-1]) < 0.1 * (centred @ centred)

    def test_reproducible(self) -> None:
        optima = simplex_set(3)
        assert np.array_equal(optima.sample(5, rng=1), optima.sample(5, rng=1))
        assert not np.array_equal(optima.sample(5, rng=1), optima.sample(5, rng=2))
        assert optima.sample(0).shape == (0, 4)


class TestAccuracy:
    def problem(self) -> Problem:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
        return Problem(X, y, sample_patterns(X, 60, rng=0))

    def test_rough_solutions_are_solved_further(self) -> None:
        problem = self.problem()
        lam = 0.05 * problem.lambda_max
        rough = solve(problem, lam, max_iter=3)
        assert rough.gap > 1e-8
        optima, expected = find_optimal_set(rough), find_optimal_set(solve(problem, lam))
        assert optima.blocks.tolist() == expected.blocks.tolist()
        assert optima.objective < rough.objective

    def test_what_cannot_be_reached_is_refused(self) -> None:
        problem = self.problem()
        solution = solve(problem, 0.05 * problem.lambda_max)
        with pytest.raises(AccuracyError, match=r"stationary to \d\.\de-\d+ .* needs 1\.0e-200"):
            find_optimal_set(solution, tol=1e-200)

    def test_limits(self) -> None:
        optima = simplex_set(3)
        with pytest.raises(LimitExceeded, match="max_vertices = 3"):
            optima.vertices(3)
        with pytest.raises(LimitExceeded, match="max_vertices = 3"):
            optima.critical_widths(3)
        with pytest.raises(LimitExceeded, match="time_limit"):
            find_optimal_set(solve(self.problem(), 0.01), time_limit=0)
        with pytest.raises(LimitExceeded, match="time_limit ended the work before the fewest"):
            optima.smallest(time_limit=0)


def nearly_tied(seed: int) -> tuple[Array, Array, float]:
    """Cubes, parities, grids, lines and 0/1 tables whose ties are broken by rounding to 6 to 12
    decimals, after a rotation or a change of units, by float32, or by noise; and lam / lambda_max.
    """
    rng = np.random.default_rng(seed)

    def grid(d: int, values: tuple[int, ...]) -> Array:
        return np.array(list(itertools.product(*[values] * d)), dtype=float)

    kind = rng.choice(["cube", "bits", "square", "chequers", "sums", "line", "table"])
    if kind in ("cube", "bits"):
        points = grid(3, (-1, 1) if kind == "cube" else (0, 1))
        by_count = rng.choice([rng.integers(-1, 2, 4), (-1, 1, -1, 1)])
        y = by_count[(points > 0).sum(axis=1)].astype(float)
    elif kind == "square":
        points = grid(2, (-1, 1))
        y = points.prod(axis=1)
    elif kind == "chequers":
        points = grid(2, (-1, 0, 1))
        y = np.where(np.abs(points).sum(axis=1) % 2 == 0, 1.0, -1.0)
    elif kind == "sums":
        points = grid(2, (0, 1, 2))
        y = rng.choice([-1.0, 0, 1], 5)[points.sum(axis=1).astype(int)]
    elif kind == "line":
        points = np.arange(rng.integers(4, 8), dtype=float)[:, None]
        y = rng.integers(-2, 3, len(points)).astype(float)
    else:
        points = rng.integers(0, 2, (rng.integers(5, 10), rng.integers(2, 4))).astype(float)
        y = rng.integers(-1, 2, len(points)).astype(float)
    y[0] += not y.any()

    decimals, noise = int(rng.integers(6, 13)), 10 ** rng.uniform(-12, -6)
    rotated = points @ np.linalg.qr(rng.standard_normal((points.shape[1],) * 2))[0]
    stretched = points * rng.uniform(0.1, 3)
    near = rng.choice(["rotated", "units", "noise", "float32", "rotated float32"])
    points = {
        "rotated": np.round(rotated, decimals),
        "units": np.round(stretched, decimals),
        "noise": points + noise * rng.standard_normal(points.shape),
        "float32": stretched.astype(np.float32).astype(float),
        "rotated float32": rotated.astype(np.float32).astype(float),
    }[near]
    has_bias = kind in ("line", "square", "chequers", "sums") or rng.random() < 0.5
    return with_ones(points) if has_bias else points, y, 10 ** rng.uniform(-3, -0.3)


class TestNearTies:
    """Ties that rounding breaks: what a set says of itself agrees, and every point is one of it."""

    REFUSALS = r"near ties that|cannot be made accurate enough"

    def test_rounded_tables(self) -> None:
        n, n_flat, refused = 400, 0, 0
        for seed in range(n):
            X, y, ratio = nearly_tied(seed)
            patterns = enumerate_patterns(X)
            problem = Problem(X, y, patterns)
            solution = solve(problem, ratio * (problem.lambda_max or 1.0))
            if solution.status != "optimal":
                continue
            try:
                optima = find_optimal_set(solution)
                self.check(optima, seed)
            except AccuracyError as error:
                if not re.search(self.REFUSALS, str(error)):
                    raise
                refused += 1
                continue
            n_flat += optima.dimension > 0 and optima.tie_error > 1e-12
        assert refused <= n / 100
        assert n_flat > n / 20

    @staticmethod
    def check(optima: OptimalSet, seed: int) -> None:
        rng = np.random.default_rng(seed)
        vertices = optima.vertices()
        k, d = optima.directions.shape
        X_new, y_new = rng.standard_normal((5, d)), rng.standard_normal(5)
        points = np.vstack(
            [
                vertices,
                optima.smallest(),
                optima.min_norm(),
                optima.best_for(X_new, y_new),
                optima.minimize(rng.standard_normal(k)),
                optima.sample(3, rng=seed),
            ]
        )
        assert (points >= 0).all()
        misfits = np.linalg.norm(points @ optima.Q.T - optima.fitted, axis=1)
        assert misfits.max() <= 1e-8 * np.linalg.norm(optima.problem.y)
        assert optima.tie_error <= 1e-6

        active = vertices > 0
        assert len({*map(tuple, active)}) == len(active)
        units = optima.Q / np.linalg.norm(optima.Q, axis=0)
        for support in active[:20]:  # independent, if only by what rounding has left of a tie
            assert np.linalg.svd(units[:, support], compute_uv=False).min(initial=1.0) > 1e-12
        assert (optima.smallest() > 0).sum() == active.sum(axis=1).min()
        assert (active.any(axis=0) == optima.support).all()
        assert (active.all(axis=0) == optima.necessary).all()

        low, high = optima.norm_bounds()
        size = 1e-300 + high.sum()
        assert np.abs(low - optima.lam * vertices.min(axis=0)).max(initial=0) <= 1e-7 * size
        assert np.abs(high - optima.lam * vertices.max(axis=0)).max(initial=0) <= 1e-7 * size
        outputs = vertices @ optima._core.outputs(X_new).T
        low, high = optima.prediction_range(X_new)
        size = 1 + np.abs(outputs).max()
        assert np.abs(low - outputs.min(axis=0)).max() <= 1e-7 * size
        assert np.abs(high - outputs.max(axis=0)).max() <= 1e-7 * size

        member = optima.solution(optima.sample(1, rng=seed)[0])
        pruned = prune(member)
        assert optima.contains(member)
        assert optima.contains(pruned)
        assert len(pruned.active_set) <= np.linalg.matrix_rank(units, tol=1e-9)
        assert pruned.objective == pytest.approx(optima.objective, rel=1e-8)

    def test_rounded_cubes_have_the_set_of_the_cube(self) -> None:
        """With twelve decimals; and exact ones say that they are exact."""
        exact = optimal_set_of(parity(with_ones(CUBE)), 0.1)
        assert exact.tie_error < 1e-12
        rng = np.random.default_rng(0)
        for _ in range(20):
            X = np.round(CUBE @ np.linalg.qr(rng.standard_normal((3, 3)))[0], 12)
            optima = optimal_set_of(parity(with_ones(X)), 0.1)
            assert (optima.dimension, len(optima.blocks)) == (exact.dimension, len(exact.blocks))
            assert len(optima.vertices()) == len(exact.vertices())
            assert 1e-15 < optima.tie_error < 1e-9


class TestValues:
    def test_pictures(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib").use("Agg")
        example = Path(__file__).parents[1] / "examples" / "optimal_sets.py"
        draw = runpy.run_path(str(example))
        for name in ("polytope", "fan", "pruning"):
            draw[name](tmp_path)
            assert (tmp_path / f"{name}.png").stat().st_size > 10_000

    def test_copies(self) -> None:
        optima = simplex_set(3)
        again = pickle.loads(pickle.dumps(optima))
        assert again.blocks.tolist() == optima.blocks.tolist()
        assert np.array_equal(again.Q, optima.Q)
        assert np.array_equal(again.vertices(), optima.vertices())
        assert repr(optima) == (
            f"<OptimalSet of these patterns: dimension 3, 4 of 4 neurons can be active, 0 must be, "
            f"lam={optima.lam:.6g}>"
        )

    def test_copies_solve_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They carry the optimum, and the blocks of other patterns that branch and bound found."""
        problem = parity(BITS)
        solution = solve_global(problem.X, problem.y, 0.05, rng=0)
        optima = find_optimal_set(solution, all_patterns=True)
        data = pickle.dumps(optima)
        asked: list[tuple[Any, ...]] = []
        find = _core.find_optimal_set
        monkeypatch.setattr(_core, "find_optimal_set", lambda *a: (asked.append(a), find(*a))[1])
        again = pickle.loads(data)
        assert [all_patterns for _, _, all_patterns, *_ in asked] == [False]
        assert again.objective == optima.objective
        assert np.array_equal(again.fitted, optima.fitted)
        assert pickle.dumps(again) == data

    def test_copies_keep_the_tolerance(self) -> None:
        """Which decides what is in the set."""
        X = np.random.default_rng(0).standard_normal((20, 3))
        problem = Problem(X, X[:, 0] ** 2, sample_patterns(X, 30, rng=0))
        solution = solve(problem, 0.1 * problem.lambda_max)
        strict, loose = (find_optimal_set(solution, tol=tol) for tol in (1e-9, 0.2))
        assert len(loose.blocks) > len(strict.blocks)
        again = pickle.loads(pickle.dumps(loose))
        assert again.blocks.tolist() == loose.blocks.tolist()

    def test_arguments(self) -> None:
        optima = simplex_set(1)
        with pytest.raises(TypeError, match="solution must be a Solution"):
            find_optimal_set(optima)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="tol must be a finite number > 0"):
            find_optimal_set(optima.solution(optima.min_norm()), tol=0)
        with pytest.raises(ValueError, match="cost must have as many entries as there are blocks"):
            optima.minimize([1.0])
        with pytest.raises(ValueError, match="X must have 1 columns, got 2"):
            optima.prediction_range(np.ones((2, 2)))
        with pytest.raises(ValueError, match="X_val must have 1 columns, got 2"):
            optima.best_for(np.ones((2, 2)), [1.0, 2.0])
        with pytest.raises(ValueError, match="y_val must have as many entries as X_val has rows"):
            optima.best_for(np.ones((2, 1)), [1.0])
        with pytest.raises(ValueError, match="max_vertices must be at least 1"):
            optima.vertices(0)
        with pytest.raises(ValueError, match="size must be at least 0"):
            optima.sample(-1)
        with pytest.raises(TypeError, match="solution must be a Solution"):
            optima.contains(optima)  # type: ignore[arg-type]
