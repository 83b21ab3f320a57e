"""SPP. Source: spp_layer.cpp `GetPoolingParam` (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Layer, check_positive, key, layer
from .pooling import Windows, pool


@layer("SPP")
@dataclass(frozen=True, kw_only=True, slots=True)
class SPP(Layer):
    """Spatial pyramid: pooled into 1, 2×2, 4×4, … windows, flattened and joined."""

    pyramid_height: int = key(REQUIRED)
    pool: str = key("MAX", choices=("MAX", "AVE", "STOCHASTIC"))

    param: ClassVar = "spp_param"
    bottom_axes: ClassVar = (4, 4)
    example: ClassVar = Example(text="spp_param { pyramid_height: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit a pooling for each level."""
        check_positive(pyramid_height=self.pyramid_height)
        if self.pool == "STOCHASTIC":
            raise UnsupportedError("STOCHASTIC pooling draws at random")
        size = b.dims(x, 2)
        if self.pyramid_height > min(size).bit_length() + 1:
            raise FormatError(f"{self.pyramid_height} levels are too many for {size} pixels")
        levels = [pool(b, x, _level(size, 2**i), self.pool) for i in range(self.pyramid_height)]
        if len(levels) == 1:
            return levels[0]
        return b.op("Concat", *(b.op("Flatten", level, axis=1) for level in levels), axis=1)


def _level(size: tuple[int, ...], bins: int) -> Windows:
    kernel = tuple(-(-side // bins) for side in size)
    pad = tuple((k * bins - side + 1) // 2 for k, side in zip(kernel, size, strict=True))
    return Windows(kernel=kernel, stride=kernel, pad=pad, size=size)
