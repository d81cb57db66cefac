"""prune: the fit stays, the penalty does not rise, and below the minimum every step is
Algorithm 1's.
"""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracles
from tests.strategies import Case, bits, cases, cube, designs, targets, with_ones

from convexrelu import (
    Network,
    Problem,
    Solution,
    enumerate_patterns,
    find_optimal_set,
    load,
    prune,
    sample_patterns,
    save,
    solve,
    to_network,
)
from convexrelu.pruning import SCORES

Array = NDArray[np.float64]

RATIOS = (0.5, 0.1, 0.01)


@st.composite
def fits(draw: st.DrawFn) -> tuple[Network, Array, Array]:
    """Networks with more neurons than samples, some alike, some dead, on data with ties."""
    X = draw(designs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m = draw(st.integers(0, 14))
    hidden = rng.standard_normal((m, X.shape[1]))
    output = rng.standard_normal(m)
    if draw(st.booleans()):
        hidden, output = np.round(hidden), np.round(output)
    if m > 1:
        hidden[m // 2] = 2 * hidden[0]
    gates = rng.standard_normal(hidden.shape) if draw(st.booleans()) else None
    return Network(hidden, output, gates), X, draw(targets(X))


def activations(network: Network, X: Array) -> Array:
    """f(X) = sum of the columns."""
    gates = network.hidden if network.gates is None else network.gates
    return (X @ network.hidden.T) * (X @ gates.T >= 0) * network.output


def penalties(network: Network) -> Array:
    return ((network.hidden**2).sum(axis=1) + network.output**2) / 2


def scale_of(network: Network, X: Array) -> float:
    return 1e-300 + np.linalg.norm(activations(network, X), axis=0).sum()


def rank(columns: Array) -> int:
    lengths = np.linalg.norm(columns, axis=0)
    return int(np.linalg.matrix_rank(columns / lengths, tol=1e-9)) if columns.size else 0


class TestExact:
    @given(cases(ratios=RATIOS))
    def test_solution_becomes_a_vertex(self, case: Case) -> None:
        solution = solve(case.problem, case.lam)
        pruned = prune(solution)
        y = np.linalg.norm(case.problem.y)
        used = oracles.weights_of(case.problem) > 0
        assert np.linalg.norm((pruned.fitted - solution.fitted)[used]) <= 1e-8 * y
        assert pruned.objective <= solution.objective * (1 + 1e-12)
        assert pruned.status == solution.status
        assert pruned.gap == pytest.approx(solution.gap, abs=1e-9)
        columns = activations_of(pruned)
        assert rank(columns) == len(pruned.active_set)
        assert len(pruned.history) == len(solution.active_set) - len(pruned.active_set)
        kept = np.delete(solution.active_set, [s.removed for s in pruned.history], axis=0)
        assert np.array_equal(pruned.active_set, kept)

    @given(fits())
    def test_network_keeps_its_fit_and_its_penalty_does_not_rise(
        self, drawn: tuple[Network, Array, Array]
    ) -> None:
        network, X, y = drawn
        pruned = prune(network, X, y, 0.1)
        difference = pruned.predict(X) - network.predict(X)
        assert np.abs(difference).max() <= 1e-8 * scale_of(network, X)
        assert penalties(pruned).sum() <= penalties(network).sum() * (1 + 1e-12)
        columns = activations(pruned, X)
        assert rank(columns) == pruned.n_neurons <= len(X)
        objectives = [network.objective(X, y, 0.1), *(s.objective for s in pruned.history)]
        assert all(b <= a * (1 + 1e-7) for a, b in itertools.pairwise(objectives))
        assert objectives[-1] == pytest.approx(pruned.objective(X, y, 0.1), rel=1e-7)
        removed = [s.removed for s in pruned.history]
        assert len(set(removed)) == len(removed)
        counts = [s.n_neurons for s in pruned.history]
        assert counts == list(range(network.n_neurons - 1, pruned.n_neurons - 1, -1))
        kept = np.delete(np.arange(network.n_neurons), removed)
        factors = pruned.output / network.output[kept]
        assert (factors > 0).all()
        assert np.allclose(pruned.hidden, factors[:, None] * network.hidden[kept], rtol=1e-14)
        assert network.gates is None or np.array_equal(pruned.gates, network.gates[kept])

    def test_what_has_gone_stays_away(self) -> None:
        """Neurons of small integers tie: two vanish in one step, and one could come back later."""
        for seed in range(300):
            rng = np.random.default_rng(seed)
            n, d, m = rng.integers(1, 7), rng.integers(1, 4), rng.integers(2, 15)
            X, hidden = rng.integers(-2, 3, (n, d)), rng.integers(-2, 3, (m, d))
            pruned = prune(Network(hidden, rng.integers(-2, 3, m)), X, np.zeros(n), 0.1)
            removed = [s.removed for s in pruned.history]
            assert len(set(removed)) == len(removed)
            counts = [s.n_neurons for s in pruned.history]
            assert counts == list(range(m - 1, pruned.n_neurons - 1, -1))

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("low", [-1.0, 0.0])
    def test_ends_at_a_listed_vertex(self, bias: bool, low: float) -> None:
        """Of the parity of three bits: dimension 0 to 8, up to 130 vertices."""
        X, y = cube(3) if low else bits(3), cube(3).prod(axis=1)
        X = with_ones(X) if bias else X
        problem = Problem(X, y, enumerate_patterns(X))
        optima = find_optimal_set(solve(problem, 0.1 * (problem.lambda_max or 1.0)))
        supports = [sorted(optima.blocks[v > 0].tolist()) for v in optima.vertices()]
        reached = set()
        for alpha in optima.sample(20, rng=0):
            pruned = prune(optima.solution(alpha))
            assert optima.contains(pruned)
            reached.add(supports.index(sorted(pruned.active_set.tolist())))
        assert len(reached) > 5 or optima.dimension == 0

    def test_stops_at_n_neurons(self) -> None:
        rng = np.random.default_rng(1)
        network = Network(rng.standard_normal((20, 3)), rng.standard_normal(20))
        X = rng.standard_normal((8, 3))
        for n_neurons in (25, 20, 15, 8):
            pruned = prune(network, X, n_neurons=n_neurons)
            assert pruned.n_neurons == min(n_neurons, 20)
            assert all(step.is_exact for step in pruned.history)
            assert np.abs(pruned.predict(X) - network.predict(X)).max() < 1e-12


def activations_of(solution: Solution) -> Array:
    v = oracles.weights_of(solution.problem)
    by_name = {(b.pattern, b.sign): b.columns for b in oracles.blocks(solution.problem)}
    columns = [
        by_name[i, s] @ w
        for (i, s), w in zip(solution.active_set.tolist(), solution.weights, strict=True)
    ]
    return np.sqrt(v)[:, None] * np.array(columns).reshape(-1, len(v)).T


def slow_scores(network: Network, X: Array, y: Array, score: str) -> Array:
    Z = activations(network, X)
    w = np.abs(network.output)[:, None] * network.hidden
    if score == "magnitude":
        return np.linalg.norm(w, axis=1)
    if score == "activation":
        return np.linalg.norm(Z, axis=0)
    if score == "gradient":
        gates = network.hidden if network.gates is None else network.gates
        r = y - network.predict(X)
        gradient = ((X @ gates.T >= 0) * r[:, None]).T @ X
        return ((w * gradient) ** 2).sum(axis=1)
    distances = []
    for j in range(Z.shape[1]):
        others = np.delete(Z, j, axis=1)
        distances.append(np.linalg.norm(Z[:, j] - others @ np.linalg.lstsq(others, Z[:, j])[0]))
    return np.array(distances)


class TestBelow:
    @pytest.mark.parametrize("score", [s for s in SCORES if s != "random"])
    @pytest.mark.parametrize("correct", [True, False])
    @pytest.mark.parametrize("gated", [True, False])
    def test_every_step_is_the_slow_one(self, score: str, correct: bool, gated: bool) -> None:
        rng = np.random.default_rng(2)
        X, y = rng.standard_normal((15, 4)), rng.standard_normal(15)
        hidden = rng.standard_normal((9, 4))
        gates = rng.standard_normal((9, 4)) if gated else None
        network = Network(hidden, rng.standard_normal(9), gates)
        for m in range(8, -1, -1):
            pruned = prune(network, X, y, 0.1, n_neurons=m, score=score, correct=correct)
            (step,) = pruned.history
            lowest = int(np.argmin(slow_scores(network, X, y, score)))
            Z = activations(network, X)
            keep = np.ones(m + 1)
            if correct:
                nu = np.full(m + 1, -1.0)
                others = np.delete(np.arange(m + 1), lowest)
                nu[others] = np.linalg.lstsq(Z[:, others], Z[:, lowest])[0]
                largest = int(np.argmax(np.abs(nu)))
                keep = 1 - nu / nu[largest]
            else:
                largest = lowest
                keep[lowest] = 0.0
            assert step.removed == largest
            assert not step.is_exact
            assert np.abs(pruned.predict(X) - Z @ keep).max() < 1e-12
            assert step.objective == pytest.approx(pruned.objective(X, y, 0.1), rel=1e-12)
            network = Network(pruned.hidden, pruned.output, pruned.gates)

    @pytest.mark.parametrize("correct", [True, False])
    @pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-5])
    def test_a_run_is_its_steps(self, correct: bool, spread: float) -> None:
        """Neurons in groups of nearly the same: as they go the others become far more distinct."""
        rng = np.random.default_rng(6)
        X = rng.standard_normal((60, 6))
        hidden = np.repeat(rng.standard_normal((8, 6)), 4, axis=0)
        hidden += spread * rng.standard_normal(hidden.shape)
        network = stepped = Network(hidden, rng.standard_normal(32))
        names, removed = list(range(32)), []
        while stepped.n_neurons > 2:
            stepped = prune(stepped, X, n_neurons=stepped.n_neurons - 1, correct=correct)
            removed += [names.pop(step.removed) for step in stepped.history]
        run = prune(network, X, n_neurons=2, correct=correct)
        assert [step.removed for step in run.history] == removed
        difference = np.abs(run.predict(X) - stepped.predict(X)).max()
        assert difference <= 1e-9 * np.abs(network.predict(X)).max()

    def test_random_scores_come_from_rng(self) -> None:
        rng = np.random.default_rng(3)
        network = Network(rng.standard_normal((9, 4)), rng.standard_normal(9))
        X = rng.standard_normal((15, 4))
        runs = [prune(network, X, n_neurons=4, score="random", rng=seed) for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0].history == runs[1].history or all(np.isnan(s[2]) for s in runs[0].history)
        assert [s.removed for s in runs[0].history] != [s.removed for s in runs[2].history]

    def test_correction_helps(self) -> None:
        rng = np.random.default_rng(4)
        X = rng.standard_normal((60, 5))
        y = np.sin(X @ rng.standard_normal(5))
        problem = Problem(X, y, sample_patterns(X, 200, rng=0))
        solution = solve(problem, 0.01 * problem.lambda_max)
        corrected = prune(solution, n_neurons=10)
        plain = prune(solution, n_neurons=10, score="magnitude", correct=False)
        assert corrected.status == plain.status == "pruned"
        assert len(corrected.active_set) == len(plain.active_set) == 10
        assert corrected.objective < plain.objective
        assert corrected.gap > 0

    @given(cases(ratios=RATIOS), st.sampled_from(SCORES), st.booleans(), st.integers(0, 3))
    def test_any_solution(self, case: Case, score: str, correct: bool, n_neurons: int) -> None:
        solution = solve(case.problem, case.lam)
        pruned = prune(solution, n_neurons=n_neurons, score=score, correct=correct, rng=0)
        assert len(pruned.active_set) <= max(n_neurons, 0)
        used = oracles.weights_of(case.problem) > 0
        f = oracles.fitted(case.problem, pruned.active_set, pruned.weights)
        size = 1e-300 + np.linalg.norm(case.problem.y)
        assert np.linalg.norm((pruned.fitted - f)[used]) <= 1e-12 * size
        assert oracles.cone_violation(case.problem, pruned.active_set, pruned.weights) < 1e-10
        if pruned.history:
            assert pruned.history[-1].objective == pytest.approx(pruned.objective, rel=1e-8)
        exact = all(s.is_exact for s in pruned.history)
        assert pruned.status == (solution.status if exact else "pruned")


