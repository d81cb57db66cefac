"""``convexrelu predict``: what a saved network says of the rows of a table."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import ClassNetwork, TableNetwork
from convexrelu.cli.check import load_network
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import check_output, write_output
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.table import InputError, Table, join_names, read_table
from convexrelu.files.replacing import replacing


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "predict",
        help="predict the rows of a CSV file with a saved network",
        description=(
            "Predicts the rows of a CSV file with a network that 'convexrelu train --save' kept: "
            "one prediction a row, below the name of the target; of classes their names, and with "
            "--proba their probabilities. Columns are found by their names, in any order; others "
            "are ignored."
        ),
        epilog="Exit status: 0 done, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "network", metavar="MODEL", type=Path, help="a file of convexrelu train --save or save()"
    )
    parser.add_argument("file", metavar="FILE", type=Path, help=".csv or .csv.gz: rows to predict")
    parser.add_argument(
        "--out", metavar="PATH", type=Path, help="a CSV file to write (standard output)"
    )
    parser.add_argument(
        "--proba",
        action="store_true",
        help="add a column with the probability of each class, below P(class)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Reads, predicts, writes."""
    started = perf_counter()
    check_output("--out", arguments.out, [arguments.network, arguments.file])
    console.status("reading", at_once=True)
    model = load_network(arguments.network)
    target = model.target if isinstance(model, TableNetwork) else "prediction"
    network = model.network if isinstance(model, TableNetwork) else model
    of_classes = network if isinstance(network, ClassNetwork) else None
    if arguments.proba and of_classes is None:
        raise InputError(f"--proba: {arguments.network} predicts numbers, not classes")
    try:
        features = _features(model, arguments.file)
        predictions: list[Any] = network.predict(features).tolist()
        table = {}
        if arguments.proba and of_classes is not None:
            columns = of_classes.probabilities(features).T.tolist()
            table = {f"P({name})": p for name, p in zip(of_classes.classes, columns, strict=True)}
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{arguments.file}: {error}") from None

    rows = zip(*({target: predictions, **table}).values(), strict=True)
    lines = [",".join(map(_quoted, (target, *table)))]
    lines += [",".join(_quoted(c) if isinstance(c, str) else repr(c) for c in row) for row in rows]
    text = "\n".join(lines) + "\n"
    written, failure = write_output("--out", arguments.out, lambda file: _write(text, file))
    result: dict[str, Any] = {
        "network": os.fspath(arguments.network),
        "file": os.fspath(arguments.file),
        "target": target,
        "n_rows": len(predictions),
        "out": written,
        "seconds": perf_counter() - started,
    }
    if arguments.json:
        predicted = {} if written else {"predictions": predictions}
        if arguments.proba and of_classes is not None and not written:
            predicted["probabilities"] = [list(row) for row in zip(*table.values(), strict=True)]
            predicted["classes"] = list(of_classes.classes)
        console.write(to_json({**result, **predicted}))
    elif arguments.out is None:
        console.write(text.rstrip("\n"))
    else:
        console.write(_text(result, console))
    if failure is not None:
        raise failure
    return 0


def _features(model: Any, file: Path) -> NDArray[np.float64]:
    """What the network takes, of every row."""
    if isinstance(model, TableNetwork):
        table = read_table(file, only=model.preprocessor.names)
        return model.preprocessor.transform_cells(table.cells())
    table = read_table(file)
    if len(table.columns) != model.n_features:
        raise InputError(
            f"{file}: the network knows no names, so the file must have its {model.n_features} "
            f"columns in their order, but has {join_names(table.columns)}"
        )
    return _numbers_alone(table)


def _numbers_alone(table: Table) -> NDArray[np.float64]:
    for what, columns in (("texts", table.texts), ("missing cells", table.missing)):
        if columns:
            raise InputError(
                f"{table.path}: the network knows numbers only, but there are {what} in "
                f"{join_names(tuple(columns))}"
            )
    return table.values


def _quoted(name: str) -> str:
    """A name as a cell of a CSV file."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n\r') else name


def _write(text: str, file: Path) -> None:
    with replacing(file) as stream:
        stream.write(text.encode())


def _text(result: dict[str, Any], console: Console) -> str:
    r = result
    lines = [
        ("network", r["network"]),
        ("rows", f"{r['n_rows']} of {r['file']}"),
        ("target", r["target"]),
        *([("written", r["out"])] if r["out"] else []),
        ("seconds", f"{r['seconds']:.2f}"),
    ]
    return labelled_lines(lines, console)
