"""Im2col. Source: im2col_layer.cpp, util/im2col.cpp (BVLC 9b89154). It stores no blobs.

Channel (c · kh + i) · kw + j of the top is channel c of the bottom under tap (i, j) of the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Layer, check_positive, key, layer, pair, spatial


@layer("Im2col")
@dataclass(frozen=True, kw_only=True, slots=True)
class Im2col(Layer):
    """Every window of the bottom as a column of channels."""

    kernel: tuple[int, ...] = pair(REQUIRED, "kernel_size", "kernel_h", "kernel_w")
    stride: tuple[int, ...] = pair((), "stride", "stride_h", "stride_w")
    pad: tuple[int, ...] = pair((), "pad", "pad_h", "pad_w")
    dilation: tuple[int, ...] = key((), doc="one number, or one an axis")
    axis: int = key(1, doc="channel axis; only 1 is supported")

    param: ClassVar = "convolution_param"
    bottom_axes: ClassVar = (3, 32)
    example: ClassVar = Example(text="convolution_param { kernel_size: 3 pad: 1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit a depthwise convolution whose kernels pick one tap each, which is exact."""
        if b.axis(x, self.axis) != 1:
            raise FormatError("the channel axis must be 1")
        channels, *space = b.dims(x, 1)
        kernel = spatial(self.kernel, len(space), 0, "kernel_size")
        stride = spatial(self.stride, len(space), 1, "stride")
        pad = spatial(self.pad, len(space), 0, "pad")
        dilation = spatial(self.dilation, len(space), 1, "dilation")
        for name, values in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
            for value in values:
                check_positive(**{name: value})
        taps = int(np.prod(kernel))
        if channels * taps**2 > 1 << 26:
            raise FormatError(f"{channels} channels under {taps} taps are too many")
        picks = np.tile(
            np.eye(taps).reshape(taps, 1, *kernel), (channels,) + (1,) * (len(kernel) + 1)
        )
        return b.op(
            "Conv", x, b.constant(picks, np.float32), group=channels, strides=stride,
            pads=pad * 2, dilations=dilation, kernel_shape=kernel,
        )  # fmt: skip
