"""Reading a model for training, whatever its format."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import DataError, FormatError, UnsupportedError
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.training.recipe import Recipe, Start
from .files import models
from .options import LoadOptions
from .registry import FORMATS, Format
from .saving import reread

__all__ = ["begin"]


def begin(
    *files: str | PathLike[str],
    solver: str | PathLike[str] | None = None,
    solver_state: str | PathLike[str] | None = None,
    all_layers: bool = False,
    like: Network | None = None,
    options: LoadOptions | None = None,
    **settings: Any,
) -> Start:
    """Read a model for training, with what its files say about that.

    Args:
        files: the files of one model in any order.
        solver: the file with the solver, for formats that have such.
        solver_state: a file with the state of a solver, whose training goes on.
        all_layers: train layers too that the framework of the files never updates.
        like: a network; the files, made of its own, are read with its settings, instead of
            `options`. Files of a format that says nothing about training are read as well.
        options: how the files are read.
        settings: fields of :class:`LoadOptions`, instead of `options`.

    Raises:
        DataError: there is the state of a solver, but no solver.
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
    given: dict[str, Any] = {"like": like}
    if like is None:
        given = {name: getattr(options, name) for name in known.settings}
    start = known.begin(found[0], path, all_layers=all_layers, **given)
    return _with_state(start, known, None if solver_state is None else Path(solver_state))


def _with_state(start: Start, known: Format, path: Path | None) -> Start:
    """Return a start that knows the state of a solver.

    Raises:
        DataError: there is a state, but no solver whose it is.
        UnsupportedError: the format has no such files.
    """
    if path is None:
        return replace(start, snapshot=known.write_state)
    if known.read_state is None:
        raise UnsupportedError(
            f"{known.name} files have no state of a solver beside them", option="solver_state"
        )
    if start.recipe.settings is None:
        raise DataError(
            "the state of a solver goes with its solver file",
            hint="--solver FILE gives it",
            option="solver_state",
        )
    return replace(start, state=known.read_state(path), snapshot=known.write_state)
