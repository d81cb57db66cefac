"""The command line: ``convexrelu COMMAND ...``, also ``python -m convexrelu COMMAND ...``.

Exit status 0: done; 1: not certified to the tolerance, or given up; 2: the input cannot be used;
130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from convexrelu import LimitExceeded, __version__
from convexrelu._console import Console
from convexrelu.commands import COMMANDS
from convexrelu.table import InputError


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
    for stream in (sys.stdout, sys.stderr):  # names of columns and files may be any text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = make_parser().parse_args(argv)
    console = Console()
    try:
        return int(arguments.run(arguments, console))
    except InputError as error:
        status, message = 2, str(error)
    except KeyboardInterrupt:
        status, message = 130, "interrupted"
    except MemoryError:
        status, message = 1, "not enough memory; fewer gates or fewer rows need less"
    except LimitExceeded as error:
        status, message = 1, str(error)
    except BrokenPipeError:
        # The reader of stdout is gone; keep the interpreter from flushing to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    console.complain(f"convexrelu {arguments.command}: {message}")
    return status
