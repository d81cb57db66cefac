"""trace_path: every point is the optimum there, ties or not, and it is said what changes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from bench import data
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.strategies import FORMULATIONS, Case, bits, cases, cube, with_ones
from tests.test_solver import GEOMETRY, assert_same_bits, medium, rounding

from convexrelu import (
    Path,
    Problem,
    Progress,
    _core,
    certify,
    differentiate,
    enumerate_patterns,
    load,
    max_pattern_count,
    patterns_from_gates,
    sample_patterns,
    save,
    solve,
    to_network,
    trace_path,
)


def middles(path: Path) -> np.ndarray:
    """A lam within each segment, in the middle of its range of 1/lam."""
    ends = np.concatenate([[path.lam_max], path.segment_ends])
    return 2 / (1 / ends[1:] + 1 / ends[:-1])


def points(path: Path) -> np.ndarray:
    return np.concatenate([[path.lam_max], path.segment_ends, middles(path)])


def check_points(path: Path, lams: Any) -> None:
    """The optimality conditions to 1e-10 and the gap to 1e-9, by what does not know of paths."""
    problem = path.problem
    for lam in lams:
        solution = path(lam)
        certificate = certify(solution)
        room = rounding(problem, lam, solution.dual)
        assert certificate.gap <= 1e-9
        assert certificate.stationarity <= max(1e-10, room)
        assert certificate.cone_violation <= 1e-12
        assert path.objective(lam)[0] == pytest.approx(solution.objective, rel=1e-10)


def check_by_oracles(path: Path, lams: Any) -> None:
    """The same without the library: ||q_b|| <= lam, equal where active, and the gap."""
    problem = path.problem
    positions = {(b.pattern, b.sign): j for j, b in enumerate(oracles.blocks(problem))}
    for lam in lams:
        solution = path(lam)
        value = oracles.objective(problem, lam, solution.active_set, solution.weights)
        bounds = [oracles.dual_value(problem, lam, r) for r in (solution.residual, solution.dual)]
        assert value - max(bounds) <= 1e-9 * value
        norms = np.linalg.norm(oracles.directions(problem, solution.dual), axis=1) / lam
        active = [positions[i, s] for i, s in solution.active_set]
        room = max(1e-10, rounding(problem, lam, solution.dual))
        np.testing.assert_allclose(norms[active], 1.0, atol=room)
        assert norms.max(initial=0.0) <= 1 + room


def replay(path: Path, *, in_general_position: bool = False) -> None:
    """The events tell which blocks are active in each segment."""
    active: set[tuple[int, int]] = set()
    events = list(path.events)
    ends = np.concatenate([[path.lam_max], path.segment_ends])
    for begin, lam in zip(ends[:-1], middles(path), strict=True):
        while events and events[0].lam >= begin:
            event = events.pop(0)
            block = (event.pattern, event.sign)
            if event.kind == "enter":
                assert block not in active
                active.add(block)
            elif event.kind == "leave":
                active.remove(block)
            elif event.kind in {"bind", "release"}:
                assert block in active
                assert event.sample >= 0
        found = {(int(i), int(s)) for i, s in path(lam).active_set}
        assert found <= active
        assert path.n_active(lam)[0] == len(found)
        if in_general_position:
            assert found == active


class TestOptimality:
    @given(cases(ratios=(0.5, 0.1, 1e-2, 1e-3)))
    @settings(max_examples=100)
    def test_on_degenerate_problems(self, case: Case) -> None:
        path = trace_path(case.problem, case.lam)
        assert path.status == "optimal"
        assert path.lam_min == case.lam
        check_points(path, points(path)[:24])
        replay(path)

    @given(cases(max_n=6, max_d=3, max_gates=5, ratios=(0.1, 1e-2)))
    @settings(max_examples=20)
    def test_by_the_oracles(self, case: Case) -> None:
        path = trace_path(case.problem, case.lam)
        check_by_oracles(path, points(path)[:8])

    def test_on_300_integer_designs(self) -> None:
        """Ties everywhere: at breakpoints and between them, no violation above 1e-10."""
        rng = np.random.default_rng(0)
        for trial in range(300):
            X = rng.integers(-2, 3, (8, 10)).astype(float)
            y = rng.integers(-3, 4, 8).astype(float)
            patterns = sample_patterns(X, 8, rng=rng)
            problem = Problem(X, y, patterns, formulation=FORMULATIONS[trial % 2])
            if not problem.lambda_max:
                continue
            path = trace_path(problem, 0.01 * problem.lambda_max)
            assert path.status == "optimal", trial
            for lam in points(path):
                assert certify(path(lam)).stationarity <= 1e-10, trial

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("kind", ["random", "integer", "rank 2", "wide", "bits"])
    def test_agrees_with_solve(self, kind: str, formulation: str) -> None:
        rng = np.random.default_rng(len(kind))
        X = {
            "random": rng.standard_normal((40, 5)),
            "integer": rng.integers(-2, 3, (40, 4)).astype(float),
            "rank 2": rng.integers(-2, 3, (30, 2)) @ rng.integers(-1, 2, (2, 5)).astype(float),
            "wide": rng.standard_normal((8, 20)),
            "bits": rng.integers(0, 2, (40, 5)).astype(float),
        }[kind]
        y = np.sign(X[:, 0] - 0.3) + 0.5 * rng.standard_normal(len(X))
        problem = Problem(X, y, sample_patterns(X, 30, rng=0), formulation=formulation)
        path = trace_path(problem, 0.01 * problem.lambda_max)
        assert path.status == "optimal"
        lams = np.geomspace(0.99 * path.lam_max, path.lam_min, 25)
        for lam, value in zip(lams, path.objective(lams), strict=True):
            assert value == pytest.approx(solve(problem, lam).objective, rel=1e-10)
        check_points(path, lams)
        replay(path)


class TestRealData:
    @pytest.mark.parametrize("name", ["iris", "monks-1"])
    @pytest.mark.parametrize(("formulation", "n_gates"), [("gated", 50), ("relu", 20)])
    def test_agrees_with_solve(self, name: str, formulation: str, n_gates: int) -> None:
        table = data.load(name)
        patterns = sample_patterns(table.X, n_gates, rng=0)
        problem = Problem(table.X, table.y, patterns, formulation=formulation)
        path = trace_path(problem, 0.02 * problem.lambda_max)
        assert path.status == "optimal"
        lams = np.geomspace(0.99 * path.lam_max, path.lam_min, 12)
        for lam, value in zip(lams, path.objective(lams), strict=True):
            assert value == pytest.approx(solve(problem, lam).objective, rel=1e-10)
        check_points(path, lams)
        replay(path)


class TestDegenerateGeometry:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("name", GEOMETRY)
    def test_is_traced(self, name: str, formulation: str) -> None:
        X, y = GEOMETRY[name]
        rng = np.random.default_rng(0)
        gates = np.hstack([rng.standard_normal((X.shape[1], 8)), X[:3].T, -X[:2].T])
        gates = np.hstack([gates, gates[:, :2]])  # repeated patterns
        problem = Problem(X, y, patterns_from_gates(X, gates), formulation=formulation)
        scale = problem.lambda_max or 1.0
        for ratio in (10.0, 1 + 1e-12, 1.0, 1 - 1e-12, 1e-3):
            path = trace_path(problem, ratio * scale)
            assert path.status == "optimal"
            assert path.lam_min == ratio * scale
            check_points(path, points(path)[:: 1 + path.n_segments // 10])
            replay(path)
        for lam in scale * np.geomspace(1.0, 1e-3, 9):
            assert certify(path(lam)).gap <= 1e-9
            assert path(lam).objective == pytest.approx(solve(problem, lam).objective, rel=1e-9)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("name", GEOMETRY)
    def test_next_to_no_regularisation_is_told_truly(self, name: str, formulation: str) -> None:
        """It goes as far as float64 can tell, and what it holds is optimal."""
        X, y = GEOMETRY[name]
        problem = Problem(X, y, sample_patterns(X, 6, rng=0), formulation=formulation)
        path = trace_path(problem, 1e-300)
        assert path.status in {"optimal", "stalled"}
        assert (path.status == "optimal") == (path.lam_min == 1e-300)
        assert path.n_segments < 5000
        for lam in points(path)[:: 1 + path.n_segments // 10]:
            if lam < 1e-150:  # squares underflow
                continue
            solution = path(lam)
            certificate = certify(solution)
            assert not np.isnan(certificate).any()
            assert certificate.gap <= 1e-5
            assert solution.gap == certificate.gap
            assert (solution.status == "optimal") == (certificate.gap <= 1e-9)
            assert np.isfinite(solution.weights).all()


class TestSymmetricData:
    """Everything is tied with something."""

    def data(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(7)
        if name == "xor":
            return with_ones(cube(2)), np.array([1.0, -1.0, -1.0, 1.0])
        if name == "3-cube":
            X = cube(3)
            return X, X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
        if name == "parity of bits":
            return with_ones(bits(3)), cube(3).prod(axis=1)
        if name == "duplicated rows":
            X = np.column_stack([rng.integers(0, 2, (40, 3)), np.ones(40)]).astype(float)
            return X, np.sign(rng.standard_normal(40))
        if name == "one dimension":
            X = np.column_stack([np.sort(rng.standard_normal(12)), np.ones(12)])
            return X, np.sin(3 * X[:, 0])
        X = np.column_stack([rng.standard_normal((8, 2)), np.ones(8)])
        return X, rng.standard_normal(8)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize(
        "name", ["xor", "3-cube", "parity of bits", "duplicated rows", "one dimension", "plane"]
    )
    def test_over_all_patterns(self, name: str, formulation: str) -> None:
        X, y = self.data(name)
        problem = Problem(X, y, enumerate_patterns(X), formulation=formulation)
        path = trace_path(problem, 0.005 * problem.lambda_max)
        assert path.status == "optimal"
        # Tied blocks whose system is singular at lambda_max itself: docs/theory/path/path.md.
        singular = {("parity of bits", "gated"): 1, ("3-cube", "gated"): 1}
        assert path.n_restarts <= singular.get((name, formulation), 0)
        check_points(path, points(path)[:: max(1, path.n_segments // 15)])
        for ratio in (0.7, 0.2, 0.03):
            lam = ratio * problem.lambda_max
            assert path.objective(lam)[0] == pytest.approx(solve(problem, lam).objective, rel=1e-10)
        replay(path)


def nearly_tied(rng: np.random.Generator) -> tuple[Problem, float]:
    """Tables with exact ties, rotated or not, then rounded, cut to float32 or moved a little."""
    kind = rng.choice(["cube", "parity", "grid", "bits", "xor", "twins"])
    d = int(rng.integers(2, 4))
    if kind == "cube":
        X = cube(d)
        y = X.prod(axis=1) + rng.choice([0.0, 0.5]) * X[:, 0]
    elif kind == "parity":
        X, y = bits(d + 1), cube(d + 1).prod(axis=1)
    elif kind == "grid":
        X = np.array(list(np.ndindex((3,) * d)), dtype=float)
        y = rng.integers(-2, 3, len(X)).astype(float)
    elif kind == "twins":
        X = rng.standard_normal((8, d))[rng.integers(0, 8, 24)]
        y = rng.standard_normal(24)
    else:
        X = rng.integers(0, 2, (int(rng.integers(6, 30)), d + 1)).astype(float)
        y = (
            (2 * X[:, 0] - 1) * (2 * X[:, 1] - 1)
            if kind == "xor"
            else rng.choice([-1.0, 1.0], len(X))
        )
    if rng.random() < 0.6:
        X = X @ np.linalg.qr(rng.standard_normal((X.shape[1],) * 2))[0]
    how = rng.choice(["rounded", "float32", "moved"])
    if how == "rounded":
        X = np.round(X, int(rng.integers(6, 13)))
    elif how == "float32":
        X = X.astype(np.float32).astype(float)
    else:
        X = X + 10.0 ** rng.uniform(-12, -6) * rng.standard_normal(X.shape)
    if rng.random() < 0.7:
        X = with_ones(X)
    few = max_pattern_count(*X.shape) <= 200
    patterns = enumerate_patterns(X) if few else sample_patterns(X, 30, rng=rng)
    problem = Problem(X, y, patterns, formulation=str(rng.choice(FORMULATIONS)))
    return problem, 10.0 ** rng.uniform(-4, -2) * (problem.lambda_max or 1.0)


class TestNearTies:
    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=80)
    def test_are_got_through(self, seed: int) -> None:
        """Where `solve` is optimal at the end the path gets there, optimal all the way."""
        rng = np.random.default_rng(seed)
        problem, lam = nearly_tied(rng)
        path = trace_path(problem, lam)
        assert path.status == "optimal" or solve(problem, lam).status != "optimal"
        if not path.n_segments:
            return
        assert path.gaps.max() <= 1e-9
        lams = np.concatenate(
            [rng.choice(points(path), 12), np.geomspace(path.lam_max, path.lam_min, 6)]
        )
        for lam, value in zip(lams, path.objective(np.maximum(lams, path.lam_min)), strict=True):
            solution = path(max(lam, path.lam_min))
            assert solution.gap <= 1e-9
            assert value == pytest.approx(solution.objective, rel=1e-9)
        for lam in lams[-4:-1]:
            solved = solve(problem, lam)
            room = 1e-9 + solved.gap  # what is left of it is no fault of the path
            assert path.objective(lam)[0] == pytest.approx(solved.objective, rel=room)

    @pytest.mark.parametrize("digits", [6, 8, 9, 10, 12])
    def test_rounded_cubes(self, digits: int) -> None:
        rng = np.random.default_rng(digits)
        for _ in range(6):
            rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
            X = with_ones(np.round(cube(3) @ rotation, digits))
            problem = Problem(X, cube(3).prod(axis=1), enumerate_patterns(X))
            lam = 1e-3 * problem.lambda_max
            path = trace_path(problem, lam)
            assert path.status == "optimal"
            assert path.lam_min == lam
            assert max(path(lam).gap for lam in points(path)) <= 1e-9


class TestExactness:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_breakpoints_do_not_depend_on_the_order_of_the_series(self, formulation: str) -> None:
        problem = medium(formulation, n=50, n_gates=25)
        lam = 0.02 * problem.lambda_max
        paths = [
            _core.trace_path(problem._core, lam, 1e-9, None, None, None, 1, None, order)
            for order in (6, 12, 24)
        ]
        first = paths[-1].events
        assert len(first) > 10
        for path in paths:
            assert [(kind, *rest) for kind, _, *rest in path.events] == [
                (kind, *rest) for kind, _, *rest in first
            ]
            np.testing.assert_allclose(
                [event[1] for event in path.events], [event[1] for event in first], rtol=1e-9
            )

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_general_position_needs_no_restart(self, formulation: str) -> None:
        problem = medium(formulation, n=60, n_gates=40)
        path = trace_path(problem, 1e-3 * problem.lambda_max)
        assert path.status == "optimal"
        assert path.n_restarts == 0
        assert path.gaps.max() <= 1e-11
        replay(path, in_general_position=True)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_slopes_are_those_of_differences(self, formulation: str) -> None:
        problem = medium(formulation, n=40, n_gates=20)
        path = trace_path(problem, 0.05 * problem.lambda_max)
        for lam in middles(path)[::4]:
            blocks, _, slopes, _ = path._core.at(lam)
            step = 1e-6 * lam
            below, above = path._core.at(lam - step), path._core.at(lam + step)
            if below[0].tolist() == blocks.tolist() == above[0].tolist():
                difference = (above[1] - below[1]) / (2 * step)
                scale = np.abs(difference).max(initial=0.0)
                np.testing.assert_allclose(slopes, difference, atol=1e-5 * scale)

    def test_one_block(self) -> None:
        """Gated, one pattern that holds all: w = (X'X/n + t I)^-1 X'y/n, ||w|| t = lam."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
        problem = Problem(X, y, patterns_from_gates(X, np.zeros((3, 1))), formulation="gated")
        path = trace_path(problem, 1e-3 * problem.lambda_max)
        assert [event.kind for event in path.events] == ["enter"]
        assert path.breakpoints == pytest.approx([np.linalg.norm(X.T @ y) / 20])
        for t in (10.0, 1.0, 0.1):
            w = np.linalg.solve(X.T @ X / 20 + t * np.eye(3), X.T @ y / 20)
            np.testing.assert_allclose(path(t * np.linalg.norm(w)).weights, [w], rtol=1e-11)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_units(self, formulation: str) -> None:
        problem = medium(formulation, n=30, n_gates=15)
        path = trace_path(problem, 0.05 * problem.lambda_max)
        X, y = np.ldexp(problem.X, 300), np.ldexp(problem.y, -400)
        scaled = Problem(X, y, problem.patterns, formulation=formulation)
        other = trace_path(scaled, np.ldexp(path.lam_min, -100))
        np.testing.assert_array_equal(other.breakpoints, np.ldexp(path.breakpoints, -100))
        assert other.status == "optimal"

    def test_threads_do_not_matter(self) -> None:
        problem = medium("relu", n=60, n_gates=300)
        lam = 0.1 * problem.lambda_max
        one, many = trace_path(problem, lam), trace_path(problem, lam, n_threads=3)
        assert one.events == many.events
        assert_same_bits(one(2 * lam), many(2 * lam))


class TestStart:
    @pytest.mark.parametrize("formulation", FORMULATIONS)
    @pytest.mark.parametrize("ratio", [1.0, 0.5, 0.05])
    def test_from_a_solution(self, formulation: str, ratio: float) -> None:
        problem = medium(formulation, n=50, n_gates=30)
        whole = trace_path(problem, 0.02 * problem.lambda_max)
        start = solve(problem, ratio * problem.lambda_max)
        path = trace_path(problem, whole.lam_min, start=start)
        assert path.status == "optimal"
        assert path.lam_max == start.lam
        lams = np.geomspace(path.lam_max, path.lam_min, 20)
        np.testing.assert_allclose(path.objective(lams), whole.objective(lams), rtol=1e-11)
        beyond = [event for event in whole.events if event.lam < 0.9999 * start.lam]
        np.testing.assert_allclose(
            [event.lam for event in beyond],
            [event.lam for event in path.events[-len(beyond) :]],
            rtol=1e-9,
        )
        if ratio < 1:
            with pytest.raises(ValueError, match=r"lams must be at least .* and at most"):
                path(1.001 * start.lam)

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_a_path_that_gets_nowhere_has_its_start(self, formulation: str) -> None:
        problem = medium(formulation, n=30, n_gates=20)
        start = solve(problem, 0.1 * problem.lambda_max)
        for lam_min, limit in ((0.1 * start.lam, 0), (start.lam, None)):
            path = trace_path(problem, lam_min, start=start, max_segments=limit)
            assert path.lam_max == path.lam_min == start.lam
            assert path.objective(start.lam)[0] == pytest.approx(start.objective, rel=1e-12)
            assert path(start.lam).gap <= 1e-12
            np.testing.assert_allclose(path(start.lam).fitted, start.fitted, atol=1e-9)
            with pytest.raises(ValueError, match="lams must be at least"):
                path.objective(1.001 * start.lam)

    def test_above_lambda_max_it_is_zero(self) -> None:
        problem = medium("gated", n=20, n_gates=10)
        path = trace_path(problem, 2 * problem.lambda_max)
        assert path.status == "optimal"
        assert path.n_segments == 0
        assert path.events == ()
        assert len(path(3 * problem.lambda_max).weights) == 0
        assert path(2 * problem.lambda_max).status == "optimal"


class TestStopping:
    def test_max_segments(self) -> None:
        problem = medium("relu", n=40, n_gates=20)
        whole = trace_path(problem, 0.05 * problem.lambda_max)
        for count in (0, 1, 5):
            path = trace_path(problem, whole.lam_min, max_segments=count)
            assert path.status == "max_iter"
            assert path.n_segments == count
            np.testing.assert_array_equal(path.segment_ends, whole.segment_ends[:count])
            check_points(path, path.segment_ends)
        path = trace_path(problem, whole.lam_min, max_segments=whole.n_segments)
        assert path.status == "optimal"

    def test_time_limit(self) -> None:
        problem = medium("relu", n=40, n_gates=20)
        path = trace_path(problem, 1e-3 * problem.lambda_max, time_limit=0.0)
        assert path.status == "time_limit"
        assert path.lam_max >= path.lam_min > 1e-3 * problem.lambda_max

    @pytest.mark.skipif(sys.platform != "linux", reason="limits memory with RLIMIT_AS")
    def test_where_memory_ends_the_path_keeps_what_it_has(self) -> None:
        script = """if True:
            import resource
            import numpy as np
            from convexrelu import Problem, sample_patterns, trace_path
            rng = np.random.default_rng(0)
            X = rng.standard_normal((20000, 4))  # a path of 80 MB
            problem = Problem(X, np.sin(3 * X[:, 0]) + X[:, 1], sample_patterns(X, 30, rng=0))
            lam = 1e-2 * problem.lambda_max
            trace_path(problem, 0.9 * problem.lambda_max)  # loads what it needs
            with open("/proc/self/statm") as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + 30_000_000, -1))
            path = trace_path(problem, lam)
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
            assert path.status == "out_of_memory", path.status
            assert path.n_segments > 5
            assert lam < path.lam_min < path.lam_max
            assert path(path.lam_min).gap <= 1e-9
            """
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

    def test_callback_sees_progress_and_may_stop(self) -> None:
        problem = medium("gated", n=40, n_gates=20)
        seen: list[Progress] = []
        whole = trace_path(problem, 0.05 * problem.lambda_max, callback=seen.append)
        assert [p.iteration for p in seen] == list(range(whole.n_segments))
        assert {p.phase for p in seen} == {"path"}
        left = iter(range(3))
        path = trace_path(problem, whole.lam_min, callback=lambda _: next(left, None) is None)
        assert path.status == "callback"
        assert path.events == whole.events[: len(path.events)]
        check_points(path, path.segment_ends)

    def restarting(self) -> Problem:
        X, y = TestSymmetricData().data("parity of bits")
        return Problem(X, y, enumerate_patterns(X), formulation="gated")

    def test_callback_may_stop_a_restart(self) -> None:
        problem = self.restarting()
        path = trace_path(problem, 1e-3, callback=lambda progress: progress.phase == "solve")
        assert path.status == "callback"

    def test_time_limit_holds_after_a_restart(self) -> None:
        phases: list[str] = []

        def wait(progress: Progress) -> None:
            if progress.phase == "path" and phases and phases[-1] == "solve":
                time.sleep(0.4)
            phases.append(progress.phase)

        path = trace_path(self.restarting(), 1e-3, time_limit=0.3, callback=wait)
        assert path.status == "time_limit"

    def test_callback_that_raises(self) -> None:
        problem = medium("gated", n=20, n_gates=10)

        def raises(progress: Progress) -> None:
            raise LookupError("no more")

        with pytest.raises(LookupError, match="no more"):
            trace_path(problem, 0.01 * problem.lambda_max, callback=raises)


@pytest.fixture(scope="module", params=FORMULATIONS)
def path(request: pytest.FixtureRequest) -> Path:
    problem = medium(request.param, n=40, n_gates=20)
    return trace_path(problem, 0.02 * problem.lambda_max)


class TestValue:
    def test_coefficients_are_those_of_the_solutions(self, path: Path) -> None:
        lams = np.geomspace(1.1 * path.lam_max, path.lam_min, 9)
        blocks, weights = path.coefficients(lams)
        assert weights.shape == (9, len(blocks), path.problem.X.shape[1])
        assert (weights.any(axis=2).sum(axis=1) == path.n_active(lams)).all()
        for lam, at in zip(lams, weights, strict=True):
            solution = path(lam)
            used = at.any(axis=1)
            np.testing.assert_array_equal(blocks[used], solution.active_set)
            np.testing.assert_array_equal(at[used], solution.weights)

    def test_predictions_are_those_of_the_networks(self, path: Path) -> None:
        X = np.random.default_rng(1).standard_normal((7, path.problem.X.shape[1]))
        lams = np.geomspace(1.1 * path.lam_max, path.lam_min, 5)
        predictions = path.predict(X, lams)
        assert predictions.shape == (5, 7)
        for lam, row in zip(lams, predictions, strict=True):
            np.testing.assert_array_equal(row, to_network(path(lam)).predict(X))

    def test_best_lam_is_better_than_a_grid(self, path: Path) -> None:
        rng = np.random.default_rng(4)
        X = np.hstack([rng.standard_normal((50, path.problem.X.shape[1] - 1)), np.ones((50, 1))])
        y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.3 * rng.standard_normal(50)
        best = path.best_lam((X, y))
        lams = np.geomspace(path.lam_max, path.lam_min, 500)
        errors = ((path.predict(X, [best, *lams]) - y) ** 2).mean(axis=1)
        assert errors[0] <= errors.min() * (1 + 1e-12)
        assert path.lam_min <= best <= path.lam_max

    @pytest.mark.parametrize("criterion", ["gcv", "aic"])
    def test_best_lam_by_degrees_of_freedom(self, path: Path, criterion: str) -> None:
        def value(lam: float) -> float:
            solution = path(lam)
            df, n = np.trace(differentiate(solution).d_fitted_d_y), len(solution.residual)
            error = float(np.mean(solution.residual**2))
            return error / (1 - df / n) ** 2 if criterion == "gcv" else n * np.log(error) + 2 * df

        best = value(path.best_lam(criterion))
        grid = np.concatenate([middles(path), np.geomspace(path.lam_max, path.lam_min, 100)])
        values = [value(lam) for lam in grid if not np.isin(lam, path.segment_ends)]
        assert best <= min(values) + 1e-9 * abs(best)

    def test_unique_optima_move_continuously(self, path: Path) -> None:
        intervals, dimensions, jumps = path.continuity()
        assert len(intervals) == len(dimensions) == len(jumps) == 0
        assert path.continuity().is_continuous
        assert path.dimension([path.lam_max, path.lam_min]).tolist() == [0, 0]

    def test_where_optima_are_not_unique(self) -> None:
        rng = np.random.default_rng(7)
        X = np.column_stack([np.sort(rng.standard_normal(8)), np.ones(8)])
        problem = Problem(X, np.sin(3 * X[:, 0]), enumerate_patterns(X), formulation="gated")
        path = trace_path(problem, 0.05 * problem.lambda_max)
        intervals, dimensions, jumps = path.continuity()
        assert len(intervals) > 0
        assert (dimensions > 0).all()
        assert set(jumps) <= set(path.breakpoints)
        assert (intervals[:, 0] > intervals[:, 1]).all()

    def test_plot(self, path: Path) -> None:
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        from matplotlib import pyplot

        ax = path.plot(n_points=50)
        blocks, _ = path.coefficients(np.geomspace(path.lam_max, path.lam_min, 400))
        assert len(ax.lines) > len(blocks)
        assert path.plot(ax) is ax
        ax.figure.canvas.draw()
        pyplot.close(ax.figure)

    def test_copies_and_files(self, path: Path, tmp_path: Any) -> None:
        save(path, tmp_path / "path")
        lams = np.geomspace(path.lam_max, path.lam_min, 7)
        for other in (pickle.loads(pickle.dumps(path)), load(tmp_path / "path")):
            assert other.events == path.events
            assert other.status == path.status
            assert other.n_factorisations == path.n_factorisations
            np.testing.assert_array_equal(other.gaps, path.gaps)
            np.testing.assert_array_equal(other.objective(lams), path.objective(lams))
            assert_same_bits(other(lams[3]), path(lams[3]))
        assert copy.copy(path) is path
        assert copy.deepcopy(path) is path
        assert "breakpoints" in repr(path)

    def test_breakpoints_decrease(self, path: Path) -> None:
        assert (np.diff(path.breakpoints) < 0).all()
        assert path.breakpoints[0] == path.lam_max == path.problem.lambda_max
        assert set(path.breakpoints) <= {path.lam_max, *path.segment_ends}


PROBLEM = medium("relu", n=30, n_gates=20)
PATH = trace_path(PROBLEM, 0.5 * PROBLEM.lambda_max)
START = solve(PROBLEM, 0.1)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"problem": None}, TypeError, "problem must be a Problem, got NoneType"),
    ({"lam_min": 0.0}, ValueError, "lam_min must be a finite number > 0, got 0"),
    ({"lam_min": np.nan}, ValueError, "lam_min must be a finite number > 0, got nan"),
    ({"lam_min": "0.1"}, TypeError, "lam_min must be a real number, got '0.1'"),
    ({"start": PROBLEM}, TypeError, "start must be a Solution, got Problem"),
    ({"start": START, "lam_min": 0.2}, ValueError, "start has lam 0.1, below lam_min 0.2"),
    (
        {"start": solve(medium("gated", n=30, n_gates=20), 0.1)},
        ValueError,
        "start must be a solution of the same problem object",
    ),
    ({"tol": 0.0}, ValueError, "tol must be a finite number > 0"),
    ({"time_limit": -1.0}, ValueError, "time_limit must be a finite number >= 0, got -1"),
    ({"max_segments": -1}, ValueError, "max_segments must be at least 0, got -1"),
    ({"max_segments": 1.5}, TypeError, "max_segments must be an integer, got 1.5"),
    ({"n_threads": 0}, ValueError, "n_threads must be at least 1, or -1 for .* got 0"),
    ({"callback": 1}, TypeError, "callback must be None or a callable"),
]


