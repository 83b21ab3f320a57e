"""[avgpool]. Source: avgpool_layer.c forward_avgpool_layer."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ..section import Example, Section, SectionBuilder, section


@section("avgpool", "avg")
@dataclass(frozen=True, kw_only=True, slots=True)
class Avgpool(Section):
    """The mean of each channel over the whole map. It has no keys."""

    example = Example()

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit GlobalAveragePool."""
        return b.op("GlobalAveragePool", b.image(x))
