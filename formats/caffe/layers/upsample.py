"""Upsample, Unpooling, Interp. Source: upsample_layer.cpp of MobileNet-YOLO and of SegNet;
unpooling_layer.cpp of DeconvNet; interp_layer.cpp of DeepLab.

Upsample repeats pixels, or puts them where the mask of a pooling says, as Unpooling does; Interp is
bilinear with the corners aligned. They store no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import (
    LARGEST_BLOB,
    CaffeBuilder,
    Example,
    Layer,
    check_positive,
    key,
    layer,
    pair,
    spatial,
)


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


def scatter(b: CaffeBuilder, x: ir.Value, mask: ir.Value, size: tuple[int, int]) -> ir.Value:
    """Emit planes of `size` that are zero but where `mask` puts the pixels of `x`.

    The mask is the second top of a MAX pooling: positions counted inside each plane.
    """
    check_positive(height=size[0], width=size[1])
    if b.shape(mask)[1:] != b.shape(x)[1:]:
        raise FormatError(f"the mask is {b.shape(mask)}, what it places is {b.shape(x)}")
    area = size[0] * size[1]
    if area > LARGEST_BLOB:
        raise FormatError(f"a plane of {size[0]}×{size[1]} is too large for Caffe")
    flat = b.reshape(x, 0, 0, -1)
    where = b.op("Cast", b.reshape(mask, 0, 0, -1), to=int(ir.DataType.INT64))
    first = b.op("Slice", flat, b.constant([0]), b.constant([1]), b.constant([2]))
    zero = b.op("Clip", first, b.scalar(0), b.scalar(0))
    plane = b.op("Pad", zero, b.constant([0, 0, 0, 0, 0, area - 1]))
    placed = b.op("ScatterElements", plane, where, flat, axis=2)
    return b.reshape(placed, 0, 0, *size)


@layer("Upsample")
@dataclass(frozen=True, kw_only=True, slots=True)
class Upsample(Layer):
    """Every pixel repeated `scale` times on both axes; with a mask, put where that says."""

    scale: int = key(2)
    scale_h: int = key(0, doc="with a mask: factor of the height")
    scale_w: int = key(0, doc="with a mask: factor of the width")
    upsample_h: int = key(0, doc="with a mask: height of the top")
    upsample_w: int = key(0, doc="with a mask: width of the top")
    pad_out_h: bool = key(default=False, doc="with a mask: the top is one row less")
    pad_out_w: bool = key(default=False, doc="with a mask: the top is one column less")

    param: ClassVar = "upsample_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (1, 2)
    example: ClassVar = Example(text="upsample_param { scale: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *mask: ir.Value) -> ir.Value:
        """Emit Resize by repetition, or ScatterElements."""
        height, width = b.dims(x, 2)
        if mask:
            return scatter(b, x, mask[0], self._size(height, width))
        check_positive(scale=self.scale)
        return resize(b, x, height * self.scale, width * self.scale, linear=False)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.upsample_h and self.upsample_w:
            return self.upsample_h, self.upsample_w
        return (
            height * (self.scale_h or self.scale) - self.pad_out_h,
            width * (self.scale_w or self.scale) - self.pad_out_w,
        )


@layer("Unpooling")
@dataclass(frozen=True, kw_only=True, slots=True)
class Unpooling(Layer):
    """Pixels put where the mask of a MAX pooling says; zero elsewhere."""

    unpool: str = key("MAX", choices=("MAX", "AVE", "TILE"))
    unpool_size: tuple[int, ...] = pair((), "unpool_size", "unpool_h", "unpool_w")
    kernel: tuple[int, ...] = pair((), "kernel_size", "kernel_h", "kernel_w")
    stride: tuple[int, ...] = pair((), "stride", "stride_h", "stride_w")
    pad: tuple[int, ...] = pair((), "pad", "pad_h", "pad_w")

    param: ClassVar = "unpooling_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (1, 2)
    example: ClassVar = Example(
        bottoms=("pooled", "mask"),
        text="unpooling_param { unpool_size: 8 }",
        lead="""
layer { name: "pool" type: "Pooling" bottom: "before" top: "pooled" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *mask: ir.Value) -> ir.Value:
        """Emit ScatterElements."""
        if self.unpool != "MAX" or not mask:
            raise UnsupportedError("only MAX unpooling with a mask can be carried")
        if any(self.pad):
            raise UnsupportedError("unpooling knows no padding")
        kernel = spatial(self.kernel, 2, 1, "kernel_size")
        stride = spatial(self.stride, 2, 1, "stride")
        if self.unpool_size:
            height, width = spatial(self.unpool_size, 2, 0, "unpool_size")
        else:
            height, width = (
                max((size - 1) * s + k, size * s + 1)
                for size, s, k in zip(b.dims(x, 2), stride, kernel, strict=True)
            )
        return scatter(b, x, mask[0], (height, width))


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
    example: ClassVar = Example(text="interp_param { zoom_factor: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *like: ir.Value) -> ir.Value:
        """Emit Resize, after cutting what negative padding takes off."""
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
