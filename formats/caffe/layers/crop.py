"""Crop. Source: crop_layer.cpp (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("Crop")
@dataclass(frozen=True, kw_only=True, slots=True)
class Crop(Layer):
    """The first bottom cut to the size of the second, from `axis` on."""

    axis: int = key(2)
    offset: tuple[int, ...] = key((), doc="none, one for all cropped axes, or one an axis")

    param: ClassVar = "crop_param"
    bottom_range: ClassVar = (2, 2)
    example: ClassVar = Example(
        bottoms=("before", "small"),
        text="crop_param { offset: 1 }",
        lead="""
layer { name: "small" type: "Pooling" bottom: "data" top: "small"
  pooling_param { kernel_size: 2 stride: 2 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, like: ir.Value) -> ir.Value:
        """Emit Slice over the axes that are really cut."""
        axis = b.axis(x, self.axis)
        if b.rank(like) != b.rank(x):
            raise FormatError(f"the bottoms have {b.rank(x)} and {b.rank(like)} axes")
        sizes, wanted = b.dims(x, axis), b.dims(like, axis)
        offsets = self.offset or (0,)
        if len(offsets) == 1:
            offsets *= len(sizes)
        if len(offsets) != len(sizes):
            raise FormatError(f"{len(offsets)} offsets for {len(sizes)} cropped axes")
        cut = []
        for index, (size, length, start) in enumerate(zip(sizes, wanted, offsets, strict=True)):
            if start < 0 or start + length > size:
                raise FormatError(f"{length} from offset {start} lies outside of {size}")
            if length != size:
                cut.append((start, start + length, axis + index))
        if not cut:
            return x
        starts, ends, axes = (b.constant(numbers) for numbers in zip(*cut, strict=True))
        return b.op("Slice", x, starts, ends, axes)
