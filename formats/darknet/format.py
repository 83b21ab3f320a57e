"""Darknet as a file format: cfg and weights."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UnsupportedError
from ...core.foreign import Foreign
from ...core.ir.network import Network
from ..registry import FORMATS, Format, first_line, is_text

if TYPE_CHECKING:
    from ...core.training.recipe import Start
    from ..emission import Emission

__all__ = ["DARKNET"]


def _begin(
    paths: Mapping[str, Path], solver: Path | None, *, all_layers: bool = False,
    like: Network | None = None, **settings: Any,
) -> Start:  # fmt: skip
    """Read a network with its losses and its schedule, which stand in the cfg.

    Raises:
        UnsupportedError: a file with a solver is given.
    """
    from ...core.training.recipe import Start
    from .augmentation import augmentation_of
    from .reader import load
    from .recipe import recipe, seen, with_seen
    from .resize import at_size
    from .source import DarknetSource

    if solver is not None:
        raise UnsupportedError("a cfg holds its own schedule: no solver file is read beside it")
    if like is not None:
        assert isinstance(like.source, DarknetSource), "read from Darknet's files"
        network = like.source.reread(paths, training=True)
    else:
        network = load(paths[".cfg"], paths[".weights"], training=True, **settings)
    found = recipe(network, all_layers=all_layers)
    source = network.source
    assert isinstance(source, DarknetSource), "read from Darknet's files"
    flavour = source.records[0].section.context.flavour
    return Start(
        network=network, recipe=found, seen=seen(network), finish=with_seen,
        augmentation=augmentation_of(source.document, flavour), resize=at_size,
    )  # fmt: skip


def _emit(network: Network, solver: Path | None, data: Path | None) -> Emission:
    from .emission import emission

    return emission(network, solver, data)


def _sniff(head: bytes) -> str | None:
    """Return the suffix of a cfg or weights file by its first bytes; None for other files.

    A cfg begins with a section header. A weights file begins with three small int32 version
    numbers, followed by the number of images seen in training.
    """
    if is_text(head):
        return ".cfg" if first_line(head)[:1] == b"[" else None
    versions = [int.from_bytes(head[k : k + 4], "little", signed=True) for k in (0, 4, 8)]
    small = all(0 <= version < 1 << 16 for version in versions)
    return ".weights" if len(head) >= 16 and small else None


_DATA = re.compile(rb"^\s*(?:classes|train|valid|test|names|labels|backup|top)\s*=", re.MULTILINE)


def _relative(head: bytes) -> Foreign | None:
    """Return that a text is a `.data` file; None for others. A cfg begins with a section."""
    if is_text(head) and first_line(head)[:1] != b"[" and len(_DATA.findall(head)) > 1:
        return Foreign("a .data file of Darknet", "it names data: give it to --data")
    return None


def _read(paths: Mapping[str, Path], **settings: Any) -> Network:
    from .reader import load

    return load(paths[".cfg"], paths[".weights"], **settings)


def _read_text(path: Path, **settings: Any) -> Network:
    from .reader import load_text

    return load_text(path, flavour=settings["flavour"])


def _register_datasets() -> None:
    importlib.import_module(".data.kinds", __package__)


DARKNET = FORMATS.add(
    "darknet",
    entry=Format(
        name="darknet",
        suffixes=(".cfg", ".weights"),
        rank=10,
        sniff=_sniff,
        relative=_relative,
        missing={".cfg": "a .weights file", ".weights": "its .cfg"},
        read=_read,
        settings=("flavour", "partial", "reset_seen"),
        begin=_begin,
        emit=_emit,
        companions=True,
        register_datasets=_register_datasets,
        read_text=_read_text,
    ),
)
