"""check_network and descent_path: on networks that gradient descent made, and on any others."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracles
from tests.strategies import bits, cube, designs, integers, reals, sample_weights, targets

import convexrelu.stationarity
from convexrelu import (
    LimitExceeded,
    Network,
    NetworkReport,
    OptimalSet,
    Problem,
    Solution,
    check_network,
    descent_path,
    enumerate_patterns,
    find_optimal_set,
    patterns_from_gates,
    solve,
    to_network,
)

Array = NDArray[np.float64]


def train(X: Array, y: Array, lam: float, m: int, seed: int, steps: int, rate: float) -> Network:
    """Gradient descent, whose step shrinks in the second half, from a small random start."""
    rng = np.random.default_rng(seed)
    n = len(y)
    W, a = 0.5 * rng.standard_normal((m, X.shape[1])), 0.5 * rng.standard_normal(m)
    for step in range(steps):
        inner = X @ W.T
        hidden = np.maximum(inner, 0.0)
        residual = (hidden @ a - y) / n
        gradient_W = ((inner > 0) * residual[:, None] * a).T @ X + lam * W
        gradient_a = hidden.T @ residual + lam * a
        size = rate * min(1.0, 10 ** (4 - 8 * step / steps))
        W -= size * gradient_W
        a -= size * gradient_a
    return Network(W, a)


def data(seed: int, n: int = 10, d: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return np.c_[rng.standard_normal((n, d - 1)), np.ones(n)], rng.standard_normal(n)


def smallest_slack(X: Array, network: Network) -> float:
    """How close a kink comes to a sample, relative to the lengths of both."""
    W = network.hidden / np.linalg.norm(network.hidden, axis=1, keepdims=True)
    return float(np.abs(W @ (X / np.linalg.norm(X, axis=1, keepdims=True)).T).min(initial=1.0))


def alive(network: Network) -> Network:
    """Without the neurons that have all but decayed."""
    norms = np.linalg.norm(network.hidden, axis=1) * np.abs(network.output)
    keep = norms > 1e-6 * norms.max()
    return Network(network.hidden[keep], network.output[keep])


class TestGradientDescent:
    @pytest.mark.parametrize(
        ("seed", "d", "lam"), [(0, 3, 0.1), (2, 3, 0.1), (0, 2, 0.2), (3, 2, 0.2)]
    )
    def test_where_it_converges_is_the_optimum_over_its_patterns(
        self, seed: int, d: int, lam: float
    ) -> None:
        X, y = data(seed, 6, d)
        network = alive(train(X, y, lam, 3, seed, 8000, 0.3))
        assert smallest_slack(X, network) > 1e-3
        report = check_network(network, X, y, lam, tol=1e-10)
        assert report.is_stationary
        assert report.gap <= 1e-10

    @pytest.mark.parametrize("seed", [1, 3])
    def test_where_it_is_stuck_on_a_kink_it_is_polished(self, seed: int) -> None:
        X, y = data(seed, 6)
        network = alive(train(X, y, 0.1, 3, seed, 8000, 0.3))
        assert smallest_slack(X, network) < 1e-5
        report = check_network(network, X, y, 0.1, kink_tol=1e-4)
        assert 1e-10 < report.gap <= 1e-6
        assert report.is_stationary
        polished = to_network(report.best)
        assert smallest_slack(X, polished) < 1e-12
        assert check_network(polished, X, y, 0.1, tol=1e-10).is_stationary

    def test_a_network_on_its_way_is_not_stationary(self) -> None:
        X, y = data(1)
        network = train(X, y, 0.02, 5, 1, 50, 0.2)
        report = check_network(network, X, y, 0.02)
        assert not report.is_stationary
        assert not report.is_global
        assert report.best.objective < report.objective
        assert report.global_lower_bound <= report.best.objective * (1 + 1e-12)


class TestOtherTools:
    """Weights of other packages; a bias of the output is a neuron on the column of ones."""

    def test_scikit_learn(self) -> None:
        neural = pytest.importorskip("sklearn.neural_network")
        X, y = data(0, 12)
        model = neural.MLPRegressor(
            hidden_layer_sizes=(4,), solver="lbfgs", alpha=0.1, random_state=0, max_iter=2000
        )
        model.fit(X[:, :2], y)
        (W, a), (b, (constant,)) = model.coefs_, model.intercepts_
        hidden, output = np.c_[W.T, b], a[:, 0]
        rest = np.sqrt(abs(constant))
        network = Network(
            np.vstack([hidden, [0, 0, rest]]), np.append(output, np.sign(constant) * rest)
        )
        np.testing.assert_allclose(network.predict(X), model.predict(X[:, :2]), atol=1e-9)
        report = check_network(network, X, y, 0.01)
        optimum = solve(Problem(X, y, enumerate_patterns(X)), 0.01).objective
        assert report.global_lower_bound <= optimum * (1 + 1e-9)
        assert optimum <= report.best.objective * (1 + 1e-9)
        assert report.best.objective < report.objective
        assert not report.is_stationary  # scikit-learn leaves the biases alone


class TestGlobal:
    @pytest.mark.parametrize("seed", range(4))
    def test_an_optimum_over_all_patterns(self, seed: int) -> None:
        X, y = data(seed, 9)
        problem = Problem(X, y, enumerate_patterns(X))
        lam = 0.1 * problem.lambda_max
        solution = solve(problem, lam)
        report = check_network(to_network(solution), X, y, lam)
        assert report.is_stationary
        assert report.is_global
        assert report.objective == pytest.approx(solution.objective, rel=1e-10)
        assert report.global_lower_bound <= solution.objective * (1 + 1e-12)

    @pytest.mark.parametrize("seed", range(4))
    def test_a_stationary_network_need_not_be_one(self, seed: int) -> None:
        X, y = data(seed, 9)
        everything = Problem(X, y, enumerate_patterns(X))
        lam = 0.05 * everything.lambda_max
        rng = np.random.default_rng(seed)
        few = Problem(X, y, patterns_from_gates(X, rng.standard_normal((3, 2))))
        network = to_network(solve(few, lam))
        report = check_network(network, X, y, lam)
        optimum = solve(everything, lam).objective
        assert report.global_lower_bound <= optimum * (1 + 1e-12)
        assert report.is_global == (report.objective <= optimum * (1 + 1e-6))
        assert not report.is_global
        assert report.best.status == "optimal"
        assert not report.best.is_global


class TestPlace:
    """Optimal networks in the set of all optima."""

    X, y = bits(3), cube(3).prod(axis=1)

    def optima(self) -> OptimalSet:
        """The parity of three bits: dimension 5, 24 vertices."""
        problem = Problem(self.X, self.y, enumerate_patterns(self.X))
        return find_optimal_set(solve(problem, 0.3 * problem.lambda_max))

    def test_vertices_and_others(self) -> None:
        optima = self.optima()
        vertices = optima.vertices()
        sizes = (vertices > 0).sum(axis=1)
        for alpha in [*vertices[:6], *optima.sample(3, rng=0)]:
            network = optima.network(alpha).split(0, [1.0, 2.0])
            report = check_network(network, self.X, self.y, optima.lam)
            assert report.is_global
            place = report.place()
            assert place.optimal_set.is_complete
            assert (place.optimal_set.dimension, len(place.alpha)) == (5, 12)
            assert place.is_vertex == any(np.abs(alpha - v).max() < 1e-9 for v in vertices)
            assert place.n_neurons == (alpha > 0).sum() == network.n_neurons - 1
            assert place.fewest == sizes.min()
            assert place.distance < 1e-7
            point = place.optimal_set.network(place.alpha)
            away = np.random.default_rng(0).standard_normal((20, 3))
            assert np.abs(point.predict(away) - network.predict(away)).max() < 1e-7

    def test_over_its_own_patterns(self) -> None:
        """A stationary network that is not global."""
        X, y = data(8)
        few = Problem(X, y, patterns_from_gates(X, np.random.default_rng(8).normal(size=(3, 1))))
        lam = 0.5 * few.lambda_max
        report = check_network(to_network(solve(few, lam)), X, y, lam)
        while not report.is_stationary:  # over the kinks that it has come to lie on
            report = check_network(to_network(report.best), X, y, lam)
        assert not report.is_global
        place = report.place()
        assert not place.optimal_set.is_complete
        assert place.optimal_set.dimension == 0
        assert place.is_vertex
        assert place.n_neurons == place.fewest == len(report.best.active_set)
        assert place.distance < 1e-7

    def test_where_not_all_patterns_can_be_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a rank above 20; or too many of them: over its own patterns, and it says so."""
        X, y = np.eye(21), np.ones(21)
        network = Network(np.full((1, 21), 0.2), [0.9])
        lam = 0.1 / np.sqrt(21)
        best = to_network(check_network(network, X, y, lam).best)
        report = check_network(best, X, y, lam)
        assert report.is_global
        place = report.place()
        assert not place.optimal_set.is_complete
        assert place.n_neurons == place.fewest == 1

        optima = self.optima()
        report = check_network(optima.network(optima.min_norm()), self.X, self.y, optima.lam)
        find = convexrelu.stationarity.find_optimal_set

        def too_many(solution: Solution, *, all_patterns: bool = False, **options: Any) -> Any:
            if all_patterns:
                raise LimitExceeded("more than max_cells = 100000 blocks reach the threshold")
            return find(solution, **options)

        monkeypatch.setattr(convexrelu.stationarity, "find_optimal_set", too_many)
        place = report.place()
        assert not place.optimal_set.is_complete
        assert place.optimal_set.dimension <= optima.dimension
        assert place.distance < 1e-7

    def test_gated(self) -> None:
        """One pattern with four gates: a simplex of optima."""
        X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
        network = Network([[1.0], [1.0]], [1.0, 1.0], [[1.0], [2.0]])
        best = check_network(network, X, y, 0.1).best
        place = check_network(to_network(best), X, y, 0.1).place()
        assert place.n_neurons == place.fewest == 1
        assert place.is_vertex

    def test_of_gradient_descent(self) -> None:
        """Near the point to the accuracy that it has."""
        X, y = data(0, 6, 3)
        network = alive(train(X, y, 0.1, 3, 0, 8000, 0.3))
        place = check_network(network, X, y, 0.1).place()
        assert 0 < place.distance < 1e-3
        assert place.is_vertex
        assert place.n_neurons == network.merge(1e-3).n_neurons

    def test_limits(self) -> None:
        optima = self.optima()
        report = check_network(optima.network(optima.min_norm()), self.X, self.y, optima.lam)
        with pytest.raises(LimitExceeded, match="time_limit"):
            report.place(time_limit=0)
        report = check_network(optima.network(optima.min_norm()), self.X, self.y, optima.lam / 2)
        with pytest.raises(ValueError, match=r"no place .* gap .* more than tol = 1e-06"):
            report.place()


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, Array, Array, Array | None]:
    """A network of any kind on degenerate data."""
    X = draw(designs(max_n=7, max_d=3))
    m, d = draw(st.integers(1, 5)), X.shape[1]
    hidden = draw(st.one_of(integers((m, d), -2, 2), reals((m, d))))
    output = draw(st.one_of(integers(m, -2, 2), reals(m)))
    gates = draw(st.one_of(st.none(), integers((m, d), -2, 2)))
    return Network(hidden, output, gates), X, draw(targets(X)), draw(sample_weights(len(X)))


