"""``convexrelu optimal-set``: all optimal networks of a problem, and where they disagree."""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import AccuracyError, LimitExceeded, OptimalSet, find_optimal_set
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import (
    Fit,
    add_fitting_arguments,
    add_output_arguments,
    fit,
    grow,
)
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.table import InputError

_SMALLEST_SECONDS = 10.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "optimal-set",
        help="train, and describe the set of all optimal networks",
        description=(
            "Trains as 'convexrelu train --gates 500' does and describes the set of all optimal "
            "networks over the same activation patterns, or over all of them: its dimension, the "
            "neurons that can and must be active, the fewest neurons, and how far predictions on "
            "the test rows differ from one optimal network to another."
        ),
        epilog="Exit status: 0 done, 1 no optimum could be reached, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_fitting_arguments(parser)
    parser.add_argument(
        "--all-patterns",
        action="store_true",
        help="over all activation patterns of the training rows, for some four features; "
        "--gates then has no effect",
    )
    add_output_arguments(parser, network=False)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Trains, finds the set, reports."""
    if arguments.all_patterns and arguments.formulation == "gated":
        raise InputError("--all-patterns: gated neurons have the patterns of their gates alone")
    if arguments.all_patterns:
        trained = grow(arguments, console, certify=False)  # the set brings the proof
    else:
        trained = fit(arguments, console)
    console.status("finding the optimal set", at_once=True)
    started = perf_counter()
    try:
        optima = find_optimal_set(
            trained.solution,
            all_patterns=arguments.all_patterns,
            time_limit=arguments.time_limit,
        )
        result = {
            "n_patterns": len(optima.problem.patterns),
            "objective": optima.objective,
            "dimension": optima.dimension,
            "n_blocks": sum(len(blocks) for blocks in optima.merged),
            "n_neurons": len(optima.blocks),
            "n_support": int(optima.support.sum()),
            "n_necessary": int(optima.necessary.sum()),
            "is_p_unique": optima.is_p_unique,
            "is_complete": optima.is_complete,
            "fewest_neurons": _fewest(optima),
            "test": _spread(trained, optima) if len(trained.training.data.y_test) else None,
            "seconds": perf_counter() - started,
            "solve_seconds": trained.solve_seconds,
        }
    except AccuracyError as error:
        console.complain(f"convexrelu optimal-set: {error}")
        return 1
    console.write(
        to_json({**trained.setting, **result}) if arguments.json else _text(result, console)
    )
    return 0


def _fewest(optima: OptimalSet) -> int | None:
    try:
        return int((optima.smallest(time_limit=_SMALLEST_SECONDS) > 0).sum())
    except LimitExceeded:  # the time
        return None


def _spread(trained: Fit, optima: OptimalSet) -> dict[str, float]:
    """How far predictions on the test rows differ, in units of the target."""
    data, standardizer = trained.training.data, trained.training.standardizer
    low, high = optima.prediction_range(standardizer.transform(data.X_test))
    widths = standardizer.y_scale * (high - low)
    spread = {"median_width": float(np.median(widths)), "largest_width": float(widths.max())}
    if data.classes is not None:
        middle = data.classes[0] / 2 + data.classes[1] / 2
        threshold = (middle - standardizer.y_mean) / standardizer.y_scale
        spread["agreement"] = float(np.mean((low > threshold) == (high > threshold)))
    return spread


def _text(result: dict[str, Any], console: Console) -> str:
    r = result
    if r["is_p_unique"]:
        verdict = "one network, up to the order and splitting of its neurons"
    else:
        verdict = f"infinitely many networks, a polytope of dimension {r['dimension']}"
    fewest = r["fewest_neurons"]
    if r["is_complete"]:
        verdict += ", over all patterns"
    lines = [
        ("optima", verdict),
        ("objective", f"{r['objective']:.8g}, of all of them"),
        (
            "neurons",
            f"{r['n_support']} can be active, {r['n_necessary']} must be; "
            f"{r['n_neurons']} distinct ones in {r['n_blocks']} blocks are tight",
        ),
        ("fewest", "not proven" if fewest is None else f"{fewest} neurons"),
        ("seconds", f"{r['seconds']:.2f}, and solver {r['solve_seconds']:.2f}"),
    ]
    if r["test"]:
        t = r["test"]
        text = f"range of predictions {t['median_width']:.3g} (median), {t['largest_width']:.3g}"
        lines.append(("test rows", text + " (largest)"))
        if "agreement" in t:
            lines.append(("", f"all optimal networks agree on {100 * t['agreement']:.1f} %"))
    return labelled_lines(lines, console)
