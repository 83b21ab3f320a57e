"""Being the only one at work in a folder."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError, located

if sys.platform != "win32":
    import fcntl

__all__ = ["alone_in"]

TAKEN = (errno.EACCES, errno.EAGAIN)
"""What a lock that another process holds is refused with; file systems without locks say others."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder that is there; the system releases that of a killed process.

    Nothing is locked on Windows, nor where the file system knows no locks.

    Raises:
        DataError: another run holds it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                with located(file=str(folder)):
                    raise DataError(
                        "another run is at work in this folder",
                        hint="wait for it, or give another folder",
                    ) from error
        yield
    finally:
        os.close(descriptor)
