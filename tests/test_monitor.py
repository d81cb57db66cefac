"""Long calls seen from Python: callbacks, limits, Ctrl-C, the GIL."""

from __future__ import annotations

import _thread
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexrelu
from convexrelu import (
    Network,
    Problem,
    Progress,
    Solution,
    check_network,
    descent_path,
    patterns_from_gates,
    prune,
    sample_patterns,
    solve,
    solve_global,
)


def make_problem(n: int, n_gates: int) -> Problem:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 10))
    y = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] + rng.standard_normal(n)
    return Problem(X, y, sample_patterns(X, n_gates, rng=1))


@pytest.fixture(scope="module")
def small() -> Problem:
    return make_problem(60, 20)


@pytest.fixture(scope="module")
def large() -> Problem:
    """Takes several seconds to solve at the lam of `long_solve`."""
    return make_problem(1500, 3000)


def long_solve(problem: Problem, **arguments: object) -> Solution:
    return solve(problem, 1e-4 * problem.lambda_max, tol=1e-12, **arguments)


def least(measure: Callable[[], float]) -> float:
    """The least of some measurements of a delay: the machine may be busy with other things."""
    return min(measure() for _ in range(4))


def seconds_from_ctrl_c(work: Callable[[], object]) -> float:
    """The seconds from Ctrl-C, pressed at several moments of long work, to KeyboardInterrupt."""

    def delay(after: float) -> float:
        pressed: list[float] = []

        def press() -> None:
            pressed.append(time.perf_counter())
            _thread.interrupt_main(signal.SIGINT)

        timer = threading.Timer(after, press)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            work()
        raised = time.perf_counter()
        timer.join()
        return raised - pressed[0]

    moments = iter((0.3, 0.1, 0.03, 0.4))
    return least(lambda: delay(next(moments)))


class TestCallback:
    def test_gets_progress(self, small: Problem) -> None:
        seen: list[Progress] = []
        solution = solve(small, 0.05 * small.lambda_max, callback=seen.append)
        assert solution.status == "optimal"
        assert seen
        for progress in seen:
            assert type(progress) is Progress
            assert progress.phase
            assert progress.iteration >= 0
            assert math.isnan(progress.gap) or progress.gap >= 0
        seconds = [progress.seconds for progress in seen]
        assert seconds == sorted(seconds)

    @pytest.mark.parametrize("answer", [True, np.True_, 1])
    def test_true_stops(self, small: Problem, answer: object) -> None:
        calls: list[Progress] = []

        def stop(progress: Progress) -> object:
            calls.append(progress)
            return answer

        solution = solve(small, 1e-3 * small.lambda_max, callback=stop)
        assert solution.status == "callback"
        assert len(calls) == 1

    @pytest.mark.parametrize("answer", [False, None, 0])
    def test_false_goes_on(self, small: Problem, answer: object) -> None:
        solution = solve(small, 1e-3 * small.lambda_max, callback=lambda _: answer)
        assert solution.status == "optimal"

    def test_exception_passes_through(self, small: Problem) -> None:
        class Unusual(BaseException):
            pass

        def fail(progress: Progress) -> bool:
            raise Unusual(progress)

        with pytest.raises(Unusual):
            solve(small, 1e-3 * small.lambda_max, callback=fail)

    def test_result_without_truth_value_is_an_error(self, small: Problem) -> None:
        with pytest.raises(ValueError, match="truth value"):
            solve(small, 1e-3 * small.lambda_max, callback=lambda _: np.zeros(2))

    def test_may_call_the_library(self, small: Problem) -> None:
        inner: list[Solution] = []

        def callback(_: Progress) -> bool:
            inner.append(solve(small, 0.5 * small.lambda_max))
            return False

        outer = solve(small, 0.05 * small.lambda_max, callback=callback)
        assert outer.status == inner[0].status == "optimal"

    def test_must_be_callable(self, small: Problem) -> None:
        with pytest.raises(TypeError, match=r"callback must be None or a callable .*, got 3"):
            solve(small, 0.5, callback=3)


