"""The page about a network: --report of train, and the command ``report``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from convexrelu import TableNetwork
from convexrelu._training import Training
from convexrelu.cli.data import Data
from convexrelu.cli.fitting import write_output
from convexrelu.cli.table import InputError
from convexrelu.files.replacing import replacing
from convexrelu.report import Subject, make_page


def add_page_argument(parser: argparse.ArgumentParser) -> None:
    """Declares --report."""
    parser.add_argument(
        "--report",
        metavar="PATH",
        type=Path,
        help="where to write a page about the network, one HTML file",
    )


def write_page(
    arguments: argparse.Namespace,
    model: TableNetwork,
    data: Data,
    trainings: Sequence[Training],
) -> tuple[str | None, InputError | None]:
    """The page of a training: which file was written, or what to complain of."""
    if arguments.report is None:
        return None, None
    rows = {"training": (data.X, data.y)}
    if len(data.y_test):
        rows = {"test": (data.X_test, data.y_test), **rows}
    subject = Subject(
        model.network, model.preprocessor, model.target, rows, model.record, trainings, command()
    )
    return write_text("--report", arguments.report, make_page(subject))


def write_text(option: str, path: Path, text: str) -> tuple[str | None, InputError | None]:
    """A text into a file."""

    def write(file: Path) -> None:
        with replacing(file) as stream:
            stream.write(text.encode())

    return write_output(option, path, write)


def command() -> str:
    """What was typed."""
    typed = " ".join(shlex.quote(word) for word in sys.argv[1:])
    return f"convexrelu {typed}"
