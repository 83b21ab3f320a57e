"""The kinds of data that can be opened: each says what it claims, and opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..ir.heads import box_heads
from ..ir.network import Network, Preprocess
from ..registry import Registry
from .base import BATCH_SIZE, Dataset
from .options import DataOptions
from .stream import ImageSource, ImageStream

__all__ = ["KINDS", "Kind", "Opening", "Purpose", "stream"]


Purpose = Literal["calibrate", "measure"]
"""What data is opened for: to prune, repair and train by it, or to measure on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """How data is to be opened.

    Args:
        network: whose inputs the data must fit.
        preprocess: how images become inputs.
        options: all else.
        purpose: what for. Some kinds of data hold images of their own for each purpose.
    """

    network: Network
    preprocess: Preprocess | None = None
    options: DataOptions
    purpose: Purpose = "measure"

    @property
    def batch(self) -> int:
        """Samples a batch."""
        return self.options.batch if self.options.batch is not None else BATCH_SIZE

    @property
    def root(self) -> Path | None:
        """Folder that relative paths start from."""
        return Path(self.options.root) if self.options.root is not None else None

    @property
    def names(self) -> Path | None:
        """File with the names of the classes."""
        return Path(self.options.names) if self.options.names is not None else None

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
        apart: whether a path holds images to calibrate on that are not those to measure on.
        made: whether nothing is read: the path is a name, where there is no such file.
    """

    name: str
    claims: Callable[[Path, Opening], bool]
    open: Callable[[Path, Opening], Dataset]
    rank: int = 50
    apart: Callable[[Path, Opening], bool] = lambda path, opening: False  # noqa: ARG005
    made: bool = False


KINDS: Registry[Kind] = Registry(
    "kind of data", package=__name__.rpartition(".")[0], group="secateur.datasets", error=DataError
)
"""Every kind by its name. Formats add those that belong to one framework."""


def stream(
    source: ImageSource, opening: Opening, *, tolerant: bool = True, found_labels: str = ""
) -> ImageStream:
    """Return the images of a source as batches.

    Args:
        source: the images.
        opening: how they are opened.
        tolerant: whether a few broken images are left out.
        found_labels: where the labels were found, in words, if the user did not name them.
    """
    return ImageStream(
        source,
        opening.network,
        preprocess=opening.preprocess,
        batch=opening.batch,
        limit=opening.options.limit,
        ignore_label=opening.options.ignore_label,
        tolerant=tolerant,
        found_labels=found_labels if source.target_kind else "",
    )
