"""ArgMax. Source: argmax_layer.cpp (BVLC 9b89154). It stores no blobs.

Among equal values, the last one comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("ArgMax")
@dataclass(frozen=True, kw_only=True, slots=True)
class ArgMax(Layer):
    """Positions (as floats) or values of the largest elements, along an axis or of a whole item."""

    out_max_val: bool = key(default=False, doc="with axis: values in place of positions; else both")
    top_k: int = key(1)
    axis: int | None = key(None, doc="none: over all but the batch")

    param: ClassVar = "argmax_param"
    bottom_axes: ClassVar = (1, 32)
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit TopK over the axis, or over each flattened item."""
        if self.axis is not None:
            values, positions = self._largest(b, x, b.axis(x, self.axis))
            return values if self.out_max_val else positions
        flat = x if b.rank(x) == 2 else b.op("Flatten", x, axis=1)
        values, positions = self._largest(b, flat, 1)
        behind = (1,) * max(0, b.rank(x) - 3)
        if not self.out_max_val:
            return b.reshape(positions, 0, 1, self.top_k, *behind)
        both = b.op("Concat", positions, values, axis=1)
        return b.reshape(both, 0, 2, self.top_k, *behind)

    def _largest(self, b: CaffeBuilder, x: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
        """Emit values and positions; reversed, as ONNX puts the first of equals first."""
        size = b.dims(x, axis)[0]
        if not 1 <= self.top_k <= size:
            raise FormatError(f"top_k {self.top_k} is not within 1 to {size}")
        turned = b.op(
            "Slice", x, b.constant([-1]), b.constant([-(2**31)]), b.constant([axis]),
            b.constant([-1]),
        )  # fmt: skip
        values, places = b.ops("TopK", turned, b.constant([self.top_k]), count=2, axis=axis)
        positions = b.op("Sub", b.constant(size - 1), places)
        return values, b.op("Cast", positions, to=int(ir.DataType.FLOAT))
