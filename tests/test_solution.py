"""Solution and its certificate: no weights or dual candidate can make it say what is not so."""

from __future__ import annotations

import copy
import pickle
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.strategies import Case, cases

from convexrelu import (
    Certificate,
    Problem,
    Solution,
    _core,
    certify,
    enumerate_patterns,
    patterns_from_gates,
    sample_patterns,
    solve,
    to_network,
)
from convexrelu.solution import _restore

GENERATOR = np.random.default_rng(1)
X = GENERATOR.integers(-2, 3, (8, 3)).astype(float)
Y = GENERATOR.standard_normal(8)
PROBLEMS = {
    formulation: Problem(X, Y, sample_patterns(X, 20, rng=0), formulation=formulation)
    for formulation in ("relu", "gated")
}


def candidate(problem: Problem, lam: float, active_set: Any, weights: Any, dual: Any) -> Solution:
    """A solution of given parts, as a pickle would restore it: nobody says they are optimal."""
    active_set = np.asarray(active_set, dtype=np.int64).reshape(-1, 2)
    weights = np.asarray(weights, dtype=float).reshape(len(active_set), problem.X.shape[1])
    core = _core.make_solution(
        problem._core, lam, _core.Status.stalled, active_set, weights.T, np.asarray(dual), 0, np.nan
    )
    return Solution(core, problem)


