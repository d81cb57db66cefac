"""``convexrelu prune``: fewer neurons, with the same fit first and then with the least change."""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

from convexrelu import Solution, StandardizedNetwork, TableNetwork, prune, to_network
from convexrelu.cli import arguments as types
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import (
    Fit,
    add_fitting_arguments,
    add_output_arguments,
    check_output_path,
    fit,
    save_output,
)
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.scores import score, score_table
from convexrelu.pruning import SCORES


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "prune",
        help="train, then remove neurons",
        description=(
            "Trains as 'convexrelu train --gates 500' does and removes neurons: as many as "
            "possible without a change of the fit on the training rows, then, with --neurons, "
            "those whose loss can be made up for best by the others."
        ),
        epilog=(
            "Exit status: 0 the gap of the trained network over its patterns is within the "
            "tolerance, 1 it is not, 2 bad input."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_fitting_arguments(parser)
    parser.add_argument(
        "--neurons",
        metavar="N",
        type=types.integer("a non-negative integer", low=0),
        help="how many to leave (as few as have the same fit)",
    )
    parser.add_argument(
        "--score",
        choices=SCORES,
        default="residual",
        help="what decides which neuron goes when the fit has to change (%(default)s)",
    )
    add_output_arguments(parser, network=True)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Trains, prunes, reports, saves."""
    started = perf_counter()
    check_output_path(arguments)
    trained = fit(arguments, console)
    console.status("pruning", at_once=True)
    pruning_started = perf_counter()
    steps: dict[str, Solution] = {"trained": trained.solution, "same fit": prune(trained.solution)}
    if arguments.neurons is not None:
        steps["pruned"] = prune(
            steps["same fit"],
            n_neurons=arguments.neurons,
            score=arguments.score,
            rng=trained.training.seed.spawn(1)[0],
        )
    pruning_seconds = perf_counter() - pruning_started

    final = _model(trained, list(steps.values())[-1])
    data = trained.training.data
    saved, failure = save_output(
        TableNetwork(final, data.preprocessor, data.target), arguments.save
    )
    scores = _scores(trained, steps)
    certified = trained.solution.gap <= arguments.tol
    result = {
        "certified": certified,
        "tol": arguments.tol,
        "steps": {
            name: {"n_neurons": len(s.active_set), "objective": s.objective, "gap": s.gap}
            for name, s in steps.items()
        },
        "scores": scores,
        "seconds": perf_counter() - started,
        "solve_seconds": trained.solve_seconds,
        "pruning_seconds": pruning_seconds,
        "saved": saved,
    }
    console.write(
        to_json({**trained.setting, **result}) if arguments.json else _text(result, console)
    )
    if failure is not None:
        raise failure
    return 0 if certified else 1


def _model(trained: Fit, solution: Solution) -> StandardizedNetwork:
    return StandardizedNetwork(to_network(solution), trained.training.standardizer)


def _scores(trained: Fit, steps: dict[str, Solution]) -> dict[str, dict[str, dict[str, float]]]:
    """Of the network after each step, on test and training rows."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for name, solution in steps.items():
        for kind, models in score(trained.training.data, _model(trained, solution)).items():
            scores.setdefault(kind, {})[name] = models["network"]
    return scores


def _text(result: dict[str, Any], console: Console) -> str:
    r = result
    lines = [
        (name, f"{s['n_neurons']} neurons, objective {s['objective']:.8g}, gap {s['gap']:.1e}")
        for name, s in r["steps"].items()
    ]
    lines += [
        (
            "seconds",
            f"{r['seconds']:.2f}, of which solver {r['solve_seconds']:.2f}, "
            f"pruning {r['pruning_seconds']:.3f}",
        ),
        *([("saved", r["saved"])] if r["saved"] else []),
        ("", ""),
        *score_table(r["scores"]),
    ]
    return labelled_lines(lines, console)
