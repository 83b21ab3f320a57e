"""[yolo] and [Gaussian_yolo]. Source: yolo_layer.c forward_yolo_layer, gaussian_yolo_layer.c.

The layer applies sigmoids, and spreads x and y by scale_x_y around the middle of the cell. Its
channels are anchors × (x, y, w, h, objectness, classes). In [Gaussian_yolo], a deviation follows
each of x, y, w and h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ....core.ir.heads import AnchorHead
from ...adapter import check_positive, key
from ..flavour import Flavour
from ..section import LIMIT, Example, Handling, Section, SectionBuilder, Size, section

DEFAULT_ANCHOR = 0.5


@section("yolo")
@dataclass(frozen=True, kw_only=True, slots=True)
class Yolo(Section):
    """A YOLOv3 and later detection head."""

    classes: int = key(20)
    num: int = key(1, doc="anchors in the list")
    mask: tuple[int, ...] = key((), doc="the anchors of this head; all where absent")
    anchors: tuple[float, ...] = key((), doc="width, height in pixels of the network's input")
    scale_x_y: float = key(1.0)
    new_coords: bool = key(default=False, doc="the convolution before has done the sigmoids")

    only = {"scale_x_y": Flavour.ALEXEYAB, "new_coords": Flavour.ALEXEYAB}  # noqa: RUF012

    uncertain: ClassVar[bool] = False
    """Whether each coordinate has a deviation."""
    spread: ClassVar[tuple[int, ...]] = (0, 1)
    """Entries of an anchor that scale_x_y moves."""
    raw: ClassVar[tuple[int, ...]] = (2, 3)
    """Entries without a sigmoid."""
    before_classes: ClassVar[int] = 5
    example = Example(
        handling=Handling.HEAD,
        text="classes=3\nnum=2\nanchors=2,3, 4,5",
        lead="[convolutional]\nfilters=16\nactivation=linear",
        tail="",
    )

    @property
    def used(self) -> tuple[int, ...]:
        """The positions of this head's anchors in the list."""
        return self.mask or tuple(range(self.num))

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Check the channels.

        Raises:
            FormatError: they do not fit anchors and classes.
        """
        count = len(self.mask) or self.num
        check_positive(num=count)
        wrong = next((place for place in self.mask if not 0 <= place < self.num), None)
        if wrong is not None:
            raise FormatError(
                f"mask names anchor {wrong}, but num={self.num}: Darknet keeps the anchors "
                f"0…{self.num - 1} and would read beyond them",
                hint=f"num= counts the pairs of anchors=, not those of mask=: "
                f"{len(self.anchors) // 2} are listed",
            )
        if self.classes < 0 or x.channels > LIMIT:
            raise UnsupportedError(f"{self.classes} classes in {x.channels} channels")
        entries = self.classes + self.before_classes
        if x.channels != count * entries:
            raise FormatError(
                f"{count} anchors of {entries} numbers need {count * entries} channels, "
                f"the layer before has {x.channels}",
                hint="filters= there, or classes= or mask= here, is wrong",
            )
        return {}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the sigmoids where the layer has them, and the spread of x and y."""
        x = b.image(x)
        anchors, entries = len(self.used), self.classes + self.before_classes

        def per_channel(entry_values: np.ndarray, dtype: type) -> ir.Value:
            channels = np.tile(entry_values, anchors).reshape(1, -1, 1, 1)
            return b.constant(channels, dtype)

        if not self.new_coords:
            kept = np.isin(np.arange(entries), self.raw)
            x = b.op("Where", per_channel(kept, np.bool_), x, b.op("Sigmoid", x))
        if self.scale_x_y != 1.0:
            moved = np.isin(np.arange(entries), self.spread)
            factor = np.where(moved, self.scale_x_y, 1.0)
            x = b.op("Mul", x, per_channel(factor, np.float32))
            x = b.op("Add", x, per_channel(-0.5 * (factor - 1.0), np.float32))
        return x

    def head(self, output: str) -> AnchorHead:
        """Return anchors in pixels, the mask and what else decoding needs."""
        listed = self.anchors[: 2 * self.num]
        missing = 2 * (max(self.used) + 1) - len(listed)
        numbers = (*listed, *[DEFAULT_ANCHOR] * max(missing, 0))
        return AnchorHead(
            output=output,
            classes=self.classes,
            anchors=tuple(zip(numbers[::2], numbers[1::2], strict=False)),
            mask=self.used,
            width=self.context.width,
            height=self.context.height,
            new_coords=self.new_coords,
            uncertain=self.uncertain,
        )


@section("Gaussian_yolo")
@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianYolo(Yolo):
    """A head that also gives deviations: x, σx, y, σy, w, σw, h, σh, objectness, classes."""

    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    uncertain = True
    spread = (0, 2)
    raw = (4, 6)
    before_classes = 9
    example = Example(
        handling=Handling.HEAD,
        text="classes=3\nnum=2\nanchors=2,3, 4,5",
        lead="[convolutional]\nfilters=24\nactivation=linear",
        tail="",
    )
