"""solve_global: as good as the enumerated problem, and nothing claimed that is not proven."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import designs, integers, reals, sample_weights, targets

from convexrelu import (
    Network,
    Problem,
    Progress,
    Solution,
    Standardizer,
    certify,
    enumerate_patterns,
    price_patterns,
    solve,
    solve_global,
    to_network,
)

Array = np.ndarray


def reference(X: Array, y: Array, lam: float, sample_weight: Array | None = None) -> Solution:
    """The optimum over all patterns, listed."""
    problem = Problem(X, y, enumerate_patterns(X), sample_weight=sample_weight)
    solution = solve(problem, lam)
    assert solution.gap <= 1e-9
    return solution


def check(solution: Solution, optimum: float, tol: float = 1e-4, accuracy: float = 1e-6) -> None:
    """Solved to tol: an objective within the accuracy of the optimum, recomputed; a bound that
    holds; a true status.
    """
    X, y, v = solution.problem.X, solution.problem.y, solution.problem.sample_weight
    v = np.ones(len(y)) if v is None else v
    weights, signs = solution.weights, solution.active_set[:, 1]
    residual = y - np.maximum(X @ weights.T, 0.0) @ signs
    value = v @ residual**2 / (2 * v.sum()) + solution.lam * np.linalg.norm(weights, axis=1).sum()
    assert solution.objective == pytest.approx(value, rel=1e-9, abs=1e-14)
    assert optimum * (1 - 1e-8) - 1e-14 <= value <= optimum * (1 + accuracy) + 1e-14
    assert not solution.global_lower_bound > optimum * (1 + 1e-9) + 1e-14
    assert not solution._core.global_lower_bound > optimum * (1 + 1e-9) + 1e-14
    assert not solution._core.lower_bound > solution.objective * (1 + 1e-13)
    assert solution.is_global == (solution.status == "optimal")
    if solution.is_global:
        assert solution.global_gap <= tol


def medium(n: int = 100, d: int = 4, kind: str = "reals") -> tuple[Array, Array]:
    rng = np.random.default_rng(n + d)
    X = rng.standard_normal((n, d))
    if kind == "ties":
        X = np.rint(1.5 * X)
    X[:, -1] = 1.0
    hidden = rng.standard_normal((d, 5))
    return X, np.maximum(X @ hidden, 0) @ np.array([1, -1, 1, -1, 1]) + 0.3 * rng.standard_normal(n)


class TestOptimum:
    @given(st.data())
    @settings(max_examples=150)
    def test_is_that_of_the_enumerated_problem(self, data: st.DataObject) -> None:
        X = data.draw(designs(max_n=9, max_d=4))
        y = data.draw(targets(X))
        v = data.draw(sample_weights(len(X)))
        size = float(np.abs(X).max() * np.abs(y).max()) or 1.0
        lam = data.draw(st.sampled_from([0.3, 0.03, 3e-3])) * size
        optimum = reference(X, y, lam, v).objective
        solution = solve_global(X, y, lam, sample_weight=v, rng=0, tol=1e-6)
        check(solution, optimum, tol=1e-6, accuracy=2e-6)

    @pytest.mark.parametrize("kind", ["reals", "ties"])
    @pytest.mark.parametrize(("n", "d"), [(200, 2), (100, 3), (30, 4)])
    @pytest.mark.parametrize("lam", [0.2, 0.01])
    def test_on_larger_problems(self, kind: str, n: int, d: int, lam: float) -> None:
        X, y = medium(n, d, kind)
        solution = solve_global(X, y, lam, rng=0, tol=1e-6)
        check(solution, reference(X, y, lam).objective, tol=1e-6)
        assert solution.is_global

    @pytest.mark.parametrize("scale", [1e-140, 1e140])
    def test_scales(self, scale: float) -> None:
        X, y = medium(40, 3)
        base = solve_global(X, y, 0.05, rng=0)
        for x_scale, y_scale in ((scale, 1.0), (1.0, scale), (scale**0.5, scale**-0.5)):
            lam = 0.05 * x_scale * y_scale
            s = solve_global(x_scale * X, y_scale * y, lam, rng=0)
            assert s.objective == pytest.approx(base.objective * y_scale**2, rel=1e-6)
            assert s.status == base.status

    def test_beyond_range(self) -> None:
        s = solve_global(np.full((3, 1), 1e200), np.full(3, 1e200), 1.0, rng=0)
        assert s.status == "numerical_failure"
        assert not s.is_global


class TestRows:
    @given(st.data())
    @settings(max_examples=40)
    def test_order_and_multiplicity_do_not_matter(self, data: st.DataObject) -> None:
        n, d = 8, data.draw(st.integers(1, 3))
        X = data.draw(st.one_of(reals((n, d)), integers((n, d), -2, 2)))
        y = data.draw(reals(n))
        times = data.draw(st.integers(1, 3))
        order = np.array(data.draw(st.permutations(range(n * times)))) % n
        once = solve_global(X, y, 0.05, rng=0)
        other = solve_global(X[order], y[order], 0.05, rng=0)
        assert other.objective == pytest.approx(once.objective, rel=1e-8)
        assert other.status == once.status
        assert other.global_lower_bound == pytest.approx(once.global_lower_bound, rel=1e-3)

    @pytest.mark.parametrize("kind", ["reals", "ties"])
    def test_of_a_larger_problem(self, kind: str) -> None:
        X, y = medium(150, 6, kind)
        order = np.random.default_rng(0).permutation(np.r_[: len(y), : len(y)])
        once = solve_global(X, y, 0.03, rng=0, certify=False)
        other = solve_global(X[order], y[order], 0.03, rng=0, certify=False)
        assert other.objective == pytest.approx(once.objective, rel=1e-4)

    def test_weights_are_multiplicities(self) -> None:
        X, y = medium(40, 3)
        times = np.random.default_rng(1).integers(0, 4, 40)
        weighted = solve_global(X, y, 0.05, sample_weight=times, rng=0)
        repeated = solve_global(X.repeat(times, 0), y.repeat(times), 0.05, rng=0)
        assert weighted.objective == pytest.approx(repeated.objective, rel=1e-8)
        assert weighted.is_global
        assert repeated.is_global

    def test_many_begin_with_a_sample(self) -> None:
        """And end where growth over all of them does; rows of weight 0 do not count."""
        rng = np.random.default_rng(0)
        X = np.column_stack([rng.standard_normal((17_000, 2)), np.ones(17_000)])
        y = np.abs(X[:, 0]) - np.maximum(X[:, 0] + X[:, 1], 0) + 0.3 * rng.standard_normal(len(X))
        v = rng.integers(0, 20, len(X)).astype(float)
        nothing = Network(np.zeros((1, 3)), np.zeros(1))
        seen: list[str] = []

        def grown(weight: Array | None = None, **options: Any) -> Solution:
            seen.clear()
            return solve_global(
                X,
                y,
                0.01,
                sample_weight=weight,
                tol=1e-3,
                certify=False,
                rng=0,
                callback=lambda progress: seen.append(progress.phase),
                **options,
            )

        for weight, first in ((None, "sample"), (np.where(v > 2, v, 0.0), "grow")):
            one = grown(weight)
            assert seen[0] == first
            assert "grow" in seen
            assert one.objective == pytest.approx(
                grown(weight, warm_start=nothing).objective, rel=1e-3
            )
        assert np.array_equal(grown(n_threads=2).weights, grown().weights)


class TestEdges:
    @pytest.mark.parametrize(
        ("X", "y"),
        [
            ([[1.0, 2.0]], [3.0]),
            ([[1.0], [-1.0], [1.0]], [1.0, 2.0, 0.0]),
            ([[0.0, 0.0], [0.0, 0.0]], [1.0, 2.0]),
            (np.eye(3), [0.0, 0.0, 0.0]),
            ([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]], [1, 1, 0, 0]),
            ([[1.0, 2.0, 3.0, 4.0]] * 3, [1.0, 2.0, 4.0]),
        ],
        ids=["n=1", "opposite", "zero X", "zero y", "xor", "n<d"],
    )
    @pytest.mark.parametrize("lam", [0.05, 10.0])
    def test_small(self, X: Any, y: Any, lam: float) -> None:
        X, y = np.array(X, dtype=float), np.array(y, dtype=float)
        s = solve_global(X, y, lam, rng=0)
        check(s, reference(X, y, lam).objective)
        assert s.is_global

    @pytest.mark.parametrize("ratio", [1 - 1e-6, 1 + 1e-6, 10.0])
    def test_around_lambda_max(self, ratio: float) -> None:
        X, y = medium(50, 3)
        problem = Problem(X, y, enumerate_patterns(X))
        s = solve_global(X, y, ratio * problem.lambda_max, rng=0)
        check(s, reference(X, y, s.lam).objective)
        assert s.is_global
        if ratio > 1:
            assert len(s.active_set) == 0

    def test_many_features(self) -> None:
        """Beyond branch and bound: the local search alone."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((60, 80)), rng.standard_normal(60)
        s = solve_global(X, y, 0.5, rng=0, tol=1e-3)
        assert s.gap <= 1e-3
        assert s.status == "unproven"
        assert not s.is_global
        # Before it is cut to the objective.
        assert not s._core.global_lower_bound > s.objective * (1 + 1e-12)


