"""The kinds of data that can be opened: each says what it claims, and opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..ir.heads import box_heads
from ..ir.network import Network, Preprocess
from ..registry import Registry
from .base import BATCH_SIZE, Dataset
from .stream import ImageSource, ImageStream

__all__ = ["KINDS", "Kind", "Opening", "stream"]


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


KINDS: Registry[Kind] = Registry(
    "kind of data", package=__name__.rpartition(".")[0], group="secateur.datasets", error=DataError
)
"""Every kind by its name. Formats add those that belong to one framework."""


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
