"""Types of command-line arguments, text to value or a message that says what would be right; and
the arguments that commands declare alike.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(
    what: str, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> Callable[[str], float]:
    """Finite numbers in [low, high], or in (low, high]; ``what`` describes them."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        inside = low < value <= high if open_low else low <= value <= high
        if not (inside and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
        return value

    return parse


def integer(what: str, *, low: int, high: int | None = None) -> Callable[[str], int]:
    """Integers from low on; ``what`` describes them."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
        return value

    return parse


def add_seed_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Declares --seed, whose randomness is that of ``what``."""
    parser.add_argument(
        "--seed",
        metavar="S",
        default=0,
        type=integer("a non-negative integer", low=0),
        help=f"of {what} (%(default)s)",
    )


def add_tol_argument(parser: argparse.ArgumentParser, *, default: float | None, what: str) -> None:
    """Declares --tol, a relative gap."""
    parser.add_argument(
        "--tol",
        metavar="T",
        default=default,
        type=number("above 0 and at most 1", low=0.0, high=1.0, open_low=True),
        help=what,
    )
