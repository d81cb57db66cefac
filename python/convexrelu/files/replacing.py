"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` when the block ends without an error.

    Until then, and after any error, a file of that name stays as it was: the bytes go to another
    file of the same folder, reach the disk, and only then get the name. A link keeps pointing to
    where it did, and a file that is replaced keeps its permissions. What is no file (a device, a
    pipe) is written to as it is.

    Raises
    ------
    OSError
        Where the folder or the file may not be written to, or the disk is full.
    """
    given = os.fsdecode(path)
    try:
        before = os.stat(given)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        with _Stream(open(given, "wb", buffering=0)) as stream:
            yield stream
        return
    if before is not None:
        os.close(os.open(given, os.O_WRONLY))  # refuses what may not be written to

    target = os.path.realpath(given)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".convexrelu-{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            error.filename, error.filename2 = given, None
        raise
    _keep_name(folder)


class _Stream(io.BufferedWriter):
    """Has no positions: those that a device tells are not those of what was written."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def _keep_name(folder: str) -> None:
    """Sees that the new name is on the disk too, where folders can be asked for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
