"""What is promised of the whole: degenerate data, bad input, nothing changed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.strategies import FORMULATIONS
from tests.test_monitor import least
from tests.test_solver import GEOMETRY, medium

import convexrelu
from convexrelu import (
    Network,
    Problem,
    Standardizer,
    certify,
    check_network,
    differentiate,
    enumerate_patterns,
    find_optimal_set,
    patterns_from_gates,
    price_patterns,
    prune,
    sample_patterns,
    solve,
    solve_global,
    to_network,
    trace_path,
)


class TestDegenerateGeometry:
    """From the data to the network over all patterns, on data that break solvers."""

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("name", sorted(set(GEOMETRY) - {"0/1 features"}))
    def test_enumerate_solve_certify_to_network(self, name: str, formulation: str) -> None:
        X, y = GEOMETRY[name]
        if formulation == "gated":
            X, y = X[:8], y[:8]  # each pattern is a feature map of its own
        patterns = enumerate_patterns(X)
        problem = Problem(X, y, patterns, formulation=formulation)
        sampled = Problem(X, y, sample_patterns(X, 10, rng=0), formulation=formulation)
        scale = problem.lambda_max or 1.0
        for ratio in (2.0, 1.0, 0.5, 0.1, 1e-3):
            lam = ratio * scale
            solution = solve(problem, lam)
            certificate = certify(solution)
            assert solution.status == "optimal"
            assert certificate.gap <= 1e-9
            assert certificate.cone_violation <= 1e-12
            assert solution.lower_bound <= solve(sampled, lam).objective * (1 + 1e-12)

            network = to_network(solution)
            assert network.n_neurons == len(solution.active_set)
            value = network.objective(X, y, lam)
            assert value == pytest.approx(solution.objective, rel=1e-12, abs=1e-300)
            size = np.abs(y).max() or 1.0
            np.testing.assert_allclose(network.predict(X), solution.fitted, atol=1e-12 * size)
            assert (ratio < 1.0 and scale > 1e-12 * size) or network.n_neurons == 0

    def test_many_patterns_of_bits(self) -> None:
        X, y = GEOMETRY["0/1 features"]
        patterns = enumerate_patterns(X)
        problem = Problem(X, y, patterns)
        solution = solve(problem, 0.1 * problem.lambda_max)
        assert solution.status == "optimal"
        assert certify(solution).gap <= 1e-9

    def test_repeated_patterns_change_nothing(self) -> None:
        for name, (X, y) in GEOMETRY.items():
            gates = np.random.default_rng(0).standard_normal((X.shape[1], 8))
            once = Problem(X, y, patterns_from_gates(X, gates))
            twice = Problem(X, y, patterns_from_gates(X, np.hstack([gates, gates])))
            lam = 0.1 * (once.lambda_max or 1.0)
            assert twice.lambda_max == once.lambda_max
            here, there = solve(once, lam), solve(twice, lam)
            assert there.objective == pytest.approx(here.objective, rel=1e-9), name


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("name", GEOMETRY)
class TestProductsOfDegenerateGeometry:
    """Optimal set, pruning and sensitivity on the same data, with repeated patterns."""

    RATIOS = (2.0, 1.0, 1 - 1e-9, 0.3, 0.01)  # of lambda_max

    def problem(self, name: str, formulation: str) -> Problem:
        X, y = GEOMETRY[name]
        gates = np.random.default_rng(0).standard_normal((X.shape[1], 12))
        gates = np.hstack([gates, X[:4].T, -X[:2].T, gates[:, :2]])
        return Problem(X, y, patterns_from_gates(X, gates), formulation=formulation)

    def test_optimal_set(self, name: str, formulation: str) -> None:
        problem = self.problem(name, formulation)
        for ratio in self.RATIOS:
            solution = solve(problem, ratio * (problem.lambda_max or 1.0))
            optimal_set = find_optimal_set(solution)
            assert optimal_set.contains(solution)
            points = [optimal_set.min_norm(), *optimal_set.sample(3, rng=0)]
            least, most = optimal_set.prediction_range(problem.X)
            size = np.abs(problem.y).max() or 1.0
            np.testing.assert_allclose(least, most, atol=1e-8 * size)  # all fit the same
            for alpha in points:
                member = optimal_set.solution(alpha)
                assert member.objective == pytest.approx(solution.objective, rel=1e-9, abs=1e-300)
                np.testing.assert_allclose(member.fitted, solution.fitted, atol=1e-8 * size)

    def test_prune(self, name: str, formulation: str) -> None:
        problem = self.problem(name, formulation)
        for ratio in self.RATIOS:
            solution = solve(problem, ratio * (problem.lambda_max or 1.0))
            pruned = prune(solution)
            assert len(pruned.active_set) <= min(len(solution.active_set), problem.X.shape[0])
            assert pruned.objective == pytest.approx(solution.objective, rel=1e-9, abs=1e-300)
            fewer = min(1, len(solution.active_set))
            assert len(prune(solution, n_neurons=fewer).active_set) <= fewer

    def test_sensitivity(self, name: str, formulation: str) -> None:
        problem = self.problem(name, formulation)
        for ratio in self.RATIOS:
            sensitivity = differentiate(solve(problem, ratio * (problem.lambda_max or 1.0)))
            everything = sensitivity.differentiable and sensitivity.differentiable_in_X
            assert everything == (not sensitivity.why)
            d_lam = sensitivity.d_lam
            assert (np.isfinite if sensitivity.differentiable else np.isnan)(d_lam).all()


@pytest.mark.parametrize("name", sorted(set(GEOMETRY) - {"0/1 features", "5-cube"}))
def test_global_optimum_of_degenerate_geometry(name: str) -> None:
    """Grown patterns reach the optimum over all of them, and never claim to beat it."""
    X, y = GEOMETRY[name]
    problem = Problem(X, y, enumerate_patterns(X))
    lam = 0.1 * (problem.lambda_max or 1.0)
    expected = solve(problem, lam)
    solution = solve_global(X, y, lam, rng=0)
    assert solution.is_global
    assert solution.objective == pytest.approx(expected.objective, rel=1e-6, abs=1e-300)
    assert solution.global_lower_bound <= expected.objective * (1 + 1e-12)
    report = check_network(to_network(expected), X, y, lam, rng=0)
    assert report.is_stationary
    assert report.is_global


class Sparse:
    """What scipy's sparse matrices look like."""

    nnz = 3

    def toarray(self) -> Any:
        return X


