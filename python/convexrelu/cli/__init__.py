"""The command line: ``convexrelu COMMAND ...``, also ``python -m convexrelu COMMAND ...``.

Exit status 0: done; 1: not certified to the tolerance, or given up; 2: the input cannot be used, or
the result cannot be written; 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from convexrelu import AccuracyError, LimitExceeded, __version__
from convexrelu.cli.commands import COMMANDS
from convexrelu.cli.console import Console
from convexrelu.cli.streams import OutputError, own_output, whole_streams
from convexrelu.cli.table import InputError


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="convexrelu",
        description="Two-layer ReLU networks, trained to certified global optimality.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"convexrelu {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    with whole_streams():
        try:
            with own_output():
                console = Console()
                status = _run(argv, console)
                console.flush()
                return status
        except OutputError as error:
            if error.reader_left:
                return 1
            Console(out=sys.stderr).complain(f"convexrelu: standard output: {error}")
            return 2


def _run(argv: Sequence[str] | None, console: Console) -> int:
    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as end:  # after the help, or a message
        return int(end.code or 0)
    except OSError:  # nobody reads the message: early releases of 3.10 and 3.11 let that through
        return 2
    try:
        return int(arguments.run(arguments, console))
    except InputError as error:
        status, message = 2, str(error)
    except KeyboardInterrupt:
        status, message = 130, "interrupted"
    except MemoryError:
        status, message = 1, "not enough memory; fewer gates or fewer rows need less"
    except (AccuracyError, LimitExceeded) as error:
        status, message = 1, str(error)
    console.complain(f"convexrelu {arguments.command}: {message}")
    return status
