"""Types of command-line arguments: text to value, or a message that says what would be right."""

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
