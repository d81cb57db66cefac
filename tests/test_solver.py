"""solve: right answers on degenerate data, and a status that is true."""

from __future__ import annotations

import concurrent.futures
import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.strategies import FORMULATIONS, Case, bits, cases, cube, with_ones
from tests.test_solution import candidate

from convexrelu import (
    Patterns,
    Problem,
    Progress,
    Solution,
    certify,
    enumerate_patterns,
    patterns_from_gates,
    sample_patterns,
    solve,
)

GENERATOR = np.random.default_rng(2)
EPSILON = np.finfo(float).eps


def rounding(problem: Problem, lam: float, residual: np.ndarray) -> float:
    """What rounding of A_b'r/n does to ||q_b|| / lam."""
    v = oracles.weights_of(problem)
    c = np.linalg.norm(problem.X, axis=1) @ (v * np.abs(residual))
    return 20 * EPSILON * c / lam


def check_optimal(problem: Problem, lam: float, solution: Solution, tol: float = 1e-8) -> None:
    """Everything that is promised of an optimal solution, by the oracles alone."""
    assert solution.status == "optimal"
    value = oracles.objective(problem, lam, solution.active_set, solution.weights)
    bounds = [oracles.dual_value(problem, lam, r) for r in (solution.residual, solution.dual)]
    gap = (value - max(bounds)) / value if value > 0 else 0.0
    assert solution.objective == pytest.approx(value, rel=1e-11, abs=1e-300)
    assert solution.lower_bound <= max(bounds) + 1e-10 * value
    assert -1e-10 <= gap <= tol
    assert gap <= 1e-9
    assert oracles.cone_violation(problem, solution.active_set, solution.weights) <= 1e-12
    assert (np.linalg.norm(solution.weights, axis=1) > 0).all()

    # ||q_b|| = lam on active blocks and at most that elsewhere, to 1e-10 where float64 allows it.
    norms = np.linalg.norm(oracles.directions(problem, solution.dual), axis=1) / lam
    positions = {(b.pattern, b.sign): j for j, b in enumerate(oracles.blocks(problem))}
    active = [positions[i, s] for i, s in solution.active_set]
    room = max(1e-10, rounding(problem, lam, solution.dual))
    np.testing.assert_allclose(norms[active], 1.0, atol=room)
    assert norms.max(initial=0.0) <= 1.0 + room


class TestOptimality:
    @given(cases())
    @settings(max_examples=500)
    def test_on_degenerate_problems(self, case: Case) -> None:
        check_optimal(case.problem, case.lam, solve(case.problem, case.lam))

    @given(cases(ratios=(0.9, 0.5, 0.1, 0.01, 1e-3)))
    @settings(max_examples=150)
    def test_agrees_with_an_interior_point_method(self, case: Case) -> None:
        solution = solve(case.problem, case.lam)
        optimum = oracles.minimise(case.problem, case.lam)
        if optimum.solved:
            assert solution.objective == pytest.approx(optimum.value, rel=1e-7, abs=1e-10)
        assert solution.lower_bound <= optimum.value * (1 + 1e-5) + 1e-10

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("ratio", [0.5, 0.05, 0.005])
    @pytest.mark.parametrize("kind", ["random", "integer", "rank 2", "wide", "bits"])
    def test_agrees_on_larger_problems(self, kind: str, ratio: float, formulation: str) -> None:
        rng = np.random.default_rng(len(kind))
        X = {
            "random": rng.standard_normal((40, 5)),
            "integer": rng.integers(-2, 3, (40, 4)).astype(float),
            "rank 2": rng.integers(-2, 3, (30, 2)) @ rng.integers(-1, 2, (2, 5)).astype(float),
            "wide": rng.standard_normal((8, 20)),
            "bits": rng.integers(0, 2, (40, 5)).astype(float),
        }[kind]
        problem = Problem(
            X,
            np.sign(X[:, 0] - 0.3) + 0.5 * rng.standard_normal(len(X)),
            sample_patterns(X, 30, rng=0),
            formulation=formulation,
        )
        lam = ratio * problem.lambda_max
        solution = solve(problem, lam)
        assert solution.status == "optimal"
        assert solution.gap <= 1e-9
        assert certify(solution).cone_violation <= 1e-12
        optimum = oracles.minimise(problem, lam)
        assert solution.objective == pytest.approx(optimum.value, rel=1e-7)

    @given(cases(), st.sampled_from([1e-3, 1e-6, 1e-12]))
    def test_at_other_tolerances(self, case: Case, tol: float) -> None:
        solution = solve(case.problem, case.lam, tol=tol)
        assert solution.status in {"optimal", "stalled"}
        assert (solution.gap <= tol) == (solution.status == "optimal")
        assert solution.gap <= 1e-9

    @given(cases())
    def test_prox_fixed_point(self, case: Case) -> None:
        """w is optimal iff w_b = prox(w_b + t c_b) for every block and any t > 0."""
        problem, lam = case.problem, case.lam
        solution = solve(problem, lam)
        v = oracles.weights_of(problem)
        weights = oracles.dense_weights(problem, solution.active_set, solution.weights)
        t = (np.linalg.norm(solution.weights, axis=1).max(initial=0.0) or 1.0) / lam
        size = np.linalg.norm(problem.X, axis=1) @ (v * np.abs(solution.dual))
        room = 1e-6 * t * lam + 100 * EPSILON * t * size
        for b, w in zip(oracles.blocks(problem), weights, strict=True):
            c = b.columns.T @ (v * solution.dual)
            np.testing.assert_allclose(oracles.prox(b.cone, w + t * c, t * lam), w, atol=room)


