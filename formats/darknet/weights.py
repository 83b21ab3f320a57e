"""The weights file: a header, then bare float32 values. Source: parser.c load_weights_upto.

Nothing in the file says what a value is for, and Darknet reads short and long files without a
word. Here every value is counted.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ...core.errors import FormatError
from .flavour import Flavour

__all__ = ["Header", "Stream", "WrongCount", "unseen"]

_MAGICS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"<!DO": "an HTML page",
    b"<htm": "an HTML page",
    b"vers": "a Git LFS pointer or a text file",
    b"[net": "a cfg file",
    b"\x80\x02": "a Python pickle",
}
_CHUNK = 1 << 20
"""Bytes that are looked at at once."""
MOST_MISSING = 1 << 27
"""No published layer has more values; what is missing may have to be held in memory."""


class WrongCount(FormatError):
    """The file holds more or fewer values than the cfg asks for."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a weights file, kept as they are."""

    major: int
    minor: int
    revision: int
    data: bytes

    @property
    def transposed(self) -> bool:
        """Whether matrices of connected layers are stored in × out (files of 2014 and before)."""
        return self.major > 1000 or self.minor > 1000


class Stream:
    """Takes arrays out of a memory-mapped weights file, in order and without copying.

    Args:
        path: the weights file.
        flavour: pjreddie's Darknet reads 4 bytes of `seen` from transposed files, AlexeyAB's 8.
        partial: let a file that ends between two sections stand for a longer one; what is missing
            reads as zero.

    Raises:
        FormatError: not a Darknet weights file.
    """

    def __init__(self, path: Path, flavour: Flavour, *, partial: bool = False):
        self.partial = partial
        self.path = path
        data = _map(path)
        self.header = _read_header(data, flavour)
        self.size = len(data)
        offset = len(self.header.data)
        count = (self.size - offset) // 4
        self.values: np.ndarray = np.frombuffer(data, dtype="<f4", count=count, offset=offset)
        self.taken = 0
        self.last = "the header"

    @property
    def left(self) -> int:
        """The number of bytes not yet taken."""
        return self.size - len(self.header.data) - 4 * self.taken

    def take(self, item: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Return the next arrays, read-only views of the file, by their names.

        Args:
            item: who wants them, for messages.
            shapes: their shapes in file order.

        Raises:
            WrongCount: the file ends first.
        """
        wanted = sum(prod(shape) for shape in shapes.values())
        if not wanted:
            return {}
        if self.partial and self.left == 0:
            if wanted > MOST_MISSING:
                raise WrongCount(f"{wanted} missing values are more than a partial file may lack")
            return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
        if 4 * wanted > self.left:
            hint = None
            if self.left == 0:
                hint = "a file that ends between two sections can be read as a partial one"
            raise WrongCount(
                f"the weights end too early: {wanted} values are needed, but behind {self.last} "
                f"only {self.left // 4} are left ({4 * wanted - self.left} bytes are missing)",
                hint=hint,
            )
        arrays = {}
        for name, shape in shapes.items():
            stop = self.taken + prod(shape)
            arrays[name] = self.values[self.taken : stop].reshape(shape)
            self.taken = stop
        self.last = item
        return arrays

    def finish(self) -> None:
        """Check that everything was taken.

        Raises:
            WrongCount: bytes are left over.
        """
        if self.left:
            raise WrongCount(
                f"{self.left} bytes are left over behind {self.last}, the last with weights",
                hint="do these weights belong to this cfg?",
            )

    def has_bad_values(self) -> bool:
        """Return whether one of the values taken is NaN or infinite.

        They are read in small pieces and not through the map, of which nothing becomes resident.

        Raises:
            FormatError: the file cannot be read any more.
        """
        left = 4 * self.taken
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(len(self.header.data))
                while left > 0 and (piece := file.read(min(_CHUNK, left))):
                    if not np.isfinite(np.frombuffer(piece, "<f4", len(piece) // 4)).all():
                        return True
                    left -= len(piece)
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror or error}") from error
        return False


def unseen(header: bytes) -> bytes:
    """Return a header that says that no image was seen yet; it keeps its version and length."""
    return header[:12] + bytes(len(header) - 12)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise FormatError("the file is empty")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}") from error


def _read_header(data: mmap.mmap, flavour: Flavour) -> Header:
    start = data[:20]
    for magic, what in _MAGICS.items():
        if start.startswith(magic):
            raise FormatError(f"not a Darknet weights file but {what}, by its first bytes")
    if len(start) < 16:
        raise FormatError(f"not a Darknet weights file: {len(data)} bytes hold no header")
    major, minor, revision = struct.unpack("<3i", start[:12])
    if not all(0 <= number < 100_000 for number in (major, minor, revision)):
        raise FormatError(
            f"not a Darknet weights file: its version would be {major}.{minor}.{revision}"
        )
    old = major > 1000 or minor > 1000
    wide = major * 10 + minor >= 2 and not (old and flavour is Flavour.PJREDDIE)
    if len(data) < 12 + (8 if wide else 4):
        raise FormatError(f"not a Darknet weights file: {len(data)} bytes hold no header")
    return Header(major, minor, revision, start[: 12 + (8 if wide else 4)])
