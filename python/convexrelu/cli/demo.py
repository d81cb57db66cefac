"""``convexrelu demo``: the whole story on data that come with the package."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import TableNetwork, make_preprocessor
from convexrelu._training import Settings, draw_folds, record_of, train
from convexrelu.cli import arguments as types
from convexrelu.cli.console import Console
from convexrelu.cli.data import CONCRETE
from convexrelu.cli.fitting import check_output, progress_of, save_output
from convexrelu.cli.page import command, write_text
from convexrelu.cli.report import to_json
from convexrelu.cli.table import read_table
from convexrelu.report import Subject, make_page
from convexrelu.report.pieces import verdict_of

_ROWS = 400  # of 1030, so that it takes some ten seconds
_FOLDS = 3
_TOL = 1e-6


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole story in a minute, on data that come with convexrelu",
        description=(
            f"Trains on {_ROWS} rows of the compressive strength of concrete, tests on the others, "
            "proves what can be proven, and writes a page about it: what 'convexrelu train "
            "--save --report' does, told step by step."
        ),
        epilog="Exit status: 0 done, 1 not certified, 2 the page cannot be written.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        default=Path("convexrelu-demo.html"),
        help="the page to write (%(default)s)",
    )
    parser.add_argument(
        "--save", metavar="PATH", type=Path, help="where to keep the network, for predict"
    )
    types.add_seed_argument(parser, "the choice of rows, folds and searches")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Tells the story."""
    started = perf_counter()
    check_output("--out", arguments.out, [CONCRETE])
    check_output("--save", arguments.save, [CONCRETE])

    def say(text: str) -> None:
        if not arguments.json:
            console.write(text)

    table = read_table(CONCRETE)
    target, names = table.columns[-1], table.columns[:-1]
    seeds = np.random.SeedSequence(arguments.seed).spawn(3)
    order = np.random.default_rng(seeds[0]).permutation(len(table.values))
    X, y = table.values[:, :-1], table.values[:, -1]
    own, test = order[:_ROWS], order[_ROWS:]
    say(
        f"{console.bold('1')}  {len(y)} mixtures of concrete, {len(names)} columns "
        f"({names[0]}, {names[1]}, ...), and how strong each became.\n"
        f"   {_ROWS} rows to train on, {len(test)} that nothing here sees before the end."
    )
    folds = draw_folds(_ROWS, _FOLDS, np.random.default_rng(seeds[1]))
    settings = Settings(tol=_TOL, callback=progress_of(console))
    began = perf_counter()
    training = train(X[own], y[own], None, folds, settings, seeds[2])
    assert training.choice is not None
    choice, solution = training.choice, training.solution
    scale = training.standardizer.y_scale
    say(
        f"{console.bold('2')}  How much regularisation: {len(choice.lams)} strengths by {_FOLDS} "
        f"folds of the training rows.\n   lam = {choice.lam:.3g} leaves an error of "
        f"{scale * np.sqrt(choice.mean_errors.min()):.2f} on rows left out; the largest tried "
        f"{scale * np.sqrt(choice.mean_errors[0]):.2f}."
    )
    network = training.network
    record = record_of([training])
    say(
        f"{console.bold('3')}  A network grows along these strengths, and the convex program over "
        f"its activation patterns is solved ({perf_counter() - began:.0f} s).\n   "
        f"{verdict_of(network.n_neurons, record)}"
    )
    Z = training.standardizer.transform(X)
    linear = np.linalg.lstsq(Z[own], y[own], rcond=None)[0]
    scores = {
        "network": _rmse(network.predict(X[test]), y[test]),
        "linear": _rmse(Z[test] @ linear, y[test]),
        "mean": _rmse(np.full(len(test), y[own].mean()), y[test]),
    }
    say(
        f"{console.bold('4')}  On the {len(test)} rows: root mean squared error "
        f"{scores['network']:.2f}; a linear model {scores['linear']:.2f}, the mean "
        f"{scores['mean']:.2f}."
    )
    preprocessor = make_preprocessor({name: X[own, j] for j, name in enumerate(names)})
    rows = {"test": (X[test], y[test]), "training": (X[own], y[own])}
    subject = Subject(network, preprocessor, target, rows, record, [training], command())
    page, failure = write_text("--out", arguments.out, make_page(subject))
    model = TableNetwork(network, preprocessor, target, record)
    saved, no_file = save_output(model, arguments.save)
    gap = solution.gap
    if page:
        say(f"{console.bold('5')}  Everything on one page: {page}")
    say("   On your own data: convexrelu train FILE --save model.npz --report page.html")
    result: dict[str, Any] = {
        "lam": solution.lam,
        "certified": gap <= _TOL,
        "gap": gap,
        "objective": solution.objective,
        "global_lower_bound": training.global_lower_bound,
        "n_neurons": network.n_neurons,
        "test_rmse": scores,
        "out": page,
        "saved": saved,
        "seconds": perf_counter() - started,
    }
    if arguments.json:
        console.write(to_json(result))
    for problem in (failure, no_file):
        if problem is not None:
            raise problem
    return 0 if result["certified"] else 1


def _rmse(predicted: Any, y: Any) -> float:
    return float(np.sqrt(np.mean((predicted - y) ** 2)))
