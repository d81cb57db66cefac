"""The terminal: styled text where it is one, plain text elsewhere, and a line of progress."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from time import monotonic
from typing import TextIO

from convexrelu.cli.streams import OutputError, flush

_SECONDS_BETWEEN_STATUS = 0.1


class Console:
    """Writes results to ``out``, which may fail, and everything else to ``err`` if that can be.

    Styles are kept off where ``out`` is no terminal or NO_COLOR is set (no-color.org); progress
    is shown where ``err`` is a terminal.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._styled = self._out.isatty() and not plain
        self.shows_status = self._err.isatty() and os.environ.get("TERM") != "dumb"
        self._status_time = -math.inf
        self._status_width = 0

    def bold(self, text: str) -> str:
        """The text, emphasised."""
        return self._style(text, "1")

    def dim(self, text: str) -> str:
        """The text, in the background."""
        return self._style(text, "2")

    def good(self, text: str) -> str:
        """The text, as good news."""
        return self._style(text, "1;32")

    def bad(self, text: str) -> str:
        """The text, as bad news."""
        return self._style(text, "1;31")

    def _style(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._styled and text else text

    def write(self, text: str) -> None:
        """A result.

        Raises
        ------
        OutputError
            Where ``out`` does not take it.
        """
        self.clear_status()
        self._put(self._out, text + "\n")

    def flush(self) -> None:
        """Sees to what others have written to the streams. Raises as `write` does."""
        self._tell("")
        self._put(self._out, "")

    def complain(self, text: str) -> None:
        """An error."""
        self.clear_status()
        self._tell(text + "\n")

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OutputError):  # there is nobody to tell
            self._put(self._err, text)

    @staticmethod
    def _put(stream: TextIO, text: str) -> None:
        try:
            try:
                stream.write(text)
            finally:
                flush(stream)
        except OSError as error:
            raise OutputError(error) from error

    def status(self, text: str, *, at_once: bool = False) -> None:
        """Rewrites the line of progress, a few times a second at most unless ``at_once``."""
        now = monotonic()
        if not self.shows_status or (
            now - self._status_time < _SECONDS_BETWEEN_STATUS and not at_once
        ):
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        self._tell(f"\r{text:{self._status_width}}")
        self._status_time = now
        self._status_width = len(text)

    def clear_status(self) -> None:
        """Removes the line of progress."""
        if self._status_width:
            self._tell(f"\r{'':{self._status_width}}\r")
            self._status_width = 0
            self._status_time = -math.inf
