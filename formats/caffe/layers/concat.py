"""Concat, Slice. Source: concat_layer.cpp, slice_layer.cpp (BVLC 9b89154). They store no blobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("Concat")
@dataclass(frozen=True, kw_only=True, slots=True)
class Concat(Layer):
    """Blobs joined along an axis."""

    axis: int = key(1, "axis", "concat_dim")

    param: ClassVar = "concat_param"
    bottom_range: ClassVar = (1, None)
    example: ClassVar = Example(bottoms=("before", "first"))

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Emit Concat; a single bottom is passed on."""
        axis = b.axis(bottoms[0], self.axis)
        if len(bottoms) == 1:
            return bottoms[0]
        if axis == 0 or len({b.shape(x)[0] for x in bottoms}) > 1:
            for x in bottoms:
                b.dims(x, 0)
        return b.op("Concat", *bottoms, axis=axis)

    def shares_memory(self) -> bool:
        """Whether the top is the bottom's memory in Caffe."""
        return len(self.bottoms) == 1


@layer("Slice")
@dataclass(frozen=True, kw_only=True, slots=True)
class Slice(Layer):
    """A blob cut along an axis, at given points or into equal parts."""

    axis: int = key(1, "axis", "slice_dim")
    slice_point: tuple[int, ...] = key((), channels=True, doc="where parts begin; none: equal")

    param: ClassVar = "slice_param"
    top_range: ClassVar = (1, None)
    example: ClassVar = Example(
        tops=("layer", "other"),
        text="slice_param { slice_point: 3 }",
        tail="""
layer { name: "after" type: "InnerProduct" bottom: "layer" top: "after"
  inner_product_param { num_output: 3 } }
layer { name: "rest" type: "InnerProduct" bottom: "other" top: "rest"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> tuple[ir.Value, ...]:
        """Emit Split with explicit sizes."""
        axis = b.axis(x, self.axis)
        if len(self.tops) == 1:
            return (x,)
        size = b.dims(x, axis)[0]
        points = self.slice_point
        if not points:
            if size % len(self.tops):
                raise FormatError(f"{size} channels are not {len(self.tops)} equal parts")
            points = tuple(range(0, size, size // len(self.tops)))[1:]
        if len(points) != len(self.tops) - 1:
            raise FormatError(f"{len(self.tops)} tops need {len(self.tops) - 1} slice_point")
        edges = (0, *points, size)
        sizes = [after - before for before, after in pairwise(edges)]
        if min(sizes) <= 0:
            raise FormatError(f"slice_point {list(points)} does not rise within 0 to {size}")
        return b.ops("Split", x, b.constant(sizes), count=len(sizes), axis=axis)

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the points between the parts; none while they are equal."""
        del arrays
        sizes_value = nodes[0].inputs[1]
        assert sizes_value is not None
        assert sizes_value.const_value is not None
        sizes = [int(size) for size in sizes_value.const_value.numpy()]
        if not self.slice_point and len(set(sizes)) == 1:
            return self
        return replace(self, slice_point=tuple(accumulate(sizes))[:-1])

    def shares_memory(self) -> bool:
        """Whether the only top is the bottom's memory in Caffe."""
        return len(self.tops) == 1
