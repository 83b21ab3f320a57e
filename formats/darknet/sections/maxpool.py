"""[maxpool]. Source: parser.c parse_maxpool, maxpool_layer.c forward_maxpool_layer."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ...adapter import check_positive, key
from ..flavour import Flavour
from ..geometry import UNSET, strides
from ..pooling import LOWEST, blur, pool
from ..section import LIMIT, Example, Section, SectionBuilder, section


@section("maxpool", "max")
@dataclass(frozen=True, kw_only=True, slots=True)
class Maxpool(Section):
    """The maximum over windows, or over groups of channels."""

    stride: int = key(1)
    stride_x: int = key(UNSET)
    stride_y: int = key(UNSET)
    size: int = key(UNSET, doc="the stride where absent")
    padding: int = key(UNSET, doc="size − 1 where absent; half of it, rounded down, comes first")
    maxpool_depth: bool = key(default=False)
    out_channels: int = key(1)
    antialiasing: int = key(0)

    only = dict.fromkeys(
        ("stride_x", "stride_y", "maxpool_depth", "out_channels", "antialiasing"), Flavour.ALEXEYAB
    )
    example = Example(text="size=2\nstride=2")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit a MaxPool with Darknet's windows, or a maximum over channels."""
        x = b.image(x)
        if self.maxpool_depth:
            return self._over_channels(b, x)
        steps = strides(self.stride, self.stride_y, self.stride_x)
        size = self.stride if self.size == UNSET else self.size
        padding = size - 1 if self.padding == UNSET else self.padding
        check_positive(size=size, stride=min(steps))
        y = pool(b, x, "MaxPool", size, (1, 1) if self.antialiasing else steps, padding)
        return blur(b, y, self.antialiasing, steps) if self.antialiasing else y

    def _over_channels(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Output g is the maximum over the channels k with k mod out_channels = g."""
        check_positive(out_channels=self.out_channels)
        channels, height, width = b.size(x)
        missing = -channels % self.out_channels
        if missing > LIMIT:
            raise UnsupportedError(f"{self.out_channels} out_channels out of {channels}")
        if missing:
            pads = b.constant([0, 0, 0, 0, 0, missing, 0, 0])
            x = b.op("Pad", x, pads, b.scalar(LOWEST))
        rows = b.op("Reshape", x, b.constant([0, -1, self.out_channels, height, width]))
        return b.op("ReduceMax", rows, b.constant([1]), keepdims=0)
