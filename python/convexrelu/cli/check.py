"""``convexrelu check``: what a saved network is worth on a table."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from convexrelu import (
    AccuracyError,
    ClassNetwork,
    LimitExceeded,
    Network,
    NetworkReport,
    StandardizedNetwork,
    TableNetwork,
    check_network,
    load,
)
from convexrelu.cli import arguments as types
from convexrelu.cli.console import Console
from convexrelu.cli.data import add_data_arguments, read_data
from convexrelu.cli.fitting import add_output_arguments
from convexrelu.cli.report import check_text, to_json
from convexrelu.cli.table import InputError

_PLACE_SECONDS = 10.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "check",
        help="how far a saved network is from stationary, and from the best of any width",
        description=(
            "Compares a saved network with the best one that has its activation patterns, and with "
            "a proven bound on all networks of any width, on the training rows of a CSV file. "
            "The defaults of --test and --seed are those of train, so that the rows are too."
        ),
        epilog="Exit status: 0 the network is stationary, 1 it is not, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "network", metavar="NETWORK", type=Path, help="a file of convexrelu train --save or save()"
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--lam",
        metavar="V",
        required=True,
        type=types.number("a positive number", low=0.0, open_low=True),
        help="strength of the regularisation that it was trained with",
    )
    types.add_seed_argument(parser, "the choice of test rows and of the search for the bound")
    types.add_tol_argument(
        parser, default=1e-6, what="the relative gap that still counts as none (%(default)s)"
    )
    parser.add_argument(
        "--time-limit",
        metavar="S",
        default=60.0,
        type=types.number("a number of seconds", low=0.0),
        help="seconds for the bound on all networks (%(default)s)",
    )
    add_output_arguments(parser, network=False)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Checks and reports."""
    console.status("reading", at_once=True)
    model = load_network(arguments.network)
    if isinstance(model.network if isinstance(model, TableNetwork) else model, ClassNetwork):
        raise InputError(f"{arguments.network}: check takes networks of one number, not of classes")
    split_seed, seed = np.random.SeedSequence(arguments.seed).spawn(2)
    of_tables = model if isinstance(model, TableNetwork) else None
    if of_tables is not None:
        model = of_tables.network
    data = read_data(arguments, np.random.default_rng(split_seed), of_tables)
    if model.n_features != data.X.shape[1]:
        raise InputError(
            f"{arguments.network}: the network has {model.n_features} features, "
            f"but {data.path} has {data.X.shape[1]}"
        )
    X, y, network = data.X, data.y, model
    if isinstance(model, StandardizedNetwork):
        X = model.standardizer.transform(X)
        y = model.standardizer.transform_target(y)
        network = model.network
    console.status("checking", at_once=True)
    report = check_network(
        network,
        X,
        y,
        arguments.lam,
        tol=arguments.tol,
        time_limit=arguments.time_limit,
        rng=seed,
    )
    place = _place(report) if report.is_stationary else None
    result: dict[str, Any] = {
        "network": os.fspath(arguments.network),
        "file": os.fspath(data.path),
        "lam": arguments.lam,
        "n_neurons": network.n_neurons,
        "n_merged": report.merged.n_neurons,
        "n_patterns": len(report.best.problem.patterns),
        "objective": report.objective,
        # Never above that of the network, which is one of those: two sums may round differently.
        "best_objective": min(report.best.objective, report.objective),
        "gap": report.gap,
        "stationary": report.is_stationary,
        "has_all_sides": report.has_all_sides,
        "global_lower_bound": report.global_lower_bound,
        "global_gap": report.global_gap,
        "global": report.is_global,
        "place": place,
    }
    console.write(to_json(result) if arguments.json else check_text(result, console))
    return 0 if report.is_stationary else 1


def _place(report: NetworkReport) -> dict[str, Any] | None:
    """In the set of all optima, where that can be found in time."""
    try:
        place = report.place(time_limit=_PLACE_SECONDS)
    except (AccuracyError, LimitExceeded):  # what float64 allows, or the time, was not enough
        return None
    return {
        "dimension": place.optimal_set.dimension,
        "over_all_patterns": place.optimal_set.is_complete,
        "n_neurons": place.n_neurons,
        "fewest_neurons": place.fewest,
        "is_vertex": place.is_vertex,
        "distance": place.distance,
    }


def load_network(path: Path) -> Any:
    """A network of any kind from a file, or why there is none."""
    try:
        model = load(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(model, (Network, StandardizedNetwork, ClassNetwork, TableNetwork)):
        raise InputError(f"{path}: holds a {type(model).__name__}, not a network")
    return model
