"""A time limit that several calls share."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from convexrelu import _core, _validate


class Deadline:
    """The end of a ``time_limit``, counted from here; None: there is none."""

    def __init__(self, time_limit: Any) -> None:
        started = perf_counter()
        self._limit = _validate.time_limit(time_limit)
        self._end = None if self._limit is None else started + self._limit

    def left(self) -> float | None:
        """The seconds that are left, not below 0; None without a limit."""
        return None if self._end is None else max(0.0, self._end - perf_counter())

    def check(self) -> None:
        """Raises LimitExceeded once the time is over."""
        if self.left() == 0.0:
            raise _core.LimitExceeded(
                f"time_limit = {self._limit:g} s ended the work before it had an answer"
            )
