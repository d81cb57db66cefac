"""The exact path: what it costs and how accurate it is.

    python -m bench.bench_path [--clarabel] [--full] [DATA:FORMULATION:GATES:RATIO ...]

traces from lambda_max to RATIO lambda_max, evaluates the objective at 1,000 lam, and certifies 40
of them (and 3 against an independent solve) before it reports a time. Columns: CPU seconds of the
trace and of the evaluation; segments, factorisations, restarts, events; mean order of the Taylor
series; most active blocks; the trace in units of one pass over all patterns (a full pattern
gradient); the worst relative gap, and the worst relative difference from a solve. With --clarabel,
the same difference from Clarabel at 3 lam, and its CPU seconds for the last of them. With --skglm
(gated; it needs `python -m bench.compare setup celer`), what its path of 100 points takes down to a
worst gap of 3e-6, and our path on the same patterns, with objectives and weights at 1,000 lam, in
CPU seconds and as a share of that. --full checks
200 lam, each against a solve, on more cases: hours (nox -s path_full). A case that fails a check
says so, and the exit code is 1. DATA is a name of bench.data, or planted-NxD (synthetic).
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from typing import Any

import numpy as np

from bench import data
from convexrelu import Path, Problem, patterns_from_gates, sample_patterns, solve, trace_path

CASES = (
    "diabetes:gated:50:1e-3",
    "diabetes:gated:500:1e-2",
    "diabetes:gated:2000:1e-2",
    "breast-cancer-wisconsin:gated:200:1e-2",
    "iris:gated:200:1e-3",
    "diabetes:relu:50:1e-2",
    "iris:relu:100:1e-2",
    "monks-1:relu:20:1e-2",
    "concrete:relu:20:1e-2",
)
NAMES = (
    "iris",
    "monks-1",
    "diabetes",
    "breast-cancer-wisconsin",
    "tic-tac-toe",
    "concrete",
    "planted-300x8",
)
SIZES = (("gated", 50), ("gated", 200), ("gated", 1000), ("relu", 20), ("relu", 100))
FULL = tuple(f"{name}:{formulation}:{gates}:1e-3" for formulation, gates in SIZES for name in NAMES)
N_LAMS = 1000


def cpu(call: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def make(case: str) -> tuple[Problem, float]:
    name, formulation, gates, ratio = case.split(":")
    synthetic = re.fullmatch(r"planted-(\d+)x(\d+)", name)
    table = data.planted(int(synthetic[1]), int(synthetic[2])) if synthetic else data.load(name)
    patterns = sample_patterns(table.X, int(gates), rng=0)
    return Problem(table.X, table.y, patterns, formulation=formulation), float(ratio)


def gradient_seconds(problem: Problem) -> float:
    """One pass over all patterns, as the objective's gradient takes it."""
    masks = problem.patterns.masks.astype(float)

    def once() -> np.ndarray:
        return problem.X.T @ (masks * problem.y[:, None])

    return min(cpu(lambda: [once() for _ in range(10)])[0] / 10 for _ in range(3))


class CheckFailed(Exception):
    """The path is not optimal to what it promises."""


def require(value: float, limit: float, what: str) -> float:
    if not value <= limit:
        raise CheckFailed(f"{what} is {value:.1e}, above {limit:.0e}")
    return value


def check(path: Path, n_lams: int, n_solves: int) -> tuple[float, float]:
    """The worst gap over so many lam, and the worst difference from a solve over so many."""
    inner = np.geomspace(0.999 * path.lam_max, path.lam_min, n_lams)
    values = path.objective(inner)
    solutions = [path(lam) for lam in inner]
    gap = max(solution.gap for solution in solutions)
    certified = np.array([solution.objective for solution in solutions])
    require(gap, 1e-9, "the worst gap")
    require(np.abs(values / certified - 1).max(), 1e-10, "the difference of its own objectives")
    differences = []
    reference = None
    for j in np.linspace(0, n_lams - 1, n_solves).astype(int):
        reference = solve(path.problem, inner[j], warm_start=reference)
        differences.append(abs(reference.objective / values[j] - 1))
    return gap, require(max(differences), 1e-10, "the difference from solve")


def check_by_clarabel(path: Path) -> tuple[float, float]:
    """The worst relative difference at 3 lam, and the CPU seconds of one solve at the last."""
    lams = path.lam_max * (path.lam_min / path.lam_max) ** np.array([1 / 3, 2 / 3, 1.0])
    seconds, differences = np.nan, []
    for lam, value in zip(lams, path.objective(lams), strict=True):
        seconds, found = clarabel(path.problem, lam)
        differences.append(abs(found / value - 1))
    return require(max(differences), 1e-7, "the difference from Clarabel"), seconds


