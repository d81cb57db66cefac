"""price_patterns: the maximum over all patterns, and its bound."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracles, strategies

from convexrelu import Problem, _core, enumerate_patterns, lambda_max, price_patterns, solve

Array = NDArray[np.float64]


@st.composite
def pricings(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    """X, a residual and sample weights."""
    X = draw(strategies.designs())
    return X, draw(strategies.targets(X)), draw(strategies.sample_weights(len(X)))


def rounding(X: Array, r: Array) -> float:
    """Of sums of r_k x_k."""
    return 1e-11 * float(np.abs(r) @ np.linalg.norm(X, axis=1))


class TestMaximum:
    @given(pricings())
    @settings(max_examples=150)
    def test_is_that_of_enumerated_patterns(self, case: tuple[Array, Array, Array | None]) -> None:
        """max_b ||q_b|| = max |r'(Xu)_+| / n, by faces of every cell (oracles)."""
        X, r, v = case
        problem = Problem(X, r, enumerate_patterns(X), sample_weight=v)
        truth, room = oracles.lambda_max(problem), rounding(X, r)
        priced = price_patterns(X, r, sample_weight=v, tol=1e-9, rng=0)
        assert priced.is_exact
        assert priced.upper_bound >= truth - room
        assert abs(priced.value - truth) <= 2e-9 * truth + room

    @pytest.mark.parametrize("d", range(2, 7))
    def test_never_below_enumeration(self, d: int) -> None:
        """A thousand problems in all; every second one has ties."""
        rng = np.random.default_rng(d)
        for trial in range(200):
            n = int(rng.integers(d, 15 - d))
            tied = trial % 2 == 0
            X = rng.integers(-1, 2, (n, d)) if tied else rng.standard_normal((n, d))
            r = rng.integers(-2, 3, n) if trial % 4 == 0 else rng.standard_normal(n)
            truth = Problem(X, r, enumerate_patterns(X)).lambda_max
            priced = price_patterns(X, r, tol=1e-9, rng=trial)
            assert priced.is_exact
            assert priced.upper_bound >= truth
            assert priced.value == pytest.approx(truth, rel=2e-9, abs=rounding(X, r))

    @given(pricings())
    @settings(max_examples=100)
    def test_is_attained_by_the_direction(self, case: tuple[Array, Array, Array | None]) -> None:
        X, r, v = case
        priced = price_patterns(X, r, sample_weight=v, rng=0)
        weight = np.ones(len(X)) if v is None else v
        attained = (weight / weight.sum() * r) @ np.maximum(X @ priced.direction, 0.0)
        assert priced.sign * attained == pytest.approx(priced.value, abs=rounding(X, r))
        assert np.linalg.norm(priced.direction) == pytest.approx(1.0)
        assert priced.upper_bound >= priced.value >= 0.0

    def test_is_lambda_max_of_the_full_problem(self) -> None:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
        problem = Problem(X, y, enumerate_patterns(X))
        assert price_patterns(X, y, tol=1e-10).value == pytest.approx(problem.lambda_max, rel=1e-9)


