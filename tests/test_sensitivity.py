"""differentiate: derivatives against differences of solutions, refusal where there are none."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracles
from tests.strategies import FORMULATIONS, Case, cases

from convexrelu import (
    Problem,
    Sensitivity,
    Solution,
    _core,
    differentiate,
    enumerate_patterns,
    find_optimal_set,
    patterns_from_gates,
    sample_patterns,
    solve,
    to_network,
)

Array = NDArray[np.float64]
Curve = Callable[[float], Array]

RATIOS = (0.9, 0.5, 0.1, 0.03)


def assign(base: Solution, other: Solution) -> Array:
    """The weights of another solution, each added to the active block of the base that is its
    neuron. relu: the one of its sign with the nearest direction, whatever the pattern.
    """
    result = np.zeros(base.weights.shape)
    units = base.weights / np.linalg.norm(base.weights, axis=1, keepdims=True)
    for (pattern, sign), w in zip(other.active_set, other.weights, strict=True):
        closeness = units @ w / np.linalg.norm(w)
        closeness[base.active_set[:, 1] != sign] = -2
        if base.problem.formulation == "gated":
            closeness[base.active_set[:, 0] != pattern] = -2
        j = int(np.argmax(closeness))
        if closeness[j] < 0.99:
            return np.full(base.weights.shape, np.nan)
        result[j] += w
    return result


def by_neuron(base: Solution, rows: Array) -> Array:
    """Rows of parallel weights added up, each in the place of all of them."""
    units = base.weights / np.linalg.norm(base.weights, axis=1, keepdims=True)
    same = (units @ units.T > 1 - 1e-12) & (base.active_set[:, 1:] == base.active_set[:, 1])
    if base.problem.formulation == "gated":
        masks = base.problem.patterns.masks[:, base.active_set[:, 0]].T
        same &= (masks[:, None] == masks).all(axis=2)
    return same.astype(float) @ rows


def derivative(curve: Curve, steps: tuple[float, ...]) -> Array | None:
    """The derivative at 0 by central differences extrapolated to order 6, at the first step at
    which two orders agree; None where they never do: there is an event nearby.
    """
    for h in steps:
        first, second, third = (
            (curve(s * h) - curve(-s * h)) / (2 * s * h) for s in (1.0, 0.5, 0.25)
        )
        low, high = (4 * second - first) / 3, (4 * third - second) / 3
        best = (16 * high - low) / 15
        if np.abs(best - high).max(initial=0.0) <= 1e-8 * np.abs(best).max(initial=1e-300):
            return best
    return None


def altered(problem: Problem, dX: Array | float = 0.0, dy: Array | float = 0.0) -> Problem:
    return Problem(
        problem.X + dX,
        problem.y + dy,
        problem.patterns,
        formulation=problem.formulation,
        sample_weight=problem.sample_weight,
    )


def check(sensitivity: Sensitivity, rng: np.random.Generator) -> int:
    """Compares all derivatives with differences of solved problems; how many could be."""
    solution = sensitivity.solution
    problem, lam = solution.problem, solution.lam
    n, d = problem.X.shape
    dy = rng.standard_normal(n) * np.abs(problem.y).max(initial=1e-300)
    dX = rng.standard_normal((n, d)) * np.abs(problem.X).max()
    curves: dict[str, Callable[[float], Solution]] = {
        "lam": lambda t: solve(problem, lam * (1 + t)),
        "y": lambda t: solve(altered(problem, dy=t * dy), lam),
    }
    motions: dict[str, dict[str, Any]] = {"lam": {"d_lam": lam}, "y": {"d_y": dy}}
    if sensitivity.differentiable_in_X:
        curves["X"] = lambda t: solve(altered(problem, dX=t * dX), lam)
        motions["X"] = {"d_X": dX}
    count = 0
    for name, curve in curves.items():
        motion = sensitivity.jvp(**motions[name])
        assert np.isfinite(motion).all()
        found = derivative(
            lambda t, c=curve: by_neuron(solution, assign(solution, c(t))),  # type: ignore[misc]
            (1e-3, 1e-4, 1e-5),
        )
        if found is None:
            continue
        count += 1
        room = 1e-6 * np.abs(found).max(initial=0.0)
        np.testing.assert_allclose(by_neuron(solution, motion), found, rtol=0, atol=room)
    return count


def full_arrangement(seed: int, n: int, d: int, ratio: float) -> Solution:
    """A relu solution over all patterns: some neurons have their kinks on samples."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, d - 1)), np.ones(n)])
    problem = Problem(X, rng.standard_normal(n), enumerate_patterns(X))
    return solve(problem, ratio * problem.lambda_max)


