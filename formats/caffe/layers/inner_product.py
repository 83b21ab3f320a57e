"""InnerProduct. Source: inner_product_layer.cpp (BVLC 9b89154).

Flattens the bottom from `axis` on, in C, H, W order. Weights: [out, in], or [in, out] where
`transpose` is set. Bias: [out].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, check_positive, key, layer, number


@layer("InnerProduct")
@dataclass(frozen=True, kw_only=True, slots=True)
class InnerProduct(Layer):
    """A fully connected layer."""

    num_output: int = key(channels=True, doc="length of the output vector")
    bias_term: bool = key(default=True, doc="whether there is a bias blob")
    axis: int = key(1, doc="first axis that is flattened")
    transpose: bool = key(default=False, doc="weights stand as [in, out]")

    param: ClassVar = "inner_product_param"
    blobs: ClassVar = (
        Blob("weight", "out in", when="straight"),
        Blob("weight", "in out", when="transpose"),
        Blob("bias", "out", when="bias_term"),
    )
    example: ClassVar = Example(text="inner_product_param { num_output: 16 }")

    @property
    def straight(self) -> bool:
        """Whether weights stand as [out, in]."""
        return not self.transpose

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        check_positive(num_output=self.num_output)
        axis = self.axis % len(shape) if -len(shape) <= self.axis < 0 else self.axis
        return {"out": self.num_output, "in": math.prod(number(dim) for dim in shape[axis:])}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Flatten and Gemm, with the weights as the file has them."""
        axis = b.axis(x, self.axis)
        flat = x if axis == 1 and b.rank(x) == 2 else b.op("Flatten", x, axis=axis)
        parameters = [b.parameter("weight")] + ([b.parameter("bias")] if self.bias_term else [])
        y = b.op("Gemm", flat, *parameters, transB=0 if self.transpose else 1)
        if axis == 1:
            return y
        return b.reshape(y, *b.dims(x, 0)[:axis], b.dims(y, 1)[0])

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the sizes its blobs and nodes have in a changed graph."""
        del nodes
        return replace(self, num_output=arrays["weight"].shape[1 if self.transpose else 0])
