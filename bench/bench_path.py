"""The exact path: what it costs and how accurate it is.

    python -m bench.bench_path [--clarabel] [--full] [DATA:FORMULATION:GATES:RATIO ...]

traces from lambda_max to RATIO lambda_max, evaluates the objective at 1,000 lam, and certifies 40
of them (and 3 against an independent solve) before it reports a time. Columns: CPU seconds of the
trace and of the evaluation; segments, factorisations, restarts, events; mean order of the Taylor
series; most active blocks; the trace in units of one pass over all patterns (a full pattern
gradient); the worst relative gap. With --clarabel, the CPU seconds of one solve by Clarabel at the
last lam. --full checks 200 lam, each against a solve, on more cases: minutes (nox -s path_full).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from bench import data
from convexrelu import Path, Problem, sample_patterns, solve, trace_path

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
FULL = tuple(
    f"{name}:{formulation}:{gates}:1e-3"
    for formulation, gates in (("gated", 50), ("gated", 200), ("relu", 20), ("relu", 100))
    for name in (
        "iris",
        "monks-1",
        "diabetes",
        "breast-cancer-wisconsin",
        "tic-tac-toe",
        "concrete",
    )
)
N_LAMS = 1000


def cpu(call: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def make(case: str) -> tuple[Problem, float]:
    name, formulation, gates, ratio = case.split(":")
    table = data.load(name)
    patterns = sample_patterns(table.X, int(gates), rng=0)
    return Problem(table.X, table.y, patterns, formulation=formulation), float(ratio)


def gradient_seconds(problem: Problem) -> float:
    """One pass over all patterns, as the objective's gradient takes it."""
    masks = problem.patterns.masks.astype(float)

    def once() -> np.ndarray:
        return problem.X.T @ (masks * problem.y[:, None])

    return min(cpu(lambda: [once() for _ in range(10)])[0] / 10 for _ in range(3))


def check(path: Path, n_lams: int, n_solves: int) -> float:
    """The worst gap over so many lam; raises where the path is not optimal."""
    inner = np.geomspace(0.999 * path.lam_max, path.lam_min, n_lams)
    solutions = [path(lam) for lam in inner]
    values = path.objective(inner)
    for value, solution in zip(values, solutions, strict=True):
        assert abs(value - solution.objective) <= 1e-10 * solution.objective
    reference = None
    for j in np.linspace(0, n_lams - 1, n_solves).astype(int):
        reference = solve(path.problem, inner[j], warm_start=reference)
        assert abs(reference.objective - values[j]) <= 1e-10 * values[j]
    worst = max(solution.gap for solution in solutions)
    assert worst <= 1e-9, worst
    return worst


def clarabel_seconds(problem: Problem, lam: float) -> float:
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
    return cpu(lambda: _solve(program, 1e-8, 1))[0]


def report(case: str, *, clarabel: bool, full: bool, time_limit: float) -> None:
    problem, ratio = make(case)
    lam_min = ratio * problem.lambda_max
    seconds, path = cpu(lambda: trace_path(problem, lam_min, time_limit=time_limit))
    lams = np.geomspace(path.lam_max, path.lam_min, N_LAMS)
    evaluation, _ = cpu(lambda: path.objective(lams))
    gap = check(path, *((200, 200) if full else (40, 3)))
    order = path.parts.shapes[:, 1].mean() - 1
    most = path.parts.shapes[:, 0].max()
    line = (
        f"{case:38} {path.status:10} {seconds:8.2f} {evaluation:6.3f} {path.n_segments:5d} "
        f"{path.n_factorisations:5d} {path.n_restarts:4d} {len(path.events):5d} {order:5.1f} "
        f"{most:4d} {seconds / gradient_seconds(problem):9.0f} {gap:8.1e}"
    )
    if path.lam_min > lam_min:
        line += f"  to {path.lam_min / problem.lambda_max:.1e}"
    if clarabel:
        line += f"  clarabel {clarabel_seconds(problem, path.lam_min):.2f} s"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--clarabel", action="store_true")
    parser.add_argument("--time-limit", type=float, default=60.0)
    arguments = parser.parse_args()
    print(
        f"{'case':38} {'status':10} {'trace s':>8} {'eval s':>6} {'segs':>5} {'fact':>5} "
        f"{'rest':>4} {'event':>5} {'order':>5} {'act':>4} {'gradients':>9} {'gap':>8}"
    )
    for case in arguments.cases or (FULL if arguments.full else CASES):
        try:
            report(
                case,
                clarabel=arguments.clarabel,
                full=arguments.full,
                time_limit=arguments.time_limit,
            )
        except data.MissingData as missing:
            print(f"{case:38} skipped: {missing}")


if __name__ == "__main__":
    main()
