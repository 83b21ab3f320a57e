"""Eltwise, Axpy. Source: eltwise_layer.cpp (BVLC 9b89154); axpy_layer.cpp of SENet.

They store no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer

_OPERATORS = {"PROD": "Mul", "SUM": "Add", "MAX": "Max"}


@layer("Eltwise")
@dataclass(frozen=True, kw_only=True, slots=True)
class Eltwise(Layer):
    """Product, weighted sum or maximum of blobs of one shape."""

    operation: str = key("SUM", choices=("PROD", "SUM", "MAX"))
    coeff: tuple[float, ...] = key((), doc="one factor a bottom, for SUM")

    param: ClassVar = "eltwise_param"
    bottom_range: ClassVar = (2, None)
    example: ClassVar = Example(
        bottoms=("before", "first"), text="eltwise_param { coeff: 1 coeff: -0.5 }"
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Emit a chain of operators with two inputs."""
        if len({(b.rank(x), b.shape(x)[1:]) for x in bottoms}) > 1:
            raise FormatError(f"the bottoms differ in shape: {[b.shape(x) for x in bottoms]}")
        b.one_batch(*bottoms)
        if self.coeff and (self.operation != "SUM" or len(self.coeff) != len(bottoms)):
            raise FormatError("coeff is for SUM and stands once for each bottom")
        terms = [
            x if factor == 1 else b.op("Mul", x, b.scalar(factor))
            for x, factor in zip(bottoms, self.coeff or (1.0,) * len(bottoms), strict=True)
        ]
        result = terms[0]
        for term in terms[1:]:
            result = b.op(_OPERATORS[self.operation], result, term)
        return result


@layer("Axpy")
@dataclass(frozen=True, kw_only=True, slots=True)
class Axpy(Layer):
    """a · x + y, where a holds one factor for each channel (N×C or N×C×1×1)."""

    bottom_range: ClassVar = (3, 3)
    example: ClassVar = Example(
        bottoms=("factors", "before", "first"),
        lead="""
layer { name: "factors" type: "Pooling" bottom: "before" top: "factors"
  pooling_param { pool: AVE global_pooling: true } }""",
    )

    def to_ir(self, b: CaffeBuilder, a: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        """Emit Mul and Add."""
        b.one_batch(a, x, y)
        if b.rank(a) == 2:
            a = b.reshape(a, 0, 0, *(1,) * (b.rank(x) - 2))
        return b.op("Add", b.op("Mul", a, x), y)
