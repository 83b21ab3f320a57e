"""Loading a model from its files, in whatever order they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import FormatError
from ..core.ir.network import Network
from ..core.ir.windows import loosened
from ..core.options import options_of
from .files import models
from .options import LoadOptions
from .registry import FORMATS

__all__ = ["load", "load_all"]


def load(
    *files: str | PathLike[str], options: LoadOptions | None = None, **settings: Any
) -> Network:
    """Load a model.

    Args:
        files: the files of one model in any order: .prototxt and .caffemodel, .cfg and .weights,
            or .onnx. Their content tells what they are.
        options: how the files are read.
        settings: fields of :class:`LoadOptions`, instead of `options`: `load(cfg, weights,
            flavour="pjreddie")`.

    Raises:
        FormatError: the files are broken, incomplete or do not fit together.
        UnsupportedError: a layer cannot be carried.
    """
    options = options_of(LoadOptions, options, settings)
    found = models([Path(file) for file in files])
    if len(found) != 1:
        raise FormatError(
            "no file was given" if not found else f"{len(found)} models were given, one is needed"
        )
    return _read(found[0], options)


def load_all(
    files: Sequence[str | PathLike[str]], options: LoadOptions | None = None, **settings: Any
) -> list[Network]:
    """Load every model in a list of files, in the order of their first files.

    Args:
        files: the files of the models.
        options: how the files are read.
        settings: fields of :class:`LoadOptions`, instead of `options`.
    """
    options = options_of(LoadOptions, options, settings)
    return [_read(found, options) for found in models([Path(file) for file in files])]


def _read(found: Mapping[str, Path], options: LoadOptions) -> Network:
    known = next(known for known in FORMATS.values() if set(known.suffixes) == set(found))
    network = known.read(found, **{name: getattr(options, name) for name in known.settings})
    return loosened(network) if options.lrn == "inexact" else network
