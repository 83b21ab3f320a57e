"""Normalize. Source: normalize_layer.cpp of SSD. Scale: [channels], or one number.

y = scale · x / sqrt(Σ x² + eps), the sum going over channels, or over the whole item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@layer("Normalize")
@dataclass(frozen=True, kw_only=True, slots=True)
class Normalize(Layer):
    """L2 normalisation with learned scales."""

    across_spatial: bool = key(default=True)
    channel_shared: bool = key(default=True, doc="one scale for all channels")
    eps: float = key(1e-10)

    param: ClassVar = "norm_param"
    bottom_axes: ClassVar = (4, 4)
    blobs: ClassVar = (
        Blob("scale", "channels", when="per_channel"),
        Blob("scale", "", when="channel_shared"),
    )
    example: ClassVar = Example(text="norm_param { across_spatial: false channel_shared: false }")

    @property
    def per_channel(self) -> bool:
        """Whether every channel has its own scale."""
        return not self.channel_shared

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"channels": number(shape[1])}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the division by the norm and the scales."""
        axes = b.constant([1, 2, 3] if self.across_spatial else [1])
        total = b.op("ReduceSum", b.op("Mul", x, x), axes)
        y = b.op("Div", x, b.op("Sqrt", b.op("Add", total, b.scalar(self.eps))))
        scale = b.blobs["scale"]
        return b.op("Mul", y, b.parameter("scale", scale.reshape(-1, 1, 1)))