class TestUnits:
    """Columns and rows in any units, against rational arithmetic."""

    @staticmethod
    def draw(rng: np.random.Generator) -> tuple[Array, Array]:
        d = int(rng.integers(2, 4))
        n = int(rng.integers(d, 7 - d // 2))
        X: Array = rng.standard_normal((n, d))
        kind = rng.integers(4)
        if kind == 1:
            X = rng.integers(-2, 3, (n, d)).astype(float)
        elif kind == 2:
            X = rng.integers(0, 2, (n, d)).astype(float)
        elif kind == 3:  # nearly tied
            X = rng.integers(-1, 2, (n, d)) + 10.0 ** rng.uniform(-15, -4) * X
        X = X * 10.0 ** rng.integers(-8, 9, d)
        if rng.random() < 0.3:
            X = X * 10.0 ** rng.integers(-8, 9, (n, 1))
        r: Array = rng.standard_normal(n) if rng.random() < 0.5 else rng.integers(-2, 3, n) / 1.0
        return X, r * 10.0 ** rng.integers(-12, 1, n) if rng.random() < 0.3 else r

    def test_bounds_hold(self) -> None:
        """Whether they are tight or not; directions attain what is claimed."""
        n_exact = 0
        for seed in range(200):
            X, r = self.draw(np.random.default_rng(seed))
            truth = oracles.largest_price_squared(X, r)
            priced = price_patterns(X, r, tol=1e-9, rng=0)
            assert (Fraction(priced.upper_bound) * len(r)) ** 2 >= truth, seed
            room = rounding(X, r)
            assert priced.value <= float(truth) ** 0.5 / len(r) * (1 + 1e-12) + room, seed
            n_exact += priced.is_exact
        assert n_exact >= 130

    @pytest.mark.parametrize("d", range(2, 5))
    def test_raw_bounds_hold_in_ordinary_units(self, d: int) -> None:
        """Before rounding is allowed for, and before they are cut to what was found."""
        rng = np.random.default_rng(d)
        for trial in range(30):
            X, r = rng.standard_normal((6 - d // 2, d)), rng.standard_normal(6 - d // 2)
            if trial % 2:
                X = rng.integers(-1, 2, X.shape).astype(float)
            truth = float(oracles.largest_price_squared(X, r)) ** 0.5 / len(r)
            raw = _core.price_patterns(
                X, r, tol=1e-9, threshold=0.0, max_cones=None, time_limit=None, seed=trial,
                n_threads=1, callback=None,
            ).raw_bound  # fmt: skip
            assert raw >= truth * (1 - 1e-13) - rounding(X, r) / 100

    @given(pricings())
    @settings(max_examples=100)
    def test_a_raw_bound_is_never_below_what_was_found(
        self, case: tuple[Array, Array, Array | None]
    ) -> None:
        X, r, _ = case
        found = _core.price_patterns(
            X, r, tol=1e-9, threshold=0.0, max_cones=None, time_limit=None, seed=0, n_threads=1,
            callback=None,
        )  # fmt: skip
        assert found.raw_bound >= found.value * (1 - 1e-12) - rounding(X, r) / 10


class TestLambdaMax:
    @given(pricings())
    def test_is_the_value_at_the_targets(self, case: tuple[Array, Array, Array | None]) -> None:
        X, y, v = case
        found = lambda_max(X, y, sample_weight=v, rng=0)
        priced = price_patterns(X, y, sample_weight=v)
        assert found.value <= priced.upper_bound
        assert found.upper_bound >= priced.value
        if found.is_exact:
            assert found.value == pytest.approx(priced.value, rel=1.1e-3, abs=rounding(X, y))

    def test_the_network_vanishes_there(self) -> None:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
        found = lambda_max(X, y, rng=0)
        assert found.is_exact
        problem = Problem(X, y, enumerate_patterns(X))
        assert found.value == pytest.approx(problem.lambda_max, rel=1e-3)
        assert not len(solve(problem, 1.001 * found.upper_bound).active_set)

    def test_ends_without_a_proof(self) -> None:
        """By a count, so that it is the same everywhere; more time proves more."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((200, 12)), rng.standard_normal(200)
        one, two = lambda_max(X, y, rng=0), lambda_max(X, y, rng=0)
        assert not one.is_exact
        assert (one.value, one.upper_bound) == (two.value, two.upper_bound)
        assert lambda_max(X, y, time_limit=0.0, rng=0).upper_bound >= one.value

    def test_names_the_argument(self) -> None:
        with pytest.raises(ValueError, match="y must have as many entries as X has rows"):
            lambda_max(np.ones((3, 2)), np.ones(2))


class TestEffort:
    X = np.random.default_rng(1).standard_normal((200, 6))
    r = np.random.default_rng(2).standard_normal(200)

    def test_time_limit_leaves_a_bound(self) -> None:
        best = price_patterns(self.X, self.r, rng=0)
        assert best.is_exact
        assert best.upper_bound <= 1.0011 * best.value
        for seconds in (0.0, 0.01):
            priced = price_patterns(self.X, self.r, tol=1e-9, time_limit=seconds, rng=0)
            assert not priced.is_exact
            assert priced.value <= best.upper_bound
            assert priced.upper_bound >= best.value

    def test_max_cones_leaves_a_bound(self) -> None:
        best = price_patterns(self.X, self.r, tol=1e-9, rng=0)
        assert best.is_exact
        bounds = []
        for n_cones in (0, 100, 1_000):
            one, two = (
                price_patterns(self.X, self.r, tol=1e-9, max_cones=n_cones, rng=0, n_threads=k)
                for k in (1, 2)
            )
            assert not one.is_exact
            assert one.upper_bound == two.upper_bound >= best.value
            assert one.value == two.value <= best.upper_bound
            bounds.append(one.upper_bound)
        assert bounds == sorted(bounds, reverse=True)
        assert bounds[-1] < bounds[0]

    def test_threads_do_not_change_the_result(self) -> None:
        one, two = (price_patterns(self.X, self.r, rng=0, n_threads=k) for k in (1, 2))
        assert one.value == two.value
        assert one.upper_bound == two.upper_bound
        assert (one.direction == two.direction).all()

    def test_no_time_at_all(self) -> None:
        """Then the bound is the sum of |r_k| ||x_k|| over rows of one sign."""
        X, r = np.random.default_rng(4).standard_normal((300, 60)), self.r[:200].repeat(2)[:300]
        priced = price_patterns(X, r, time_limit=0)
        lengths = np.linalg.norm(X, axis=1) / 300
        crude = max(np.maximum(r, 0) @ lengths, np.maximum(-r, 0) @ lengths)
        assert priced.upper_bound == pytest.approx(crude, rel=1e-8)
        assert price_patterns(X, r).upper_bound < 0.9 * crude

    def test_what_cannot_come_to_anything_is_not_begun(self) -> None:
        """2^20 root cones of 480 hyperplanes, or more cones than may be looked at."""
        rng = np.random.default_rng(5)
        X, r = rng.standard_normal((500, 20)), rng.standard_normal(500)
        for Z, max_cones in ((X, None), (X[:, :6], 63.0)):
            found = _core.price_patterns(
                Z, r, tol=1e-3, threshold=0.0, max_cones=max_cones, time_limit=None, seed=0,
                n_threads=1, callback=None,
            )  # fmt: skip
            assert found.n_cones == 0
            assert not found.is_exact
            assert found.upper_bound > found.value
        assert price_patterns(np.eye(20), np.ones(20)).is_exact  # cells, all of them

    def test_high_dimensions(self) -> None:
        X = np.random.default_rng(3).standard_normal((50, 300))
        priced = price_patterns(X, self.r[:50])
        assert not priced.is_exact
        assert priced.value <= priced.upper_bound <= 3 * priced.value

    def test_copies(self) -> None:
        priced = price_patterns(self.X, self.r)
        for again in (pickle.loads(pickle.dumps(priced)), copy.deepcopy(priced)):
            assert repr(again) == repr(priced)
            assert (again.value, again.upper_bound) == (priced.value, priced.upper_bound)
            assert (again.sign, again.is_exact) == (priced.sign, priced.is_exact)
            np.testing.assert_array_equal(again.direction, priced.direction)

    def test_repr(self) -> None:
        assert repr(price_patterns([[2.0]], [3.0])) == "<Pricing: 6, at most 6, exact>"


class TestErrors:
    X = np.ones((3, 2))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"X": [1.0, 2.0]}, ValueError, "X must have two dimensions"),
            ({"X": [[np.nan, 1.0]]}, ValueError, "X must be finite"),
            ({"residual": [1.0]}, ValueError, "residual must have as many entries as X has rows"),
            ({"residual": [1.0, np.inf, 1.0]}, ValueError, "residual must be finite"),
            ({"sample_weight": [0.0, 0.0, 0.0]}, ValueError, "sample_weight must have a positive"),
            ({"tol": 0.0}, ValueError, "tol must be a finite number > 0"),
            ({"max_cones": -1}, ValueError, "max_cones must be at least 0"),
            ({"max_cones": 1.5}, TypeError, "max_cones must be an integer"),
            ({"time_limit": -1.0}, ValueError, "time_limit must be a finite number >= 0"),
            ({"rng": "a"}, TypeError, "rng must be an integer"),
            ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
        ],
    )
    def test_names_the_argument(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        given_: dict[str, Any] = {"X": self.X, "residual": [1.0, 2.0, 3.0], **arguments}
        with pytest.raises(error, match=message):
            price_patterns(given_.pop("X"), given_.pop("residual"), **given_)
