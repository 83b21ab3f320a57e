"""[upsample]. Source: parser.c parse_upsample, upsample_layer.c, blas.c upsample_cpu."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import key
from ..section import Example, Section, SectionBuilder, section


@section("upsample")
@dataclass(frozen=True, kw_only=True, slots=True)
class Upsample(Section):
    """Every pixel repeated stride × stride times; with a negative stride, sums over blocks."""

    stride: int = key(2)
    scale: float = key(1.0)
    example = Example(text="stride=2")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Resize, or AveragePool for blocks, and the factor."""
        x = b.image(x)
        factor = self.scale
        if not self.stride:
            raise FormatError("stride must not be 0")
        if self.stride > 0:
            sizes = [length * self.stride for length in b.size(x)[1:]]
            x = b.op(
                "Resize", x, None, None, b.constant(sizes), axes=[2, 3], mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
        else:
            side = [-self.stride, -self.stride]
            x = b.op("AveragePool", x, kernel_shape=side, strides=side)
            factor *= self.stride**2
        return x if factor == 1.0 else b.op("Mul", x, b.scalar(factor))
