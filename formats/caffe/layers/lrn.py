"""LRN. Source: lrn_layer.cpp (BVLC 9b89154). It stores no blobs.

ACROSS_CHANNELS: x · (k + α/n · Σ x²)^−β over n neighbouring channels. WITHIN_CHANNEL:
x · (1 + α · mean x²)^−β over n×n pixels, zeros beyond the edge counted; k is not read there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("LRN", "CuDNNLRNCrossChannel")
@dataclass(frozen=True, kw_only=True, slots=True)
class LRN(Layer):
    """Local response normalisation."""

    local_size: int = key(5, doc="n, odd")
    alpha: float = key(1.0)
    beta: float = key(0.75)
    norm_region: str = key("ACROSS_CHANNELS", choices=("ACROSS_CHANNELS", "WITHIN_CHANNEL"))
    k: float = key(1.0)

    param: ClassVar = "lrn_param"
    bottom_axes: ClassVar = (4, 4)
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit LRN, or its parts within channels."""
        n = self.local_size
        if n < 1 or n % 2 == 0:
            raise FormatError(f"local_size must be odd, got {n}")
        if self.norm_region == "ACROSS_CHANNELS":
            return b.op("LRN", x, size=n, alpha=self.alpha, beta=self.beta, bias=self.k)
        squares = b.op("Mul", x, x)
        mean = b.op(
            "AveragePool", squares, kernel_shape=[n, n], pads=[(n - 1) // 2] * 4,
            count_include_pad=1,
        )  # fmt: skip
        total = b.op("Add", b.op("Mul", mean, b.scalar(self.alpha)), b.scalar(1))
        return b.op("Mul", x, b.op("Pow", total, b.scalar(-self.beta)))