X = np.random.default_rng(4).integers(-2, 3, (6, 3)).astype(float)
Y = np.random.default_rng(4).standard_normal(6)
PATTERNS = sample_patterns(X, 8, rng=0)
NETWORK = Network(np.ones((2, 3)), np.ones(2))
SOLUTION = solve(Problem(X, Y, PATTERNS), 0.1)
OPTIMAL_SET = find_optimal_set(SOLUTION)
PATH = trace_path(Problem(X, Y, PATTERNS), 0.1)

# Everything that takes data, as a function of them.
OF_X: dict[str, Callable[[Any], Any]] = {
    "enumerate_patterns": enumerate_patterns,
    "sample_patterns": lambda X: sample_patterns(X, 8, rng=0),
    "patterns_from_gates": lambda X: patterns_from_gates(X, np.eye(3)),
    "Problem": lambda X: Problem(X, Y, PATTERNS),
    "Network.predict": NETWORK.predict,
    "Network.objective": lambda X: NETWORK.objective(X, Y, 0.1),
    "Standardizer.fit": lambda X: Standardizer.fit(X, Y),
    "price_patterns": lambda X: price_patterns(X, Y, rng=0).value,
    "solve_global": lambda X: solve_global(X, Y, 0.1, rng=0).objective,
    "check_network": lambda X: check_network(NETWORK, X, Y, 0.1, rng=0).objective,
    "prune": lambda X: prune(NETWORK, X).hidden,
    "OptimalSet.prediction_range": lambda X: np.array(OPTIMAL_SET.prediction_range(X)),
    "OptimalSet.agreement": OPTIMAL_SET.agreement,
    "Path.predict": lambda X: PATH.predict(X, [0.2, 0.1]),
    "Sensitivity.predictions": lambda X: differentiate(SOLUTION).predictions(X)[0],
}
OF_Y: dict[str, Callable[[Any], Any]] = {
    "Problem": lambda y: Problem(X, y, PATTERNS),
    "Network.objective": lambda y: NETWORK.objective(X, y, 0.1),
    "Standardizer.fit": lambda y: Standardizer.fit(X, y),
    "solve_global": lambda y: solve_global(X, y, 0.1, rng=0),
    "check_network": lambda y: check_network(NETWORK, X, y, 0.1, rng=0),
    "prune": lambda y: prune(NETWORK, X, y, 0.1),
}
OF_LAM: dict[str, Callable[[Any], Any]] = {
    "solve": lambda lam: solve(Problem(X, Y, PATTERNS), lam),
    "Network.objective": lambda lam: NETWORK.objective(X, Y, lam),
    "solve_global": lambda lam: solve_global(X, Y, lam, rng=0),
    "check_network": lambda lam: check_network(NETWORK, X, Y, lam, rng=0),
    "prune": lambda lam: prune(NETWORK, X, Y, lam),
}


