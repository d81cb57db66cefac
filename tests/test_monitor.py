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

import numpy as np
import pytest

import convexrelu
from convexrelu import Problem, Progress, Solution, sample_patterns, solve


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


def test_limit_exceeded_is_a_runtime_error() -> None:
    assert issubclass(convexrelu.LimitExceeded, RuntimeError)