class TestArguments:
    @pytest.mark.parametrize(("arguments", "error", "message"), BAD)
    def test_bad_ones(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            trace_path(**{"problem": PROBLEM, "lam_min": 0.05, **arguments})

    @pytest.mark.parametrize(
        ("lams", "error"),
        [(0.0, ValueError), (np.nan, ValueError), ("x", TypeError), ([[1.0, 2.0]], ValueError)],
    )
    def test_bad_lams(self, lams: Any, error: type[Exception]) -> None:
        for call in (PATH.objective, PATH.n_active, PATH.coefficients):
            with pytest.raises(error, match="lams must"):
                call(lams)

    @pytest.mark.parametrize(
        ("lam", "error", "message"),
        [
            (0.0, ValueError, "lam must be a finite number > 0"),
            (np.nan, ValueError, "lam must be a finite number"),
            ("x", TypeError, "lam must be a real number, got 'x'"),
            ([0.5, 0.1], TypeError, r"lam must be a real number, got \[0.5, 0.1\]"),
            ([], TypeError, "lam must be a real number"),
            (1e-9, ValueError, "lams must be at least"),
        ],
    )
    def test_bad_lam(self, lam: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            PATH(lam)

    def test_bad_criterion(self) -> None:
        with pytest.raises(ValueError, match="criterion must be 'gcv' or 'aic', got 'cp'"):
            PATH.best_lam("cp")
        with pytest.raises(TypeError, match="criterion must be 'gcv', 'aic' or a pair"):
            PATH.best_lam(1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="y must have as many"):
            PATH.best_lam((PROBLEM.X, PROBLEM.y[:3]))

    def test_bad_X(self) -> None:
        with pytest.raises(ValueError, match="X must have"):
            PATH.predict(np.ones((2, 99)), 1.0)
