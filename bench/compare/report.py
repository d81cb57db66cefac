"""Tables and profiles of what `run` measured.

Time to a gap is the least time of any point that has it: what a user would pay who knew which
tolerance to ask for. "subopt" judges a point by the best lower bound that anybody reached instead
of its own, which is kinder to solvers that polish the fit less.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

TARGETS = (1e-4, 1e-6, 1e-8)
FACTORS = (1, 2, 5, 10, 20, 50, 100)

Results = dict[str, Any]
Report = Callable[[list[Results], str], str]


def table(results: list[Results], clock: str = "cpu") -> str:
    """Seconds to relative gaps of 1e-4, 1e-6 and 1e-8, problem by problem."""
    lines = []
    for result in results:
        facts = result["machine"]
        lines.append(
            f"{facts['processor']}, {facts['threads']} thread(s), gemm float64"
            f" {facts['gemm_float64_gflops']} float32 {facts['gemm_float32_gflops']} GF/s, commit"
            f" {result['commit']}, {result['started']}, {clock} seconds,"
            f" at most {result['time_limit']:g} a run"
        )
    for name, problem, runs in by_problem(results):
        lams = problem["lams"]
        lam = f"lam={lams[0]:.6g}" if len(lams) == 1 else f"{len(lams)} lams to {lams[-1]:.6g}"
        size = f"n={problem['n']} d={problem['d']} P={problem['n_patterns']} {lam}"
        lines += ["", f"### {name}", f"{size}, lambda_max={problem['lambda_max']:.6g}", ""]
        header = ["peer", *(f"{target:.0e}" for target in TARGETS), "best gap", "best subopt"]
        header += ["violation", "active", "modelling s", "startup s", "peak MB", "status"]
        lines += markdown(header, [_row(run, _best_duals(runs), clock) for run in runs])
    return "\n".join(lines)


def profile(results: list[Results], clock: str = "cpu") -> str:
    """Of how many problems each peer reaches a gap within a factor of the fastest peer's time."""
    lines = []
    groups = list(by_problem(results))
    peers = list(dict.fromkeys(run["peer"] for _, _, runs in groups for run in runs))
    for target in TARGETS:
        within: dict[str, list[float]] = {peer: [] for peer in peers}
        n_solved = 0
        for _, _, runs in groups:
            times = {run["peer"]: time_to_gap(run, target, clock) for run in runs}
            fastest = min(times.values())
            if math.isfinite(fastest):
                n_solved += 1
                for peer, taken in times.items():
                    within[peer].append(taken / fastest)
        lines += [f"### gap {target:.0e}, {n_solved} of {len(groups)} problems solved by any", ""]
        header = ["peer", "entered", *(f"x{factor}" for factor in FACTORS), "ever"]
        rows = []
        for peer in peers:
            ratios = within[peer]
            counts = [sum(ratio <= factor for ratio in ratios) for factor in (*FACTORS, 1e300)]
            rows.append([peer, str(len(ratios)), *map(str, counts)])
        lines += [*markdown(header, rows), ""]
    return "\n".join(lines)


def as_json(results: Results) -> str:
    """Each run, problem and comparison on a line of its own."""
    return "{\n" + ",\n".join(_json_item(*item) for item in results.items()) + "\n}\n"


def _json_item(key: str, value: Any) -> str:
    if isinstance(value, list):
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    elif key == "problems":
        text = (
            "{\n"
            + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            + "\n}"
        )
    else:
        text = json.dumps(value)
    return f"{json.dumps(key)}: {text}"


def summary(run: dict[str, Any], clock: str = "cpu") -> str:
    """One line on one run."""
    times = "/".join(seconds(time_to_gap(run, target, clock)) for target in TARGETS)
    return f"{run['peer']}: {times}, best gap {_best_gap(run, clock)} ({run['status']})"


def time_to_gap(run: dict[str, Any], target: float, clock: str = "cpu") -> float:
    """Least seconds of any point whose gap is at most `target`; infinity where there is none."""
    return min(
        (point[clock] for point in run["points"] if point["gap"] <= target), default=math.inf
    )


def by_problem(results: list[Results]) -> Iterable[tuple[str, dict[str, Any], list[dict]]]:
    problems = {name: facts for result in results for name, facts in result["problems"].items()}
    for name, facts in problems.items():
        latest = {
            run["peer"]: run
            for result in results
            for run in result["runs"]
            if run["problem"] == name
        }
        yield name, facts, list(latest.values())


def _best_duals(runs: list[dict[str, Any]]) -> list[float]:
    duals = [point["dual"] for run in runs for point in run["points"]]
    return [max(bounds) for bounds in zip(*duals, strict=True)]


def _suboptimality(point: dict[str, Any], duals: list[float]) -> float:
    return max(
        (primal - dual) / primal if primal > 0 else 0.0
        for primal, dual in zip(point["primal"], duals, strict=True)
    )


def _row(run: dict[str, Any], duals: list[float], clock: str) -> list[str]:
    row = [run["peer"], *(seconds(time_to_gap(run, target, clock)) for target in TARGETS)]
    if not run["points"]:
        return [*row, *7 * ["-"], run["status"]]
    best = min(run["points"], key=lambda point: point["gap"])
    last = min(run["points"], key=lambda point: _suboptimality(point, duals))
    return [
        *row,
        _best_gap(run, clock),
        f"{max(_suboptimality(last, duals), 0.0):.0e} at {seconds(last[clock])}",
        f"{best['violation']:.0e}",
        str(best["n_active"]),
        seconds(run["modelling"]),
        seconds(run["startup"]),
        f"{max(point['peak_memory'] for point in run['points']) / 1e6:.0f}",
        run["status"],
    ]


def _best_gap(run: dict[str, Any], clock: str) -> str:
    best = min(run["points"], key=lambda point: point["gap"], default=None)
    return f"{best['gap']:.0e} at {seconds(best[clock])}" if best else "-"


def seconds(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "-"


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
