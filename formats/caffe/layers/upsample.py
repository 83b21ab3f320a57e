"""Upsample, Interp. Source: upsample_layer.cpp of MobileNet-YOLO; interp_layer.cpp of DeepLab.

Upsample repeats pixels; Interp is bilinear with the corners aligned. No blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import CaffeBuilder, Layer, check_positive, key, layer


def resize(b: CaffeBuilder, x: ir.Value, height: int, width: int, *, linear: bool) -> ir.Value:
    """Emit a Resize of the two spatial axes."""
    check_positive(height=height, width=width)
    sizes = b.constant([height, width])
    if linear:
        how = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        return b.op("Resize", x, None, None, sizes, axes=[2, 3], **how)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
           "nearest_mode": "floor"}  # fmt: skip
    return b.op("Resize", x, None, None, sizes, axes=[2, 3], **how)


@layer("Upsample")
@dataclass(frozen=True, kw_only=True, slots=True)
class Upsample(Layer):
    """Every pixel repeated `scale` times on both axes."""

    scale: int = key(2)

    param: ClassVar = "upsample_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (1, 2)

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *mask: ir.Value) -> ir.Value:
        if mask:
            raise UnsupportedError("up-sampling by a pooling mask is not supported")
        height, width = b.dims(x, 2)
        check_positive(scale=self.scale)
        return resize(b, x, height * self.scale, width * self.scale, linear=False)


@layer("Interp")
@dataclass(frozen=True, kw_only=True, slots=True)
class Interp(Layer):
    """Bilinear interpolation to a size, or by a whole factor."""

    height: int = key(0)
    width: int = key(0)
    zoom_factor: int = key(1)
    shrink_factor: int = key(1)
    pad_beg: int = key(0, doc="0 or negative: rows and columns cut off at the start")
    pad_end: int = key(0, doc="0 or negative: rows and columns cut off at the end")

    param: ClassVar = "interp_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (1, 2)

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *like: ir.Value) -> ir.Value:
        if self.pad_beg > 0 or self.pad_end > 0:
            raise FormatError("pad_beg and pad_end are zero or negative")
        if self.pad_beg or self.pad_end:
            ends = [size + self.pad_end for size in b.dims(x, 2)]
            starts = b.constant([-self.pad_beg] * 2)
            x = b.op("Slice", x, starts, b.constant(ends), b.constant([2, 3]))
        check_positive(zoom_factor=self.zoom_factor, shrink_factor=self.shrink_factor)
        if like:
            if b.rank(like[0]) != 4:
                raise FormatError(f"the second bottom has {b.rank(like[0])} axes, not 4")
            height, width = b.dims(like[0], 2)
        elif self.height or self.width:
            height, width = self.height, self.width
        else:
            height, width = (self._scaled(size) for size in b.dims(x, 2))
        return resize(b, x, height, width, linear=True)

    def _scaled(self, size: int) -> int:
        shrunk = (size - 1) // self.shrink_factor + 1
        return shrunk + (shrunk - 1) * (self.zoom_factor - 1)