def with_entry(array: Any, value: float) -> Any:
    changed = array.copy()
    changed.flat[1] = value
    return changed


def not_numbers(good: Any) -> dict[str, Any]:
    return {
        "nan": with_entry(good, np.nan),
        "inf": with_entry(good, np.inf),
        "complex": good + 0j,
        "text": good.astype(str),
        "bytes": good.astype("S4"),
        "objects": np.full(good.shape, object()),
        "dates": good.astype("M8[s]"),
        "records": np.zeros(good.shape, dtype=[("a", float)]),
        "masked": np.ma.masked_less(good, 0.0),
        "huge integers": np.full(good.shape, 10**400, dtype=object),
        "sparse": Sparse(),
        "nothing": None,
        "a word": "data.csv",
        "a dict": {"a": 1},
        "a number": 1.0,
    }


BAD_X = {
    **not_numbers(X),
    "ragged": [[1.0, 2.0, 3.0], [1.0]],
    "no rows": np.empty((0, 3)),
    "no columns": np.empty((6, 0)),
    "one dimension": X[0],
    "three dimensions": X[None],
}
BAD_Y = {
    **not_numbers(Y),
    "ragged": [[1.0], [1.0, 2.0]],
    "too short": Y[:5],
    "too long": np.append(Y, 1.0),
    "empty": np.empty(0),
    "two columns": np.column_stack([Y, Y]),
    "a row": Y[None],
}
BAD_LAM = {
    "negative": -0.1,
    "nan": np.nan,
    "inf": np.inf,
    "text": "0.1",
    "nothing": None,
    "complex": 0.1j,
    "a bool": True,
    "two": np.ones(2),
    "huge": 10**400,
}