class TestTimeLimit:
    @pytest.mark.timing
    def test_is_kept(self, large: Problem) -> None:
        def overrun() -> float:
            # While others have the processor no work can see that the time is over.
            start, work = time.perf_counter(), time.process_time()
            assert long_solve(large, time_limit=0.3).status == "time_limit"
            return min(time.perf_counter() - start, time.process_time() - work) - 0.3

        assert least(overrun) < 0.1 * 0.3 + 0.05

    @pytest.mark.parametrize("limit", [-1.0, math.nan])
    def test_must_be_a_duration(self, small: Problem, limit: float) -> None:
        with pytest.raises(ValueError, match="time_limit"):
            solve(small, 0.5, time_limit=limit)


class TestInterrupt:
    @pytest.mark.timing
    def test_ctrl_c_raises_soon_and_leaves_all_usable(self, large: Problem) -> None:
        assert seconds_from_ctrl_c(lambda: long_solve(large)) < 0.2
        assert solve(large, 0.5 * large.lambda_max).status == "optimal"

    def test_no_signal_handler_is_installed(self, small: Problem) -> None:
        before = [signal.getsignal(number) for number in signal.valid_signals()]
        solve(small, 0.1 * small.lambda_max, callback=lambda _: None)
        assert [signal.getsignal(number) for number in signal.valid_signals()] == before


