"""PriorBox. Source: prior_box_layer.cpp of SSD. It stores no blobs.

The boxes follow from the sizes of the bottoms alone, so that the top [1, 2, 4·boxes] is a constant.
Its first row holds x0, y0, x1, y1 of every box, relative to the image; its second row holds the
variances of these numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import REQUIRED
from ..layer import (
    CaffeBuilder,
    Example,
    Layer,
    check_constant,
    check_positive,
    key,
    layer,
    pair,
    spatial,
)


@layer("PriorBox")
@dataclass(frozen=True, kw_only=True, slots=True)
class PriorBox(Layer):
    """Boxes of several sizes and aspect ratios around every pixel of a feature map."""

    min_size: tuple[float, ...] = key(REQUIRED)
    max_size: tuple[float, ...] = key(())
    aspect_ratio: tuple[float, ...] = key(())
    flip: bool = key(default=True)
    clip: bool = key(default=False)
    variance: tuple[float, ...] = key(())
    image: tuple[int, ...] = pair((), "img_size", "img_h", "img_w")
    step: float = key(0.0)
    step_h: float = key(0.0)
    step_w: float = key(0.0)
    offset: float = key(0.5)

    param: ClassVar = "prior_box_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (2, 2)
    example: ClassVar = Example(
        bottoms=("before", "data"),
        text="prior_box_param { min_size: 2 }",
        tail="""
layer { name: "after" type: "InnerProduct" bottom: "before" top: "after"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, data: ir.Value) -> ir.Value:
        """Return the boxes as a constant."""
        if self.max_size and len(self.max_size) != len(self.min_size):
            raise FormatError(f"{len(self.max_size)} max_size for {len(self.min_size)} min_size")
        height, width = b.dims(x, 2)
        if self.image:
            image_height, image_width = spatial(self.image, 2, 0, "img_size")
        else:
            if b.rank(data) != 4:
                raise FormatError(f"the second bottom has {b.rank(data)} axes, not 4")
            image_height, image_width = b.dims(data, 2)
        check_positive(image_height=image_height, image_width=image_width)
        step_h = self.step_h or self.step or image_height / height
        step_w = self.step_w or self.step or image_width / width
        check_constant(height * width * len(self.sides()) * 8, "numbers of prior boxes")
        sizes = np.array(self.sides(), np.float64)
        half_w, half_h = sizes[:, 0] / 2 / image_width, sizes[:, 1] / 2 / image_height
        y = (np.arange(height) + self.offset)[:, None, None] * step_h / image_height
        x_ = (np.arange(width) + self.offset)[None, :, None] * step_w / image_width
        corners = np.broadcast_arrays(x_ - half_w, y - half_h, x_ + half_w, y + half_h)
        boxes = np.stack(corners, -1).reshape(-1)
        if self.clip:
            boxes = boxes.clip(0, 1)
        variances = np.tile(self.variances(), boxes.size // 4)
        return b.constant(np.stack([boxes, variances])[None], np.float32)

    def sides(self) -> list[tuple[float, float]]:
        """Return width and height of the boxes of one pixel, in Caffe's order."""
        ratios = [1.0]
        for ratio in self.aspect_ratio:
            if all(abs(ratio - known) >= 1e-6 for known in ratios):
                ratios += [ratio, 1 / ratio] if self.flip else [ratio]
        found = []
        for index, size in enumerate(self.min_size):
            found.append((size, size))
            if self.max_size:
                middle = math.sqrt(size * self.max_size[index])
                found.append((middle, middle))
            found += [(size * math.sqrt(r), size / math.sqrt(r)) for r in ratios[1:]]
        return found

    def variances(self) -> tuple[float, ...]:
        """Return the variances of the four coordinates."""
        given = self.variance or (0.1,)
        if len(given) not in (1, 4):
            raise FormatError(f"variance stands once or four times, not {len(given)} times")
        return given * 4 if len(given) == 1 else given
