"""The weights file: a header, then bare float32 values. Source: parser.c load_weights_upto.

The file does not say which layer a value belongs to, and Darknet accepts files that are too short
or too long. Here every value is counted.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ...core.errors import FormatError
from ..files import map_file
from ..impostors import refuse_impostor
from ..registry import HEAD_BYTES
from .flavour import Flavour

__all__ = ["Blank", "Header", "Stream", "WrongCount", "seen_of", "stamped", "unseen"]

_CHUNK = 1 << 20
"""Bytes of values that are checked at once."""
MOST_MISSING = 1 << 27
"""Largest number of missing values of a layer, which may need memory. No published layer has more
values."""


MOST_CLAIMED = 1 << 20
"""Largest size of an axis where there are no weights: what is counted by channel takes memory."""


class WrongCount(FormatError):
    """The file holds more or fewer values than the layers of the cfg."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a weights file; `data` holds its bytes."""

    major: int
    minor: int
    revision: int
    data: bytes

    @property
    def transposed(self) -> bool:
        """Whether connected layers are stored as inputs × outputs (files of 2014 and before)."""
        return self.major > 1000 or self.minor > 1000


class Stream:
    """Reads arrays from a memory-mapped weights file, in order and without copying.

    Args:
        path: the weights file.
        flavour: pjreddie's Darknet reads 4 bytes of `seen` from transposed files, AlexeyAB's 8.
        partial: whether the file may end between two sections. Missing values are then zero.

    Raises:
        FormatError: the file is no Darknet weights file.
    """

    def __init__(self, path: Path, flavour: Flavour, *, partial: bool = False):
        self.partial = partial
        self.path = path
        data = map_file(path)
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
        """Return the next arrays by name, as read-only views of the file.

        Args:
            item: name of the layer, for messages.
            shapes: shapes of the arrays by name, in file order.

        Raises:
            WrongCount: the file ends before.
        """
        wanted = sum(prod(shape) for shape in shapes.values())
        if not wanted:
            return {}
        if self.partial and self.left == 0:
            if wanted > MOST_MISSING:
                raise WrongCount(f"{wanted} missing values are more than a partial file may lack")
            return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
        if 4 * wanted > self.left:
            hint = "do these belong together, and was the whole file copied?"
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
        """Check that all values were taken.

        Raises:
            WrongCount: bytes are left over.
        """
        if self.left:
            raise WrongCount(
                f"{self.left} bytes are left over behind {self.last}, the last with weights",
                hint="do these belong together? the weights seem to be of another cfg",
            )

    def has_bad_values(self) -> bool:
        """Return whether one of the values taken is NaN or infinite.

        The file is read in small pieces and not through the map, so that its pages do not stay in
        memory.

        Raises:
            FormatError: the file can no longer be read.
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


class Blank(Stream):
    """Stands for weights that nobody has: every array is zero, and takes no memory."""

    def __init__(self) -> None:
        self.partial = True
        self.header = Header(0, 2, 5, struct.pack("<3iq", 0, 2, 5, 0))
        self.size = len(self.header.data)
        self.values = np.zeros(0, np.float32)
        self.taken = 0
        self.last = "the header"

    def take(self, item: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Return zeros by name.

        Raises:
            WrongCount: a number in the cfg, which no file bears out, is too large.
        """
        longest = max((side for shape in shapes.values() for side in shape), default=0)
        if longest > MOST_CLAIMED:
            raise WrongCount(
                f"{longest} channels or inputs are more than a cfg may claim without weights"
            )
        return super().take(item, shapes)

    def has_bad_values(self) -> bool:
        """Return whether one of the values taken is NaN or infinite."""
        return False


def unseen(header: bytes) -> bytes:
    """Return a header with 0 images seen in training, of the same version and length."""
    return stamped(header, 0)


def seen_of(header: bytes) -> int:
    """Return the number of images that a header says training saw."""
    return int.from_bytes(header[12:], "little")


def stamped(header: bytes, seen: int) -> bytes:
    """Return a header with a number of images seen, of the same version and length.

    Old headers have 4 bytes for it, in which Darknet lets larger numbers wrap around.
    """
    size = len(header) - 12
    return header[:12] + (seen % (1 << 8 * size)).to_bytes(size, "little")


def _read_header(data: mmap.mmap, flavour: Flavour) -> Header:
    start = data[:20]
    refuse_impostor(data[:HEAD_BYTES], ".weights")
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