class TestTheory:
    """Properties of the optimum that hold whatever the solver did."""

    @given(cases(ratios=(0.9, 0.5, 0.1, 0.01, 1e-3)), st.randoms(use_true_random=False))
    def test_fit_and_penalty_are_those_of_every_optimum(self, case: Case, random: Any) -> None:
        """Repeated and shuffled patterns: other weights, the same fit, q_b and sum of norms."""
        gates = [row for row in np.asarray(case.gates) for _ in range(random.randint(1, 2))]
        random.shuffle(gates)
        other = Case(
            case.X, case.y, np.array(gates), case.formulation, case.ratio, case.sample_weight
        )
        lam = case.lam
        here, there = solve(case.problem, lam), solve(other.problem, lam)
        size = np.abs(case.y).max() or 1.0
        assert there.objective == pytest.approx(here.objective, rel=1e-8, abs=1e-300)
        np.testing.assert_allclose(there.dual, here.dual, atol=1e-6 * size)
        norms = [np.linalg.norm(s.weights, axis=1).sum() for s in (here, there)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-5, abs=1e-7 * size)

    @given(cases())
    def test_penalty_times_n_lam_is_residual_times_fit(self, case: Case) -> None:
        solution = solve(case.problem, case.lam)
        v = oracles.weights_of(case.problem)
        penalty = case.lam * np.linalg.norm(solution.weights, axis=1).sum()
        product = (v * solution.dual * (case.problem.y - solution.dual)).sum()
        assert penalty == pytest.approx(product, rel=1e-7, abs=1e-12 * (v * case.y**2).sum())

    @given(cases(ratios=(1.0,)), st.sampled_from([1.0, 1 + 1e-12, 1 + 1e-6, 2.0, 1e300]))
    def test_zero_from_lambda_max_on(self, case: Case, factor: float) -> None:
        lam = min(factor * case.lam, 1e300)
        solution = solve(case.problem, lam)
        check_optimal(case.problem, lam, solution)
        assert len(solution.active_set) == 0

    @given(cases(ratios=(1.0,)), st.sampled_from([1e-9, 1e-6, 1e-3]))
    def test_not_zero_below_lambda_max(self, case: Case, below: float) -> None:
        lambda_max = case.problem.lambda_max
        if lambda_max <= 1e-12 * np.abs(case.y).max():
            return  # 0 but for rounding
        solution = solve(case.problem, (1 - below) * lambda_max)
        check_optimal(case.problem, (1 - below) * lambda_max, solution)
        assert len(solution.active_set) > 0

    @given(cases(ratios=(0.5, 0.1, 0.01)), st.sampled_from([2.0**-40, 3.0, -1.0, 1e150, 1e-150]))
    def test_scaling_y_and_lam_scales_the_weights(self, case: Case, factor: float) -> None:
        scaled = Case(
            case.X, factor * case.y, case.gates, case.formulation, case.ratio, case.sample_weight
        )
        plain, lam = solve(case.problem, case.lam), abs(factor) * case.lam
        solution = solve(scaled.problem, lam)
        if factor < 0 and case.formulation == "gated":
            np.testing.assert_allclose(solution.fitted, -plain.fitted, atol=1e-6)
        expected = plain.objective * abs(factor) * abs(factor)
        assert solution.objective == pytest.approx(expected, rel=1e-8, abs=1e-300)

    @given(cases(ratios=(0.5, 0.1, 0.01)), st.sampled_from([2.0**-40, 3.0, 1e150, 1e-150]))
    def test_scaling_X_and_lam_leaves_the_fit(self, case: Case, factor: float) -> None:
        scaled = Case(
            factor * case.X, case.y, case.gates, case.formulation, case.ratio, case.sample_weight
        )
        plain, solution = solve(case.problem, case.lam), solve(scaled.problem, factor * case.lam)
        assert solution.objective == pytest.approx(plain.objective, rel=1e-8, abs=1e-300)


XOR = with_ones(bits(2))


def geometry() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    integer = rng.integers(-2, 3, (12, 3)).astype(float)
    flags = (rng.random((20, 6)) < 0.4).astype(float)
    return {
        "duplicate rows": (np.vstack([X[:6], X[:6]]), y),
        "negated rows": (np.vstack([X[:6], -X[:6]]), y),
        "zero rows": (np.where(np.arange(12)[:, None] % 3 == 0, 0.0, X), y),
        "proportional rows": (np.outer([1, 2, -1, 0.5] * 3, X[0]), y),
        "duplicate columns": (X[:, [0, 1, 0]], y),
        "opposite columns": (np.hstack([X, -X]), y),
        "zero columns": (X * [1, 0, 1], y),
        "all zero": (0 * X, y),
        "rank 1": (np.outer(y, X[0]), X[:, 1]),
        "n < d": (X[:2], y[:2]),
        "n = 1": (X[:1], y[:1]),
        "d = 1": (X[:, :1], y),
        "1 x 1": (np.ones((1, 1)), np.ones(1)),
        "constant y": (X, np.full(12, 3.0)),
        "y = 0": (X, 0 * y),
        "y fitted by one neuron": (integer, np.maximum(integer @ [1.0, -1, 2], 0)),
        "xor": (XOR, np.array([0.0, 1, 1, 0])),
        "3-cube": (cube(3), cube(3).prod(axis=1)),
        "5-cube": (cube(5), cube(5).prod(axis=1)),
        "5-cube, majority": (cube(5), np.sign(cube(5).sum(axis=1))),
        "0/1 features": (flags, flags[:, 0] - flags[:, 1] * flags[:, 2]),
        "one value": (np.ones((12, 3)), y),
    }


