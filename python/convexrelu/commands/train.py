"""``convexrelu train``: from a table to a network with a certificate."""

from __future__ import annotations

import argparse
from time import perf_counter

from convexrelu import StandardizedNetwork, certify, to_network
from convexrelu._console import Console
from convexrelu.commands.fitting import (
    add_fitting_arguments,
    add_output_arguments,
    check_save_path,
    fit,
    save_model,
)
from convexrelu.commands.report import result_text, to_json
from convexrelu.commands.scores import score


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a network on a CSV file, with a certificate of optimality",
        description=(
            "Trains a two-layer ReLU network on a CSV file, to the global optimum of its convex "
            "program over the activation patterns of random gates, and proves how close it came. "
            "Features and target are standardised on the training rows, and lam refers to "
            "these; the saved network predicts raw rows."
        ),
        epilog="Exit status: 0 the gap is within the tolerance, 1 it is not, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_fitting_arguments(parser)
    add_output_arguments(parser, network=True)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Trains, reports, saves."""
    started = perf_counter()
    check_save_path(arguments)
    trained = fit(arguments, console)
    solution = trained.solution

    console.status("certifying", at_once=True)
    certificate = certify(solution)
    model = StandardizedNetwork(to_network(solution), trained.standardizer)
    certified = certificate.gap <= arguments.tol
    saved, failure = save_model(model, arguments.save)
    result = {
        "certified": certified,
        "gap": certificate.gap,
        "tol": arguments.tol,
        "status": solution.status,
        "objective": certificate.primal,
        "lower_bound": certificate.dual,
        "stationarity": certificate.stationarity,
        "cone_violation": certificate.cone_violation,
        "n_neurons": model.n_neurons,
        "scores": score(trained.data, model),
        "seconds": perf_counter() - started,
        "solve_seconds": trained.solve_seconds,
        "saved": saved,
    }
    console.write(
        to_json({**trained.setting, **result}) if arguments.json else result_text(result, console)
    )
    if failure is not None:
        raise failure
    return 0 if certified else 1
