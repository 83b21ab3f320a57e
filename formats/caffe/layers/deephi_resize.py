"""DeephiResize. Source: deephi_resize_layer.cpp and caffe.proto of Vitis AI's Caffe (19fca11).

It is OpenCV's resize of every channel: NEAREST takes the pixel at ⌊i · in / out⌋, BILINEAR samples
at (i + ½) · in / out − ½ and repeats the edge. It stores no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import LARGEST_BLOB, CaffeBuilder, Example, Layer, check_positive, key, layer


@layer("DeephiResize")
@dataclass(frozen=True, kw_only=True, slots=True)
class DeephiResize(Layer):
    """Maps resized by a factor, or to a height and a width."""

    resize_type: str = key("NEAREST", choices=("BILINEAR", "NEAREST"))
    scale_h: float | None = key(None, doc="factor of the height; 1 where no size is given")
    scale_w: float | None = key(None, doc="factor of the width")
    new_height: int | None = key(None, doc="height of the top; the factors are then not read")
    new_width: int | None = key(None, doc="width of the top")
    use_dpu: bool = key(default=False, doc="8-bit integers of the accelerator; read as false")

    param: ClassVar = "deephi_resize_param"
    bottom_axes: ClassVar = (4, 4)
    example: ClassVar = Example(
        text="deephi_resize_param { scale_h: 2 scale_w: 1.5 resize_type: BILINEAR }"
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Resize of the two spatial axes."""
        height, width = self._size(*b.dims(x, 2))
        check_positive(height=height, width=width)
        if height * width > LARGEST_BLOB:
            raise FormatError(f"a plane of {height}×{width} is too large for Caffe")
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if self.resize_type == "NEAREST":
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                   "nearest_mode": "floor"}  # fmt: skip
        sizes = b.constant([height, width])
        return b.op("Resize", x, None, None, sizes, axes=[2, 3], **how)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the top; products of a factor are cut off."""
        for pair in (("new_height", "new_width"), ("scale_h", "scale_w")):
            given = [name for name in pair if getattr(self, name) is not None]
            if len(given) == 1:
                raise FormatError(f"{pair[0]} and {pair[1]} stand together")
        if self.new_height is not None and self.new_width is not None:
            return self.new_height, self.new_width
        return _scaled(height, self.scale_h), _scaled(width, self.scale_w)


def _scaled(size: int, scale: float | None) -> int:
    """Return a size times a factor in float32, as Caffe computes it."""
    with np.errstate(over="ignore"):
        product = float(np.float32(size) * np.float32(1 if scale is None else scale))
    return int(min(product, LARGEST_BLOB + 1))
