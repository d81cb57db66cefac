"""Network: what it computes, and that its objective is that of the solution it was made from."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracles
from tests.strategies import Case, cases, designs, integers, reals, sample_weights, targets

from convexrelu import (
    Network,
    Patterns,
    Problem,
    Solution,
    _core,
    patterns_from_gates,
    sample_patterns,
    solve,
    to_network,
)

Array = NDArray[np.float64]

X = np.array([[1.0, 2.0], [0.0, -1.0], [-3.0, 0.5]])
RELU = Network([[1.0, 0.0], [0.0, -2.0]], [1.0, -0.5])
GATED = Network([[1.0, 0.0], [0.0, -2.0]], [1.0, -0.5], [[0.0, 1.0], [1.0, 0.0]])


@st.composite
def networks(draw: st.DrawFn, d: int) -> Network:
    """Neurons that repeat, oppose one another and are dead as often as not."""
    m = draw(st.integers(0, 6))
    entries = draw(st.sampled_from([reals, lambda shape: integers(shape, -2, 2)]))
    gates = draw(st.one_of(st.none(), integers((m, d), -2, 2)))
    return Network(draw(entries((m, d))), draw(entries(m)), gates)


@st.composite
def networks_on_data(draw: st.DrawFn) -> tuple[Network, Array, Array]:
    rows = draw(designs())
    return draw(networks(rows.shape[1])), rows, draw(targets(rows))


def slow_predictions(network: Network, rows: Array) -> Array:
    gates = network.hidden if network.gates is None else network.gates
    f = np.zeros(len(rows))
    for k, x in enumerate(rows):
        for w, a, g in zip(network.hidden, network.output, gates, strict=True):
            # Integer gates: their products with integer rows have no rounding.
            f[k] += a * (w @ x) * (g @ x >= 0)
    return f


def size(network: Network, rows: Array) -> float:
    """What rounding errors of predictions are relative to."""
    length = np.linalg.norm(network.hidden, axis=1) @ np.abs(network.output)
    return 1e-300 + np.linalg.norm(rows, axis=1).max() * length


class TestPredict:
    def test_by_hand(self) -> None:
        assert RELU.predict(X).tolist() == [1.0, -1.0, 0.0]
        # Gates: second coordinate for the first neuron, first coordinate (or 0) for the second.
        assert GATED.predict(X).tolist() == [1.0 - 0.5 * -4.0, -0.5 * 2.0, -3.0]

    @given(networks_on_data())
    def test_definition(self, drawn: tuple[Network, Array, Array]) -> None:
        network, rows, _ = drawn
        if network.gates is not None:
            rows = np.round(rows)
        error = np.abs(network.predict(rows) - slow_predictions(network, rows))
        assert error.max() <= 1e-14 * size(network, rows)

    @pytest.mark.parametrize("gated", [False, True])
    def test_bits_do_not_depend_on_threads(self, gated: bool) -> None:
        rng = np.random.default_rng(0)
        hidden, rows = rng.standard_normal((600, 20)), rng.standard_normal((2000, 20))
        network = Network(hidden, rng.standard_normal(600), hidden[::-1] if gated else None)
        f = network.predict(rows)
        for n_threads in (2, 3, 8):
            assert np.array_equal(network.predict(rows, n_threads=n_threads), f)

    def test_gates_on_hyperplanes_of_the_data(self) -> None:
        """Products that are zero up to rounding have one sign, in patterns and in predictions."""
        rng = np.random.default_rng(1)
        rows = rng.standard_normal((300, 4))
        triples = [rows[rng.choice(300, 3, replace=False)] for _ in range(40)]
        gates = np.array([np.linalg.svd(triple)[2][-1] for triple in triples])
        masks = patterns_from_gates(rows, gates.T).masks
        hidden = rng.standard_normal((40, 4))
        expected = (masks * (rows @ hidden.T)).sum(axis=1)
        network = Network(hidden, np.ones(40), gates)
        assert np.abs(network.predict(rows) - expected).max() < 1e-12
        one_by_one = [network.predict(row[None])[0] for row in rows]
        assert np.abs(one_by_one - expected).max() < 1e-12

    def test_no_neurons(self) -> None:
        assert Network(np.empty((0, 2)), []).predict(X).tolist() == [0.0, 0.0, 0.0]

    def test_out_of_range(self) -> None:
        network = Network([[1e200, 0.0]], [1e200])
        assert network.predict([[1e-200, 0.0]]) == [1e200]
        for row in ([1.0, 0.0], [1e200, 0.0]):
            with pytest.raises(ValueError, match="exceed the range of float64"):
                network.predict([row])


class TestObjective:
    def test_by_hand(self) -> None:
        # Residuals 0, -2, -1; norms 1, 4 and 1, 1/4.
        assert RELU.objective(X, [1.0, 1.0, 1.0], 0.2) == pytest.approx(5 / 6 + 0.1 * 6.25)
        weighted = RELU.objective(X, [1.0, 1.0, 1.0], 0.2, sample_weight=[1, 3, 0])
        assert weighted == pytest.approx(12 / 8 + 0.1 * 6.25)

    @given(networks_on_data(), st.sampled_from([0.0, 1e-6, 0.1, 10.0]), st.data())
    def test_definition(
        self, drawn: tuple[Network, Array, Array], lam: float, data: st.DataObject
    ) -> None:
        network, rows, y = drawn
        v = data.draw(sample_weights(len(y)))
        share = np.full(len(y), 1 / len(y)) if v is None else v / v.sum()
        loss = (share * (network.predict(rows) - y) ** 2).sum() / 2
        penalty = lam / 2 * ((network.hidden**2).sum() + (network.output**2).sum())
        value = network.objective(rows, y, lam, sample_weight=v)
        assert value == pytest.approx(loss + penalty, rel=1e-13, abs=1e-300)

    def test_magnitudes(self) -> None:
        for exponent in (-290, 290):
            scale = 10.0**exponent
            network = Network([[1.0, 0.0]], [1.0])
            assert network.objective([[1.0, 0.0]], [0.0], scale) == pytest.approx(0.5 + scale)
        tiny = Network([[1e-200, 0.0]], [1e-200])
        assert tiny.objective([[1.0, 0.0]], [0.0], 1e290) == pytest.approx(1e-110, rel=1e-14)
        assert tiny.objective([[1.0, 0.0]], [1e200], 1.0) == np.inf


class TestTransformations:
    @given(networks_on_data(), st.sampled_from([1e-6, 0.1, 10.0]))
    def test_balance(self, drawn: tuple[Network, Array, Array], lam: float) -> None:
        network, rows, y = drawn
        balanced = network.balance()
        if network.gates is None:
            f, g = network.predict(rows), balanced.predict(rows)
            assert np.abs(f - g).max() <= 1e-14 * size(network, rows)
        before, after = (n.objective(rows, y, lam) for n in (network, balanced))
        assert after <= before * (1 + 1e-13)
        norms = np.linalg.norm(balanced.hidden, axis=1)
        assert np.allclose(norms, np.abs(balanced.output), rtol=1e-15, atol=0)
        # The penalty is lam times the sum of |a_j| ||W_j||, the least there is.
        least = np.linalg.norm(network.hidden, axis=1) @ np.abs(network.output)
        assert (norms**2).sum() == pytest.approx(least, rel=1e-14)

    @given(networks_on_data(), st.sampled_from([1e-6, 0.1, 10.0]))
    def test_merge(self, drawn: tuple[Network, Array, Array], lam: float) -> None:
        network, rows, y = drawn
        rows = np.round(rows)  # gates on ties decide the same way
        merged = network.merge()
        difference = network.predict(rows) - merged.predict(rows)
        assert np.abs(difference).max() <= 1e-13 * size(network, rows)
        assert merged.objective(rows, y, lam) <= network.objective(rows, y, lam) * (1 + 1e-12)
        assert merged.merge() == merged
        # What is left is alive and of different directions or gates.
        assert (np.linalg.norm(merged.hidden, axis=1) * merged.output != 0).all()
        if merged.gates is None:
            units = merged.hidden / np.linalg.norm(merged.hidden, axis=1, keepdims=True)
            units = np.column_stack([units, 10 * np.sign(merged.output)])
            distance = np.linalg.norm(units[:, None] - units[None], axis=2)
            assert (distance + 10 * np.eye(len(units)) > 1e-9).all()
        else:
            assert len(np.unique(merged.gates, axis=0)) == merged.n_neurons

    @given(networks_on_data(), st.data())
    def test_split_then_merge(
        self, drawn: tuple[Network, Array, Array], data: st.DataObject
    ) -> None:
        network, rows, y = drawn
        if network.n_neurons == 0:
            return
        neuron = data.draw(st.integers(0, network.n_neurons - 1))
        shares = data.draw(st.one_of(st.integers(1, 4), st.lists(st.floats(1e-3, 1e3), min_size=1)))
        split = network.split(neuron, shares)
        n_parts = shares if isinstance(shares, int) else len(shares)
        assert split.n_neurons == network.n_neurons + n_parts - 1
        f, g = network.predict(rows), split.predict(rows)
        assert np.abs(f - g).max() <= 1e-13 * size(network, rows)
        before, after = (n.objective(rows, y, 0.1) for n in (network, split))
        assert after == pytest.approx(before, rel=1e-13)
        parts = np.column_stack([split.hidden, split.output])[neuron : neuron + n_parts]
        whole = np.append(network.hidden[neuron], network.output[neuron])
        share = (
            np.full(n_parts, 1 / n_parts) if isinstance(shares, int) else shares / np.sum(shares)
        )
        squares = (parts**2).sum(axis=1)
        assert np.allclose(squares, share / share.sum() * (whole @ whole), rtol=1e-13)
        assert split.merge().n_neurons == network.merge().n_neurons

    def test_merge_by_hand(self) -> None:
        network = Network([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [1.0, 1.0, -1.0, 2.0])
        merged = network.merge()
        assert np.allclose(merged.hidden, [[2.0, 0.0], [1.0, 0.0]], rtol=1e-15, atol=0)
        assert np.allclose(merged.output, [2.0, -1.0], rtol=1e-15, atol=0)

    def test_merge_tolerance(self) -> None:
        network = Network([[1.0, 0.0], [1.0, 1e-6]], [1.0, 1.0])
        assert network.merge().n_neurons == 2
        assert network.merge(tol=1e-5).n_neurons == 1

    def test_magnitudes_that_multiply_out_of_range(self) -> None:
        network = Network([[3e200, 4e200], [3e-200, 4e-200]], [5e200, -5e-200])
        for same in (network.balance(), network.split(1).split(0).merge()):
            assert np.allclose(same.output, network.output, rtol=1e-15, atol=0)
            assert np.allclose(same.hidden, network.hidden, rtol=1e-15, atol=0)


def objectives(solution: Solution) -> tuple[float, float]:
    problem = solution.problem
    network = to_network(solution)
    value = network.objective(
        problem.X, problem.y, solution.lam, sample_weight=problem.sample_weight
    )
    return value, solution.objective


class TestToNetwork:
    @given(cases())
    def test_objective_and_fit_of_the_solution(self, case: Case) -> None:
        """Whether optimal or not."""
        solution = solve(case.problem, case.lam, max_iter=100)
        value, expected = objectives(solution)
        assert value == pytest.approx(expected, rel=1e-12)
        network = to_network(solution)
        used = case.sample_weight is None or np.asarray(case.sample_weight) > 0
        difference = (network.predict(case.problem.X) - solution.fitted)[used]
        assert np.abs(difference).max(initial=0.0) <= 1e-12 * size(network, case.problem.X)
        assert network.formulation == case.formulation
        assert network.n_neurons == len(solution.active_set)

    @given(cases(formulations=("relu",)))
    def test_oracle(self, case: Case) -> None:
        if case.sample_weight is not None:
            return
        solution = solve(case.problem, case.lam, max_iter=100)
        network = to_network(solution)
        value = oracles.network_objective(
            case.problem.X, case.problem.y, case.lam, network.hidden, network.output
        )
        assert value == pytest.approx(solution.objective, rel=1e-12)

    @given(
        cases(ratios=(0.5, 0.1, 1e-3)),
        st.sampled_from([1e150, 1e-150]),
        st.sampled_from([1e150, 1e-150]),
    )
    def test_scales(self, case: Case, X_scale: float, y_scale: float) -> None:
        problem = Problem(
            X_scale * case.problem.X,
            y_scale * case.problem.y,
            case.problem.patterns,
            formulation=case.formulation,
            sample_weight=case.sample_weight,
        )
        lam = case.lam * X_scale * y_scale
        value, expected = objectives(solve(problem, lam, max_iter=100))
        assert value == pytest.approx(expected, rel=1e-12, abs=0)

    @given(cases(ratios=(0.5, 0.1, 1e-2)))
    def test_is_balanced_and_in_the_cones(self, case: Case) -> None:
        solution = solve(case.problem, case.lam, max_iter=100)
        network = to_network(solution)
        norms = np.linalg.norm(network.hidden, axis=1)
        assert np.allclose(norms, np.abs(network.output), rtol=1e-15, atol=0)
        signs = solution.active_set[:, 1]
        assert np.array_equal(np.sign(network.output), signs)
        rebuilt = np.abs(network.output)[:, None] * network.hidden
        assert np.allclose(rebuilt, solution.weights, rtol=1e-14, atol=0)

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_real_size(self, formulation: str) -> None:
        rng = np.random.default_rng(2)
        rows = np.column_stack([rng.standard_normal((400, 9)), np.ones(400)])
        y = np.maximum(rows @ rng.standard_normal(10), 0) + 0.1 * rng.standard_normal(400)
        problem = Problem(rows, y, sample_patterns(rows, 100, rng=0), formulation=formulation)
        for ratio in (0.3, 0.01):
            solution = solve(problem, ratio * problem.lambda_max)
            value, expected = objectives(solution)
            assert value == pytest.approx(expected, rel=1e-13)
            merged = to_network(solution).merge()
            after = merged.objective(rows, y, solution.lam)
            assert after == pytest.approx(expected, rel=1e-12)

    def test_above_lambda_max(self) -> None:
        problem = Problem(X, [1.0, 2.0, 3.0], sample_patterns(X, 9, rng=0))
        network = to_network(solve(problem, 2 * problem.lambda_max))
        assert network == Network(np.empty((0, 2)), [])

    def test_gates_of_other_data(self) -> None:
        problem = Problem(X, [1.0, 2.0, 3.0], patterns_from_gates(-X, X.T), formulation="gated")
        solution = solve(problem, 0.1 * problem.lambda_max)
        with pytest.raises(ValueError, match=r"gate of pattern \d does not give that pattern"):
            to_network(solution)

    def test_relu_patterns_need_no_gates(self) -> None:
        """A relu neuron is its own gate: what the patterns say of theirs plays no part."""
        good = sample_patterns(X, 9, rng=0)
        bare = Patterns(_core.Patterns(good.packed, 3, np.zeros((2, len(good))), False))
        for formulation in ("relu", "gated"):
            problem = Problem(X, [1.0, 2.0, 3.0], bare, formulation=formulation)
            solution = solve(problem, 0.1 * problem.lambda_max)
            if formulation == "relu":
                value, expected = objectives(solution)
                assert value == pytest.approx(expected, rel=1e-13)
            else:
                with pytest.raises(ValueError, match="does not give that pattern"):
                    to_network(solution)


class TestValue:
    @pytest.mark.parametrize("network", [RELU, GATED, Network(np.empty((0, 2)), [])])
    def test_copies(self, network: Network) -> None:
        for again in (
            pickle.loads(pickle.dumps(network)),
            copy.copy(network),
            copy.deepcopy(network),
            joblib.Parallel(n_jobs=2)(joblib.delayed(lambda n: n)(network) for _ in range(1))[0],
        ):
            assert again == network
            assert repr(again) == repr(network)

    def test_equality(self) -> None:
        assert Network(RELU.hidden, RELU.output) == RELU
        assert RELU != GATED
        assert Network(RELU.hidden, -RELU.output) != RELU
        assert Network(GATED.hidden, GATED.output, -GATED.gates) != GATED
        assert RELU != "network"
        with pytest.raises(TypeError, match="unhashable"):
            hash(RELU)

    def test_is_immutable(self) -> None:
        hidden, output = np.ones((2, 2)), np.ones(2)
        network = Network(hidden, output, hidden)
        hidden[:], output[:] = 0.0, 0.0
        assert network == Network(np.ones((2, 2)), np.ones(2), np.ones((2, 2)))
        for array in (network.hidden, network.output, network.gates):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0
        with pytest.raises(AttributeError):
            network.hidden = hidden

    def test_arrays_outlive_the_network(self) -> None:
        hidden = Network(np.ones((500, 2)), np.ones(500)).hidden
        assert (hidden == 1.0).all()

    def test_repr(self) -> None:
        assert repr(RELU) == "<Network: relu, 2 neurons on R^2>"
        assert repr(Network([[1.0]], [1.0], [[1.0]])) == "<Network: gated, 1 neuron on R^1>"
        assert (RELU.n_neurons, RELU.n_features, RELU.formulation) == (2, 2, "relu")
        assert (GATED.formulation, RELU.gates) == ("gated", None)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([1.0, 2.0], [1.0]), ValueError, "hidden must have two dimensions"),
            ((np.empty((2, 0)), [1.0, 1.0]), ValueError, "hidden must have at least one column"),
            (([[1.0, np.nan]], [1.0]), ValueError, r"hidden\[0, 1\] is nan"),
            (([[1.0]], [1.0, 2.0]), ValueError, r"output must have as many .* hidden has rows \(1"),
            (([[1.0]], [np.inf]), ValueError, r"output\[0\] is inf"),
            (([[1.0]], ["a"]), TypeError, "output must be an array of numbers"),
            (([[1.0]], [1.0], [[1.0, 2.0]]), ValueError, "gates must have 1 columns"),
            (
                ([[1.0]], [1.0], [[1.0], [2.0]]),
                ValueError,
                r"gates must have as many rows .* \(1\)",
            ),
            (([[1.0]], [1.0], [[np.nan]]), ValueError, "gates must be finite"),
        ],
    )
    def test_constructor(self, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            Network(*arguments)

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: RELU.predict(X[:, :1]), ValueError, "X must have 2 columns, got 1"),
            (lambda: RELU.predict(X[0]), ValueError, "X must have two dimensions"),
            (lambda: RELU.predict(np.nan * X), ValueError, r"X\[0, 0\] is nan"),
            (lambda: RELU.predict(X, n_threads=0), ValueError, "n_threads must be at least 1"),
            (lambda: RELU.objective(X, [1.0], 0.1), ValueError, "y must have as many entries"),
            (
                lambda: RELU.objective(X, X[:, 0], -0.1),
                ValueError,
                "lam must be a finite number",
            ),
            (lambda: RELU.objective(X, X[:, 0], "1"), TypeError, "lam must be a real number"),
            (
                lambda: RELU.objective(X, X[:, 0], 1.0, sample_weight=[0, 0, 0]),
                ValueError,
                "sample_weight must have a positive entry",
            ),
            (lambda: RELU.merge(tol=0.0), ValueError, "tol must be a finite number > 0"),
            (lambda: RELU.split(2), ValueError, r"neuron must be below n_neurons \(2\), got 2"),
            (lambda: RELU.split(-1), ValueError, "neuron must be at least 0"),
            (lambda: RELU.split(0.0), TypeError, "neuron must be an integer"),
            (lambda: RELU.split(0, 0), ValueError, "shares must be at least 1"),
            (lambda: RELU.split(0, 1.5), TypeError, "shares must be an integer"),
            (lambda: RELU.split(0, []), ValueError, "shares must be positive numbers"),
            (lambda: RELU.split(0, [1.0, 0.0]), ValueError, "shares must be positive numbers"),
            (lambda: to_network(RELU), TypeError, "solution must be a Solution, got Network"),
        ],
    )
    def test_methods(self, call: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            call()
