"""A net as data: what its data layer names is opened, with the preprocessing that it states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ....core.data.base import Dataset
from ....core.data.opening import kind_of
from ....core.data.registry import Opening, Purpose
from ....core.data.text import found_beside
from ....core.errors import DataError, FormatError, Where
from ....core.ir.network import Preprocess
from ....core.packed import plain_path
from .mean import read_mean
from .named import NamedData, named_data

__all__ = ["is_apart", "is_net", "open_net_data"]

SUFFIX = ".prototxt"

FLAGS = "options"
"""What :class:`~.options.DataOptions` names as the origin of what flags say."""


def is_net(path: Path) -> bool:
    """Whether a file has the suffix of a net."""
    return plain_path(path).suffix.lower() == SUFFIX and path.is_file()


def open_net_data(path: Path, opening: Opening) -> Dataset:
    """Open the data that a train_val names: of phase TRAIN to calibrate on, of TEST to measure.

    A net that names the data of one phase gives it for both.

    Args:
        path: the net.
        opening: how it is opened; what it asks of preprocessing goes before what the net says.

    Raises:
        FormatError: the net cannot be read, or names no data.
        UnsupportedError: its data is of a kind that is not read.
        DataError: the data is not there, or broken.
    """
    named = _named(path, opening.purpose)
    options = opening.options
    if options.root is None and named.root is not None:
        options = replace(options, root=named.root)
    inside = replace(opening, options=options, preprocess=_preprocess(path, named, opening))
    return kind_of(named.path, inside).open(named.path, inside)


def is_apart(path: Path, opening: Opening) -> bool:  # noqa: ARG001  # as kinds have it
    """Return whether a net names data to calibrate on that is not the data to measure on.

    Raises:
        SecateurError: as :func:`open_net_data` does.
    """
    return _named(path, "calibrate").path.resolve() != _named(path, "measure").path.resolve()


def _named(path: Path, purpose: Purpose) -> NamedData:
    first, second = ("TRAIN", "TEST") if purpose == "calibrate" else ("TEST", "TRAIN")
    try:
        return named_data(path, first)
    except FormatError as none:
        try:
            return named_data(path, second)
        except FormatError:
            raise none from None


def _preprocess(path: Path, named: NamedData, opening: Opening) -> Preprocess | None:
    """Return how images become inputs.

    Raises:
        DataError: the mean image is not there, or broken.
    """
    usual, known = Preprocess(), opening.network.preprocess
    if (
        known.origin not in ("", FLAGS)
        or replace(named.preprocess, channels=usual.channels) == usual
    ):
        return opening.preprocess  # the network's own files, or flags, say it; or the layer nothing
    asked = opening.options.changed(replace(named.preprocess, origin=str(path)))
    if opening.options.mean_file is not None and opening.preprocess is not None:
        return replace(asked, mean_image=opening.preprocess.mean_image)
    if not asked.mean_file:
        return asked
    found = found_beside(asked.mean_file, [path.parent])
    if found is None:
        raise DataError(
            f"the mean file '{asked.mean_file}' is not there",
            hint="--mean-file says where it is, --mean gives a value a channel instead",
            where=Where(file=str(path), field="mean_file"),
        )
    return replace(asked, mean_file=str(found), mean_image=read_mean(found))
