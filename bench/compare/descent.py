"""solve_global against Adam on the same training problems, both in one run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from typing import Any

from bench.compare.environments import OWN, interpreter
from bench.compare.race import ROOT, THREAD_VARIABLES

TIE = 1e-5  # relative difference of objectives


def compare(
    dataset: str,
    lam: float,
    *,
    seconds: list[float],
    seeds: list[int],
    threads: int,
    earlier: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Adam at every budget, learning rate and seed; then solve_global against the best of them.

    Adam is not trained again where `earlier` holds a comparison with the same runs.
    """
    common = [dataset, repr(lam), "--threads", str(threads)]
    adam, failure = _earlier_runs(earlier, dataset, lam, seconds, seeds), ""
    if not adam:
        budgets = ["--seconds", *map(str, seconds), "--seeds", *map(str, seeds)]
        adam, failure = _lines("scnn", "adam", [*common, *budgets], threads)
    result: dict[str, Any] = {"dataset": dataset, "lam": lam, "adam": adam, "failure": failure}
    if adam:
        target = min(run["objective"] for run in adam if run["seconds"] == max(seconds))
        goal = ["--target", repr(target), "--seconds", str(max(seconds))]
        ours, failure = _lines(OWN, "growth", [*common, *goal], threads)
        result.update(target=target, ours=ours, failure=failure)
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Best of Adam at each budget, and this library's time to the last of them and its own best."""
    lines = []
    for result in results:
        lines.append(f"{result['dataset']} lam={result['lam']:g}")
        for seconds in sorted({run["seconds"] for run in result["adam"]}):
            runs = [run for run in result["adam"] if run["seconds"] == seconds]
            best = min(runs, key=lambda run: run["objective"])
            worst = max(run["objective"] for run in runs)
            lines.append(
                f"  Adam {seconds:g} s: {best['objective']:.8f} (learning rate"
                f" {best['learning_rate']:g}, {best['steps']} steps; worst {worst:.6f})"
            )
        labels = ("to Adam's value", "to the end")
        for label, run in zip(labels, result.get("ours", ()), strict=False):
            lines.append(
                f"  solve_global {label}: {run['objective']:.8f} in {run['cpu']:.2f} s,"
                f" {run['n_neurons']} neurons, bound {run['global_lower_bound']}, {run['status']}"
            )
        if result["failure"]:
            lines.append(f"  {result['failure']}")
    return "\n".join(lines)


def markdown(results: list[dict[str, Any]]) -> str:
    """The same as one table: who is lower after the longest budget, by more than 1e-5 relative."""
    lines = [
        "| data | λ | Adam | its s | ours | our s | s to Adam's value | | proven of any width |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        budget = max(run["seconds"] for run in result["adam"])
        adam = min(run["objective"] for run in result["adam"] if run["seconds"] == budget)
        to_target, final = result["ours"]
        reached = f"{to_target['cpu']:.2f}" if to_target["objective"] <= adam else "-"
        difference = final["objective"] / adam - 1
        verdict = "tie" if abs(difference) <= TIE else "win" if difference < 0 else "LOSS"
        lines.append(
            f"| {result['dataset']} | {result['lam']:g} | {adam:.7f} | {budget:g} "
            f"| {final['objective']:.7f} | {final['cpu']:.1f} | {reached} | {verdict} "
            f"| ≥ {final['global_lower_bound']:.3g} |"
        )
    return "\n".join(lines)


def _earlier_runs(
    earlier: Iterable[dict[str, Any]],
    dataset: str,
    lam: float,
    seconds: list[float],
    seeds: list[int],
) -> list[dict[str, Any]]:
    wanted = {(budget, seed) for budget in seconds for seed in seeds}
    for comparison in earlier:
        adam = comparison["adam"]
        if (comparison["dataset"], comparison["lam"]) == (dataset, lam) and wanted == {
            (run["seconds"], run["seed"]) for run in adam
        }:
            return adam
    return []


def _lines(
    environment: str, module: str, arguments: list[str], threads: int
) -> tuple[list[dict[str, Any]], str]:
    """What a module printed as JSON, and its last words where it failed."""
    process = subprocess.run(
        [str(interpreter(environment)), "-m", f"bench.compare.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
        capture_output=True,
        text=True,
    )
    failure = process.stderr.strip().splitlines()[-1] if process.returncode else ""
    return [json.loads(line) for line in process.stdout.splitlines()], failure
