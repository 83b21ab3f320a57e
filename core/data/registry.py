"""The kinds of data that can be opened: each says what it claims, and opens it.

The neutral kinds register themselves here; formats add those that belong to one framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..ir.heads import box_heads
from ..ir.network import Network, Preprocess
from .base import BATCH_SIZE, Dataset
from .stream import ImageSource, ImageStream

__all__ = ["KINDS", "Kind", "Opening", "register", "stream"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """How data is to be opened.

    Args:
        network: whose inputs the data must fit.
        preprocess: how images become inputs, instead of the network's own.
        batch: samples a batch.
        limit: use only so many samples from the start.
        root: folder that relative paths in lists and annotations start from.
        names: file with the names of the classes in their order, one a line.
        ignore_label: in maps of classes, pixels of this class do not count.
    """

    network: Network
    preprocess: Preprocess | None = None
    batch: int = BATCH_SIZE
    limit: int | None = None
    root: Path | None = None
    names: Path | None = None
    ignore_label: int | None = None

    @property
    def detector(self) -> bool:
        """Whether the network finds objects."""
        return bool(box_heads(self.network))


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of data.

    Args:
        name: what people call it.
        claims: whether a path (that exists) is of this kind, told by its name and first bytes.
        open: makes a dataset of it; raises DataError.
        rank: kinds are asked in this order.
    """

    name: str
    claims: Callable[[Path, Opening], bool]
    open: Callable[[Path, Opening], Dataset]
    rank: int = 50


KINDS: dict[str, Kind] = {}
"""Every kind by its name."""


def register(kind: Kind) -> None:
    """Add a kind; one of the same name is replaced."""
    KINDS[kind.name] = kind


def stream(source: ImageSource, opening: Opening, *, tolerant: bool = True) -> ImageStream:
    """Return the images of a source as batches."""
    return ImageStream(
        source,
        opening.network,
        preprocess=opening.preprocess,
        batch=opening.batch,
        limit=opening.limit,
        ignore_label=opening.ignore_label,
        tolerant=tolerant,
    )