GEOMETRY = geometry()


class TestDegenerateGeometry:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("name", GEOMETRY)
    def test_is_solved(self, name: str, formulation: str) -> None:
        X, y = GEOMETRY[name]
        rng = np.random.default_rng(0)
        gates = np.hstack([rng.standard_normal((X.shape[1], 12)), X[:4].T, -X[:2].T])
        gates = np.hstack([gates, gates[:, :2]])  # repeated patterns
        problem = Problem(X, y, patterns_from_gates(X, gates), formulation=formulation)
        small = len(np.unique(X, axis=0)) <= 12
        scale = problem.lambda_max or 1.0
        ratios = (1e3, 1 + 1e-9, 1.0, 1 - 1e-9, 0.7, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
        for ratio in ratios:
            solution = solve(problem, ratio * scale)
            if small:
                check_optimal(problem, ratio * scale, solution)
            else:
                assert solution.status == "optimal"
                assert solution.gap <= 1e-9
                assert certify(solution).cone_violation <= 1e-12

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("name", GEOMETRY)
    @pytest.mark.parametrize("lam", [5e-324, 1e-300, 1e-100, 1e-15])
    def test_next_to_no_regularisation_is_told_truly(
        self, name: str, formulation: str, lam: float
    ) -> None:
        X, y = GEOMETRY[name]
        problem = Problem(X, y, sample_patterns(X, 12, rng=0), formulation=formulation)
        solution = solve(problem, lam)
        assert solution.status in {"optimal", "stalled", "numerical_failure"}
        assert np.isfinite(solution.weights).all()
        assert 0.0 <= solution.gap <= 1.0
        assert (solution.status == "optimal") == (solution.gap <= 1e-8)
        assert not np.isnan(certify(solution)).any()
        assert solution.objective <= (y**2).mean() / 2 * (1 + 1e-12)

    def test_300_integer_designs(self) -> None:
        """Ties everywhere: no violation of the optimality conditions above 1e-10."""
        rng = np.random.default_rng(11)
        for trial in range(300):
            X = rng.integers(-2, 3, (8, 10)).astype(float)
            y = rng.integers(-2, 3, 8).astype(float)
            if not y.any():
                y[0] = 1.0
            formulation = FORMULATIONS[trial % 2]
            problem = Problem(X, y, sample_patterns(X, 20, rng=trial), formulation=formulation)
            for ratio in (0.3, 0.02):
                solution = solve(problem, ratio * problem.lambda_max)
                assert solution.status == "optimal", trial
                assert certify(solution).stationarity <= 1e-10, trial

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_next_to_degenerate(self, formulation: str) -> None:
        """Where y is 1e-5 from integers, neurons that would be one are twins at that distance."""
        rng = np.random.default_rng(4)
        hardest = (
            ([[-1, -1], [-1, 0], [0, 1]], [0, -2, -2], [1, 0, 0]),
            ([[2, -2, 2], [0, 2, -1], [-2, 1, -2], [0, 1, 1], [-2, 0, -2]],
             [2, 0, 0, 0, 2], [-1, -1, 0, 1, -1]),
        )  # fmt: skip
        for trial in range(80):
            n, d = rng.integers(3, 7), rng.integers(2, 4)
            X, y, change = (rng.integers(-2, 3, size).astype(float) for size in ((n, d), n, n))
            if trial < len(hardest):
                X, y, change = (np.array(values, float) for values in hardest[trial])
            problem = Problem(X, y + 1e-5 * change, enumerate_patterns(X), formulation=formulation)
            if problem.lambda_max > 0:
                solution = solve(problem, 0.2 * problem.lambda_max)
                assert certify(solution).stationarity <= 1e-11
                assert solution.n_iter <= 40


def far_problem(seed: int) -> Problem:
    """Few gates or many, features of the kinds that tables have."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(40, 400)), int(rng.integers(1, 14))
    X = {
        0: lambda: rng.standard_normal((n, d)),
        1: lambda: np.exp(rng.standard_normal((n, d))) - 1.6,
        2: lambda: rng.integers(0, 2, (n, d)).astype(float),
        3: lambda: np.round(rng.standard_normal((n, d)), 1),
        4: lambda: rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d),
    }[seed % 5]()
    if rng.random() < 0.5:
        X[:, -1] = 1.0
    y = np.abs(X @ rng.standard_normal(d)) + X[:, 0]
    y += y.std() * rng.choice([0.1, 1.0]) * rng.standard_normal(n)
    return Problem(X, y, sample_patterns(X, int(rng.integers(2, 41)), rng=seed))


class TestFromFar:
    """Cold starts at small lam: thousands of faces of cones lie between zero and the optimum."""

    @pytest.mark.parametrize("ratio", [1e-2, 1e-3, 1e-4, 1e-6, 1e-8])
    @pytest.mark.parametrize("seed", range(0, 60, 5))
    def test_arrives_within_few_factorisations(self, seed: int, ratio: float) -> None:
        counts = []
        for problem in map(far_problem, range(seed, seed + 5)):
            lam = ratio * problem.lambda_max
            solution = solve(problem, lam, max_iter=1000)
            # A dual point is feasible up to the rounding of X'r.
            rounding = 4 * np.finfo(float).eps * np.linalg.norm(problem.X, 2) / len(problem.y)
            gap = max(1e-8, rounding * float(np.linalg.norm(solution.residual)) / lam)
            assert solution.status == "optimal" or (ratio < 1e-6 and solution.gap < gap), problem
            assert certify(solution).gap <= gap
            counts.append(solution.n_iter)
        assert np.median(counts) <= 150

    @pytest.mark.parametrize("seed", range(100, 106))
    def test_agrees_with_a_warm_grid(self, seed: int) -> None:
        problem = far_problem(seed)
        lam = 1e-4 * problem.lambda_max
        warm = None
        for step in np.geomspace(0.1 * problem.lambda_max, lam, 13):
            warm = solve(problem, float(step), warm_start=warm)
        cold = solve(problem, lam)
        assert warm is not None
        assert cold.objective == pytest.approx(warm.objective, rel=1e-9)

    def test_many_gates(self) -> None:
        rng = np.random.default_rng(0)
        X = with_ones(rng.standard_normal((120, 6)))
        problem = Problem(X, np.sin(3 * X[:, 0]) + X[:, 1], sample_patterns(X, 300, rng=0))
        for ratio in (1e-3, 1e-5):
            solution = solve(problem, ratio * problem.lambda_max, max_iter=500)
            assert (solution.status, certify(solution).gap <= 1e-8) == ("optimal", True)

    def test_one_feature(self) -> None:
        """Newton's method on the conditions went up and down at the last digit, for ever."""
        rng = np.random.default_rng(0)
        for _ in range(400):
            n = int(rng.integers(2, 12))
            X, y = rng.standard_normal((n, 1)), rng.standard_normal(n)
            problem = Problem(X, y, enumerate_patterns(X))
            lam = problem.lambda_max * 10 ** rng.uniform(-6, -3)
            assert solve(problem, lam, max_iter=200).status == "optimal"

    def test_cones_without_interior(self) -> None:
        """Bits of opposite rows that contradict each other confine a cone to a hyperplane."""
        rng = np.random.default_rng(1)
        X = np.repeat(rng.standard_normal((30, 4)), 2, axis=0)
        X[1::2] *= -1  # opposite rows, both on: only where the row is orthogonal
        gates = rng.standard_normal((4, 6))
        gates[:, :3] -= np.outer(X[0], X[0] @ gates[:, :3]) / (X[0] @ X[0])
        problem = Problem(X, np.abs(X[:, 0]) + X[:, 1], patterns_from_gates(X, gates))
        for ratio in (1e-3, 1e-5):
            solution = solve(problem, ratio * problem.lambda_max, max_iter=1000)
            assert (solution.status, certify(solution).gap <= 1e-8) == ("optimal", True)

    def test_bits_do_not_depend_on_threads(self) -> None:
        problem = far_problem(3)
        one, two = (
            solve(problem, 1e-4 * problem.lambda_max, n_threads=threads) for threads in (1, 2)
        )
        assert np.array_equal(one.weights, two.weights)


class TestScale:
    """The scaled answer to 1e-8, or numerical_failure; never NaN."""

    X = GENERATOR.integers(-2, 3, (9, 3)).astype(float)
    y = GENERATOR.standard_normal(9)
    gates = GENERATOR.standard_normal((3, 15))

    def solve(
        self, X: np.ndarray, y: np.ndarray, formulation: str, patterns: Any = None
    ) -> Solution:
        patterns = patterns_from_gates(self.X, self.gates) if patterns is None else patterns
        problem = Problem(X, y, patterns, formulation=formulation)
        return solve(problem, 0.1 * problem.lambda_max)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("a", [1e-150, 1.0, 1e150])
    @pytest.mark.parametrize("b", [1e-150, 1.0, 1e150])
    def test_units(self, a: float, b: float, formulation: str) -> None:
        plain = self.solve(self.X, self.y, formulation)
        scaled = self.solve(a * self.X, b * self.y, formulation)
        assert scaled.status == "optimal"
        assert scaled.objective == pytest.approx(plain.objective * b * b, rel=1e-8)
        np.testing.assert_array_equal(scaled.active_set, plain.active_set)
        np.testing.assert_allclose(scaled.fitted / b, plain.fitted, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(
            scaled.weights * (a / b), plain.weights, atol=1e-8 * np.abs(plain.weights).max()
        )

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (1e200, 1.0), (1.0, 1e200), (1e200, 1e-200), (1e-200, 1e200), (1e300, 1e-300),
            (1e-300, 1e300), (1e-310, 1.0), (1.0, 1e-310), (1e307, 1.0), (1.0, 1e307),
            (1e307, 1e-320),
        ],
    )  # fmt: skip
    def test_beyond_what_squares_can_hold(self, a: float, b: float, formulation: str) -> None:
        solution = self.solve(a * self.X, b * self.y, formulation)
        assert solution.status in {"optimal", "numerical_failure"}
        assert not np.isnan(certify(solution)).any()
        assert np.isfinite(solution.weights).all()
        if solution.status == "optimal":
            plain = self.solve(self.X, self.y, formulation)
            assert solution.objective == pytest.approx(plain.objective * b * b, rel=1e-8)
        else:
            assert len(solution.active_set) == 0
            assert 0.0 < solution.gap <= 1.0

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize(
        "columns", [[1e8, 1, 1e-8], [1, 1e12, 1], [1e-12, 1, 1], [1e-200, 1, 1], [1e150, 1, 1e-150]]
    )
    def test_columns_in_other_units(self, columns: list[float], formulation: str) -> None:
        """Another problem (the penalty sees units), but a solved one."""
        X = self.X * columns
        for ratio in (0.5, 0.1, 1e-3):
            problem = Problem(X, self.y, sample_patterns(X, 15, rng=0), formulation=formulation)
            solution = solve(problem, ratio * problem.lambda_max)
            assert solution.status == "optimal"
            assert solution.gap <= 1e-9
            assert certify(solution).cone_violation <= 1e-12
            value = oracles.objective(problem, solution.lam, solution.active_set, solution.weights)
            assert solution.objective == pytest.approx(value, rel=1e-10)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_rows_in_other_units(self, formulation: str) -> None:
        scale = 10.0 ** GENERATOR.integers(-8, 9, (9, 1))
        solution = self.solve(scale * self.X, self.y, formulation)
        assert solution.status == "optimal"
        assert certify(solution).cone_violation <= 1e-12

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_subnormal_entries(self, formulation: str) -> None:
        X = self.X.copy()
        X[:, 2] = 5e-324
        plain = X.copy()
        plain[:, 2] = 0.0
        here, there = (self.solve(Z, self.y, formulation) for Z in (X, plain))
        assert here.status == "optimal"
        assert here.objective == pytest.approx(there.objective, rel=1e-8)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_lam_far_above(self, formulation: str) -> None:
        for a, b in ((1.0, 1.0), (1e-150, 1e-150), (1e150, 1e150)):
            problem = Problem(
                a * self.X,
                b * self.y,
                patterns_from_gates(self.X, self.gates),
                formulation=formulation,
            )
            for lam in (1e305, np.finfo(float).max):
                solution = solve(problem, lam)
                assert (solution.status, len(solution.active_set)) == ("optimal", 0)
                assert solution.gap == 0.0

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_sample_weights_of_wild_ratios(self, formulation: str) -> None:
        v = 10.0 ** np.arange(-40, 50, 10)[:9]
        problem = Problem(
            self.X,
            self.y,
            patterns_from_gates(self.X, self.gates),
            formulation=formulation,
            sample_weight=v,
        )
        check_optimal(problem, 0.1 * problem.lambda_max, solve(problem, 0.1 * problem.lambda_max))


