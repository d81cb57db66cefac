"""Losses: problems of any of them are solved to the certificate of those of the squared one."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.strategies import (
    FORMULATIONS,
    Array,
    designs,
    gate_sets,
    integers,
    reals,
    sample_weights,
    with_ones,
)

from convexrelu import (
    Network,
    Problem,
    Solution,
    certify,
    check_network,
    descent_path,
    differentiate,
    enumerate_patterns,
    find_optimal_set,
    lambda_max,
    load,
    losses,
    patterns_from_gates,
    prune,
    sample_patterns,
    save,
    solve,
    solve_global,
    to_network,
    trace_path,
)

LOSSES = ("squared", "logistic", "poisson", "huber", "squared_hinge")
RATIOS = (1 + 1e-12, 1.0, 1 - 1e-6, 0.9, 0.5, 0.1, 0.03, 1e-2, 1e-3)
GENERATOR = np.random.default_rng(16)


@dataclass(frozen=True, repr=False)
class LossCase:
    """A problem of some loss, and lam / lambda_max."""

    X: Any
    y: Any
    gates: Any
    loss: Any
    formulation: str = "relu"
    ratio: float = 0.1
    sample_weight: Any = None
    fit_intercept: bool = False
    offset: Any = None
    made: list[Problem] = field(default_factory=list, compare=False)

    @property
    def problem(self) -> Problem:
        if not self.made:
            X = np.array(self.X, dtype=float)
            patterns = patterns_from_gates(X, np.array(self.gates, dtype=float).T)
            problem = Problem(
                X,
                self.y,
                patterns,
                formulation=self.formulation,
                sample_weight=self.sample_weight,
                loss=self.loss,
                fit_intercept=self.fit_intercept,
                offset=self.offset,
            )
            self.made.append(problem)
        return self.made[0]

    @property
    def lam(self) -> float:
        """ratio lambda_max; where zero is optimal for every lam, 0.1 is as good as any."""
        scale = float(np.abs(self.problem.X).max())
        lambda_max = self.problem.lambda_max
        return self.ratio * lambda_max if lambda_max > 1e-12 * scale else 0.1 * (scale or 1.0)

    def __repr__(self) -> str:
        names = ("X", "y", "gates", "loss", "formulation", "ratio", "sample_weight")
        more = ("fit_intercept", "offset")
        values = {n: getattr(self, n) for n in names + more}
        plain = {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in values.items()}
        return f"LossCase({', '.join(f'{n}={v!r}' for n, v in plain.items())})"


@st.composite
def loss_targets(draw: st.DrawFn, name: str, n: int) -> Array:
    """y that the loss takes: labels and probabilities, counts and rates, ties and reals."""
    if name == "logistic":
        shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
        soft = st.lists(shares, min_size=n, max_size=n).map(lambda y: np.array(y))
        return draw(st.one_of(integers(n, 0, 1), soft, reals(n).map(lambda z: 1 / (1 + np.exp(z)))))
    if name == "poisson":
        return draw(st.one_of(integers(n, 0, 4), reals(n).map(np.exp), integers(n, 0, 300)))
    if name == "squared_hinge":
        return 2 * draw(integers(n, 0, 1)) - 1
    return draw(st.one_of(integers(n, -3, 3), reals(n)))


@st.composite
def loss_cases(
    draw: st.DrawFn, names: tuple[str, ...] = LOSSES, ratios: tuple[float, ...] = RATIOS
) -> LossCase:
    X = draw(designs())
    n = len(X)
    name = draw(st.sampled_from(names))
    y = draw(loss_targets(name, n))
    v = draw(sample_weights(n))
    fit_intercept = draw(st.booleans())
    if fit_intercept and name in {"logistic", "poisson"}:  # what it would refuse
        used = y if v is None else y[v > 0]
        if not (used > 0).any() or (name == "logistic" and not (used < 1).any()):
            y = np.full(n, 0.5)
    return LossCase(
        X=X,
        y=y,
        gates=draw(gate_sets(X)),
        loss=losses.Huber(draw(st.sampled_from([0.3, 1.0, 5.0]))) if name == "huber" else name,
        formulation=draw(st.sampled_from(FORMULATIONS)),
        ratio=draw(st.sampled_from(ratios)),
        sample_weight=v,
        fit_intercept=fit_intercept,
        offset=draw(st.one_of(st.none(), integers(n, -2, 2), reals(n))),
    )


def check_optimal(problem: Problem, lam: float, solution: Solution) -> None:
    """Everything that is promised of an optimal solution, by the oracles alone."""
    assert solution.status == "optimal"
    parts = (solution.active_set, solution.weights, solution.intercept)
    primal, dual = oracles.bounds(problem, lam, *parts, (solution.dual,))
    f = oracles.fitted_with(problem, *parts)
    # What the terms of the textbook formulas lose where they cancel.
    room = 1e-14 * (1 + oracles.weights_of(problem) @ np.abs(problem.y * f))
    assert solution.objective == pytest.approx(primal, rel=1e-9, abs=room)
    assert solution.lower_bound <= primal * (1 + 1e-9) + room
    assert primal - dual <= 1e-9 * primal + room
    assert solution.gap <= 1e-8
    assert oracles.cone_violation(problem, solution.active_set, solution.weights) <= 1e-12
    assert (np.linalg.norm(solution.weights, axis=1) > 0).all()
    np.testing.assert_allclose(solution.fitted, f, rtol=1e-11, atol=1e-11)
    descents = oracles.loss_descents(problem, f)
    np.testing.assert_allclose(solution.residual, descents, rtol=1e-9, atol=1e-11)
    if not problem.fit_intercept:
        assert solution.intercept == 0.0


class TestOptimality:
    @given(loss_cases())
    @settings(max_examples=600)
    def test_on_degenerate_problems(self, case: LossCase) -> None:
        check_optimal(case.problem, case.lam, solve(case.problem, case.lam))

    @given(loss_cases(ratios=(0.9, 0.5, 0.1, 0.01)))
    @settings(max_examples=150)
    def test_agrees_with_an_interior_point_method(self, case: LossCase) -> None:
        solution = solve(case.problem, case.lam)
        optimum = oracles.minimise_loss(case.problem, case.lam)
        if optimum.solved:
            assert solution.objective == pytest.approx(optimum.value, rel=1e-7, abs=1e-8)

    @given(loss_cases())
    @settings(max_examples=100)
    def test_zero_from_lambda_max_on(self, case: LossCase) -> None:
        problem = case.problem
        t = oracles.loss_descents(problem, solve(problem, 1e6 + problem.lambda_max).fitted)
        largest = np.linalg.norm(oracles.directions(problem, t), axis=1).max(initial=0.0)
        scale = np.abs(problem.X).max() * max(1.0, np.abs(t).max())
        assert problem.lambda_max == pytest.approx(largest, rel=1e-9, abs=1e-11 * scale)
        if problem.lambda_max > 1e-9 * scale:
            assert len(solve(problem, problem.lambda_max * (1 + 1e-9)).active_set) == 0
            assert len(solve(problem, problem.lambda_max * 0.99).active_set) > 0

    @given(loss_cases(ratios=(0.5, 0.1, 0.01)))
    @settings(max_examples=60)
    def test_bits_do_not_depend_on_threads(self, case: LossCase) -> None:
        one, four = (solve(case.problem, case.lam, n_threads=k) for k in (1, 4))
        assert np.array_equal(one.weights, four.weights)
        assert (one.intercept, one.objective) == (four.intercept, four.objective)
        assert np.array_equal(one.dual, four.dual)

    @given(loss_cases(ratios=(0.1,)))
    @settings(max_examples=60)
    def test_starts_from_another_lam(self, case: LossCase) -> None:
        first = solve(case.problem, 2 * case.lam)
        check_optimal(case.problem, case.lam, solve(case.problem, case.lam, warm_start=first))

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("loss", LOSSES)
    def test_larger_problems(self, loss: str, formulation: str) -> None:
        X = with_ones(GENERATOR.standard_normal((120, 5)))
        score = np.abs(X[:, 0]) + X[:, 1] + 0.5 * GENERATOR.standard_normal(120)
        y = {
            "squared": score,
            "huber": score,
            "logistic": (score > 0.7).astype(float),
            "squared_hinge": np.where(score > 0.7, 1.0, -1.0),
            "poisson": np.floor(np.exp(score)),
        }[loss]
        patterns = sample_patterns(X, 40, rng=0)
        problem = Problem(X, y, patterns, formulation=formulation, loss=loss, fit_intercept=True)
        for ratio in (0.3, 0.03, 0.003):
            solution = solve(problem, ratio * problem.lambda_max)
            assert solution.status == "optimal"
            assert certify(solution).gap <= 1e-9

    def test_separable_classes_have_an_optimum(self) -> None:
        X = with_ones(GENERATOR.standard_normal((60, 3)))
        problem = Problem(
            X,
            X[:, 0] > 0,
            sample_patterns(X, 20, rng=0),
            formulation="gated",
            loss="logistic",
            fit_intercept=True,
        )
        solution = solve(problem, 1e-5 * problem.lambda_max)
        assert solution.status == "optimal"
        assert ((solution.fitted > 0) == (X[:, 0] > 0)).all()


class TestWeights:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_are_repetitions(self, loss: str) -> None:
        X = with_ones(GENERATOR.integers(-2, 3, (12, 2)))
        y = np.where(np.arange(12) % 3 == 0, 1.0, -1.0 if loss == "squared_hinge" else 0.0)
        counts = np.arange(12) % 4
        gates = GENERATOR.standard_normal((3, 8))
        settings = {"formulation": "relu", "loss": loss, "fit_intercept": True}
        weighted = Problem(X, y, patterns_from_gates(X, gates), sample_weight=counts, **settings)
        X2, y2 = np.repeat(X, counts, axis=0), np.repeat(y, counts)
        repeated = Problem(X2, y2, patterns_from_gates(X2, gates), **settings)
        assert weighted.lambda_max == pytest.approx(repeated.lambda_max, rel=1e-12)
        lam = 0.1 * weighted.lambda_max
        a, b = solve(weighted, lam), solve(repeated, lam)
        assert a.objective == pytest.approx(b.objective, rel=1e-10)
        assert a.intercept == pytest.approx(b.intercept, rel=1e-6, abs=1e-8)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_offset_of_another_model(self, loss: str) -> None:
        """A constant offset is an intercept less."""
        X = with_ones(GENERATOR.standard_normal((15, 2)))
        y = (np.arange(15) % 2).astype(float) * (2 if loss == "squared_hinge" else 1)
        y = y - 1 if loss == "squared_hinge" else y
        patterns = sample_patterns(X, 10, rng=0)
        settings = {"loss": loss, "fit_intercept": True}
        plain = Problem(X, y, patterns, **settings)
        moved = Problem(X, y, patterns, offset=np.full(15, 0.75), **settings)
        lam = 0.1 * plain.lambda_max
        a, b = solve(plain, lam), solve(moved, lam)
        assert a.objective == pytest.approx(b.objective, rel=1e-10)
        assert b.intercept == pytest.approx(a.intercept - 0.75, rel=1e-6, abs=1e-8)

    def test_huber_of_large_delta_is_squared(self) -> None:
        X, y = GENERATOR.standard_normal((20, 3)), GENERATOR.standard_normal(20)
        patterns = sample_patterns(X, 10, rng=0)
        settings = {"fit_intercept": True, "offset": 0.1 * y}
        a = solve(Problem(X, y, patterns, **settings), 0.01)
        b = solve(Problem(X, y, patterns, loss=losses.Huber(100.0), **settings), 0.01)
        assert a.objective == pytest.approx(b.objective, rel=1e-12)
        np.testing.assert_allclose(a.fitted, b.fitted, atol=1e-9)

    @pytest.mark.parametrize("unit", [1e-9, 1e7])
    def test_huber_commutes_with_the_unit_of_y(self, unit: float) -> None:
        X, y = GENERATOR.standard_normal((20, 3)), GENERATOR.standard_normal(20)
        patterns = sample_patterns(X, 10, rng=0)
        a = solve(Problem(X, y, patterns, loss=losses.Huber(0.5)), 0.01)
        b = solve(Problem(X, unit * y, patterns, loss=losses.Huber(0.5 * unit)), 0.01 * unit)
        assert b.objective == pytest.approx(unit**2 * a.objective, rel=1e-9)


class TestAllPatterns:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_lambda_max_is_that_of_the_full_problem(self, loss: str) -> None:
        X = with_ones(GENERATOR.standard_normal((12, 2)))
        y = np.where(np.arange(12) % 3 == 0, 1.0, -1.0 if loss == "squared_hinge" else 0.0)
        settings = {"loss": loss, "fit_intercept": True, "sample_weight": np.arange(1, 13)}
        problem = Problem(X, y, enumerate_patterns(X), **settings)
        found = lambda_max(X, y, rng=0, **settings)
        assert found.value == pytest.approx(problem.lambda_max, rel=1e-9)


class TestNetworks:
    @given(loss_cases(ratios=(0.5, 0.1)))
    @settings(max_examples=60)
    def test_is_what_was_fitted(self, case: LossCase) -> None:
        problem = case.problem
        solution = solve(problem, case.lam)
        network = to_network(solution)
        offset = 0.0 if problem.offset is None else problem.offset
        np.testing.assert_allclose(
            network.predict(problem.X) + offset, solution.fitted, rtol=1e-9, atol=1e-9
        )
        assert np.array_equal(solution.predict(problem.X), network.predict(problem.X))
        objective = network.objective(
            problem.X,
            problem.y,
            case.lam,
            sample_weight=problem.sample_weight,
            loss=problem.loss,
            offset=problem.offset,
        )
        assert objective == pytest.approx(solution.objective, rel=1e-9, abs=1e-13)

    def test_the_intercept_stays(self) -> None:
        network = Network([[1.0, 2.0], [2.0, 4.0]], [1.0, 1.0], intercept=-3.0)
        X = GENERATOR.standard_normal((5, 2))
        for other in (network.balance(), network.merge(), network.split(0)):
            assert other.intercept == -3.0
            np.testing.assert_allclose(other.predict(X), network.predict(X), atol=1e-12)
        assert network != Network(network.hidden, network.output)
        assert pickle.loads(pickle.dumps(network)) == network
        assert "intercept -3" in repr(network)
        assert Network(np.empty((0, 2)), [], intercept=2.0).predict(X).tolist() == [2.0] * 5


class TestValues:
    @pytest.mark.parametrize("loss", [*LOSSES, losses.Huber(0.25)])
    def test_keep_their_loss(self, loss: Any, tmp_path: Path) -> None:
        X = with_ones(GENERATOR.standard_normal((10, 2)))
        y = np.where(np.arange(10) % 2, 1.0, -1.0 if loss == "squared_hinge" else 0.0)
        problem = Problem(
            X,
            y,
            sample_patterns(X, 6, rng=0),
            loss=loss,
            fit_intercept=True,
            offset=np.linspace(-0.1, 0.1, 10),
        )
        solution = solve(problem, 0.1 * problem.lambda_max)
        save(solution, tmp_path / "solution.npz")
        for other in (pickle.loads(pickle.dumps(solution)), load(tmp_path / "solution.npz")):
            assert other.problem.loss == problem.loss == losses.as_loss(loss)
            assert other.problem.fit_intercept
            assert np.array_equal(other.problem.offset, problem.offset)
            assert other.intercept == solution.intercept != 0.0
            assert (other.objective, other.gap) == (solution.objective, solution.gap)
        network = to_network(solution)
        save(network, tmp_path / "network.npz")
        assert load(tmp_path / "network.npz") == network

    def test_repr(self) -> None:
        X = with_ones(np.arange(4.0))
        problem = Problem(
            X,
            [0, 1, 1, 0],
            sample_patterns(X, 3, rng=0),
            loss="logistic",
            fit_intercept=True,
            offset=[0, 0, 1, 0],
        )
        assert re.fullmatch(
            r"<Problem: relu, logistic, n=4, d=2, \d patterns, intercept, offset>", repr(problem)
        )


class TestErrors:
    X = with_ones(np.arange(4.0))
    patterns = sample_patterns(X, 3, rng=0)

    @pytest.mark.parametrize(
        ("y", "settings", "message"),
        [
            ([0, 1, 2, 0], {"loss": "logistic"}, r"y must be in \[0, 1\].*y\[2\] is 2"),
            ([0, 1, -1, 0], {"loss": "poisson"}, r"y must be >= 0.*y\[2\] is -1"),
            ([0, 1, 1, 0], {"loss": "squared_hinge"}, r"y must be -1 or \+1.*y\[0\] is 0"),
            ([1, 1, 1, 1], {"loss": "logistic", "fit_intercept": True}, "both classes.*all are 1"),
            ([0, 0, 0, 0], {"loss": "logistic", "fit_intercept": True}, "both classes.*all are 0"),
            ([0, 0, 0, 0], {"loss": "poisson", "fit_intercept": True}, "a count above 0"),
            ([0, 1, 1, 0], {"loss": "hinge"}, "loss must be 'squared' or 'logistic'"),
            ([0, 1, 1, 0], {"offset": [1.0]}, "offset must have as many entries"),
        ],
    )
    def test_say_what_is_allowed(self, y: Any, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Problem(self.X, y, self.patterns, **settings)

    def test_of_type(self) -> None:
        with pytest.raises(TypeError, match="loss must be a name or one of"):
            Problem(self.X, [0, 1, 1, 0], self.patterns, loss=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="loss must be a name or one of"):
            Problem(self.X, [0, 1, 1, 0], self.patterns, loss=losses.Loss())
        with pytest.raises(TypeError, match="fit_intercept must be True or False"):
            Problem(self.X, [0, 1, 1, 0], self.patterns, fit_intercept=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="delta must be a finite number > 0"):
            losses.Huber(0.0)

    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            ({"loss": "logistic"}, "loss='logistic'"),
            ({"fit_intercept": True}, "fit_intercept=True"),
            ({"offset": [0.0, 1.0, 0.0, 0.0]}, "an offset"),
        ],
    )
    def test_what_is_not_there_yet_refuses(self, settings: dict[str, Any], what: str) -> None:
        problem = Problem(self.X, [0, 1, 1, 0], self.patterns, **settings)
        solution = solve(problem, 0.01)
        for call in (
            lambda: trace_path(problem, 0.01),
            lambda: find_optimal_set(solution),
            lambda: differentiate(solution),
            lambda: prune(solution),
        ):
            with pytest.raises(ValueError, match=f"squared loss only; this problem has {what}"):
                call()

    def test_networks_with_an_intercept_are_refused_where_it_would_be_lost(self) -> None:
        network = Network([[1.0, 0.0]], [1.0], intercept=1.0)
        y = np.array([0.0, 1.0, 1.0, 0.0])
        for call in (
            lambda: check_network(network, self.X, y, 0.1),
            lambda: descent_path(network, self.X, y, 0.1),
            lambda: prune(network, self.X, n_neurons=0),
            lambda: solve_global(self.X, y, 0.1, warm_start=network),
        ):
            with pytest.raises(ValueError, match="intercept"):
                call()
