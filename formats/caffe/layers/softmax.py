"""Softmax. Source: softmax_layer.cpp (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.ir.network import Head
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("Softmax")
@dataclass(frozen=True, kw_only=True, slots=True)
class Softmax(Layer):
    """exp(x) / Σ exp(x) along an axis."""

    axis: int = key(1)

    param: ClassVar = "softmax_param"
    bottom_axes: ClassVar = (1, 32)
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Softmax."""
        axis = b.axis(x, self.axis)
        if axis == 0:
            b.dims(x, 0)
        return b.op("Softmax", x, axis=axis)

    def heads(self) -> tuple[Head, ...]:
        """Return how to read the outputs as answers."""
        return (Head(output=self.tops[0], kind="classifier"),) if self.axis == 1 else ()
