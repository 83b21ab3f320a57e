"""The registry of file formats, and what a format declares.

Each format declares itself in `format.py` of its folder. That file loads nothing heavy: readers,
writers and data sources are imported when they are first used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..core.errors import FormatError
from ..core.ir.network import Network, Piece
from ..core.registry import Registry

__all__ = ["FORMATS", "HEAD_BYTES", "Format", "Reader", "first_line", "is_text"]

HEAD_BYTES = 65536
"""Bytes at the beginning of a file that tell its format."""


class Reader(Protocol):
    """Reads the files of one model."""

    def __call__(self, paths: Mapping[str, Path], **settings: object) -> Network:
        """Return the network in some files.

        Args:
            paths: the files by their usual suffix.
            settings: those of :attr:`Format.settings` that the caller gave.

        Raises:
            FormatError: the files are broken or do not fit together.
            UnsupportedError: a layer cannot be carried.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A file format for networks.

    Args:
        name: what code calls it ("caffe").
        suffixes: usual suffixes of the files of a model, the description of the network first.
        rank: formats with a low rank look at a file first.
        sniff: from the first :data:`HEAD_BYTES` of a file to the suffix of what it holds; None
            where the file is of another format.
        missing: suffix → the file that is missing where one of that suffix is alone.
        read: reads a model.
        settings: names of the settings that `read` understands.
        export: from any network and a file name to files by suffix, in pieces; None where only
            networks that were read from this format can be written in it.
        same: whether a network and what was read back of its export are the very same; None where
            that cannot be known without running them.
        register_datasets: registers the kinds of data that belong to this format.
        read_mean: from the path of a mean image to C×H×W float32; None where the format has none.
        named_accuracy: from a network and a name in its files to the network to measure, the
            output with the scores, and among how many of the best the label must be.
    """

    name: str
    suffixes: tuple[str, ...]
    rank: int
    sniff: Callable[[bytes], str | None]
    missing: Mapping[str, str] = field(default_factory=dict)
    read: Reader
    settings: tuple[str, ...] = ()
    export: Callable[[Network, str], Mapping[str, Sequence[Piece]]] | None = None
    same: Callable[[Network, Network], bool] | None = None
    register_datasets: Callable[[], None] = lambda: None
    read_mean: Callable[[Path], np.ndarray] | None = None
    named_accuracy: Callable[[Network, str], tuple[Network, str, int]] | None = None


def _declarations() -> list[str]:
    """Return the modules in which this package's formats declare themselves."""
    package = __name__.rpartition(".")[0]
    folder = str(Path(__file__).parent)
    found = sorted(module.name for module in pkgutil.iter_modules([folder]) if module.ispkg)
    return [f"{package}.{name}.format" for name in found]


FORMATS: Registry[Format] = Registry(
    "format", modules=_declarations, group="secateur.formats", error=FormatError
)
"""Every format by its name."""


def is_text(head: bytes) -> bool:
    """Whether bytes read as text: no NUL, and few other control characters."""
    control = sum(byte < 9 or 13 < byte < 32 for byte in head[:4096])
    return b"\0" not in head[:4096] and control * 50 <= len(head[:4096])


def first_line(head: bytes) -> bytes:
    """Return the first line of a text that is neither blank nor a comment; empty for none."""
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines():
        text = line.strip()
        if text and text[:1] not in (b"#", b";"):
            return text
    return b""