class TestValues:
    def test_kinds_and_copies(self) -> None:
        rng = np.random.default_rng(5)
        X, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
        problem = Problem(X, y, sample_patterns(X, 50, rng=0))
        solution = solve(problem, 0.05 * problem.lambda_max)
        pruned = prune(solution, n_neurons=2)
        assert isinstance(pruned, Solution)
        again = pickle.loads(pickle.dumps(pruned))
        assert again.history == pruned.history
        assert again.status == "pruned"
        assert np.array_equal(again.weights, pruned.weights)
        network = prune(to_network(solution), X, y, 0.1, n_neurons=2)
        assert isinstance(network, Network)
        again = pickle.loads(pickle.dumps(network))
        assert again == network == copy.deepcopy(network)
        assert again.history == network.history

    def test_files(self, tmp_path: Path) -> None:
        """Saved without the history."""
        network = prune(Network([[1.0, 0.0], [2.0, 0.0]], [1.0, 2.0]), np.eye(2))
        save(network, tmp_path / "network")
        assert type(load(tmp_path / "network")) is Network
        assert load(tmp_path / "network") == network

    def test_network_and_solution_are_pruned_alike(self) -> None:
        rng = np.random.default_rng(6)
        X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
        problem = Problem(X, y, sample_patterns(X, 50, rng=0))
        # A vertex: at other optima rounding decides which way an exact step goes.
        solution = prune(solve(problem, 0.05 * problem.lambda_max))
        a = prune(solution, n_neurons=3)
        b = prune(to_network(solution), X, y, solution.lam, n_neurons=3)
        assert [s.removed for s in a.history] == [s.removed for s in b.history]
        assert np.allclose(to_network(a).hidden, b.hidden, atol=1e-8)
        assert a.objective == pytest.approx(b.objective(X, y, solution.lam), rel=1e-8)

    def test_arguments(self) -> None:
        X, y = np.eye(2), np.ones(2)
        network = Network([[1.0, 0.0]], [1.0])
        problem = Problem(X, y, sample_patterns(X, 4, rng=0))
        solution = solve(problem, 0.1)
        with pytest.raises(TypeError, match="solution_or_network must be a Solution or a Network"):
            prune(X)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="X must not be given with a Solution"):
            prune(solution, X)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="X must be given with a Network"):
            prune(network)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="X must have 2 columns, got 3"):
            prune(network, np.ones((2, 3)))
        with pytest.raises(ValueError, match="y must have as many entries as X has rows"):
            prune(network, X, [1.0])
        with pytest.raises(ValueError, match=r"y must be given with score='gradient'"):
            prune(network, X, score="gradient")
        with pytest.raises(ValueError, match="lam must be a finite number >= 0"):
            prune(network, X, y, -1.0)
        with pytest.raises(ValueError, match="n_neurons must be at least 0"):
            prune(network, X, n_neurons=-1)
        with pytest.raises(ValueError, match="score must be 'residual' or"):
            prune(network, X, score="size")
        with pytest.raises(ValueError, match="n_neurons must be given with correct=False"):
            prune(network, X, correct=False)
        with pytest.raises(TypeError, match="correct must be True or False"):
            prune(network, X, correct=1)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="exceeds the range of float64"):
            prune(Network([[1e200, 0.0]], [1e200]), X)