def tiny(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Few rows and columns, of the kinds that bring ties, near ties and columns of many units."""
    n, d = int(rng.integers(1, 14)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    if kind == "rounded":
        X = np.round(X, int(rng.integers(0, 2)))
    elif kind == "binary":
        X = rng.integers(0, 2, (n, d)).astype(float)
    elif kind == "near ties":
        X = np.rint(X) + 10.0 ** rng.uniform(-12, -6) * rng.standard_normal((n, d))
    elif kind == "units":
        X *= 10.0 ** rng.uniform(-8, 8, d)
    if rng.random() < 0.6:
        X = np.column_stack([X, np.ones(n)])
    y = rng.standard_normal(n)
    return X, np.round(y, 1) if rng.random() < 0.5 else y


class TestRounds:
    @pytest.mark.parametrize("kind", ["reals", "rounded", "binary", "near ties", "units"])
    def test_end(self, kind: str) -> None:
        """Within a budget of rounds: 45 were the most in 1,500 such problems."""
        rng = np.random.default_rng(len(kind))
        for seed in range(80):
            X, y = tiny(rng, kind)
            ratio, tol = 10.0 ** rng.uniform(-8, 0), 10.0 ** rng.uniform(-9, -1)
            lam = ratio * price_patterns(X, y, max_cones=0, rng=0).value
            if lam == 0:
                continue
            rounds = 0

            def count(progress: Progress) -> bool:
                nonlocal rounds
                rounds += progress.phase in {"grow", "close"}
                return rounds > 200

            certified = bool(rng.random() < 0.5)
            s = solve_global(X, y, lam, tol=tol, certify=certified, rng=seed, callback=count)
            assert s.status != "callback", (kind, seed)
            assert s.n_iter <= 200 * 400

    @pytest.mark.parametrize("seed", range(8))
    def test_end_where_smoothing_misleads(self, seed: int) -> None:
        """One feature in one decimal, at 1e-4 of lambda_max: every round rose and fell again."""
        x = [7.2, 0, 0, 4.3, 3.1, 8.3, 0.5, 0.3, 8.7, 1.9, 7.1, 4]
        y = np.array([66, -22, 10, -69, -31, 119, 52, 53, 98, 78, 64, -69]) / 100
        data = Standardizer.fit(np.reshape(x, (-1, 1)), y)
        X, y = data.transform(np.reshape(x, (-1, 1))), data.transform_target(y)
        lam = 1e-4 * price_patterns(X, y, rng=0).value
        s = solve_global(X, y, lam, rng=seed, callback=lambda p: p.iteration > 500)
        check(s, reference(X, y, lam).objective)
        assert s.is_global


class TestTolerance:
    @pytest.mark.parametrize("tol", [0.5, 0.1, 0.01])
    @pytest.mark.parametrize("lam", [0.1, 0.003])
    def test_ends_growth(self, tol: float, lam: float) -> None:
        """With less work than the last digits take, and no worse than it says."""
        X, y = medium(200, 6)
        fine = solve_global(X, y, lam, tol=1e-4, certify=False, rng=0)
        coarse = solve_global(X, y, lam, tol=tol, certify=False, rng=0)
        assert fine.objective * (1 - 1e-9) <= coarse.objective <= fine.objective * (1 + tol)
        assert coarse.n_iter < fine.n_iter
        assert coarse.status == "unproven"

    def test_is_proven_where_that_is_in_reach(self) -> None:
        X, y = medium(100, 3)
        s = solve_global(X, y, 0.01, tol=0.1, rng=0)
        check(s, reference(X, y, 0.01).objective, tol=0.1, accuracy=0.1)
        assert s.is_global


class TestWarmStart:
    @given(st.data())
    @settings(max_examples=60)
    def test_is_never_worsened(self, data: st.DataObject) -> None:
        X = data.draw(designs(max_n=9, max_d=3))
        y = data.draw(targets(X))
        v = data.draw(sample_weights(len(X)))
        m = data.draw(st.integers(0, 12))
        start = Network(data.draw(reals((m, X.shape[1]))), data.draw(reals(m)))
        size = float(np.abs(X).max() * np.abs(y).max()) or 1.0
        lam = data.draw(st.sampled_from([3.0, 0.1, 1e-3, 1e-6])) * size
        s = solve_global(X, y, lam, sample_weight=v, tol=0.5, warm_start=start, rng=0)
        before = start.balance().objective(X, y, lam, sample_weight=v)
        assert s.objective <= before * (1 + 1e-12) + 1e-300

    @pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
    def test_solution_of_another_lam(self, ratio: float) -> None:
        X, y = medium(150, 6)
        start = solve_global(X, y, 0.02, tol=0.01, certify=False, rng=0)
        lam = 0.02 * ratio
        s = solve_global(X, y, lam, tol=0.01, warm_start=start, certify=False, rng=0)
        assert s.objective <= to_network(start).objective(X, y, lam)
        cold = solve_global(X, y, lam, tol=1e-5, certify=False, rng=0)
        assert s.objective == pytest.approx(cold.objective, rel=0.01)

    def test_saves_work(self) -> None:
        X, y = medium(300, 6)
        start = solve_global(X, y, 0.011, tol=0.01, certify=False, rng=0)
        cold = solve_global(X, y, 0.01, tol=0.01, certify=False, rng=0)
        warm = solve_global(X, y, 0.01, tol=0.01, certify=False, rng=0, warm_start=start)
        assert warm.n_iter < cold.n_iter

    def test_is_kept_when_there_is_no_time(self) -> None:
        X, y = medium(100, 4)
        start = solve_global(X, y, 0.01, certify=False, rng=0)
        s = solve_global(X, y, 0.01, warm_start=start, time_limit=0)
        assert s.status == "time_limit"
        assert s.objective == pytest.approx(start.objective, rel=1e-12)
        assert s.objective <= start.objective * (1 + 1e-12)

    def test_without_time_zero_is_kept_where_it_is_better(self) -> None:
        X, y = medium(100, 4)
        start = Network(np.full((1, 4), 1e3), [1e3])
        s = solve_global(X, y, 0.01, warm_start=start, time_limit=0)
        assert s.status == "time_limit"
        assert s.objective == pytest.approx(y @ y / (2 * len(y)), rel=1e-12)

    def test_of_more_neurons_than_rows(self) -> None:
        X, y = medium(30, 3)
        rng = np.random.default_rng(0)
        start = Network(rng.standard_normal((50, 3)), rng.standard_normal(50))
        s = solve_global(X, y, 0.01, warm_start=start, rng=0)
        check(s, reference(X, y, 0.01).objective)

    @pytest.mark.parametrize(
        ("start", "error", "message"),
        [
            (3, TypeError, "warm_start must be a Solution or a Network, got int"),
            (Network(np.ones((1, 2)), [1.0]), ValueError, r"as many features .* \(3\), got 2"),
            (
                Network(np.ones((1, 3)), [1.0], np.ones((1, 3))),
                ValueError,
                "warm_start must be a relu network",
            ),
            (Network(np.full((1, 3), 1e200), [1e200]), ValueError, "within the range of float64"),
        ],
    )
    def test_that_does_not_fit(self, start: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            solve_global(np.eye(3), np.ones(3), 0.1, warm_start=start)


class TestAnswer:
    def test_is_certified_over_its_own_patterns(self) -> None:
        X, y = medium()
        s = solve_global(X, y, 0.02, rng=0)
        certificate = certify(s)
        assert certificate.gap <= 1e-9
        assert certificate.primal == s.objective
        assert s.problem.formulation == "relu"
        assert len(s.active_set) <= len(s.problem.patterns)
        again = pickle.loads(pickle.dumps(s))
        assert again.global_lower_bound == s.global_lower_bound
        assert again.is_global == s.is_global

    def test_nothing_is_claimed_without_certify(self) -> None:
        X, y = medium()
        s = solve_global(X, y, 0.02, rng=0, certify=False)
        assert np.isnan(s.global_lower_bound)
        assert np.isnan(s.global_gap)
        assert s.status == "unproven"
        assert not s.is_global

    def test_same_seed_same_bits(self) -> None:
        X, y = medium(80, 4)
        one, two = (solve_global(X, y, 0.01, rng=3, n_threads=n) for n in (1, 2))
        assert np.array_equal(one.weights, two.weights)
        assert one.global_lower_bound == two.global_lower_bound

    def test_better_than_random_gates(self) -> None:
        from convexrelu import sample_patterns

        X, y = medium(150, 6)
        gates = solve(Problem(X, y, sample_patterns(X, 200, rng=0)), 0.01)
        assert solve_global(X, y, 0.01, rng=0, certify=False).objective < gates.objective


class TestStopping:
    def test_time_limit(self) -> None:
        X, y = medium(300, 8)
        s = solve_global(X, y, 1e-3, rng=0, tol=1e-9, time_limit=0.2)
        assert s.status == "time_limit"
        assert s.objective <= y @ y / (2 * len(y))
        assert certify(s).primal == pytest.approx(s.objective, rel=1e-12)
        assert solve_global(X, y, 1e-3, rng=0, time_limit=0).status == "time_limit"

    @pytest.mark.timing
    def test_time_limit_ends_all_work_on_wide_data(self) -> None:
        """A bound is given all the same, by one formula."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((2000, 300)), rng.standard_normal(2000)
        start = time.process_time()
        s = solve_global(X, y, 1e-3, rng=0, time_limit=0.2)
        assert time.process_time() - start < 2.0  # reading and writing 5 MB included
        assert s.status == "time_limit"
        assert 0.0 < s.global_lower_bound < s.objective

    def test_callback(self) -> None:
        X, y = medium(200, 6)
        seen: list[Progress] = []
        full = solve_global(X, y, 0.01, rng=0, certify=False, callback=seen.append)
        values = [progress.objective for progress in seen]
        assert {progress.phase for progress in seen} >= {"grow", "solve", "close"}
        assert values == sorted(values, reverse=True)
        assert values[-1] == pytest.approx(full.objective, rel=1e-9)
        target = values[len(values) // 2]
        stopped = solve_global(
            X, y, 0.01, rng=0, certify=False, callback=lambda p: p.objective <= target
        )
        assert stopped.status == "callback"
        assert stopped.objective <= target * (1 + 1e-12)

    def test_callback_that_raises(self) -> None:
        X, y = medium()

        def fail(progress: Progress) -> None:
            raise LookupError(progress.phase)

        with pytest.raises(LookupError, match="grow"):
            solve_global(X, y, 0.01, callback=fail)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"X": [1.0, 2.0]}, ValueError, "X must have two dimensions"),
            ({"X": [[np.nan, 1.0]] * 3}, ValueError, r"X must be finite, but X\[0, 0\] is nan"),
            ({"y": [1.0]}, ValueError, r"y must have as many entries as X has rows \(3\), got 1"),
            ({"lam": 0}, ValueError, "lam must be a finite number > 0, got 0"),
            ({"lam": "1"}, TypeError, "lam must be a real number"),
            ({"sample_weight": [0, 0, 0]}, ValueError, "sample_weight must have a positive entry"),
            ({"sample_weight": [1, -1, 1]}, ValueError, "sample_weight must be non-negative"),
            ({"tol": 0}, ValueError, "tol must be a finite number > 0"),
            ({"certify": 1}, TypeError, "certify must be True or False, got 1"),
            ({"time_limit": -1}, ValueError, "time_limit must be a finite number >= 0"),
            ({"rng": "x"}, TypeError, "rng must be an integer"),
            ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
            ({"callback": 3}, TypeError, "callback"),
        ],
    )
    def test_bad_ones(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        good: dict[str, Any] = {"X": np.eye(3), "y": np.ones(3), "lam": 0.1}
        with pytest.raises(error, match=message):
            solve_global(**{**good, **arguments})

    def test_are_not_changed(self) -> None:
        X, y = medium(30, 3)
        X_before, y_before = X.copy(), y.copy()
        solve_global(X, y, 0.1, rng=0)
        assert np.array_equal(X, X_before)
        assert np.array_equal(y, y_before)