def check(network: Network, *args: Any, **kwargs: Any) -> NetworkReport:
    report = check_network(network, *args, **kwargs)
    scale = 1e-11 * report.objective
    merged = report.merged.objective(*args, sample_weight=kwargs.get("sample_weight"))
    assert report.best.status == "optimal"
    assert report.best.objective <= report.solution.objective + scale
    assert report.solution.objective <= merged + scale
    assert merged <= report.objective + scale
    assert report.best.lower_bound <= report.best.objective + scale
    if network.formulation == "gated":
        assert np.isnan(report.global_lower_bound)
        assert not report.is_global
    else:
        assert report.global_lower_bound <= report.best.objective
        assert report.global_gap >= report.gap - 1e-9
    return report


class TestAnyNetwork:
    @given(networks())
    @settings(max_examples=150)
    def test_objectives_are_in_order(self, drawn: Any) -> None:
        network, X, y, v = drawn
        report = check(network, X, y, 0.1, sample_weight=v)
        masks = report.best.problem.patterns.masks
        assert masks.any(axis=0).all()
        assert len(np.unique(masks, axis=1).T) == masks.shape[1]
        # The convex program holds the neurons.
        if v is None:
            fitted = report.solution.fitted
            room = 1e-12 * (np.abs(network.hidden).sum() * np.abs(network.output).sum() + 1)
            room *= np.abs(X).max() + 1
            np.testing.assert_allclose(fitted, network.predict(X), atol=room)

    @given(networks())
    @settings(max_examples=50)
    def test_the_best_network_is_stationary(self, drawn: Any) -> None:
        network, X, y, v = drawn
        best = to_network(check(network, X, y, 0.1, sample_weight=v).best)
        again = check(best, X, y, 0.1, sample_weight=v)
        if network.formulation == "gated":
            assert again.is_stationary
            return
        # A kink may have come to lie on a sample: then the pattern across it is new.
        for _ in range(20):
            if again.is_stationary:
                break
            best = to_network(again.best)
            again = check(best, X, y, 0.1, sample_weight=v)
        assert again.is_stationary

    @given(networks(), st.integers(0, 99))
    @settings(max_examples=50)
    def test_what_does_not_change_the_function(self, drawn: Any, seed: int) -> None:
        """Order, scale and splitting of neurons."""
        network, X, y, v = drawn
        rng = np.random.default_rng(seed)
        order = rng.permutation(network.n_neurons)
        t = 2.0 ** rng.integers(-3, 4, network.n_neurons)
        gates = None if network.gates is None else network.gates[order]
        other = Network(
            (t[:, None] * network.hidden)[order], (network.output / t)[order], gates
        ).split(0, [1.0, 3.0])
        one, two = (check(n, X, y, 0.1, sample_weight=v) for n in (network, other))
        assert two.best.objective == pytest.approx(one.best.objective, rel=1e-9, abs=1e-12)

    def test_both_sides_of_a_kink(self) -> None:
        X = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
        network = Network([[1.0, 1.0]], [1.0])  # 2, 0, 1: its kink is on sample 1
        report = check_network(network, X, [2.0, 0.5, 1.0], 1e-3)
        masks = {tuple(mask) for mask in report.best.problem.patterns.masks.T.tolist()}
        assert masks == {(True, True, True), (True, False, True)}
        for gate, mask in zip(
            report.best.problem.patterns.gates.T, report.best.problem.patterns.masks.T, strict=True
        ):
            np.testing.assert_array_equal(X @ gate >= 0, mask)

    def test_no_neurons(self) -> None:
        X, y = data(0)
        empty = Network(np.empty((0, 3)), [])
        lambda_max = Problem(X, y, enumerate_patterns(X)).lambda_max
        for lam in (0.5 * lambda_max, 1.001 * lambda_max):
            report = check_network(empty, X, y, lam)
            assert report.objective == pytest.approx((y**2).mean() / 2)
            assert report.is_stationary
            assert report.is_global == (lam > lambda_max)


