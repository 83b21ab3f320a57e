"""Reduction. Source: reduction_layer.cpp (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import CaffeBuilder, Example, Layer, key, layer

_OPERATORS = {
    "SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean",
}  # fmt: skip


@layer("Reduction")
@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction(Layer):
    """coeff · the sum (of magnitudes, of squares) or mean over `axis` and all axes behind."""

    operation: str = key("SUM", choices=("SUM", "ASUM", "SUMSQ", "MEAN"), numbers=(1, 2, 3, 4))
    axis: int = key(0)
    coeff: float = key(1.0)

    param: ClassVar = "reduction_param"
    example: ClassVar = Example(text="reduction_param { axis: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the reduction over the last axes."""
        axes = b.constant(range(b.axis(x, self.axis), b.rank(x)))
        y = b.op(_OPERATORS[self.operation], x, axes, keepdims=0)
        return y if self.coeff == 1 else b.op("Mul", y, b.scalar(self.coeff))
