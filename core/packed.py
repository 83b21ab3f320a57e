"""Files that may be packed by gzip, bzip2 or xz: they are read as if they were not.

Where the name has to say so (`.gz`), a file that is packed without saying it is read as it stands:
whoever reads it calls it what it is.

What was unpacked lies in a file without a name, in the system's folder for temporary files; it is
gone when nothing reads it any more. Nothing is written beside the packed file, and memory does not
grow with it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from .errors import FormatError, SecateurError

__all__ = [
    "head_bytes",
    "map_file",
    "most_unpacked",
    "open_plain",
    "plain_path",
    "plain_size",
    "read_file",
]

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
"""The first bytes of packed files (RFC 1952; bzip2 1.0; the .xz format 1.1.0)."""

_SUFFIXES = (".gz", ".bz2", ".xz")

CHUNK = 1 << 20
"""Bytes that are unpacked at once."""

ALWAYS = 1 << 26
"""Any packed file may hold so many bytes."""

RATIO = 100
"""Beyond that, it may hold so many times its own size. Weights and pixels shrink to a fifth at
most, zeros to a thousandth: what shrinks to less than a hundredth was made to fill a disk."""

XZ_MEMORY = 1 << 28
"""Bytes that unpacking an xz file may take. Its strongest preset takes a quarter of them."""


def most_unpacked(size: int) -> int:
    """Return how many bytes a packed file of a size may hold."""
    return max(ALWAYS, RATIO * size)


def plain_path(path: Path) -> Path:
    """Return the path that a packed file would have if it was not packed."""
    return path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path


def head_bytes(
    path: Path, count: int, error: type[SecateurError] = FormatError, *, named: bool = True
) -> bytes:
    """Return the first bytes of a file, unpacked.

    Args:
        path: the file.
        count: how many bytes, at most.
        error: type of the error that is raised.
        named: whether the name has to say that a file is packed.

    Raises:
        SecateurError: it cannot be read, or its packing is broken.
    """
    with _reading(error), path.open("rb") as file:
        found = bytearray()
        for part in _parts(file, count, _packing(path, file, named=named)):
            found += part
            if len(found) >= count:
                break
        return bytes(found[:count])


def plain_size(path: Path, error: type[SecateurError] = FormatError) -> int:
    """Return how many bytes a file has, unpacked.

    Raises:
        SecateurError: it cannot be read, or its packing is broken.
    """
    with _reading(error), path.open("rb") as file:
        packing = _packing(path, file)
        if not packing:
            return file.seek(0, os.SEEK_END)
        return sum(len(part) for part in _parts(file, CHUNK, packing))


def read_file(path: Path, most: int, error: type[SecateurError] = FormatError) -> bytes:
    """Return the bytes of a file, unpacked.

    Args:
        path: the file.
        most: how many bytes it may have.
        error: type of the error that is raised.

    Raises:
        SecateurError: it cannot be read, has more bytes, or its packing is broken.
    """
    found = head_bytes(path, most + 1, error)
    if len(found) > most:
        raise error(f"too large: it has more than {most} bytes")
    return found


def map_file(
    path: Path, error: type[SecateurError] = FormatError, *, named: bool = True
) -> mmap.mmap:
    """Return a file mapped into memory for reading, unpacked.

    Raises:
        SecateurError: it is empty, cannot be read, or its packing is broken.
    """
    with open_plain(path, error, named=named) as file, _reading(error):
        if file.seek(0, os.SEEK_END) == 0:
            raise error("the file is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def open_plain(
    path: Path, error: type[SecateurError] = FormatError, *, named: bool = True
) -> BinaryIO:
    """Return a file for reading: itself, or what it holds where it is packed.

    Raises:
        SecateurError: it cannot be read, its packing is broken, or it holds more than a file of its
            size may.
    """
    with _reading(error):
        file = path.open("rb")
        packing = _packing(path, file, named=named)
        if not packing:
            return file
        with file:
            return _aside(file, packing, error)


def _aside(file: BinaryIO, packing: bytes, error: type[SecateurError]) -> BinaryIO:
    """Return what a packed file holds, in a file without a name.

    Raises:
        SecateurError: it holds more than a file of its size may.
    """
    left = most_unpacked(os.fstat(file.fileno()).st_size)
    with ExitStack() as stack:
        aside: Any = stack.enter_context(tempfile.TemporaryFile(prefix="secateur-"))
        for part in _parts(file, CHUNK, packing):
            left -= len(part)
            if left < 0:
                raise error(
                    f"unpacked, it is more than {RATIO} times as large",
                    hint="if that is right, unpack it yourself",
                )
            aside.write(part)
        aside.seek(0)
        stack.pop_all()  # it stays open
        return cast(BinaryIO, aside)


def _packing(path: Path, file: BinaryIO, *, named: bool = True) -> bytes:
    """Return the first bytes that packed files of one kind have; b"" for a file that is none."""
    if named and plain_path(path) == path:
        return b""
    head = file.read(6)
    file.seek(0)
    return next((kind for kind in (_GZIP, _BZIP2, _XZ) if head.startswith(kind)), b"")


def _parts(file: BinaryIO, size: int, packing: bytes) -> Iterator[bytes]:
    """Yield the bytes of a file in order, unpacked, in parts of at most `size` and 1 MiB."""
    step = max(1, min(size, CHUNK))
    if packing == _XZ:
        yield from _xz_parts(file, step)
        return
    plain: BinaryIO | gzip.GzipFile | bz2.BZ2File = file
    if packing == _GZIP:
        plain = gzip.GzipFile(fileobj=file)
    elif packing == _BZIP2:
        plain = bz2.BZ2File(file)
    while part := plain.read(step):
        yield part


def _xz_parts(file: BinaryIO, step: int) -> Iterator[bytes]:
    """Yield the bytes of an xz file; the module's own reader takes what memory the file claims."""
    left = b""
    while left or (left := file.read(io.DEFAULT_BUFFER_SIZE)):
        stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        while not stream.eof:
            if stream.needs_input and not left and not (left := file.read(CHUNK)):
                raise EOFError
            part, left = stream.decompress(left, step), b""
            if part:
                yield part
        left = stream.unused_data.lstrip(b"\0")  # streams may be padded


@contextmanager
def _reading(error: type[SecateurError]) -> Iterator[None]:
    """Turn what reading raises into an error of the project."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as cause:
        raise error("its packing is cut short or broken", hint="copy it again") from cause
    except OSError as cause:
        if cause.errno is None:  # what bz2 raises at broken data
            raise error("its packing is cut short or broken", hint="copy it again") from cause
        raise error(f"cannot be read: {cause.strerror or cause}") from cause
