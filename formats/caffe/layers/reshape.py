"""Reshape, Flatten, Permute. Source: reshape_layer.cpp, flatten_layer.cpp (BVLC 9b89154);
permute_layer.cpp of SSD. They store no blobs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer
from .transpose import transposed


@layer("Reshape")
@dataclass(frozen=True, kw_only=True, slots=True)
class Reshape(Layer):
    """Other axes for the same values: 0 copies an axis of the bottom, -1 is inferred."""

    dims: tuple[int, ...] = key((), "shape.dim", channels=True)
    axis: int = key(0, doc="first axis replaced; -1 means behind the last")
    num_axes: int = key(-1, doc="axes replaced; -1 for all that follow")

    param: ClassVar = "reshape_param"
    example: ClassVar = Example(text="reshape_param { shape { dim: 0 dim: 16 dim: -1 dim: 1 } }")

    def _span(self, rank: int) -> tuple[int, int]:
        start = self.axis if self.axis >= 0 else rank + self.axis + 1
        end = rank if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= end <= rank:
            raise FormatError(
                f"axis {self.axis}, num_axes {self.num_axes} do not fit {rank} axes of the bottom"
            )
        return start, end

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Reshape, with 0 for the batch where the dims mean that."""
        start, end = self._span(b.rank(x))
        if self.dims.count(-1) > 1 or any(dim < -1 for dim in self.dims):
            raise FormatError("dims are -1 (at most once), 0, or positive")
        if any(dim == 0 and start + i >= end for i, dim in enumerate(self.dims)):
            raise FormatError("a dim 0 copies an axis that the bottom does not have")
        target = [0] * start + list(self.dims)
        shift = len(self.dims) - (end - start)
        target += [0] * (b.rank(x) - end) if shift == 0 else b.dims(x, end)
        if b.rank(x) and target and target[0] != 0:
            target[0] = self._batch(b, x, target)
        return b.reshape(x, *target)

    def _batch(self, b: CaffeBuilder, x: ir.Value, target: Sequence[int]) -> int:
        """Return 0 where the first dim of the target is the batch in other words."""
        item = math.prod(b.dims(x, 1))
        own = (0, *b.dims(x, 1))
        rest = [own[i] if dim == 0 else dim for i, dim in enumerate(target) if i]
        known = math.prod(dim for dim in rest if dim != -1)
        fits = item % known == 0 if -1 in rest else item == known
        if fits and target[0] in (-1, b.reading.batch) and isinstance(b.shape(x)[0], str):
            return 0
        b.dims(x, 0)
        return target[0]

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the positive dims of the Reshape in a changed graph."""
        del arrays
        bottom, target = nodes[0].inputs
        assert bottom is not None
        assert bottom.shape is not None
        assert target is not None
        assert target.const_value is not None
        start, _ = self._span(len(bottom.shape))
        written = [int(dim) for dim in target.const_value.numpy()][start:]
        pairs = zip(self.dims, written, strict=False)
        dims = tuple(new if old > 0 and new > 0 else old for old, new in pairs)
        return replace(self, dims=dims)

    def shares_memory(self) -> bool:
        """Whether the top is the bottom's memory in Caffe."""
        return True


@layer("Flatten")
@dataclass(frozen=True, kw_only=True, slots=True)
class Flatten(Layer):
    """The axes `axis` … `end_axis` become one."""

    axis: int = key(1)
    end_axis: int = key(-1)

    param: ClassVar = "flatten_param"
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Flatten, or Reshape for other axes than the usual."""
        start, end = b.axis(x, self.axis), b.axis(x, self.end_axis)
        if start > end:
            raise FormatError(f"axis {start} lies behind end_axis {end}")
        rank = b.rank(x)
        if start == 1 and end == rank - 1:
            return x if rank == 2 else b.op("Flatten", x, axis=1)
        if start == 0:
            b.dims(x, 0)
        behind = (0,) * (rank - end - 1) if start == end else b.dims(x, end + 1)
        return b.reshape(x, *(0,) * start, -1, *behind)

    def shares_memory(self) -> bool:
        """Whether the top is the bottom's memory in Caffe."""
        return True


@layer("Permute")
@dataclass(frozen=True, kw_only=True, slots=True)
class Permute(Layer):
    """Axes in another order; those not named follow in their own order."""

    order: tuple[int, ...] = key(())

    param: ClassVar = "permute_param"
    example: ClassVar = Example(text="permute_param { order: 0 order: 2 order: 3 order: 1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Transpose."""
        rank = b.rank(x)
        if len(set(self.order)) < len(self.order) or any(i not in range(rank) for i in self.order):
            raise FormatError(f"order {list(self.order)} is no order of {rank} axes")
        left = [axis for axis in range(rank) if axis not in self.order]
        return transposed(b, x, (*self.order, *left))
