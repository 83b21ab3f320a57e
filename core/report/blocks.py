"""What panels of a report are made of. Templates write them down; they compute nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from ..markup import Table

__all__ = ["Block", "Chart", "Code", "Drawing", "Folded", "Gallery", "Panel", "Paragraph", "Shot"]


LARGE = 300
"""Pixels: what wider pictures show would be too small to see on half a narrow page."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of text; a caution is marked as such."""

    text: str
    caution: bool = False
    kind = "paragraph"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart, once for wide pages and once for narrow ones, with its figures as a table.

    Args:
        caption: what it shows.
        wide: SVG.
        narrow: SVG.
        table: the figures.
    """

    caption: str
    wide: str
    narrow: str
    table: Table
    kind = "chart"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """An SVG that can be enlarged.

    Args:
        name: the beginning of the names of its parts in the page.
        caption: what it shows.
        svg: the drawing.
        width: its pixels.
    """

    name: str
    caption: str
    svg: str
    width: int
    kind = "drawing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """A picture.

    Args:
        title: of whom it is.
        content: the bytes of a WebP file.
        width: in pixels.
        height: in pixels.
        alt: what is to be seen in it, in words.
        lines: what stands below it.
    """

    title: str
    content: bytes
    width: int
    height: int
    alt: str
    lines: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/webp;base64,{b64encode(self.content).decode()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Pictures of one sample, side by side."""

    caption: str
    shots: tuple[Shot, ...]
    kind = "gallery"

    @property
    def large(self) -> bool:
        """Whether pictures stand below each other where the page is narrow."""
        return any(shot.width > LARGE for shot in self.shots)


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be copied."""

    about: str
    text: str
    kind = "code"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """Something long that is shown when one asks for it."""

    summary: str
    block: Table
    kind = "folded"


Block = Paragraph | Table | Chart | Drawing | Gallery | Code | Folded


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A section of a report.

    Args:
        name: its anchor.
        title: its heading.
        blocks: what stands in it.
    """

    name: str
    title: str
    blocks: Sequence[Block]