class TestDerivatives:
    @given(cases(ratios=RATIOS), st.integers(0, 99))
    @settings(max_examples=100)
    def test_agree_with_differences(self, case: Case, seed: int) -> None:
        sensitivity = differentiate(solve(case.problem, case.lam))
        assume(sensitivity.differentiable)
        check(sensitivity, np.random.default_rng(seed))

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("seed", range(4))
    def test_on_gaussian_data(self, formulation: str, weighted: bool, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n, d = 14 + seed, 3 + seed % 3
        X = rng.standard_normal((n, d))
        problem = Problem(
            X,
            rng.standard_normal(n),
            sample_patterns(X, 15, rng=seed),
            formulation=formulation,
            sample_weight=rng.integers(0, 3, n) + (np.arange(n) == 0) if weighted else None,
        )
        sensitivity = differentiate(solve(problem, 0.1 * problem.lambda_max))
        assert sensitivity.differentiable_in_X
        assert sensitivity.why == ""
        assert check(sensitivity, rng) >= 2

    @pytest.mark.parametrize(("n", "d"), [(8, 2), (7, 3)])
    @pytest.mark.parametrize("ratio", [0.3, 0.03])
    def test_with_shadows(self, n: int, d: int, ratio: float) -> None:
        """Over all patterns a neuron on a kink belongs to both sides: no tie."""
        n_checked = n_shared = 0
        for seed in range(8):
            solution = full_arrangement(seed, n, d, ratio)
            sensitivity = differentiate(solution)
            if not sensitivity.differentiable:
                assert "not unique" in sensitivity.why
                continue
            q = oracles.directions(solution.problem, solution.dual)
            norms = np.linalg.norm(q, axis=1)
            directions = q[norms >= solution.lam * (1 - 1e-9)] / solution.lam
            n_shared += len(directions) > len(np.unique(directions.round(7), axis=0))
            n_checked += check(sensitivity, np.random.default_rng(seed))
        assert n_checked >= 6
        assert n_shared >= 2

    @given(cases(ratios=RATIOS), st.integers(0, 99))
    @settings(max_examples=50)
    def test_vjp_is_the_transpose_of_jvp(self, case: Case, seed: int) -> None:
        sensitivity = differentiate(solve(case.problem, case.lam))
        assume(sensitivity.differentiable and len(sensitivity.solution.weights))
        rng = np.random.default_rng(seed)
        X, y = case.problem.X, case.problem.y
        grad = rng.standard_normal(sensitivity.solution.weights.shape)
        pulled = sensitivity.vjp(grad)
        motions: dict[str, Any] = {"d_lam": case.lam, "d_y": rng.standard_normal(y.shape)}
        terms = [case.lam * pulled.lam, pulled.y * motions["d_y"]]
        if sensitivity.differentiable_in_X:
            motions["d_X"] = rng.standard_normal(X.shape)
            terms.append(pulled.X * motions["d_X"])
        else:
            assert np.isnan(pulled.X).all()
        forward = [grad * sensitivity.jvp(**{name: m}) for name, m in motions.items()]
        for there, back in zip(forward, terms, strict=True):
            size = np.abs(there).sum() + np.abs(back).sum()
            assert abs(there.sum() - np.sum(back)) <= 1e-9 * size + 1e-13

    @given(cases(ratios=RATIOS))
    @settings(max_examples=50)
    def test_of_the_fit_are_those_of_the_weights(self, case: Case) -> None:
        sensitivity = differentiate(solve(case.problem, case.lam))
        assume(sensitivity.differentiable)
        problem, active = case.problem, sensitivity.solution.active_set
        n = len(problem.y)
        weights = sensitivity.weights
        size = np.abs(sensitivity.d_lam).sum() * np.abs(problem.X).max()
        # On the kink of a neuron that moves there is none.
        exists = np.isfinite(sensitivity.d_fitted_d_lam)
        assert (exists | oracles.kinks(problem, weights).any(axis=1)).all()
        by_weights = oracles.fitted_change(problem, active, weights, sensitivity.d_lam)
        np.testing.assert_allclose(
            sensitivity.d_fitted_d_lam[exists], by_weights[exists], atol=1e-9 * size + 1e-300
        )
        hat = sensitivity.d_fitted_d_y
        assert hat.shape == (n, n)
        for k, unit in enumerate(np.eye(n)):
            motion = sensitivity.jvp(d_y=unit)
            expected = oracles.fitted_change(problem, active, weights, motion)
            if oracles.weights_of(problem)[k] == 0:
                assert not hat[:, k].any()
            else:
                np.testing.assert_array_equal(np.isfinite(hat[:, k]), exists)
            np.testing.assert_allclose(hat[exists, k], expected[exists], atol=1e-8)
        assert sensitivity.degrees_of_freedom == pytest.approx(np.trace(hat), rel=1e-9, abs=1e-9)
        assert (
            -1e-9
            <= sensitivity.degrees_of_freedom
            <= min(n, problem.X[0].size * len(active)) + 1e-9
        )

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize(("n", "d"), [(40, 3), (12, 8)])
    def test_in_y_are_those_of_the_weights(self, formulation: str, n: int, d: int) -> None:
        """In both forms of the system, with samples that do not count."""
        rng = np.random.default_rng(7)
        X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
        patterns = sample_patterns(X, 20, rng=0)
        for weights in (None, rng.integers(0, 3, n)):
            problem = Problem(X, y, patterns, formulation=formulation, sample_weight=weights)
            sensitivity = differentiate(solve(problem, 0.05 * problem.lambda_max))
            hat = sensitivity.d_fitted_d_y
            for k, unit in enumerate(np.eye(n)):
                motion = sensitivity.jvp(d_y=unit)
                expected = oracles.fitted_change(
                    problem, sensitivity.active_set, sensitivity.weights, motion
                )
                np.testing.assert_allclose(hat[:, k], expected, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("seed", range(4))
    def test_at_a_row_left_out_on_a_kink(self, seed: int) -> None:
        """Both one-sided derivatives in lam, and no other."""
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
        gates = sample_patterns(X, 12, rng=seed).gates
        problem = Problem(X, y, patterns_from_gates(X, gates))
        w = solve(problem, 0.1 * problem.lambda_max).weights[0]
        Z = np.vstack([X, np.cross(w, rng.standard_normal(3))])
        patterns = patterns_from_gates(Z, gates)
        left_out = Problem(Z, np.append(y, 0.0), patterns, sample_weight=np.arange(9) < 8)
        lam = 0.1 * left_out.lambda_max
        s = differentiate(solve(left_out, lam))
        assert s.differentiable
        assert np.isnan(s.d_fitted_d_lam[8])
        assert np.isnan(s.d_fitted_d_y[8, :8]).all()
        assert np.isfinite(s.degrees_of_freedom)
        h = 1e-5 * lam
        below, here, above = (
            to_network(solve(left_out, t)).predict(Z) for t in (lam - h, lam, lam + h)
        )
        for side, rate in (("below", (here - below) / h), ("above", (above - here) / h)):
            one_sided = s.one_sided(side)
            room = 1e-3 * np.abs(rate).max()
            np.testing.assert_allclose(one_sided.d_fitted_d_lam, rate, rtol=0, atol=room)
            assert np.isnan(one_sided.d_fitted_d_y[8, :8]).all()

    @pytest.mark.parametrize("seed", range(4))
    def test_where_weights_are_small_or_large(self, seed: int) -> None:
        """Terms of the system differ by up to ten orders of magnitude then."""
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((19, 2)), rng.standard_normal(19)
        n_checked = 0
        for formulation in FORMULATIONS:
            problem = Problem(X, y, sample_patterns(X, 12, rng=seed), formulation=formulation)
            for ratio in (1 - 1e-9, 1 - 1e-5, 1e-3, 1e-5):
                s = differentiate(solve(problem, ratio * problem.lambda_max))
                if not s.differentiable:
                    continue
                lam, motion = s.solution.lam, s.d_lam
                room = min(1e-3, 1 - ratio)  # to lambda_max
                found = derivative(
                    lambda t, s=s, lam=lam: by_neuron(  # type: ignore[misc]
                        s.solution, assign(s.solution, solve(s.solution.problem, lam * (1 + t)))
                    ),
                    (room / 10, room / 100),
                )
                if found is None:
                    continue
                n_checked += 1
                size = np.abs(found).max()
                actual = lam * by_neuron(s.solution, motion)
                np.testing.assert_allclose(actual, found, rtol=0, atol=1e-6 * size)
        assert n_checked >= 3

    @given(cases(ratios=RATIOS))
    @settings(max_examples=60)
    def test_of_the_degrees_of_freedom(self, case: Case) -> None:
        sensitivity = differentiate(solve(case.problem, case.lam))
        assume(sensitivity.differentiable)

        def curve(t: float) -> Array:
            moved = differentiate(solve(case.problem, case.lam * (1 + t)))
            return np.array([moved.degrees_of_freedom])

        found = derivative(curve, (1e-3, 1e-4))
        assume(found is not None)
        room = 1e-6 * max(1.0, np.abs(found).max())
        actual = case.lam * sensitivity.d_degrees_of_freedom_d_lam
        np.testing.assert_allclose(actual, found, rtol=0, atol=room)

    def test_of_predictions(self) -> None:
        rng = np.random.default_rng(5)
        X, X_new = rng.standard_normal((15, 3)), rng.standard_normal((20, 3))
        y, dy = rng.standard_normal((2, 15))
        for formulation in FORMULATIONS:
            problem = Problem(X, y, sample_patterns(X, 10, rng=0), formulation=formulation)
            lam = 0.1 * problem.lambda_max
            d_lam, d_y = differentiate(solve(problem, lam)).predictions(X_new)
            h = 1e-5

            def predict(t: float, dy: Array | float, problem: Problem = problem) -> Array:
                return to_network(solve(altered(problem, dy=dy), t)).predict(X_new)

            by_lam = (predict(lam * (1 + h), 0.0) - predict(lam * (1 - h), 0.0)) / (2 * h * lam)
            np.testing.assert_allclose(d_lam, by_lam, atol=1e-6 * np.abs(by_lam).max())
            by_y = (predict(lam, h * dy) - predict(lam, -h * dy)) / (2 * h)
            np.testing.assert_allclose(d_y @ dy, by_y, atol=1e-6 * np.abs(by_y).max())

    def test_of_predictions_on_the_samples_are_those_of_the_fit(self) -> None:
        for seed in range(6):
            sensitivity = differentiate(full_arrangement(seed, 7, 3, 0.1))
            if sensitivity.differentiable:
                d_lam, d_y = sensitivity.predictions(sensitivity.solution.problem.X)
                np.testing.assert_allclose(d_lam, sensitivity.d_fitted_d_lam, rtol=1e-8, atol=1e-9)
                np.testing.assert_allclose(d_y, sensitivity.d_fitted_d_y, rtol=1e-8, atol=1e-9)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_of_the_objective(self, formulation: str) -> None:
        rng = np.random.default_rng(3)
        X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
        weight = rng.integers(1, 4, 12)
        problem = Problem(
            X, y, sample_patterns(X, 10, rng=0), formulation=formulation, sample_weight=weight
        )
        lam = 0.1 * problem.lambda_max
        gradient = differentiate(solve(problem, lam)).d_objective
        dX, dy = rng.standard_normal(X.shape), rng.standard_normal(12)
        for name, curve, expected in (
            ("lam", lambda t: solve(problem, lam + t).objective, gradient.lam),
            ("y", lambda t: solve(altered(problem, dy=t * dy), lam).objective, gradient.y @ dy),
            (
                "X",
                lambda t: solve(altered(problem, dX=t * dX), lam).objective,
                (gradient.X * dX).sum(),
            ),
        ):
            found = derivative(lambda t, c=curve: np.array([c(t)]), (1e-3,))  # type: ignore[misc]
            assert found is not None, name
            assert found[0] == pytest.approx(expected, rel=1e-8), name


def limit(curve: Callable[[float], Array], side: float, steps: tuple[float, ...]) -> Array | None:
    """The one-sided derivative of a curve in t at 0+ or 0-, as far as its value at 0 is a limit."""
    for h in steps:
        values = [curve(side * s * h) for s in (1.0, 2.0, 3.0, 4.0, 5.0)]
        # The derivative at 0 of the polynomial through five points beside it.
        first = np.tensordot([-77 / 12, 107 / 6, -39 / 2, 61 / 6, -25 / 12], values, 1) / (side * h)
        low = np.tensordot([-13 / 3, 19 / 2, -7.0, 11 / 6], values[:4], 1) / (side * h)
        if np.abs(first - low).max(initial=0.0) <= 1e-4 * np.abs(first).max(initial=1e-300):
            return first
    return None


class TestOneSided:
    def test_entering_at_lambda_max(self) -> None:
        problem = Problem([[2.0]], [3.0], patterns_from_gates([[2.0]], [[1.0]]))
        s = differentiate(solve(problem, problem.lambda_max))
        below, above = s.one_sided("below"), s.one_sided("above")
        assert below.differentiable
        np.testing.assert_array_equal(below.active_set, [[0, 1]])
        np.testing.assert_array_equal(below.weights, [[0.0]])
        np.testing.assert_allclose(below.d_lam, [[-1 / 4]])
        np.testing.assert_allclose(below.d_fitted_d_y, [[1.0]])
        assert above.differentiable
        assert above.d_lam.shape == (0, 1)
        assert above.degrees_of_freedom == 0.0
        assert np.isnan(s.d_fitted_d_lam).all()

    @given(cases(ratios=(1.0, 0.5, 0.1)))
    @settings(max_examples=100)
    def test_agree_with_differences_of_the_fit(self, case: Case) -> None:
        problem, lam = case.problem, case.lam
        s = differentiate(solve(problem, lam))
        # Patterns may differ on samples that do not count, and then the fit there is anything.
        used = oracles.weights_of(problem) > 0
        for side, sign in (("below", -1.0), ("above", 1.0)):
            here = s.one_sided(side)
            assert here.differentiable == (not here.why or here.why.startswith("in X"))
            if s.differentiable:
                np.testing.assert_array_equal(here.d_lam, s.d_lam)
            if np.isnan(here.d_fitted_d_lam[used]).any():
                continue
            size = np.nanmax(np.abs(here.d_fitted_d_lam), initial=0.0)
            found = limit(lambda t: solve(problem, lam * (1 + t)).fitted[used], sign, (1e-3, 1e-4))
            if found is not None:
                room = 1e-4 * np.abs(found).max() + 1e-7 * np.abs(problem.y).max(initial=0.0)
                actual = lam * here.d_fitted_d_lam[used]
                np.testing.assert_allclose(actual, found, rtol=0, atol=room)
            if np.isfinite(here.d_lam).all():
                fitted = oracles.fitted_change(
                    problem, here.active_set, here.weights, here.d_lam, sign
                )
                scale = np.abs(here.d_lam).sum() * np.abs(problem.X).max()
                room = 1e-7 * scale + 1e-9 * size + 1e-300
                np.testing.assert_allclose(here.d_fitted_d_lam, fitted, rtol=0, atol=room)
                at_lam = oracles.fitted(problem, here.active_set, here.weights)
                room = 1e-7 * np.abs(problem.y).max(initial=0.0)
                np.testing.assert_allclose(at_lam, s.solution.fitted, rtol=0, atol=room)

    @pytest.mark.parametrize("seed", range(1, 5))
    def test_of_rows_left_out_where_a_neuron_enters(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((9, 3)), rng.standard_normal(9)
        problem = Problem(X, y, enumerate_patterns(X), sample_weight=np.arange(9) < 6)
        lam = problem.lambda_max
        here = differentiate(solve(problem, lam)).one_sided("below")
        rate = -to_network(solve(problem, lam * (1 - 1e-5))).predict(X) / (1e-5 * lam)
        room = 1e-3 * np.abs(rate).max()
        assert np.abs(rate[6:]).max() > room
        np.testing.assert_allclose(here.d_fitted_d_lam, rate, rtol=0, atol=room)

    @pytest.mark.parametrize("seed", range(6))
    def test_at_a_breakpoint(self, seed: int) -> None:
        """Where the active set changes between two lams, bisected: what holds on either side."""
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
        formulation = FORMULATIONS[seed % 2]
        problem = Problem(X, y, sample_patterns(X, 12, rng=seed), formulation=formulation)

        def active(lam: float) -> bytes:
            return solve(problem, lam).active_set.tobytes()

        high = 0.5 * problem.lambda_max
        low = next(lam for lam in np.geomspace(high, high / 100, 30) if active(lam) != active(high))
        while low < high * (1 - 1e-15):
            middle = (low + high) / 2
            if middle in (low, high):
                break
            low, high = (low, middle) if active(middle) != active(high) else (middle, high)
        s = differentiate(solve(problem, high))
        for side, lam in (("below", high * (1 - 1e-5)), ("above", high * (1 + 1e-5))):
            here, there = s.one_sided(side), differentiate(solve(problem, lam))
            if s.differentiable:
                continue
            assert here.differentiable
            np.testing.assert_array_equal(here.active_set, there.active_set)
            size = np.abs(there.d_lam).max()
            # Derivatives change with lam, which differs by 1e-5.
            np.testing.assert_allclose(here.d_lam, there.d_lam, rtol=0, atol=1e-4 * size)
            np.testing.assert_allclose(here.d_fitted_d_y, there.d_fitted_d_y, rtol=0, atol=1e-4)


class TestByHand:
    def test_one_sample(self) -> None:
        """w = (x y - lam) / x^2."""
        x, y, lam = 2.0, 3.0, 1.0
        for formulation in FORMULATIONS:
            problem = Problem(
                [[x]], [y], patterns_from_gates([[x]], [[1.0]]), formulation=formulation
            )
            s = differentiate(solve(problem, lam))
            assert s.d_lam[0, 0] == pytest.approx(-1 / x**2, rel=1e-12)
            assert s.d_fitted_d_lam[0] == pytest.approx(-1 / x, rel=1e-12)
            assert s.jvp(d_y=[1.0])[0, 0] == pytest.approx(1 / x, rel=1e-12)
            assert s.jvp(d_X=[[1.0]])[0, 0] == pytest.approx(-y / x**2 + 2 * lam / x**3, rel=1e-12)
            assert s.degrees_of_freedom == pytest.approx(1.0, rel=1e-12)
            assert s.d_objective.lam == pytest.approx((x * y - lam) / x**2, rel=1e-12)
            assert s.d_objective.y[0] == pytest.approx(lam / x, rel=1e-12)

    def test_group_lasso_with_orthonormal_columns(self) -> None:
        """X = sqrt(n) I, all bits on: w = (1 - lam/||c||) c, c = X'y/n."""
        n, lam = 3, 0.2
        y = np.array([1.0, -2.0, 0.5])
        X = np.sqrt(n) * np.eye(n)
        problem = Problem(X, y, patterns_from_gates(X, np.ones((n, 1))), formulation="gated")
        s = differentiate(solve(problem, lam))
        c = X.T @ y / n
        size = np.linalg.norm(c)
        np.testing.assert_allclose(s.d_lam[0], -c / size, rtol=1e-12)
        hat = (1 - lam / size) * np.eye(n) + lam / size**3 * np.outer(c, c)
        np.testing.assert_allclose(s.d_fitted_d_y, hat, rtol=1e-12, atol=1e-13)

    def test_zero_solution(self) -> None:
        problem = Problem(np.eye(2), [1.0, -1.0], patterns_from_gates(np.eye(2), np.eye(2)))
        s = differentiate(solve(problem, 2 * problem.lambda_max))
        assert s.differentiable_in_X
        assert s.d_lam.shape == (0, 2)
        assert s.jvp(d_X=np.eye(2)).shape == (0, 2)
        assert not s.d_fitted_d_y.any()
        assert s.degrees_of_freedom == 0.0
        assert s.d_objective.lam == 0.0
        np.testing.assert_allclose(s.d_objective.y, problem.y / 2)
        assert not s.predictions(np.eye(2)).d_y.any()


class TestScale:
    @pytest.mark.parametrize(("a", "b"), [(1e6, 1e-3), (2.0**-40, 2.0**30), (1e120, 1e100)])
    def test_follows_the_data(self, a: float, b: float) -> None:
        """X -> a X, y -> b y, lam -> a b lam: w -> w b/a."""
        rng = np.random.default_rng(1)
        X, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
        patterns = sample_patterns(X, 8, rng=0)
        problem, scaled = Problem(X, y, patterns), Problem(a * X, b * y, patterns)
        lam = 0.1 * problem.lambda_max
        one, other = differentiate(solve(problem, lam)), differentiate(solve(scaled, a * b * lam))
        dX, dy = rng.standard_normal(X.shape), rng.standard_normal(10)
        for kwargs, scaled_kwargs in (
            ({"d_lam": lam}, {"d_lam": a * b * lam}),
            ({"d_y": dy}, {"d_y": b * dy}),
            ({"d_X": dX}, {"d_X": a * dX}),
        ):
            np.testing.assert_allclose(
                other.jvp(**scaled_kwargs) * (a / b), one.jvp(**kwargs), rtol=1e-8, atol=1e-10
            )
        np.testing.assert_allclose(other.d_fitted_d_y, one.d_fitted_d_y, rtol=1e-8, atol=1e-10)


# Far enough for twins: at a distance t from where neurons are one the fit is known to epsilon/t.
FIT_STEPS = (1e-3, 1e-4, 1e-5)


def fit_derivative(problem: Problem, lam: float, dy: Array) -> Array | None:
    return derivative(lambda t: solve(altered(problem, dy=t * dy), lam).fitted, FIT_STEPS)


class TestRefusal:
    def test_tie_at_lambda_max(self) -> None:
        problem = Problem([[1.0]], [1.0], patterns_from_gates([[1.0]], [[1.0]]))
        s = differentiate(solve(problem, problem.lambda_max))
        assert not s.differentiable
        assert "a tie: block (0, +1)" in s.why
        assert s.d_objective.lam == 0.0

    def test_zero_multiplier(self) -> None:
        """The kink lies on sample 1, whose residual is zero: nothing holds it there."""
        X, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0])
        s = differentiate(solve(Problem(X, y, patterns_from_gates(X, [[1.0], [1.0]])), 0.1))
        assert not s.differentiable
        assert s.why == "a zero multiplier: block (0, +1) on the kink of sample 1"
        assert np.isnan(s.d_lam).all()

    @pytest.mark.parametrize("seed", [5, 7])
    def test_dependent_activations(self, seed: int) -> None:
        """The weights are not unique then, but the fit is, and moves smoothly."""
        solution = full_arrangement(seed, 8, 2, 0.03)
        s = differentiate(solution)
        assert not s.differentiable
        assert "not unique" in s.why
        assert np.isnan(s.d_lam).all()
        problem, lam = solution.problem, solution.lam
        found = derivative(lambda t: solve(problem, lam * (1 + t)).fitted, (1e-4, 1e-5))
        assert found is not None
        room = 1e-6 * np.abs(found).max()
        np.testing.assert_allclose(lam * s.d_fitted_d_lam, found, rtol=0, atol=room)
        for side in ("below", "above"):
            here = s.one_sided(side)
            assert not here.differentiable
            np.testing.assert_allclose(here.d_fitted_d_lam, s.d_fitted_d_lam, rtol=1e-7)

    def test_the_fit_where_the_optimum_is_not_unique(self) -> None:
        """It has derivatives in y where one of the optima decides how it moves."""
        rng = np.random.default_rng(0)
        n_given = 0
        for trial in range(150):
            n, d = int(rng.integers(3, 8)), int(rng.integers(1, 4))
            X = rng.integers(-1, 2, (n, d)).astype(float)
            y, dy = rng.integers(-3, 4, n).astype(float), rng.standard_normal(n)
            formulation = FORMULATIONS[trial % 2]
            problem = Problem(X, y, enumerate_patterns(X), formulation=formulation)
            if problem.lambda_max < 1e-9:
                continue
            s = differentiate(solve(problem, rng.choice([0.5, 0.2, 0.05]) * problem.lambda_max))
            assert s.fit_differentiable or not s.differentiable
            assert np.isfinite(s.d_fitted_d_y).all() == s.fit_differentiable
            if s.differentiable or not s.fit_differentiable:
                continue
            found = fit_derivative(problem, s.solution.lam, dy)
            if found is None:
                continue
            n_given += 1
            room = 1e-6 * np.abs(found).max()
            np.testing.assert_allclose(s.d_fitted_d_y @ dy, found, rtol=0, atol=room)
            assert s.degrees_of_freedom == pytest.approx(np.trace(s.d_fitted_d_y), rel=1e-9)
        assert n_given >= 5

    def test_derivatives_of_the_fit_that_do_not_add_up(self) -> None:
        X, y = np.array([[-1.0, -1.0], [-1.0, 0.0], [0.0, 1.0]]), np.array([0.0, -2.0, -2.0])
        problem = Problem(X, y, enumerate_patterns(X), formulation="gated")
        s = differentiate(solve(problem, 0.2 * problem.lambda_max))
        assert not s.fit_differentiable
        assert np.isnan(s.degrees_of_freedom)
        directions = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
        moved = [fit_derivative(problem, s.solution.lam, dy) for dy in directions]
        first, second, both = (np.asarray(m) for m in moved)
        np.testing.assert_allclose(first, [5 / 7, 1 / 7, -1 / 7], atol=1e-6)
        np.testing.assert_allclose(second, [0.0, 0.9, 0.1], atol=1e-6)
        np.testing.assert_allclose(both, [12 / 13, 25 / 26, 1 / 26], atol=1e-6)

    @given(cases(ratios=(1.0, 0.5, 0.1)))
    @settings(max_examples=75)
    def test_what_does_not_exist_is_nan(self, case: Case) -> None:
        solution = solve(case.problem, case.lam)
        s = differentiate(solution)
        assert bool(s.why) == (not s.differentiable_in_X)
        assert s.differentiable or not s.differentiable_in_X
        assert np.isfinite(s.d_lam).all() == (s.differentiable or not s.d_lam.size)
        assert np.isfinite(s.d_objective.X).all() == s.differentiable_in_X
        norms = np.linalg.norm(solution.weights, axis=1).sum()
        assert s.d_objective.lam == pytest.approx(norms, rel=1e-8, abs=1e-12)
        v = oracles.weights_of(case.problem)
        np.testing.assert_allclose(s.d_objective.y, v * solution.dual, rtol=1e-7, atol=1e-12)

    def test_parallel_rows_on_a_kink(self) -> None:
        """Both rows hold the neuron; if only one moves, the derivative depends on which way."""
        X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        y = np.array([-1.0, -1.0, 1.0])
        gates = np.array([[1.0], [1.0]])
        s = differentiate(solve(Problem(X, y, patterns_from_gates(X, gates)), 0.1))
        assert s.differentiable
        assert not s.differentiable_in_X
        assert "parallel" in s.why
        assert np.isnan(s.jvp(d_X=np.ones((3, 2)))).all()
        assert np.isfinite(s.jvp(d_y=np.ones(3))).all()


class TestAccuracy:
    def test_rough_solutions_are_polished(self) -> None:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
        problem = Problem(X, y, sample_patterns(X, 30, rng=0))
        lam = 0.05 * problem.lambda_max
        rough = solve(problem, lam, max_iter=6)
        assert rough.gap > 1e-8
        s = differentiate(rough)
        assert s.solution is not rough
        assert s.solution.gap < 1e-10
        # How the blocks of one neuron share its weights is anyone's choice.
        exact = differentiate(solve(problem, lam))
        found, expected = by_neuron(s.solution, s.d_lam), by_neuron(exact.solution, exact.d_lam)
        room = 1e-7 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=room)