def tied_networks(seed: int) -> tuple[Network, Array, Array, float]:
    """On 0/1 data: neurons on several hyperplanes, which depend on one another."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(3, 5))
    n, m = int(rng.integers(d + 1, 3 * d)), int(rng.integers(1, 4))
    X = rng.integers(0, 2, (n, d)).astype(float)
    if seed % 2:
        X[:, -1] = 1.0
    choices = [c for c in itertools.product([-1.0, 0.0, 1.0], repeat=d) if any(c)]
    W = np.array([choices[i] for i in rng.integers(len(choices), size=m)])
    y = rng.integers(-3, 6, n).astype(float)
    return Network(W, rng.choice([-1.0, 1.0], m)), X, y, 10.0 ** rng.uniform(-2, 0)


class TestDependentKinks:
    """Stationary is what no direction improves, over all sides of all kinks."""

    def test_what_no_single_crossing_improves_need_not_be_stationary(self) -> None:
        """Three kinks whose rows are of rank two: (0, 0, 1), (1, 1, 0), (1, 1, 1)."""
        h = 1 / np.sqrt(2)
        X = np.array([[0, 0, 1], [1, 1, 0], [1, 1, 1], [h - 1, -h - 1, -1]])
        y = np.array([-2.0, -2.0, 0.0, 5.0])
        network = Network([[h, -h, 0.0]], [1.0])
        report = check_network(network, X, y, 1.0)
        assert report.has_all_sides
        assert not report.is_stationary
        assert report.gap > 0.2
        steps = np.random.default_rng(0).standard_normal((1000, 3))
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        values = [Network(network.hidden + 1e-3 * v, [1.0]).objective(X, y, 1.0) for v in steps]
        assert min(values) < report.objective - 1.5e-3

    @pytest.mark.parametrize("seed", range(60))
    def test_no_direction_descends_from_a_stationary_network(self, seed: int) -> None:
        network, X, y, lam = tied_networks(seed)
        report = check_network(network, X, y, lam, tol=1e-9)
        for _ in range(30):
            if report.is_stationary:
                break
            network = to_network(report.best)
            report = check_network(network, X, y, lam, tol=1e-9)
        assert report.has_all_sides
        assert report.is_stationary
        rng = np.random.default_rng(seed)
        network, value = report.merged, report.objective
        W, a = network.hidden, network.output
        scale = np.abs(W).max(initial=0.0)
        slacks = np.abs(X @ W.T)
        room = slacks[slacks > 1e-8 * scale].min(initial=scale) / (10 * X.shape[1])
        for _ in range(300):
            # Each neuron as two halves, which may part; directions onto and off the hyperplanes.
            halves = np.vstack([W, W]) / np.sqrt(2)
            step = rng.standard_normal(halves.shape)
            if rng.random() < 0.5:
                step = rng.integers(-1, 2, halves.shape).astype(float)
            moved = Network(
                halves + room * rng.random() * step,
                np.r_[a, a] / np.sqrt(2) * (1 + 0.1 * room * rng.standard_normal(2 * len(a))),
            )
            assert moved.objective(X, y, lam) >= value * (1 - 3e-9)

    @pytest.mark.parametrize("seed", range(20))
    def test_all_cells_around_are_patterns(self, seed: int) -> None:
        """Of a neuron whose kinks have rows a, b, a + b (six cells) or a grid of them."""
        rng = np.random.default_rng(seed)
        w = np.array([0.0, 0.0, 1.0])
        rows = rng.integers(-2, 3, (6, 2)).astype(float)
        X = np.vstack(
            [np.c_[rows, np.zeros(6)], [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0.3, 0.2, 1.0]]]
        )
        report = check_network(Network([w], [1.0]), X, np.ones(10), 0.01)
        assert report.has_all_sides
        masks = {tuple(m) for m in report.best.problem.patterns.masks.T.tolist()}
        steps = np.c_[rng.standard_normal((500, 2)), np.zeros(500)]
        assert {tuple(m) for m in (X @ (w + 1e-6 * steps).T >= 0).T.tolist()} <= masks
        for gate, mask in zip(
            report.best.problem.patterns.gates.T, report.best.problem.patterns.masks.T, strict=True
        ):
            if not np.array_equal(gate, w):
                np.testing.assert_array_equal(X @ gate >= 0, mask)

    def test_independent_kinks_are_crossed_one_by_one(self) -> None:
        """20 of them have a million sides, of which 21 matter."""
        X = np.eye(21)
        network = Network([[0.0] * 20 + [1.0]], [1.0])
        report = check_network(network, X, np.r_[np.zeros(20), 1.1], 0.1 / 21, time_limit=1)
        assert report.has_all_sides
        assert len(report.best.problem.patterns) == 21

    def test_more_sides_than_can_be_looked_at(self) -> None:
        """127 kinks of rank 8: then only what is proven global is called stationary."""
        X, y = bits(9)[1:], np.linspace(-1.0, 2.0, 511)
        network = Network([[1.0, -1.0] + [0.0] * 7], [1.0])
        report = check_network(network, X, y, 0.01, time_limit=1)
        assert not report.has_all_sides
        assert not report.is_stationary

    def test_without_all_sides_only_global_networks_are_called_stationary(self) -> None:
        X, y = data(0, 9)
        problem = Problem(X, y, enumerate_patterns(X))
        report = check_network(to_network(solve(problem, 0.05)), X, y, 0.05)
        parts = (report.merged, report.solution, report.best)
        for has_all_sides in (True, False):
            for bound in (report.global_lower_bound, 0.9 * report.objective, np.nan):
                again = NetworkReport(report.objective, has_all_sides, *parts, bound, report.tol)
                is_global = bound == report.global_lower_bound
                assert again.is_global == is_global
                assert again.is_stationary == (has_all_sides or is_global)
                assert ("not all sides" in repr(again)) == (not again.is_stationary)


class TestDescentPath:
    @given(networks())
    @settings(max_examples=75)
    def test_never_rises(self, drawn: Any) -> None:
        network, X, y, v = drawn
        path = descent_path(network, X, y, 0.1, sample_weight=v, n_steps=5)
        assert len(path) == 8
        assert path[0] == network
        values = np.array([step.objective(X, y, 0.1, sample_weight=v) for step in path])
        assert (np.diff(values) <= 1e-11 * values[0]).all()
        best = check_network(network, X, y, 0.1, sample_weight=v).best
        assert values[-1] <= best.objective + 1e-10 * values[0]
        own = descent_path(
            network, X, y, 0.1, sample_weight=v, patterns=best.problem.patterns, n_steps=1
        )
        end = own[-1].objective(X, y, 0.1, sample_weight=v)
        assert end == pytest.approx(best.objective, abs=1e-10 * values[0])
        if network.formulation == "relu":
            optimum = solve(Problem(X, y, enumerate_patterns(X), sample_weight=v), 0.1)
            assert values[-1] == pytest.approx(optimum.objective, rel=1e-4, abs=1e-10 * values[0])

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("given", [True, False])
    def test_to_the_global_optimum(self, seed: int, given: bool) -> None:
        X, y = data(seed, 9)
        patterns = enumerate_patterns(X)
        rng = np.random.default_rng(seed)
        network = Network(rng.standard_normal((4, 3)), rng.standard_normal(4))
        path = descent_path(network, X, y, 0.05, patterns=patterns if given else None, rng=0)
        values = [oracles.network_objective(X, y, 0.05, step.hidden, step.output) for step in path]
        assert all(b <= a * (1 + 1e-13) for a, b in itertools.pairwise(values))
        optimum = solve(Problem(X, y, patterns), 0.05).objective
        assert values[-1] == pytest.approx(optimum, rel=1e-10 if given else 1e-5)
        # No jumps: the functions on the line are close to one another.
        fits = [step.predict(X) for step in path[2:]]
        steps = [np.linalg.norm(b - a) for a, b in itertools.pairwise(fits)]
        np.testing.assert_allclose(steps, np.linalg.norm(fits[-1] - fits[0]) / 20, rtol=1e-6)


class TestErrors:
    NETWORK = Network([[1.0, 0.0]], [1.0])

    @pytest.mark.parametrize("function", [check_network, descent_path])
    def test_data(self, function: Any) -> None:
        X, y = np.eye(2), np.ones(2)
        with pytest.raises(TypeError, match="network must be a Network, got int"):
            function(1, X, y, 0.1)
        with pytest.raises(ValueError, match="X must have 2 columns, got 3"):
            function(self.NETWORK, np.eye(3), y, 0.1)
        with pytest.raises(ValueError, match="y must have as many entries as X has rows"):
            function(self.NETWORK, X, np.ones(3), 0.1)
        with pytest.raises(ValueError, match="lam must be a finite number > 0"):
            function(self.NETWORK, X, y, 0.0)
        with pytest.raises(ValueError, match="sample_weight must be non-negative"):
            function(self.NETWORK, X, y, 0.1, sample_weight=[-1.0, 1.0])

    def test_options(self) -> None:
        X, y = np.eye(2), np.ones(2)
        with pytest.raises(ValueError, match="tol must be"):
            check_network(self.NETWORK, X, y, 0.1, tol=0.0)
        with pytest.raises(ValueError, match="kink_tol must be"):
            check_network(self.NETWORK, X, y, 0.1, kink_tol=-1.0)
        with pytest.raises(ValueError, match="n_steps must be at least 1"):
            descent_path(self.NETWORK, X, y, 0.1, n_steps=0)
        with pytest.raises(TypeError, match="patterns must be Patterns, got int"):
            descent_path(self.NETWORK, X, y, 0.1, patterns=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="patterns"):
            descent_path(
                self.NETWORK, X, y, 0.1, patterns=patterns_from_gates(np.eye(3), np.eye(3))
            )

    def test_repr(self) -> None:
        report = check_network(self.NETWORK, np.eye(2), np.ones(2), 0.1)
        assert repr(report).startswith("<NetworkReport: objective ")
