"""[local_avgpool]. Source: parser.c parse_local_avgpool, maxpool_layer.c (avgpool = 1)."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ...adapter import check_positive, key
from ..flavour import Flavour
from ..geometry import UNSET, strides
from ..pooling import pool
from ..section import Example, Section, SectionBuilder, section


@section("local_avgpool", "local_avg")
@dataclass(frozen=True, kw_only=True, slots=True)
class LocalAvgpool(Section):
    """The mean over windows; cells outside the image do not count."""

    stride: int = key(1)
    stride_x: int = key(UNSET)
    stride_y: int = key(UNSET)
    size: int = key(UNSET, doc="the stride where absent")
    padding: int = key(UNSET, doc="size − 1 where absent")

    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example(text="size=2\nstride=2")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit AveragePool with Darknet's windows."""
        steps = strides(self.stride, self.stride_y, self.stride_x)
        size = self.stride if self.size == UNSET else self.size
        padding = size - 1 if self.padding == UNSET else self.padding
        check_positive(size=size, stride=min(steps))
        return pool(b, b.image(x), "AveragePool", size, steps, padding)