def check_refused(call: Callable[[Any], Any], value: Any, name: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call(value)
    message = str(caught.value)
    assert message.split()[0].split("[")[0] == name  # it begins with the name of the argument
    assert len(message) < 300


class TestBadInput:
    @pytest.mark.parametrize("kind", BAD_X)
    @pytest.mark.parametrize("name", OF_X)
    def test_X(self, name: str, kind: str) -> None:
        check_refused(OF_X[name], BAD_X[kind], "X")

    @pytest.mark.parametrize("kind", BAD_Y)
    @pytest.mark.parametrize("name", OF_Y)
    def test_y(self, name: str, kind: str) -> None:
        if (name, kind) == ("prune", "nothing"):
            return  # it needs y for one of its scores only
        check_refused(OF_Y[name], BAD_Y[kind], "y")

    @pytest.mark.parametrize("kind", BAD_LAM)
    @pytest.mark.parametrize("name", OF_LAM)
    def test_lam(self, name: str, kind: str) -> None:
        if (name, kind) == ("prune", "nothing"):
            return
        check_refused(OF_LAM[name], BAD_LAM[kind], "lam")

    def test_lam_0_is_refused_with_the_reason(self) -> None:
        with pytest.raises(ValueError, match="lam must be a finite number > 0, got 0"):
            solve(Problem(X, Y, PATTERNS), 0.0)

    @pytest.mark.timing
    def test_is_refused_in_50_ms(self) -> None:
        large = np.zeros((300_000, 10))
        large[-1, -1] = np.nan

        def seconds() -> float:
            start = time.process_time()
            for call in (OF_X["enumerate_patterns"], OF_X["Problem"]):
                check_refused(call, large, "X")
            return (time.process_time() - start) / 2

        assert least(seconds) < 0.05


def good_kinds(good: Any, folder: Path) -> dict[str, Any]:
    """The same integers in every form that numpy has for them."""
    wide = np.zeros((2 * len(good), *(2 * n for n in good.shape[1:])))
    wide[(slice(None, None, 2),) * good.ndim] = good
    read_only = good.copy()
    read_only.flags.writeable = False
    memory_map = np.memmap(folder / "data.bin", dtype=float, mode="w+", shape=good.shape)
    memory_map[:] = good
    return {
        "lists": good.tolist(),
        "float16": good.astype(np.float16),
        "float32": good.astype(np.float32),
        "longdouble": good.astype(np.longdouble),
        "int8": good.astype(np.int8),
        "int64": good.astype(int),
        "big-endian": good.astype(">f8"),
        "objects": good.astype(int).astype(object),
        "Fortran": np.asfortranarray(good),
        "strided": wide[(slice(None, None, 2),) * good.ndim],
        "reversed": good[::-1].copy()[::-1],
        "read-only": read_only,
        "memory map": memory_map,
        "masked, no entry": np.ma.masked_array(good),
    }


class TestGoodInput:
    @pytest.mark.parametrize("name", OF_X)
    def test_every_form_of_X_gives_the_same(self, name: str, tmp_path: Path) -> None:
        expected = OF_X[name](X)
        for kind, value in good_kinds(X, tmp_path).items():
            before = np.array(value, copy=True)
            result = OF_X[name](value)
            if name == "Problem":
                np.testing.assert_array_equal(result.X, X, err_msg=kind)
            elif isinstance(expected, np.ndarray):
                np.testing.assert_array_equal(result, expected, err_msg=kind)
            else:
                assert result == expected, kind
            np.testing.assert_array_equal(value, before, err_msg=kind)

    def test_every_form_of_y_gives_the_same(self, tmp_path: Path) -> None:
        y = np.round(3 * Y)
        expected = solve(Problem(X, y, PATTERNS), 0.1)
        for kind, value in good_kinds(y, tmp_path).items():
            before = np.array(value, copy=True)
            solution = solve(Problem(X, value, PATTERNS), 0.1)
            np.testing.assert_array_equal(solution.weights, expected.weights, err_msg=kind)
            np.testing.assert_array_equal(value, before, err_msg=kind)

    def test_a_target_inside_the_data(self) -> None:
        """y may be a view of X: nothing is written to either."""
        data = X.copy()
        solution = solve(Problem(data, data[:, 0], enumerate_patterns(data)), 0.01)
        again = solve(Problem(data, data[:, 0].copy(), enumerate_patterns(data)), 0.01)
        np.testing.assert_array_equal(data, X)
        np.testing.assert_array_equal(solution.weights, again.weights)


def long_work(name: str) -> Callable[[], Any]:
    """A call that takes many seconds."""
    rng = np.random.default_rng(0)
    if name.startswith(("sample_patterns", "patterns_from_gates")):
        wide = rng.standard_normal((12_000, 784))
        return {
            "sample_patterns, ray": lambda: sample_patterns(wide[:3000], 9, rng=0, method="ray"),
            "patterns_from_gates": lambda: patterns_from_gates(wide, wide[:9000].T),
            # Every bit is a tie, which is decided exactly.
            "patterns_from_gates, ties": lambda: patterns_from_gates(
                np.zeros((12_000, 784)), wide[:9000].T
            ),
        }[name]
    relu, gated = (medium(kind, n=1500, d=25, n_gates=1500) for kind in FORMULATIONS)
    pairs = np.kron(np.eye(6), [[1.0], [-1.0]])  # 64 gated neurons, millions of vertices
    many = Problem(pairs, np.tile([1.0, -1.0], 6), enumerate_patterns(pairs), formulation="gated")
    optimal_set = find_optimal_set(solve(many, 0.1 * many.lambda_max))
    network = to_network(solve(relu, 0.3 * relu.lambda_max))
    work: dict[str, Callable[[], Any]] = {
        "solve": lambda: solve(relu, 1e-4 * relu.lambda_max),
        "solve, two threads": lambda: solve(relu, 1e-4 * relu.lambda_max, n_threads=2),
        "trace_path": lambda: trace_path(gated, 1e-4 * gated.lambda_max),
        "solve_global": lambda: solve_global(relu.X, relu.y, 1e-4, rng=0, tol=1e-9),
        "check_network": lambda: check_network(network, relu.X, relu.y, 1e-4, rng=0),
        "price_patterns": lambda: price_patterns(relu.X[:, :10], relu.y, rng=0),
        "enumerate_patterns": lambda: enumerate_patterns(relu.X[:, :8], max_patterns=10**9),
        "OptimalSet.vertices": lambda: optimal_set.vertices(10**9),
        "OptimalSet.sample": lambda: optimal_set.sample(10**6, rng=0),
    }
    return work[name]


INTERRUPT = """
import os, signal, sys, threading, time
import numpy as np
from tests.test_reliability import long_work
from tests.test_solver import assert_same_bits, medium
from convexrelu import solve

handler = signal.getsignal(signal.SIGINT)
small = medium("relu", n=30, n_gates=20)
before = solve(small, 0.01)
work, n_threads = long_work(sys.argv[1]), 1 + sys.argv[1].endswith("two threads")
rng = np.random.default_rng(0)
for trial in range(4):
    sent = []
    def press(delay):
        time.sleep(delay)
        sent.append((time.perf_counter(), time.process_time()))
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=press, args=(rng.uniform(0, 1),))
    thread.start()
    try:
        work()
        sys.exit("not interrupted")
    except KeyboardInterrupt:
        wall, cpu = time.perf_counter(), time.process_time()
    thread.join()
    print(min(wall - sent[0][0], (cpu - sent[0][1]) / n_threads))
    assert_same_bits(solve(small, 0.01), before)
assert signal.getsignal(signal.SIGINT) is handler
"""


@pytest.mark.timing
@pytest.mark.parametrize(
    "name",
    [
        "solve", "solve, two threads", "trace_path", "solve_global", "check_network",
        "price_patterns", "enumerate_patterns", "OptimalSet.vertices", "OptimalSet.sample",
        "sample_patterns, ray", "patterns_from_gates",
        "patterns_from_gates, ties",
    ],
)  # fmt: skip
def test_ctrl_c_at_any_moment(name: str) -> None:
    """KeyboardInterrupt within 200 ms, of the clock or of a thread's CPU; all is usable then."""
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPT, name],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    delays = [float(line) for line in result.stdout.split()]
    assert len(delays) == 4
    assert max(delays) <= 0.2, delays


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    problem = Problem(X, Y, enumerate_patterns(X))
    to_network(solve(problem, 0.1 * problem.lambda_max)).predict(X)
    with pytest.raises(ValueError, match="lam"):
        solve(problem, -1.0)
    assert capfd.readouterr() == ("", "")


def test_exceptions_are_of_python() -> None:
    assert issubclass(convexrelu.LimitExceeded, RuntimeError)
    assert issubclass(convexrelu.AccuracyError, ArithmeticError)
    for error in (convexrelu.AccuracyError, convexrelu.LimitExceeded):
        assert type(pickle.loads(pickle.dumps(error("why")))) is error
