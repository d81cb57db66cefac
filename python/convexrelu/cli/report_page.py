"""``convexrelu report``: a page about a saved network and the rows of a table."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

from convexrelu import ClassNetwork, TableNetwork
from convexrelu.cli.check import load_network
from convexrelu.cli.console import Console
from convexrelu.cli.data import codes_of_target, numbers_of_target
from convexrelu.cli.fitting import check_output
from convexrelu.cli.page import command, write_text
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.table import InputError, read_table
from convexrelu.report import Subject, make_page
from convexrelu.report.page import verdict


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "report",
        help="a page about a saved network: what is proven, errors, what it has learned",
        description=(
            "Writes one HTML file, with nothing loaded from elsewhere, about a network that "
            "'convexrelu train --save' kept: its certificate, how lam was chosen, its errors on "
            "the rows of a CSV file, what each column does, its neurons. 'convexrelu train "
            "--report' writes one that says more, of the set of all optimal networks too."
        ),
        epilog="Exit status: 0 done, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "network", metavar="MODEL", type=Path, help="a file of convexrelu train --save"
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help=".csv or .csv.gz: rows, with the target"
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        default=Path("report.html"),
        help="the file to write (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Reads, draws, writes."""
    started = perf_counter()
    check_output("--out", arguments.out, [arguments.network, arguments.file])
    console.status("reading", at_once=True)
    model = load_network(arguments.network)
    if not isinstance(model, TableNetwork):
        raise InputError(
            f"{arguments.network}: knows no names of columns, as networks of train --save do"
        )
    target = model.target
    table = read_table(arguments.file, only=(*model.preprocessor.names, target))
    cells = table.cells()
    own = cells.pop(target)
    try:
        X = model.preprocessor.transform_cells(cells)
    except (TypeError, ValueError) as error:
        raise InputError(f"{arguments.file}: {error}") from None
    if isinstance(model.network, ClassNetwork):
        y = codes_of_target(own, model.network.classes, target, arguments.file)
    else:
        y = numbers_of_target(own, target, arguments.file)
    subject = Subject(
        model.network,
        model.preprocessor,
        target,
        {arguments.file.name: (X, y)},
        model.record,
        command=command(),
    )
    console.status("drawing", at_once=True)
    written, failure = write_text("--out", arguments.out, make_page(subject))
    result = {
        "network": os.fspath(arguments.network),
        "file": os.fspath(arguments.file),
        "n_rows": len(y),
        "verdict": verdict(subject),
        "out": written,
        "seconds": perf_counter() - started,
    }
    lines = [
        ("network", result["network"]),
        ("rows", f"{result['n_rows']} of {result['file']}"),
        ("verdict", result["verdict"]),
        *([("written", written)] if written else []),
        ("seconds", f"{result['seconds']:.2f}"),
    ]
    console.write(to_json(result) if arguments.json else labelled_lines(lines, console))
    if failure is not None:
        raise failure
    return 0
