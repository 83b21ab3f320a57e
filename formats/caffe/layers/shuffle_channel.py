"""ShuffleChannel. Source: shuffle_channel_layer.cpp of ShuffleNet. It stores no blobs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, check_positive, key, layer


@layer("ShuffleChannel")
@dataclass(frozen=True, kw_only=True, slots=True)
class ShuffleChannel(Layer):
    """Channels as a [group, channels / group] table, read column by column."""

    group: int = key(1)

    param: ClassVar = "shuffle_channel_param"
    bottom_axes: ClassVar = (2, 32)
    example: ClassVar = Example(text="shuffle_channel_param { group: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Reshape, Transpose, Reshape."""
        check_positive(group=self.group)
        channels, *space = b.dims(x, 1)
        if channels % self.group:
            raise FormatError(f"group {self.group} does not divide {channels} channels")
        table = b.reshape(x, 0, self.group, -1, math.prod(space))
        return b.reshape(b.op("Transpose", table, perm=[0, 2, 1, 3]), 0, -1, *space)
