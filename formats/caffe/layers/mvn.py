"""MVN. Source: mvn_layer.cpp (BVLC 9b89154). It stores no blobs. The top always has 4 axes.

y = (x − mean) / (sqrt(variance) + eps): eps stands outside the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("MVN")
@dataclass(frozen=True, kw_only=True, slots=True)
class MVN(Layer):
    """Mean and variance normalisation of each channel, or of each item."""

    normalize_variance: bool = key(default=True)
    across_channels: bool = key(default=False)
    eps: float = key(1e-9)

    param: ClassVar = "mvn_param"
    bottom_axes: ClassVar = (0, 4)
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit mean and deviation over the pixels, or over the whole item."""
        rank = b.rank(x)
        if rank < 4:
            x = b.reshape(x, *(0,) * rank, *(1,) * (4 - rank))
        axes = b.constant([1, 2, 3] if self.across_channels else [2, 3])
        centred = b.op("Sub", x, b.op("ReduceMean", x, axes))
        if not self.normalize_variance:
            return centred
        deviation = b.op("Sqrt", b.op("ReduceMean", b.op("Mul", centred, centred), axes))
        return b.op("Div", centred, b.op("Add", deviation, b.scalar(self.eps)))