def medium(formulation: str, n: int = 300, d: int = 6, n_gates: int = 700) -> Problem:
    rng = np.random.default_rng(3)
    X = np.hstack([rng.standard_normal((n, d - 1)), np.ones((n, 1))])
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.3 * rng.standard_normal(n)
    return Problem(X, y, sample_patterns(X, n_gates, rng=0), formulation=formulation)


def assert_same_bits(here: Solution, there: Solution) -> None:
    assert (here.status, here.n_iter) == (there.status, there.n_iter)
    for name in ("active_set", "weights", "fitted", "residual", "dual"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    for name in ("objective", "lower_bound", "gap"):
        assert getattr(here, name) == getattr(there, name)


class TestDeterminism:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_bits_do_not_depend_on_threads(self, formulation: str) -> None:
        problem = medium(formulation)
        lam = 0.05 * problem.lambda_max
        serial = solve(problem, lam)
        assert serial.status == "optimal"
        assert len(serial.active_set) > 5
        for n_threads in (2, 3, 8, 64):
            assert_same_bits(solve(problem, lam, n_threads=n_threads), serial)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_threads_share_a_problem(self, formulation: str) -> None:
        problem = Problem(
            *GEOMETRY["duplicate rows"],
            sample_patterns(GEOMETRY["duplicate rows"][0], 20, rng=0),
            formulation=formulation,
        )
        fresh = pickle.loads(pickle.dumps(problem))
        lams = [0.7**k * problem.lambda_max for k in range(1, 9)]
        serial = [solve(problem, lam) for lam in lams]

        def work(seed: int) -> list[tuple[int, Solution]]:
            order = np.random.default_rng(seed).integers(0, len(lams), 125)
            assert fresh.lambda_max == problem.lambda_max  # computed once, by whoever is first
            return [(k, solve(fresh, lams[k])) for k in order]

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            for answers in pool.map(work, range(32)):
                for k, solution in answers:
                    assert_same_bits(solution, serial[k])

    def test_processes_get_the_same_bits(self) -> None:
        problem = Problem(XOR, [0, 1, 1, 0], sample_patterns(XOR, 20, rng=0))
        lams = [0.5**k * problem.lambda_max for k in range(1, 5)]
        answers = joblib.Parallel(n_jobs=2)(joblib.delayed(solve)(problem, lam) for lam in lams)
        for lam, answer in zip(lams, answers, strict=True):
            assert_same_bits(answer, solve(problem, lam))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_forked_processes_have_threads_of_their_own(self) -> None:
        """What stays from one loop to the next in the parent is not theirs, and both can end."""
        script = """if True:
            import os, sys, warnings
            import numpy as np
            from convexrelu import Problem, sample_patterns, solve
            X = np.random.default_rng(0).standard_normal((3000, 4))
            y = X[:, 0] * X[:, 1]
            problem = Problem(X, y, sample_patterns(X, 1000, rng=0))
            def weights():
                return solve(problem, 0.3 * problem.lambda_max, n_threads=2).weights.tobytes()
            before = weights()
            warnings.simplefilter("ignore")  # that there are threads
            children = [os.fork()]
            if children[0] == 0:
                sys.exit(0 if weights() == before else 1)  # by the end of an ordinary process
            children.append(os.fork())
            if children[1] == 0:
                sys.exit(0)
            same = weights() == before
            sys.exit(any(os.waitpid(child, 0)[1] for child in children) or not same)
        """
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

    def test_runs_agree(self) -> None:
        problem = medium("relu", n=60, n_gates=100)
        again = Problem(problem.X, problem.y, problem.patterns)
        lam = 0.02 * problem.lambda_max
        assert_same_bits(solve(problem, lam), solve(again, lam))


class TestWarmStart:
    @given(cases(ratios=(0.5, 0.1, 0.01, 1e-3)), st.sampled_from([3.0, 1.01, 1.0, 0.99, 0.1, 1e-3]))
    def test_from_another_lam(self, case: Case, factor: float) -> None:
        start = solve(case.problem, factor * case.lam)
        warm = solve(case.problem, case.lam, warm_start=start)
        check_optimal(case.problem, case.lam, warm)

    @given(cases(ratios=(0.5, 0.1, 0.01, 1e-3)), st.integers(0, 2**32 - 1))
    def test_from_garbage(self, case: Case, seed: int) -> None:
        rng = np.random.default_rng(seed)
        blocks = [b for b in oracles.blocks(case.problem) if rng.random() < 0.6]
        shape = (len(blocks), case.problem.X.shape[1])
        weights = rng.standard_normal(shape) * 10 ** rng.uniform(-12, 12, (len(blocks), 1))
        active_set = [(b.pattern, b.sign) for b in blocks]
        start = candidate(case.problem, case.lam, active_set, weights, np.zeros(len(case.y)))
        check_optimal(case.problem, case.lam, solve(case.problem, case.lam, warm_start=start))

    @pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e150, 1e300])
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_from_weights_out_of_range(self, size: float, formulation: str) -> None:
        problem = medium(formulation, n=30, n_gates=20)
        lam = 0.1 * problem.lambda_max
        cold = solve(problem, lam)
        weights = size * np.sign(cold.weights)
        start = candidate(problem, lam, cold.active_set, weights, np.zeros(30))
        warm = solve(problem, lam, warm_start=start)
        assert warm.status == "optimal"
        assert warm.objective == pytest.approx(cold.objective, rel=1e-9)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_does_not_take_longer(self, formulation: str) -> None:
        problem = medium(formulation)
        lam = 0.05 * problem.lambda_max
        cold = solve(problem, lam)
        itself = solve(problem, lam, warm_start=cold)
        assert itself.status == "optimal"
        assert itself.n_iter <= cold.n_iter / 3
        near = solve(problem, 0.95 * lam, warm_start=cold)
        assert near.n_iter <= solve(problem, 0.95 * lam).n_iter
        for ratio in (0.9, 1e-4):  # of no use, and of no harm
            far = solve(problem, ratio * problem.lambda_max)
            assert solve(problem, lam, warm_start=far).n_iter <= 1.5 * cold.n_iter

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_a_grid_is_cheaper_than_its_points(self, formulation: str) -> None:
        problem = medium(formulation, n=120, n_gates=200)
        warm: Solution | None = None
        n_warm = n_cold = 0
        for lam in np.geomspace(1, 0.03, 40) * problem.lambda_max:
            warm, cold = solve(problem, lam, warm_start=warm), solve(problem, lam)
            assert warm.status == "optimal"
            assert certify(warm).stationarity <= 1e-10
            assert warm.objective == pytest.approx(cold.objective, rel=1e-12)
            n_warm, n_cold = n_warm + warm.n_iter, n_cold + cold.n_iter
        assert n_warm <= n_cold / 2

    def test_from_other_data_of_the_same_patterns(self) -> None:
        problem = medium("relu", n=40, n_gates=30)
        other = Problem(problem.X[::-1], -problem.y, problem.patterns)
        lam = 0.1 * problem.lambda_max
        warm = solve(problem, lam, warm_start=solve(other, lam))
        assert warm.status == "optimal"
        assert warm.objective == pytest.approx(solve(problem, lam).objective, rel=1e-9)
        assert certify(warm).cone_violation <= 1e-12

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_a_stopped_solve_goes_on(self, formulation: str) -> None:
        problem = medium(formulation, n=60, n_gates=50)
        lam = 0.01 * problem.lambda_max
        solution = None
        for _ in range(60):
            solution = solve(problem, lam, max_iter=8, warm_start=solution)
            if solution.status == "optimal":
                break
        assert solution.status == "optimal"

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_on_listed_patterns_asks_for_no_gates(
        self, formulation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of enumerated patterns are computed only when somebody looks."""
        X, y = with_ones(cube(2)), np.arange(4.0)
        listed = [enumerate_patterns(X) for _ in range(2)]
        problem, other = (Problem(X, y, p, formulation=formulation) for p in listed)
        start = solve(other, 0.1)

        def refuse(patterns: Patterns) -> None:
            raise AssertionError("nobody needs the gates")

        monkeypatch.setattr(Patterns, "gates", property(refuse))
        assert solve(problem, 0.05, warm_start=start).status == "optimal"
        assert listed[0] == listed[0]

    def test_refused_for_another_formulation_or_other_patterns(self) -> None:
        problem = medium("relu", n=30, n_gates=20)
        gated = Problem(problem.X, problem.y, problem.patterns, formulation="gated")
        others = Problem(problem.X, problem.y, sample_patterns(problem.X, 20, rng=1))
        for other in (gated, others):
            with pytest.raises(ValueError, match="warm_start must be of a problem with the same"):
                solve(problem, 0.1, warm_start=solve(other, 0.1))


class TestStopping:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_max_iter(self, formulation: str) -> None:
        problem = medium(formulation, n=60, n_gates=50)
        lam = 0.01 * problem.lambda_max
        enough = solve(problem, lam).n_iter
        for max_iter in range(enough + 1):
            solution = solve(problem, lam, max_iter=max_iter)
            assert solution.n_iter <= max_iter
            assert solution.status in {"max_iter", "optimal"}
            assert (solution.status == "optimal") == (solution.gap <= 1e-8)
            assert solution.gap == certify(solution).gap
            assert solution.objective <= (problem.y**2).mean() / 2 * (1 + 1e-12)
        assert solution.status == "optimal"

    @given(cases(ratios=(0.5, 0.1, 0.01, 1e-3)), st.integers(0, 12))
    def test_what_is_left_is_a_point_with_its_gap(self, case: Case, max_iter: int) -> None:
        problem, lam = case.problem, case.lam
        solution = solve(problem, lam, max_iter=max_iter)
        value = oracles.objective(problem, lam, solution.active_set, solution.weights)
        bound = max(oracles.dual_value(problem, lam, r) for r in (solution.residual, solution.dual))
        assert solution.objective == pytest.approx(value, rel=1e-11, abs=1e-300)
        assert solution.lower_bound <= bound + 1e-10 * value
        assert (solution.status == "optimal") == (solution.gap <= 1e-8)
        assert oracles.cone_violation(problem, solution.active_set, solution.weights) <= 1e-12

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_callback_sees_progress_and_may_stop(self, formulation: str) -> None:
        problem = medium(formulation, n=60, n_gates=50)
        lam = 0.01 * problem.lambda_max
        seen: list[Progress] = []
        full = solve(problem, lam, callback=seen.append)
        assert full.status == "optimal"
        assert len(seen) > 2
        assert all(isinstance(p, Progress) and isinstance(p.phase, str) for p in seen)
        assert [p.iteration for p in seen] == sorted(p.iteration for p in seen)
        assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
        assert seen[-1].objective == pytest.approx(full.objective, rel=1e-8)
        for calls in (1, 2, 3):
            left = iter(range(calls))
            stopped = solve(problem, lam, callback=lambda _, left=left: next(left, None) is None)
            assert stopped.status == "callback"
            assert stopped.gap >= certify(stopped).gap - 1e-15
            assert stopped.gap == pytest.approx(
                (stopped.objective - stopped.lower_bound) / stopped.objective, abs=1e-15
            )

    def test_callback_that_says_nothing_changes_nothing(self) -> None:
        problem = medium("relu", n=60, n_gates=50)
        lam = 0.01 * problem.lambda_max
        for nothing in (None, 0, False, "", np.False_):
            quiet = solve(problem, lam, callback=lambda _, nothing=nothing: nothing)
            assert_same_bits(quiet, solve(problem, lam))

    def test_callback_that_raises(self) -> None:
        problem = medium("relu", n=30, n_gates=20)

        def raises(progress: Progress) -> None:
            raise LookupError("no more")

        with pytest.raises(LookupError, match="no more"):
            solve(problem, 0.01, callback=raises)
        with pytest.raises(ValueError, match="truth value"):
            solve(problem, 0.01, callback=lambda _: np.zeros(2))
        assert solve(problem, 0.01).status == "optimal"

    def test_callback_may_solve(self) -> None:
        problem = medium("relu", n=30, n_gates=20)
        inner: list[Solution] = []
        outer = solve(problem, 0.01, callback=lambda _: inner.append(solve(problem, 0.02)))
        assert_same_bits(outer, solve(problem, 0.01))
        for solution in inner:
            assert_same_bits(solution, solve(problem, 0.02))


@pytest.fixture(scope="module")
def long_problem() -> Problem:
    """Many seconds of work."""
    return medium("relu", n=1500, d=25, n_gates=1500)


class TestTimeLimit:
    @pytest.mark.timing
    @pytest.mark.parametrize("limit", [0.0, 0.05, 0.3, 1.0])
    def test_is_kept(self, long_problem: Problem, limit: float) -> None:
        lam = 1e-4 * long_problem.lambda_max
        late = np.inf
        for _ in range(5):  # others may have the processor: the best of five
            start, work = time.perf_counter(), time.process_time()
            solution = solve(long_problem, lam, time_limit=limit)
            late = min(late, time.perf_counter() - start, time.process_time() - work)
            assert solution.status == "time_limit"
            # There is no time for a scan at the end: certify may prove more, never less.
            assert solution.gap >= certify(solution).gap
            if late <= 1.1 * limit + 0.05:
                break
        assert late <= 1.1 * limit + 0.05

    def test_that_is_long_enough_changes_nothing(self) -> None:
        problem = medium("relu", n=60, n_gates=50)
        assert_same_bits(solve(problem, 0.01, time_limit=1e9), solve(problem, 0.01))


class TestInterrupt:
    def test_python_runs_meanwhile(self, long_problem: Problem) -> None:
        done = threading.Event()
        counted = 0

        def count() -> None:
            nonlocal counted
            while not done.wait(0.001):
                counted += 1

        thread = threading.Thread(target=count)
        thread.start()
        solve(long_problem, 1e-4 * long_problem.lambda_max, time_limit=0.5)
        done.set()
        thread.join()
        assert counted > 20


PROBLEM = medium("relu", n=30, n_gates=20)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"problem": None}, TypeError, "problem must be a Problem, got NoneType"),
    ({"problem": PROBLEM.X}, TypeError, "problem must be a Problem, got ndarray"),
    ({"lam": 0.0}, ValueError, "lam must be a finite number > 0, got 0"),
    ({"lam": -0.0}, ValueError, "lam must be a finite number > 0, got -0"),
    ({"lam": -1.0}, ValueError, "lam must be a finite number > 0, got -1"),
    ({"lam": np.nan}, ValueError, "lam must be a finite number > 0, got nan"),
    ({"lam": np.inf}, ValueError, "lam must be a finite number > 0, got inf"),
    ({"lam": 10**400}, ValueError, "lam must be a finite number > 0"),
    ({"lam": None}, TypeError, "lam must be a real number, got None"),
    ({"lam": "0.1"}, TypeError, "lam must be a real number, got '0.1'"),
    ({"lam": 1j}, TypeError, "lam must be a real number, got 1j"),
    ({"lam": True}, TypeError, "lam must be a real number, got True"),
    ({"lam": [0.1]}, TypeError, "lam must be a real number"),
    ({"lam": np.array([0.1])}, TypeError, "lam must be a real number"),
    ({"tol": 0.0}, ValueError, "tol must be a finite number > 0 and <= 1, got 0"),
    ({"tol": -1e-8}, ValueError, "tol must be a finite number > 0"),
    ({"tol": np.nan}, ValueError, "tol must be a finite number > 0"),
    ({"tol": np.inf}, ValueError, "tol must be a finite number > 0"),
    ({"tol": 2}, ValueError, "tol must be a finite number > 0 and <= 1, got 2"),
    ({"tol": None}, TypeError, "tol must be a real number"),
    ({"warm_start": PROBLEM}, TypeError, "warm_start must be a Solution, got Problem"),
    ({"warm_start": PROBLEM.X}, TypeError, "warm_start must be a Solution, got ndarray"),
    ({"max_iter": -1}, ValueError, "max_iter must be at least 0, got -1"),
    ({"max_iter": 1.5}, TypeError, "max_iter must be an integer, got 1.5"),
    ({"max_iter": np.inf}, TypeError, "max_iter must be an integer"),
    ({"max_iter": "9"}, TypeError, "max_iter must be an integer"),
    ({"max_iter": 2**80}, ValueError, "max_iter must be below"),
    ({"time_limit": -1.0}, ValueError, "time_limit must be a finite number >= 0, got -1"),
    ({"time_limit": np.nan}, ValueError, "time_limit must be a finite number >= 0, got nan"),
    ({"time_limit": "1s"}, TypeError, "time_limit must be a real number"),
    ({"n_threads": 0}, ValueError, "n_threads must be at least 1, or -1 for .* got 0"),
    (
        {"n_threads": -2},
        ValueError,
        "n_threads must be at least 1, or -1 for all processors, got -2",
    ),
    ({"n_threads": 1.0}, TypeError, "n_threads must be an integer"),
    ({"n_threads": None}, TypeError, "n_threads must be an integer"),
    ({"callback": 1}, TypeError, "callback must be None or a callable"),
    ({"callback": "print"}, TypeError, "callback must be None or a callable"),
]


class TestArguments:
    @pytest.mark.parametrize(("arguments", "error", "message"), BAD)
    def test_bad_ones(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        start = time.thread_time()
        with pytest.raises(error, match=message):
            solve(**{"problem": PROBLEM, "lam": 0.1, **arguments})
        assert time.thread_time() - start < 0.05

    @pytest.mark.parametrize(
        "arguments",
        [
            {"lam": 1},
            {"lam": np.float32(1)},
            {"lam": np.int64(1)},
            {"lam": np.array(1.0)},
            {"tol": np.float32(1e-6)},
            {"tol": 1},
            {"max_iter": np.int32(1000)},
            {"time_limit": 10},
            {"n_threads": np.int64(1)},
        ],
    )
    def test_good_ones(self, arguments: dict[str, Any]) -> None:
        good: dict[str, Any] = {"problem": PROBLEM, "lam": 1.0}
        assert solve(**{**good, **arguments}).objective == pytest.approx(
            solve(**good).objective, rel=1e-6
        )

    def test_only_lam_has_a_place(self) -> None:
        with pytest.raises(TypeError):
            solve(PROBLEM, 0.1, 1e-8)  # type: ignore[misc]

    def test_arguments_are_not_changed(self) -> None:
        X, y = PROBLEM.X.copy(), PROBLEM.y.copy()
        start = solve(PROBLEM, 0.1)
        before = copy.deepcopy(np.array(start.weights))
        solve(PROBLEM, 0.05, warm_start=start)
        np.testing.assert_array_equal(start.weights, before)
        np.testing.assert_array_equal(PROBLEM.X, X)
        np.testing.assert_array_equal(PROBLEM.y, y)
