"""Reading files that no user has: written to a folder aside, read, and forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..core.errors import FormatError, located
from ..core.ir.network import Piece

__all__ = ["read_aside"]


Read = TypeVar("Read")


def read_aside(
    files: Mapping[Path, Sequence[Piece]], read: Callable[[Mapping[Path, Path]], Read]
) -> tuple[Read, Mapping[Path, Path]]:
    """Return what is read from files that exist for a moment, and what each of them stands for.

    Weights may stay mapped: a mapped file lives on until it is let go.

    Args:
        files: the path that a file stands for → its content. The file has the same name.
        read: reads them, given the path that a file stands for → where it is.

    Raises:
        FormatError: the folder for files of a moment (TMPDIR) cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="secateur-", ignore_cleanup_errors=True) as folder:
        places: dict[Path, Path] = {}
        for number, (path, pieces) in enumerate(files.items()):
            places[path] = Path(folder) / str(number) / path.name
            _write(places[path], pieces)
        found = read(places)
    return found, {place: path for path, place in places.items()}


def _write(path: Path, pieces: Sequence[Piece]) -> None:
    """Write a file in a folder of its own: two may have one name."""
    with located(file=str(path)):
        try:
            path.parent.mkdir()
            with path.open("wb") as file:
                file.writelines(pieces)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