class TestThreads:
    @pytest.mark.timing
    def test_the_gil_is_released(self, large: Problem) -> None:
        """While one thread solves for 0.5 s, another runs Python throughout."""

        def longest_pause() -> float:
            work = threading.Thread(target=long_solve, args=(large,), kwargs={"time_limit": 0.5})
            work.start()
            longest, last = 0.0, time.perf_counter()
            while work.is_alive():
                time.sleep(0.001)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now
            return longest

        assert least(longest_pause) < 0.25

    def test_concurrent_calls_agree(self, small: Problem) -> None:
        lam = 0.01 * small.lambda_max
        expected = solve(small, lam).fitted.tobytes()
        answers: list[bytes] = []

        def work() -> None:
            answers.extend(solve(small, lam).fitted.tobytes() for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [expected] * 20

    def test_what_is_made_once_is_awaited_without_the_gil(self) -> None:
        """A thread that makes it asks for the GIL now and then; one that waits must not hold it."""
        code = """
import threading, time
import numpy as np
from convexrelu import Problem, sample_patterns, solve, trace_path

rng = np.random.default_rng(0)
X = rng.standard_normal((1500, 10))
patterns = sample_patterns(X, 3000, rng=1)
for name, lam in (("objectives", np.array([1e3])), ("n_active", np.array([1e3])), ("at", 1e3)):
    problem = Problem(X, X[:, 0] * X[:, 1], patterns)
    path = trace_path(problem, 1.0, start=solve(problem, 1e3), max_segments=0)
    thread = threading.Thread(target=lambda: problem.lambda_max)
    thread.start()
    time.sleep(0.01)
    getattr(path._core, name)(lam)
    thread.join()
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=100)

    def test_every_processor_and_no_more(self, small: Problem) -> None:
        lam = 0.01 * small.lambda_max
        expected = solve(small, lam).weights
        for n_threads in (-1, 2**31 - 1):
            np.testing.assert_array_equal(solve(small, lam, n_threads=n_threads).weights, expected)
            one, all_of_them = (
                sample_patterns(small.X, 3000, rng=0, n_threads=n).packed for n in (1, n_threads)
            )
            np.testing.assert_array_equal(one, all_of_them)

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by /proc")
    def test_as_many_threads_as_processors(self) -> None:
        code = """
import os
import numpy as np
from convexrelu import sample_patterns

X = np.random.default_rng(0).standard_normal((2000, 20))
before = len(os.listdir("/proc/self/task"))
sample_patterns(X, 20000, rng=0, n_threads=1000)
assert len(os.listdir("/proc/self/task")) - before < os.cpu_count()
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=100)

    @pytest.mark.parametrize("ending", ["return", "interrupt"])
    def test_the_interpreter_may_end_while_threads_are_at_work(self, ending: str) -> None:
        """Daemon threads: in the core, in a callback, about to come back."""
        code = f"""
import signal, threading, time
import numpy as np
from convexrelu import Problem, sample_patterns, solve, solve_global

rng = np.random.default_rng(0)
X, y = rng.standard_normal((1000, 20)), rng.standard_normal(1000)
problem = Problem(X, y, sample_patterns(X, 500, rng=0))
small = Problem(X[:20], y[:20], sample_patterns(X[:20], 50, rng=0))

def again_and_again():
    while True:
        solve(small, 0.1, callback=lambda p: None)

def long(**arguments):
    solve(problem, 1e-6, **arguments)

threads = [
    threading.Thread(target=again_and_again, daemon=True),
    threading.Thread(target=long, daemon=True),
    threading.Thread(target=long, kwargs={{"n_threads": 2}}, daemon=True),
    threading.Thread(target=long, kwargs={{"callback": lambda p: None}}, daemon=True),
    threading.Thread(target=long, kwargs={{"callback": lambda p: time.sleep(0.01)}}, daemon=True),
]
for thread in threads:
    thread.start()
time.sleep(0.3)
if {ending!r} == "interrupt":
    ctrl_c = (threading.main_thread().ident, signal.SIGINT)
    threading.Timer(0.1, signal.pthread_kill, ctrl_c).start()
    try:
        threads[0].join()
    except KeyboardInterrupt:
        pass
print("leaving", flush=True)
"""
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=100
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")

    def test_the_last_objects_of_the_interpreter_may_call_the_library(self) -> None:
        code = """
import numpy as np
from convexrelu import Problem, sample_patterns, solve

X = np.random.default_rng(0).standard_normal((50, 5))
problem = Problem(X, X[:, 0], sample_patterns(X, 20, rng=0))

class Last:
    def __del__(self, solve=solve, problem=problem):
        print(solve(problem, 0.1).status, flush=True)

last = Last()  # deleted with this module
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=100
        )
        assert (done.returncode, done.stdout) == (0, "optimal\n")


class TestOutOfTime:
    """What is given back when there was no time, or the error that says so."""

    X = np.random.default_rng(0).standard_normal((60, 4))
    y = X[:, 0] * X[:, 1]

    def test_solve_global_has_a_network(self) -> None:
        solution = solve_global(self.X, self.y, 0.01, time_limit=0)
        assert solution.status == "time_limit"
        assert len(solution.active_set) == 0
        assert solution.objective == pytest.approx((self.y**2).mean() / 2, rel=1e-12)
        assert solution.lower_bound == 0

    @pytest.mark.parametrize("n_neurons", [0, 30])
    def test_check_network_has_the_objective(self, n_neurons: int) -> None:
        rng = np.random.default_rng(1)
        hidden = self.X[:n_neurons] * rng.standard_normal((n_neurons, 1))
        network = Network(hidden, rng.standard_normal(n_neurons))
        report = check_network(network, self.X, self.y, 0.01, time_limit=0, rng=0)
        value = network.objective(self.X, self.y, 0.01)
        assert report.objective == value
        assert report.solution.objective <= value * (1 + 1e-12)
        whole = check_network(network, self.X, self.y, 0.01, rng=0)
        assert 0 <= report.best.lower_bound <= whole.best.objective * (1 + 1e-12)
        assert 0 <= report.global_lower_bound <= whole.best.objective * (1 + 1e-12)

    @pytest.mark.parametrize("gated", [False, True])
    def test_descent_path_descends(self, gated: bool) -> None:
        rng = np.random.default_rng(2)
        gates = rng.standard_normal((10, 4)) if gated else None
        network = Network(rng.standard_normal((10, 4)), rng.standard_normal(10), gates)
        path = descent_path(network, self.X, self.y, 0.01, time_limit=0, n_steps=5, rng=0)
        values = [step.objective(self.X, self.y, 0.01) for step in path]
        assert len(values) == 8
        assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values))

    @pytest.mark.parametrize(
        "call",
        [
            lambda X: sample_patterns(X, 10, rng=0, time_limit=0),
            lambda X: sample_patterns(X, 10, rng=0, method="ray", time_limit=0),
            lambda X: patterns_from_gates(X, X.T, time_limit=0),
            lambda X: prune(Network(X, X[:, 0]), X, time_limit=0),
        ],
    )
    def test_what_has_no_answer_raises(self, call: Callable[[Any], object]) -> None:
        with pytest.raises(convexrelu.LimitExceeded, match="time_limit"):
            call(self.X)


def test_limit_exceeded_is_a_runtime_error() -> None:
    assert issubclass(convexrelu.LimitExceeded, RuntimeError)
