"""Scale, Bias. Source: scale_layer.cpp, bias_layer.cpp (BVLC 9b89154).

The factor (summand) covers the axes `axis` … `axis` + `num_axes` of the bottom, or is the second
bottom. Blobs: scale, then bias, both of that shape; with two bottoms the bias is the only blob.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@dataclass(frozen=True, kw_only=True, slots=True)
class _Broadcast(Layer):
    """What both share: a tensor laid over some axes of the bottom."""

    axis: int = key(1, doc="first axis covered")
    num_axes: int = key(1, doc="axes covered; -1 for all that follow; not read with two bottoms")

    bottom_range: ClassVar = (1, 2)

    @property
    def learned(self) -> bool:
        """Whether the tensor is a blob and no second bottom."""
        return len(self.bottoms) == 1

    def covered(self, shape: Shape, second: Shape | None) -> tuple[int, Shape]:
        """Return the first axis and the sizes covered."""
        rank = len(shape)
        if not -rank <= self.axis < rank:
            raise FormatError(f"axis {self.axis} does not exist: the bottom has {rank} axes")
        axis = self.axis % rank
        count = len(second) if second is not None else self.num_axes
        end = rank if count == -1 else axis + count
        if end > rank or count < -1:
            raise FormatError(f"{count} axes from axis {axis} are more than the bottom has")
        found = shape[axis:end]
        if second is not None and any(
            a != b and isinstance(a, int) and isinstance(b, int)
            for a, b in zip(second, found, strict=True)
        ):
            raise FormatError(f"the second bottom is {second}, the axes it covers are {found}")
        return axis, found

    def sizes(self, *shapes: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        _, found = self.covered(shapes[0], shapes[1] if len(shapes) > 1 else None)
        return {"shape": tuple(number(dim) for dim in found)}

    def laid(self, b: CaffeBuilder, x: ir.Value, name: str) -> ir.Value:
        """Return a blob, with axes of length 1 behind, so that it broadcasts over `x`."""
        stored: np.ndarray = b.blobs[name]
        axis = b.axis(x, self.axis)
        behind = b.rank(x) - axis - stored.ndim
        shape = stored.shape + (1,) * behind if stored.ndim else ()
        return b.parameter(name, stored.reshape(shape))

    def second(self, b: CaffeBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return the second bottom, with axes of length 1 behind."""
        axis, _ = self.covered(b.shape(x), b.shape(y))
        if axis == 0 and b.rank(y):
            b.one_batch(x, y)
        behind = b.rank(x) - axis - b.rank(y)
        if not behind or not b.rank(y):
            return y
        return b.reshape(y, *(0,) * b.rank(y), *(1,) * behind)


@layer("Scale")
@dataclass(frozen=True, kw_only=True, slots=True)
class Scale(_Broadcast):
    """x · scale [+ bias]."""

    bias_term: bool = key(default=False, doc="whether there is a bias blob")

    param: ClassVar = "scale_param"
    blobs: ClassVar = (
        Blob("scale", "shape", when="learned"),
        Blob("bias", "shape", when="bias_term"),
    )
    example: ClassVar = Example(text="scale_param { bias_term: true }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *factor: ir.Value) -> ir.Value:
        """Emit Mul, and Add for the bias."""
        by = self.second(b, x, factor[0]) if factor else self.laid(b, x, "scale")
        y = b.op("Mul", x, by)
        return b.op("Add", y, self.laid(b, x, "bias")) if self.bias_term else y


@layer("Bias")
@dataclass(frozen=True, kw_only=True, slots=True)
class Bias(_Broadcast):
    """x + bias."""

    param: ClassVar = "bias_param"
    blobs: ClassVar = (Blob("bias", "shape", when="learned"),)
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *summand: ir.Value) -> ir.Value:
        """Emit Add."""
        return b.op("Add", x, self.second(b, x, summand[0]) if summand else self.laid(b, x, "bias"))
