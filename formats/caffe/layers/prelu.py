"""PReLU. Source: prelu_layer.cpp (BVLC 9b89154). Slopes: [channels], or one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@layer("PReLU")
@dataclass(frozen=True, kw_only=True, slots=True)
class PReLU(Layer):
    """max(x, 0) + slope · min(x, 0), with learned slopes."""

    channel_shared: bool = key(default=False, doc="one slope for all channels")

    param: ClassVar = "prelu_param"
    blobs: ClassVar = (
        Blob("slope", "channels", when="per_channel"),
        Blob("slope", "", when="channel_shared"),
    )
    example: ClassVar = Example()

    @property
    def per_channel(self) -> bool:
        """Whether every channel has its own slope."""
        return not self.channel_shared

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"channels": 1 if self.channel_shared or len(shape) < 2 else number(shape[1])}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit PRelu with slopes [channels, 1, …]."""
        slope = b.blobs["slope"]
        axes = 1 if self.channel_shared else len(b.dims(x, 1))
        return b.op("PRelu", x, b.parameter("slope", slope.reshape(-1, *(1,) * (axes - 1))))
