"""[detection]. Source: parser.c parse_detection, detection_layer.c forward_detection_layer.

The vector holds side × side × classes, then side × side × num objectness, then as many boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from ....core.errors import FormatError
from ....core.ir.network import Head
from ...adapter import check_positive, key
from ..section import Example, Handling, Section, SectionBuilder, Size, section


@section("detection")
@dataclass(frozen=True, kw_only=True, slots=True)
class Detection(Section):
    """A YOLOv1 detection head."""

    coords: int = key(1)
    classes: int = key(1)
    num: int = key(1)
    side: int = key(7)
    softmax: bool = key(default=False)
    sqrt: bool = key(default=False, doc="boxes hold the roots of width and height")
    example = Example(
        handling=Handling.HEAD,
        text="classes=3\ncoords=4\nnum=2\nside=2",
        lead="[connected]\noutput=52\nactivation=linear",
        tail="",
    )

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Check the length of the input.

        Raises:
            FormatError: it does not fit the cells.
        """
        check_positive(coords=self.coords, classes=self.classes, num=self.num, side=self.side)
        wanted = self.side**2 * ((1 + self.coords) * self.num + self.classes)
        if prod(x) != wanted:
            raise FormatError(f"{self.side}×{self.side} cells need {wanted} values, not {prod(x)}")
        return {}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Return the input as a vector, with softmax over the classes of each cell if asked."""
        total = prod(b.size(x))
        x = b.flat(x)
        if not self.softmax:
            return x
        cells = self.side**2
        sizes = [cells * self.classes, total - cells * self.classes]
        classes, rest = b.ops("Split", x, b.constant(sizes), count=2, axis=1)
        classes = b.op("Reshape", classes, b.constant([0, cells, self.classes]))
        classes = b.op("Flatten", b.op("Softmax", classes, axis=2), axis=1)
        return b.op("Concat", classes, rest, axis=1)

    def head(self, output: str) -> Head:
        """Return how the vector is divided."""
        return Head(
            output=output,
            kind="detection",
            settings={
                "side": self.side,
                "num": self.num,
                "coords": self.coords,
                "classes": self.classes,
                "sqrt": self.sqrt,
                "width": self.context.width,
                "height": self.context.height,
            },
        )
