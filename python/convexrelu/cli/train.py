"""``convexrelu train``: from a table to a network with a certificate."""

from __future__ import annotations

import argparse
import math
from time import perf_counter

from convexrelu import (
    StandardizedNetwork,
    TableNetwork,
    certify,
    to_network,
)
from convexrelu._training import record_of
from convexrelu.cli.classes import train_classes
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import (
    add_fitting_arguments,
    add_output_arguments,
    check_output_path,
    check_outputs_differ,
    fit_any,
    read_training,
    save_output,
)
from convexrelu.cli.page import add_page_argument, write_page
from convexrelu.cli.report import result_text, to_json
from convexrelu.cli.scores import score
from convexrelu.solution import relative_gap


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a network on a CSV file, with a certificate of optimality",
        description=(
            "Trains a two-layer ReLU network on a CSV file: grows its activation patterns until a "
            "search finds none that would improve it, or draws those of random gates, and solves "
            "the convex program over them, with a proof of how close it came. Features and target "
            "are standardised on the training rows, and lam refers to these; the saved network "
            "predicts raw rows."
        ),
        epilog=(
            "Exit status: 0 the gap over the network's patterns is within the tolerance, 1 it is "
            "not, 2 bad input. The bound over all patterns, where patterns grow, is only reported."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_fitting_arguments(parser, grows=True)
    parser.add_argument(
        "--classes",
        action="store_true",
        help="take the numbers of the target for classes, as its texts are anyhow",
    )
    add_output_arguments(parser, network=True)
    add_page_argument(parser)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Trains, reports, saves."""
    started = perf_counter()
    check_output_path(arguments)
    check_output_path(arguments, "--report")
    check_outputs_differ(arguments, "--save", "--report")
    training = read_training(arguments, console, takes_classes=True)
    if training.data.class_names is not None:
        return train_classes(arguments, training, console, started)
    trained = fit_any(arguments, console, training)
    solution = trained.solution

    console.status("certifying", at_once=True)
    certificate = certify(solution)
    model = StandardizedNetwork(to_network(solution), trained.training.standardizer)
    certified = certificate.gap <= arguments.tol
    status, bound = solution.status, math.nan
    if trained.growth is not None:
        bound = trained.growth.global_lower_bound
        status = trained.growth.status.replace("callback", trained.why_growth_ended)
    data = trained.training.data
    trainings = [trained.as_training()]
    table_network = TableNetwork(model, data.preprocessor, data.target, record_of(trainings))
    saved, failure = save_output(table_network, arguments.save)
    page, no_page = write_page(arguments, table_network, data, trainings)
    result = {
        "certified": certified,
        "gap": certificate.gap,
        "tol": arguments.tol,
        "status": status,
        "objective": certificate.primal,
        "lower_bound": certificate.dual,
        "global_lower_bound": bound,
        "global_gap": relative_gap(certificate.primal, bound),
        "stationarity": certificate.stationarity,
        "cone_violation": certificate.cone_violation,
        "n_neurons": model.n_neurons,
        "scores": score(trained.training.data, model),
        "seconds": perf_counter() - started,
        "solve_seconds": trained.solve_seconds,
        "saved": saved,
        "report": page,
    }
    console.write(
        to_json({**trained.setting, **result})
        if arguments.json
        else result_text(result, console, grown=trained.growth is not None)
    )
    for problem in (failure, no_page):
        if problem is not None:
            raise problem
    return 0 if certified else 1
