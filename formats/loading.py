"""Loading a model from its files, in whatever order they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import FormatError
from ..core.ir.network import Network
from .files import models
from .registry import FORMATS

__all__ = ["load", "load_all"]


def load(*files: str | PathLike[str], **settings: Any) -> Network:
    """Load a model.

    Args:
        files: the files of one model in any order: .prototxt and .caffemodel, .cfg and .weights,
            or .onnx. Their content tells what they are.
        settings: `phase`, `stages`, `level` and `input_shapes` for Caffe nets; `flavour`,
            `partial` and `reset_seen` for Darknet nets. What does not concern the format is
            ignored.

    Raises:
        FormatError: the files are broken, incomplete or do not fit together.
        UnsupportedError: a layer cannot be carried.
    """
    found = models([Path(file) for file in files])
    if len(found) != 1:
        raise FormatError(
            "no file was given" if not found else f"{len(found)} models were given, one is needed"
        )
    return _read(found[0], settings)


def load_all(files: Sequence[str | PathLike[str]], **settings: Any) -> list[Network]:
    """Load every model in a list of files, in the order of their first files."""
    return [_read(found, settings) for found in models([Path(file) for file in files])]


def _read(found: Mapping[str, Path], settings: Mapping[str, Any]) -> Network:
    known = next(known for known in FORMATS.values() if set(known.suffixes) == set(found))
    understood = {name for other in FORMATS.values() for name in other.settings}
    for name in settings:
        if name not in understood:
            raise TypeError(f"load() has no setting {name!r}")
    chosen = {name: value for name, value in settings.items() if name in known.settings}
    return known.read(found, **chosen)
