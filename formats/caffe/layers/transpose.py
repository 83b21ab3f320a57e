"""Transpose. Source: transpose_layer.cpp of several forks (yutkin's f30b493). It stores no blobs.

Axis i of the top is axis `dim[i]` of the bottom. Other forks use the name for other layers; their
files give no `dim` and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("Transpose")
@dataclass(frozen=True, kw_only=True, slots=True)
class Transpose(Layer):
    """Axes in another order."""

    order: tuple[int, ...] = key((), "dim.dim", "dim", doc="for each axis of the top, its own")

    param: ClassVar = "transpose_param"
    bottom_axes: ClassVar = (1, 32)
    example: ClassVar = Example(text="transpose_param { dim: 0 dim: 2 dim: 3 dim: 1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Transpose."""
        rank = b.rank(x)
        if not self.order:
            raise UnsupportedError(
                "transpose_param gives no order of axes (dim), and forks differ in what they do "
                "without",
                hint="write the order, or use Permute",
            )
        if sorted(self.order) != list(range(rank)):
            raise FormatError(f"dim {list(self.order)} is no order of {rank} axes")
        return transposed(b, x, self.order)


def transposed(b: CaffeBuilder, x: ir.Value, order: tuple[int, ...]) -> ir.Value:
    """Emit Transpose; `x` itself where nothing moves.

    Raises:
        StaticBatchNeeded: the batch, which is symbolic, moves.
    """
    if order == tuple(range(b.rank(x))):
        return x
    if order[0] != 0:
        b.dims(x, 0)
    return b.op("Transpose", x, perm=list(order))