@st.composite
def points(draw: st.DrawFn) -> tuple[Case, Solution]:
    """Arbitrary weights within their cones and an arbitrary dual candidate."""
    case = draw(cases(ratios=(0.9, 0.3, 0.01, 1e-4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = list(oracles.blocks(case.problem))
    active_set, weights = [], []
    for b in blocks:
        w = oracles.project(b.cone, rng.standard_normal(case.problem.X.shape[1]))
        if rng.random() < 0.4 and w.any():
            active_set.append((b.pattern, b.sign))
            weights.append(w * 10 ** rng.uniform(-6, 2))
    dual = rng.standard_normal(len(case.y)) * 10 ** rng.uniform(-6, 6)
    return case, candidate(case.problem, case.lam, active_set, weights, dual)


class TestArbitraryPoints:
    @given(points())
    def test_the_objective_is_that_of_the_formula(self, point: tuple[Case, Solution]) -> None:
        case, solution = point
        problem = case.problem
        expected = oracles.objective(problem, case.lam, solution.active_set, solution.weights)
        assert solution.objective == pytest.approx(expected, rel=1e-12, abs=1e-300)
        assert certify(solution).primal == solution.objective
        fitted = oracles.fitted(problem, solution.active_set, solution.weights)
        # Terms may cancel: rounding is relative to them.
        size = np.abs(solution.weights).sum(axis=0) @ np.abs(problem.X).T
        np.testing.assert_array_less(np.abs(solution.fitted - fitted), 1e-13 * size + 1e-300)
        np.testing.assert_array_equal(solution.residual, problem.y - solution.fitted)

    @given(points())
    def test_the_bound_is_the_best_of_its_two_candidates(
        self, point: tuple[Case, Solution]
    ) -> None:
        case, solution = point
        expected = max(
            oracles.dual_value(case.problem, case.lam, r)
            for r in (solution.residual, solution.dual)
        )
        bound = certify(solution).dual
        assert bound == solution.lower_bound
        assert bound == pytest.approx(max(expected, 0.0), rel=1e-9, abs=1e-13 * solution.objective)

    @given(points())
    @settings(max_examples=60)
    def test_the_bound_is_below_the_optimum(self, point: tuple[Case, Solution]) -> None:
        case, solution = point
        optimum = oracles.minimise(case.problem, case.lam)
        # Clarabel's cones are a little too wide where they are thin.
        room = 1e-7 if optimum.solved else 1e-5
        assert 0.0 <= solution.lower_bound <= optimum.value * (1 + room) + 1e-12
        assert 0.0 <= solution.gap <= 1.0
        if solution.objective > 0:
            gap = (solution.objective - solution.lower_bound) / solution.objective
            assert solution.gap == pytest.approx(max(gap, 0.0), abs=1e-15)

    @given(points())
    def test_what_is_violated_is_told(self, point: tuple[Case, Solution]) -> None:
        case, solution = point
        certificate = certify(solution)
        assert certificate.cone_violation <= 1e-11
        assert certificate.cone_violation == pytest.approx(
            oracles.cone_violation(case.problem, solution.active_set, solution.weights), abs=1e-14
        )


class TestExactly:
    """In rational arithmetic: the bound is one, and what is called optimal is so."""

    @given(cases(max_n=5, max_d=3, max_gates=4))
    @settings(max_examples=150)
    def test_optimal_is_optimal(self, case: Case) -> None:
        problem, lam = case.problem, case.lam
        solution = solve(problem, lam)
        assert solution.status == "optimal"
        primal, dual = oracles.exact_bounds(
            problem, lam, solution.active_set, solution.weights, solution.dual
        )
        assert float(primal) == pytest.approx(solution.objective, rel=1e-12, abs=1e-300)
        assert dual <= primal + primal / 10**12
        assert primal - dual <= primal / 10**8
        assert float(dual) >= solution.lower_bound - 1e-12 * solution.objective


class TestGarbage:
    """Dual candidates that are none cannot raise the bound above the optimum."""

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    @pytest.mark.parametrize(
        "garbage",
        [
            lambda r: np.full_like(r, np.nan),
            lambda r: np.where(np.arange(len(r)) == 3, np.nan, r),
            lambda r: np.full_like(r, np.inf),
            lambda r: np.where(np.arange(len(r)) == 3, -np.inf, r),
            lambda r: 0 * r,
            lambda r: -r,
            lambda r: 1e9 * r,
            lambda r: 1e200 * r,
            lambda r: 1e308 * np.sign(r),
            lambda r: 1e-9 * r,
            lambda r: 1e-200 * r,
            lambda r: 5e-324 * np.sign(r),
            lambda r: r[::-1].copy(),
            lambda r: 0 * r + Y,
            lambda r: np.eye(len(r))[2],
        ],
        ids=[
            "nan", "one nan", "inf", "one inf", "zero", "negative", "too large", "far too large",
            "largest", "too small", "far too small", "smallest", "reversed", "y", "unit",
        ],
    )  # fmt: skip
    def test_dual_candidates(self, formulation: str, garbage: Any) -> None:
        problem = PROBLEMS[formulation]
        lam = 0.1 * problem.lambda_max
        best = solve(problem, lam, tol=1e-12)
        assert best.status == "optimal"
        for weights in (best.weights, 0.5 * best.weights):
            own = candidate(problem, lam, best.active_set, weights, np.zeros(8))
            solution = candidate(
                problem, lam, best.active_set, weights, garbage(np.array(best.dual))
            )
            assert own.lower_bound <= solution.lower_bound <= best.objective * (1 + 1e-14)
            assert all(np.isfinite(certify(solution)))

    def test_a_good_candidate_of_any_scale_and_sign_is_as_good(self) -> None:
        problem = PROBLEMS["gated"]
        best = solve(problem, 0.1 * problem.lambda_max, tol=1e-12)
        for factor in (1.0, -1.0, 1e6, -1e150):
            solution = candidate(
                problem, best.lam, best.active_set, 0.5 * best.weights, factor * best.dual
            )
            assert solution.lower_bound == pytest.approx(best.objective, rel=1e-12)

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_weights_that_overflow(self, formulation: str) -> None:
        problem = PROBLEMS[formulation]
        lam = 0.1 * problem.lambda_max
        best = solve(problem, lam)
        for size in (1e100, 1e200, 1e308):
            weights = size * np.sign(best.weights)
            solution = candidate(problem, lam, best.active_set, weights, np.zeros(8))
            certificate = certify(solution)
            assert not np.isnan(certificate).any()
            assert certificate.gap == 1.0
            assert 0.0 <= certificate.dual <= best.objective

    def test_weights_outside_their_cones_are_told(self) -> None:
        problem = PROBLEMS["relu"]
        best = solve(problem, 0.1 * problem.lambda_max)
        solution = candidate(problem, best.lam, best.active_set, -best.weights, best.dual)
        assert certify(solution).cone_violation > 0.01
        assert certify(solution).stationarity > 1.0

    def test_stationarity_sees_weights_of_the_wrong_length_and_direction(self) -> None:
        problem = PROBLEMS["relu"]
        best = solve(problem, 0.1 * problem.lambda_max)
        assert certify(best).stationarity < 1e-12
        longer = candidate(problem, best.lam, best.active_set, 1.01 * best.weights, best.residual)
        assert certify(longer).stationarity > 1e-4
        fewer = candidate(
            problem, best.lam, best.active_set[1:], best.weights[1:], np.zeros(len(Y))
        )
        assert certify(fewer).stationarity > 1e-3

    @pytest.mark.parametrize(
        ("active_set", "weights", "message"),
        [
            ([[99, 1]], np.ones((1, 3)), "99"),
            ([[-1, 1]], np.ones((1, 3)), "-1"),
            ([[0, 0]], np.ones((1, 3)), "block"),
            ([[0, 1]], np.full((1, 3), np.nan), "finite"),
            ([[0, 1]], np.full((1, 3), np.inf), "finite"),
        ],
    )
    def test_parts_that_are_no_solution(self, active_set: Any, weights: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            candidate(PROBLEMS["relu"], 0.1, active_set, weights, np.zeros(8))

    def test_a_sign_that_the_gated_problem_has_not(self) -> None:
        with pytest.raises(ValueError, match="block"):
            candidate(PROBLEMS["gated"], 0.1, [[0, -1]], np.ones((1, 3)), np.zeros(8))


class TestContradiction:
    """A lower bound above the objective proves nothing."""

    def test_over_all_patterns(self) -> None:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
        problem = Problem(X, y, sample_patterns(X, 10, rng=0))
        solution = solve(problem, 0.1)
        objective = solution.objective
        parts = (problem, 0.1, "optimal", solution.active_set, solution.weights.T, solution.dual, 1)
        for bound in (0.5 * objective, objective, objective * (1 + 5e-10)):
            again = _restore(*parts, bound)
            assert again.global_lower_bound == min(bound, objective)
            assert again.global_gap == max(0.0, 1 - bound / objective)
            assert again.is_global
        for bound in (objective * (1 + 2e-9), 2 * objective, np.inf):
            again = _restore(*parts, bound)
            assert np.isnan(again.global_lower_bound)
            assert np.isnan(again.global_gap)
            assert not again.is_global

    @given(cases())
    @settings(max_examples=100)
    def test_none_is_raw_either(self, case: Case) -> None:
        """Rounding is taken off before the bound is compared with the objective."""
        solution = solve(case.problem, case.lam)
        certificate = certify(solution)
        assert certificate.dual <= certificate.primal * (1 + 1e-14)
        assert solution.lower_bound <= solution.objective * (1 + 1e-14)


class TestNetwork:
    """The network that the weights mean has the convex objective (Pilanci & Ergen 2020)."""

    @given(cases(formulations=("relu",), ratios=(0.5, 0.1, 1e-3)))
    def test_relu(self, case: Case) -> None:
        if case.sample_weight is not None:
            return
        self.check(case, gates=None)

    @given(cases(formulations=("gated",), ratios=(0.5, 0.1, 1e-3)))
    def test_gated(self, case: Case) -> None:
        if case.sample_weight is not None:
            return
        self.check(case, gates=np.asarray(case.gates, dtype=float).T)

    def check(self, case: Case, gates: Any) -> None:
        solution = solve(case.problem, case.lam)
        norms = np.linalg.norm(solution.weights, axis=1)
        hidden = solution.weights / np.sqrt(norms)[:, None]
        output = solution.active_set[:, 1] * np.sqrt(norms)
        value = oracles.network_objective(
            case.problem.X,
            case.problem.y,
            case.lam,
            hidden,
            output,
            None if gates is None else gates[:, solution.active_set[:, 0]],
        )
        assert value == pytest.approx(solution.objective, rel=1e-10, abs=1e-300)

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_predicts(self, formulation: str) -> None:
        problem = PROBLEMS[formulation]
        solution = solve(problem, 0.1 * problem.lambda_max)
        np.testing.assert_allclose(solution.predict(problem.X), solution.fitted, rtol=1e-12)
        rows = np.random.default_rng(0).standard_normal((20, problem.X.shape[1]))
        expected = to_network(solution).predict(rows)
        np.testing.assert_array_equal(solution.predict(rows), expected)
        np.testing.assert_array_equal(solution.predict(rows, n_threads=2), expected)
        with pytest.raises(ValueError, match=f"X must have {rows.shape[1]} columns"):
            solution.predict(rows[:, 1:])

    def test_the_scaling_of_the_paper(self) -> None:
        """1/2 ||f - y||^2 + (n lam) sum ||w_b|| is n times the objective here."""
        solution = solve(PROBLEMS["relu"], 0.02)
        paper = (solution.residual**2).sum() / 2
        paper += 8 * 0.02 * np.linalg.norm(solution.weights, axis=1).sum()
        assert paper == pytest.approx(8 * solution.objective, rel=1e-13)


class TestValue:
    @pytest.fixture(params=["relu", "gated"])
    def solution(self, request: pytest.FixtureRequest) -> Solution:
        problem = PROBLEMS[request.param]
        return solve(problem, 0.1 * problem.lambda_max)

    def test_copies_are_equal(self, solution: Solution, tmp_path: Path) -> None:
        joblib.dump(solution, tmp_path / "solution")
        copies = [pickle.loads(pickle.dumps(solution, protocol)) for protocol in range(2, 6)]
        copies += [copy.copy(solution), copy.deepcopy(solution), joblib.load(tmp_path / "solution")]
        for other in copies:
            for name in ("active_set", "weights", "fitted", "residual", "dual"):
                np.testing.assert_array_equal(getattr(other, name), getattr(solution, name))
            for name in ("lam", "status", "objective", "lower_bound", "gap", "n_iter"):
                assert getattr(other, name) == getattr(solution, name)
            assert certify(other) == certify(solution)
            assert other.problem.lambda_max == solution.problem.lambda_max

    def test_stopped_solutions_are_copied_too(self) -> None:
        solution = solve(PROBLEMS["relu"], 0.01, max_iter=1)
        other = pickle.loads(pickle.dumps(solution))
        assert (other.status, other.gap) == (solution.status, solution.gap)

    def test_arrays_are_read_only(self, solution: Solution) -> None:
        for name in ("weights", "fitted", "residual", "dual"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(solution, name)[0] = 1.0

    def test_changing_what_it_returned_does_not_change_it(self, solution: Solution) -> None:
        before = solution.active_set.copy()
        solution.active_set[:] = 7
        np.testing.assert_array_equal(solution.active_set, before)

    def test_arrays_outlive_it(self) -> None:
        weights = solve(PROBLEMS["relu"], 0.01).weights
        expected = weights.copy()
        others = [solve(PROBLEMS["relu"], 0.01 * k) for k in range(2, 20)]
        assert len(others) == 18
        np.testing.assert_array_equal(weights, expected)

    def test_the_certificate_is_the_one_it_carries(self, solution: Solution) -> None:
        certificate = certify(solution)
        assert isinstance(certificate, Certificate)
        assert certificate[:3] == (solution.objective, solution.lower_bound, solution.gap)
        for n_threads in (2, 3, 8):
            assert certify(solution, n_threads=n_threads) == certificate

    def test_nothing_is_claimed_over_all_patterns(self, solution: Solution) -> None:
        assert np.isnan(solution.global_lower_bound)
        assert np.isnan(solution.global_gap)
        assert not solution.is_global

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_over_all_patterns_the_bound_is_global(self, formulation: str) -> None:
        problem = Problem(X, Y, enumerate_patterns(X), formulation=formulation)
        solution = solve(problem, 0.1 * problem.lambda_max)
        for s in (solution, pickle.loads(pickle.dumps(solution))):
            assert s.is_global == (formulation == "relu")
            expected = s.lower_bound if s.is_global else np.nan
            np.testing.assert_equal(s.global_lower_bound, expected)
            assert np.isnan(s.global_gap) or s.global_gap == s.gap <= 1e-8
        rough = solve(problem, 0.1 * problem.lambda_max, max_iter=1)
        assert rough.gap > 1e-8
        assert not rough.is_global

    def test_nothing_is_claimed_beyond_the_range(self) -> None:
        huge = np.full((3, 1), 1e200)
        solution = solve(Problem(huge, huge[:, 0], enumerate_patterns(huge)), 1.0)
        assert solution.global_gap == solution.gap == 1.0
        assert not solution.is_global

    def test_repr(self, solution: Solution) -> None:
        assert repr(solution).startswith("<Solution: optimal, lam=")

    def test_zero_solution(self) -> None:
        problem = PROBLEMS["relu"]
        solution = solve(problem, 2 * problem.lambda_max)
        assert solution.active_set.shape == (0, 2)
        assert solution.weights.shape == (0, 3)
        np.testing.assert_array_equal(solution.fitted, np.zeros(8))
        np.testing.assert_array_equal(solution.residual, Y)

    def test_y_of_zeros(self) -> None:
        solution = solve(Problem(X, np.zeros(8), patterns_from_gates(X, np.eye(3))), 0.1)
        assert certify(solution) == (0.0, 0.0, 0.0, 0.0, 0.0)
        assert solution.status == "optimal"


class TestRefuses:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"solution": PROBLEMS["relu"]}, TypeError, "solution must be a Solution, got Problem"),
            ({"solution": None}, TypeError, "solution must be a Solution, got NoneType"),
            (
                {"n_threads": 0},
                ValueError,
                "n_threads must be at least 1, or -1 for .* got 0",
            ),
            (
                {"n_threads": -2},
                ValueError,
                "n_threads must be at least 1, or -1 for all processors, got -2",
            ),
            ({"n_threads": 1.0}, TypeError, "n_threads must be an integer, got 1.0"),
            ({"n_threads": None}, TypeError, "n_threads must be an integer, got None"),
            ({"n_threads": "2"}, TypeError, "n_threads must be an integer, got '2'"),
            ({"n_threads": True}, TypeError, "n_threads must be an integer, got True"),
            ({"n_threads": 2**40}, ValueError, "n_threads must be below"),
        ],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        good = {"solution": solve(PROBLEMS["relu"], 0.1)}
        start = time.thread_time()
        with pytest.raises(error, match=message):
            certify(**{**good, **arguments})
        assert time.thread_time() - start < 0.05
