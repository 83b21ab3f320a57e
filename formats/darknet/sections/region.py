"""[region]. Source: parser.c parse_region, region_layer.c forward_region_layer.

The channels are anchors × (coords, objectness, classes). pjreddie's Darknet keeps the map. It
applies the sigmoid to x, y and objectness, and softmax or the sigmoid to the classes. AlexeyAB's
turns the map to height × width × channels. It applies the sigmoid to objectness and softmax to the
classes; x and y get their sigmoid when they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ....core.ir.network import Head
from ...adapter import check_positive, key
from ..flavour import Flavour
from ..section import LIMIT, Example, Handling, Section, SectionBuilder, Size, section
from ..tree import read_tree, softmax_tree


@section("region")
@dataclass(frozen=True, kw_only=True, slots=True)
class Region(Section):
    """A YOLOv2 detection head."""

    classes: int = key(20)
    num: int = key(1)
    coords: int = key(4)
    anchors: tuple[float, ...] = key((), doc="width, height in cells of the map")
    softmax: bool = key(default=False)
    background: bool = key(default=False, doc="objectness is one more class")
    tree: str = key("")

    only = {"background": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example(
        handling=Handling.HEAD,
        text="classes=3\nnum=2\nsoftmax=1\nanchors=1,1,2,2",
        lead="[convolutional]\nfilters=16\nactivation=linear",
        tail="",
    )

    def agreed(self) -> bool:
        """Return False: one puts out a map, the other boxes one after another."""
        return False

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Check the channels.

        Raises:
            FormatError: they do not fit anchors, coordinates and classes.
        """
        check_positive(num=self.num, coords=self.coords, classes=self.classes)
        wanted = self.num * (self.coords + 1 + self.classes)
        if x.channels != wanted:
            raise FormatError(
                f"{self.num} anchors of {self.coords} + 1 + {self.classes} numbers need {wanted} "
                f"channels, the layer before has {x.channels}"
            )
        if x.channels > LIMIT:
            raise UnsupportedError(f"{x.channels} channels")
        return {}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the sigmoids and the softmax the layer has."""
        x = b.image(x)
        _, height, width = b.size(x)
        entries = self.coords + 1 + self.classes
        boxes = b.op("Reshape", x, b.constant([0, self.num, entries, height, width]))
        if self.context.pjreddie:
            parts = self._pjreddie(b, boxes)
        else:
            if self.coords != 4:
                raise UnsupportedError(
                    f"AlexeyAB's Darknet takes coords=4 for granted, not {self.coords}"
                )
            coords, scores, classes = self._cut(b, boxes, [self.coords, 1, self.classes])
            parts = [coords, b.op("Sigmoid", scores), self._classes(b, classes, raw=True)]
        y = b.op("Concat", *parts, axis=2)
        y = b.op("Reshape", y, b.constant([0, -1, height, width]))
        return y if self.context.pjreddie else b.op("Transpose", y, perm=[0, 2, 3, 1])

    def _pjreddie(self, b: SectionBuilder, boxes: ir.Value) -> list[ir.Value]:
        first = min(2, self.coords)
        sizes = [first, self.coords - first, 1, self.classes]
        parts = self._cut(b, boxes, [size for size in sizes if size])
        *rest, scores, classes = parts[1:]
        centre = b.op("Sigmoid", parts[0])
        if not self.background:
            return [centre, *rest, b.op("Sigmoid", scores), self._classes(b, classes, raw=False)]
        if not self.softmax or self.tree:
            raise UnsupportedError("background without softmax, or with a tree")
        together = b.op("Concat", scores, classes, axis=2)
        return [centre, *rest, b.op("Softmax", together, axis=2)]

    def _classes(self, b: SectionBuilder, classes: ir.Value, *, raw: bool) -> ir.Value:
        if parents := self._parents():
            return softmax_tree(b, classes, parents, axis=2)
        if self.softmax:
            return b.op("Softmax", classes, axis=2)
        return classes if raw else b.op("Sigmoid", classes)

    def _parents(self) -> tuple[int, ...]:
        """Return the parents of the classes; empty where they form no tree."""
        return read_tree(self.tree, self.context.folders, self.classes) if self.tree else ()

    def _cut(self, b: SectionBuilder, boxes: ir.Value, sizes: list[int]) -> tuple[ir.Value, ...]:
        return b.ops("Split", boxes, b.constant(sizes), count=len(sizes), axis=2)

    def head(self, output: str) -> Head:
        """Return anchors in cells and what else decoding needs."""
        numbers = (*self.anchors, *[0.5] * (2 * self.num))[: 2 * self.num]
        return Head(
            output=output,
            kind="region",
            settings={
                "anchors": tuple(zip(numbers[::2], numbers[1::2], strict=True)),
                "classes": self.classes,
                "coords": self.coords,
                "softmax": self.softmax,
                "background": self.background,
                "tree": self._parents(),
                "layout": "NCHW" if self.context.pjreddie else "NHWC",
                "xy_sigmoid": not self.context.pjreddie,
                "classes_sigmoid": False,
                "width": self.context.width,
                "height": self.context.height,
            },
        )
