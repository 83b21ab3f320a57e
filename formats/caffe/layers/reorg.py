"""Reorg. Source: reorg_layer.cpp and reorg_cpu of the Caffe forks with YOLOv2. It stores no blobs.

As in Darknet it is no space-to-depth: it cuts the memory of C × H × W values as if it were
C/s² × H × s × W × s. Reversed, it is depth-to-space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, check_positive, key, layer


@layer("Reorg")
@dataclass(frozen=True, kw_only=True, slots=True)
class Reorg(Layer):
    """Blocks of pixels become channels, in Darknet's own order."""

    stride: int = key(1, "stride", "/reorganize_param.stride")
    reverse: bool = key(False, "reverse", "/reorganize_param.reverse")  # noqa: FBT003

    param: ClassVar = "reorg_param"
    bottom_axes: ClassVar = (4, 4)
    example: ClassVar = Example(text="reorg_param { stride: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Reshape, Transpose, Reshape."""
        check_positive(stride=self.stride)
        step, (channels, height, width) = self.stride, b.dims(x, 1)
        if channels % step**2:
            raise FormatError(f"{channels} channels are no multiple of {step}²")
        if self.reverse:
            table = b.reshape(x, 0, step, step, -1, height, width)
            table = b.op("Transpose", table, perm=[0, 3, 4, 1, 5, 2])
            return b.reshape(table, 0, -1, height * step, width * step)
        if height % step or width % step:
            raise FormatError(f"{height}×{width} cannot be cut into blocks of {step}×{step}")
        b.blocks(x, step**2)
        table = b.reshape(x, 0, -1, height, step, width, step)
        table = b.op("Transpose", table, perm=[0, 3, 5, 1, 2, 4])
        return b.reshape(table, 0, -1, height // step, width // step)