def clarabel(problem: Problem, lam: float) -> tuple[float, float]:
    """CPU seconds of a solve, and the objective that it found."""
    from bench.compare.adapters.clarabel import _solve
    from bench.compare.adapters.conic import conic_program
    from bench.compare.protocol import Task

    task = Task(
        problem.X,
        problem.y,
        problem.patterns.masks,
        problem.patterns.gates,
        np.array([lam]),
        problem.formulation,
        1,
        4e9,
        600.0,
    )
    program = conic_program(task)
    seconds, solution = cpu(lambda: _solve(program, 1e-9, 1))
    return seconds, solution.obj_val


def compare_with_skglm(case: str) -> str:
    """A path from lambda_max, its objectives and weights at 1,000 lam; skglm's path of 100."""
    from bench.compare import problems, race

    name, _, gates, ratio = case.split(":")
    drawn = problems.build(f"gated-{name}-{gates}-grid{float(ratio)}")
    X, y = drawn.instance.X, drawn.instance.y
    problem = Problem(X, y, patterns_from_gates(X, drawn.gates), formulation="gated")
    lams = np.geomspace(drawn.lams[0], drawn.lams[-1], N_LAMS)

    def trace() -> Path:
        path = trace_path(problem, lams[-1])
        path.objective(lams)
        path.coefficients(lams)
        return path

    seconds, path = cpu(trace)
    gap = require(max(path(lam).gap for lam in lams), 1e-9, "the worst gap of 1,000 lam")
    points: list[dict[str, Any]] = []

    def add(point: dict[str, Any]) -> None:
        points.append(point)
        if point["gap"] <= 3e-6:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        race.race("skglm", drawn, threads=1, time_limit=300.0, memory_limit=8e9, on_point=add)
    # Its time to the gap is between those of two tolerances: the share is at most the first.
    theirs = ", ".join(
        f"{point['cpu']:.1f} s to {point['gap']:.1e} ({seconds / point['cpu']:.3f})"
        for point in points[-2:]
    )
    return f"  ours {seconds:.2f} s to {gap:.1e}, skglm {theirs}"


def report(case: str, options: argparse.Namespace) -> None:
    problem, ratio = make(case)
    lam_min = ratio * problem.lambda_max
    seconds, path = cpu(lambda: trace_path(problem, lam_min, time_limit=options.time_limit))
    lams = np.geomspace(path.lam_max, path.lam_min, N_LAMS)
    evaluation, _ = cpu(lambda: path.objective(lams))
    order = path.parts.shapes[:, 1].mean() - 1
    most = path.parts.shapes[:, 0].max()
    print(
        f"{case:38} {path.status:10} {seconds:8.2f} {evaluation:6.3f} {path.n_segments:5d} "
        f"{path.n_factorisations:5d} {path.n_restarts:4d} {len(path.events):5d} {order:5.1f} "
        f"{most:4d} {seconds / gradient_seconds(problem):9.0f} ",
        end="",
        flush=True,
    )
    print(
        "{:8.1e} {:8.1e}".format(*check(path, *((200, 200) if options.full else (40, 3)))), end=""
    )
    if path.lam_min > lam_min:
        print(f"  to {path.lam_min / problem.lambda_max:.1e}", end="")
    if options.skglm:
        print(compare_with_skglm(case), end="")
    if options.clarabel:
        print("  clarabel {:.1e} {:.2f} s".format(*check_by_clarabel(path)), end="")
    print(flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--skglm", action="store_true")
    parser.add_argument("--clarabel", action="store_true")
    parser.add_argument("--time-limit", type=float, default=60.0)
    arguments = parser.parse_args()
    print(
        f"{'case':38} {'status':10} {'trace s':>8} {'eval s':>6} {'segs':>5} {'fact':>5} "
        f"{'rest':>4} {'event':>5} {'order':>5} {'act':>4} {'gradients':>9} {'gap':>8} {'solve':>8}"
    )
    n_failed = 0
    for case in arguments.cases or (FULL if arguments.full else CASES):
        try:
            report(case, arguments)
        except data.MissingData as missing:
            print(f"{case:38} skipped: {missing}")
        except CheckFailed as failed:
            n_failed += 1
            print(f"FAILED: {failed}", flush=True)
    return min(n_failed, 1)


if __name__ == "__main__":
    sys.exit(main())
