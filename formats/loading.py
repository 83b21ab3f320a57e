"""Loading a model from its files, in whatever order they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import FormatError, UnsupportedError, Where
from ..core.ir.network import Caution, Network
from ..core.ir.repeats import repeats_of
from ..core.ir.windows import loosened
from ..core.options import options_of
from ..core.packed import plain_path
from .files import identify, models, suffix_sets
from .options import LoadOptions
from .registry import FORMATS

__all__ = ["load", "load_all", "load_text"]


def load(
    *files: str | PathLike[str],
    companions: Sequence[str | PathLike[str]] = (),
    options: LoadOptions | None = None,
    **settings: Any,
) -> Network:
    """Load a model.

    Args:
        files: the files of one model in any order: .prototxt and .caffemodel, .cfg and .weights,
            or .onnx. Their content tells what they are.
        companions: further descriptions of the network, with the same file of weights: a train_val
            beside a deploy prototxt, a cfg for training. They are pruned with the network: what
            they alone read is cut, what they demand is kept. `save` writes them beside it.
        options: how the files are read.
        settings: fields of :class:`LoadOptions`, instead of `options`: `load(cfg, weights,
            flavour="pjreddie")`.

    Raises:
        FormatError: the files are broken, incomplete or do not fit together.
        UnsupportedError: a layer cannot be carried, or the format has no companions.
    """
    options = options_of(LoadOptions, options, settings)
    found = models([Path(file) for file in files])
    if len(found) != 1:
        raise FormatError(
            "no file was given" if not found else f"{len(found)} models were given, one is needed"
        )
    return _read(found[0], options, [Path(companion) for companion in companions])


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


def load_text(
    file: str | PathLike[str], options: LoadOptions | None = None, **settings: Any
) -> Network:
    """Load the description of a model alone; its weights are zeros. Costs can be counted by it.

    Args:
        file: a .prototxt, or what else describes a network without its weights. A whole model in
            one file, or in a folder, is loaded as it is.
        options: how it is read.
        settings: fields of :class:`LoadOptions`, instead of `options`.

    Raises:
        FormatError: the file is broken, or is no description that can be read alone.
        UnsupportedError: a layer cannot be carried.
    """
    options = options_of(LoadOptions, options, settings)
    path = Path(file)
    if not path.exists():
        raise FormatError("no such file", where=Where(file=str(path)))
    kind = identify(path) or plain_path(path).suffix.lower()
    if path.is_dir() or (kind,) in suffix_sets():
        return load(path, options=options)
    known = next((own for own in FORMATS.values() if own.suffixes[0] == kind), None)
    if known is None or known.read_text is None:
        models([path])  # says what is missing
        raise FormatError("this is no text of a network", where=Where(file=str(path)))
    chosen = {name: getattr(options, name) for name in known.settings}
    return _finished(known.read_text(path, **chosen), options)


def _read(
    found: Mapping[str, Path], options: LoadOptions, companions: Sequence[Path] = ()
) -> Network:
    known = next(known for known in FORMATS.values() if set(known.suffixes) == set(found))
    settings = {name: getattr(options, name) for name in known.settings}
    if companions and not known.companions:
        raise UnsupportedError(
            f"{companions[0]}: companions are further descriptions of a Caffe or Darknet network"
        )
    further = {"companions": companions} if companions else {}
    return _finished(known.read(found, **settings, **further), options)


def _finished(network: Network, options: LoadOptions) -> Network:
    """Return a network with what options ask for, whatever its format."""
    network = loosened(network) if options.lrn == "inexact" else network
    network = replace(network, regions=options.regions)
    return replace(network, notes=(*network.notes, *_uncounted(network)))


def _uncounted(network: Network) -> list[Caution]:
    """Return a caution where the files do not say for how many regions layers run."""
    unknown = repeats_of(network).open
    if not unknown:
        return []
    names = ", ".join(f"'{name}'" for name in unknown)
    return [
        Caution(
            f"what follows {names} runs once a region, and the files do not say how many regions "
            "a sample has: its operations are counted for 1 (--regions N)"
        )
    ]
