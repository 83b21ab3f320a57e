"""Reading a model for training, whatever its format."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import FormatError, UnsupportedError
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.training.recipe import Recipe, Start
from .files import models
from .options import LoadOptions
from .registry import FORMATS
from .saving import reread

__all__ = ["begin"]


def begin(
    *files: str | PathLike[str],
    solver: str | PathLike[str] | None = None,
    all_layers: bool = False,
    like: Network | None = None,
    options: LoadOptions | None = None,
    **settings: Any,
) -> Start:
    """Read a model for training, with what its files say about that.

    Args:
        files: the files of one model in any order.
        solver: the file with the solver, for formats that have such.
        all_layers: train layers too that the framework of the files never updates.
        like: a network; the files, made of its own, are read with its settings, instead of
            `options`. Files of a format that says nothing about training are read as well.
        options: how the files are read.
        settings: fields of :class:`LoadOptions`, instead of `options`.

    Raises:
        FormatError: the files are broken, incomplete or do not fit together.
        UnsupportedError: the format says nothing about training, or a layer cannot be trained.
    """
    options = options_of(LoadOptions, options, settings)
    found = models([Path(file) for file in files])
    if len(found) != 1:
        raise FormatError(
            "no file was given" if not found else f"{len(found)} models were given, one is needed"
        )
    known = next(known for known in FORMATS.values() if set(known.suffixes) == set(found[0]))
    if known.begin is None and like is not None:
        return Start(network=reread(like, found[0]), recipe=Recipe())
    if known.begin is None:
        raise UnsupportedError(f"{known.name} files hold no losses to train with")
    path = None if solver is None else Path(solver)
    if like is not None:
        return known.begin(found[0], path, all_layers=all_layers, like=like)
    given = {name: getattr(options, name) for name in known.settings}
    return known.begin(found[0], path, all_layers=all_layers, **given)
