"""The standard streams of a process that may find them full, closed, or shared with libraries."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO


class OutputError(Exception):
    """Standard output takes no more of the result; ``reader_left`` where it is a broken pipe."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror or str(cause))
        self.reader_left = isinstance(cause, BrokenPipeError)


@contextlib.contextmanager
def whole_streams() -> Iterator[None]:
    """Inside, there is a ``sys.stderr``, if only one that is not read, and no file that is opened
    gets the number of a standard stream that is closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    with contextlib.ExitStack() as stack:
        if sys.stderr is None or sys.stderr.closed:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        _take_any_text(sys.stderr)
        yield


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """Inside, ``sys.stdout`` is for Python alone: what a library writes to its descriptor goes to
    standard error.

    Raises
    ------
    OutputError
        Where standard output is closed.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError(OSError("it is closed; send it to /dev/null where nobody reads it"))
    with _apart(sys.stdout) as own, contextlib.redirect_stdout(own):
        _take_any_text(own)
        yield


@contextlib.contextmanager
def _apart(stream: TextIO) -> Iterator[TextIO]:
    """A copy of a stream, whose descriptor leads to standard error in the meantime."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no stream of the operating system: no library finds it
        yield stream
        return
    stream.flush()
    with open(os.dup(descriptor), "w", encoding=stream.encoding) as own:
        os.dup2(2, descriptor)
        try:
            yield own
        finally:
            with contextlib.suppress(OSError, TypeError, AttributeError):
                ctypes.CDLL(None).fflush(None)  # what C still holds is for standard error too
            os.dup2(own.fileno(), descriptor)


def _take_any_text(stream: TextIO) -> None:
    """Names of columns and files may have letters that a terminal cannot show."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def flush(stream: TextIO) -> None:
    """Writes what the stream holds; where that fails it is lost, and whatever comes after."""
    try:
        stream.flush()
    except OSError:
        # The interpreter flushes once more at exit, which must not fail again.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        raise