class TestErrors:
    SENSITIVITY = differentiate(
        solve(Problem([[2.0]], [3.0], patterns_from_gates([[2.0]], [[1.0]])), 1.0)
    )

    def test_solution(self) -> None:
        with pytest.raises(TypeError, match="solution must be a Solution, got int"):
            differentiate(1)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"d_lam": "1"}, "d_lam must be a real number"),
            ({"d_y": [1.0, 2.0]}, "d_y must have as many entries"),
            ({"d_X": [[1.0, 2.0]]}, "d_X must have 1 columns"),
            ({"d_X": [[1.0], [2.0]]}, "d_X must have 1 rows"),
            ({"d_y": [np.nan]}, "d_y must be finite"),
        ],
    )
    def test_jvp(self, kwargs: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            self.SENSITIVITY.jvp(**kwargs)

    def test_vjp(self) -> None:
        with pytest.raises(
            ValueError, match=r"grad_weights must have a row per active block \(1\)"
        ):
            self.SENSITIVITY.vjp(np.zeros((2, 1)))
        with pytest.raises(ValueError, match="grad_weights must have 1 columns"):
            self.SENSITIVITY.vjp(np.zeros((1, 2)))

    def test_side(self) -> None:
        with pytest.raises(ValueError, match="side must be 'below' or 'above', got 'left'"):
            self.SENSITIVITY.one_sided("left")

    def test_predictions(self) -> None:
        with pytest.raises(ValueError, match="X must have 1 columns"):
            self.SENSITIVITY.predictions([[1.0, 2.0]])


def test_what_was_not_proven_global_stays_so() -> None:
    """Although it is solved further, to the optimum over its own patterns."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    problem = Problem(X, y, sample_patterns(X, 30, rng=0))
    rough = solve(problem, 0.05 * problem.lambda_max, max_iter=3)
    build, parts = rough.__reduce__()
    *parts, _, intercept = parts
    unproven = build(*parts[:2], "unproven", *parts[3:], 0.1 * rough.objective, intercept)
    s = differentiate(unproven).solution
    assert s.gap < 1e-9 < rough.gap
    assert (s.status, s.global_lower_bound) == ("unproven", 0.1 * rough.objective)
    assert not s.is_global
    s = find_optimal_set(unproven).solution(find_optimal_set(unproven).min_norm())
    assert s.status == "unproven"
    assert not s.is_global


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_threads_share_a_sensitivity(formulation: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 5)), rng.standard_normal(300)
    problem = Problem(X, y, sample_patterns(X, 30, rng=0), formulation=formulation)
    s = differentiate(solve(problem, 0.1 * problem.lambda_max))
    assert s.differentiable
    new = rng.standard_normal((300, 5))
    alone = s.predictions(new)
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(s.predictions, [new] * 8):
            np.testing.assert_array_equal(together[1], alone[1])


def test_pickle_and_copy() -> None:
    s = TestErrors.SENSITIVITY
    for other in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s)):
        np.testing.assert_array_equal(other.d_lam, s.d_lam)
    above = s.one_sided("above")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(above)).d_lam, above.d_lam)
    assert repr(s) == "<Sensitivity: lam=1, differentiable>"


def test_pickles_carry_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is factored anew only for what was never asked for."""
    s = differentiate(TestErrors.SENSITIVITY.solution)
    known = {"degrees_of_freedom": s.degrees_of_freedom, "d_lam": s.d_lam}
    data = pickle.dumps(s)

    def fail(*_: object) -> None:
        raise AssertionError("differentiated anew")

    with monkeypatch.context() as patch:
        patch.setattr(_core, "Sensitivity", fail)
        again = pickle.loads(data)
        assert repr(again) == repr(s)
        assert again.weights.tolist() == s.weights.tolist()
        for name, value in known.items():
            np.testing.assert_array_equal(getattr(again, name), value)
    np.testing.assert_array_equal(again.jvp(d_lam=1.0), s.jvp(d_lam=1.0))
