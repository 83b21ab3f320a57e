"""The windows of Darknet's pooling, and the blur of `antialiasing`.

Source: maxpool_layer.c make_maxpool_layer and forward_maxpool_layer.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError
from .numerals import quotient
from .section import SectionBuilder

__all__ = ["LOWEST", "blur", "pool", "window"]

LOWEST = float(np.finfo(np.float32).min)


def window(length: int, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Return the padding before and after a row that gives Darknet's windows.

    Darknet makes (length + padding − size) / stride + 1 windows. The first window begins
    ⌊padding / 2⌋ cells before the row. The last window may end behind the row.

    Raises:
        FormatError: there would be no window.
    """
    count = quotient(length + padding - size, stride) + 1
    if count < 1 or padding < 0:
        raise FormatError(
            f"windows of {size} with padding {padding} do not fit into {length} cells"
        )
    before = padding // 2
    return before, max((count - 1) * stride + size - before - length, 0)


def pool(
    b: SectionBuilder, x: ir.Value, op_type: str, size: int, strides: tuple[int, int], padding: int
) -> ir.Value:
    """Emit a MaxPool or AveragePool with Darknet's windows.

    An average counts only the cells inside the image.

    Raises:
        FormatError: the image is too small.
        UnsupportedError: a window of an average may lie outside the image.
    """
    _, height, width = b.size(x)
    (top, bottom), (left, right) = (
        window(length, size, stride, padding)
        for length, stride in ((height, strides[0]), (width, strides[1]))
    )
    pads = [top, left, bottom, right]
    if max(pads) >= size:
        if op_type != "MaxPool":
            raise UnsupportedError(f"averages over {size} cells with padding {padding}")
        x = b.pad(x, top, left, bottom, right, LOWEST)
        pads = [0, 0, 0, 0]
    return b.op(op_type, x, kernel_shape=[size, size], strides=list(strides), pads=pads)


def blur(b: SectionBuilder, x: ir.Value, kind: int, strides: tuple[int, int]) -> ir.Value:
    """Emit the fixed blur of `antialiasing`: 3×3 [1 2 1]²/16 with padding 1, or 2×2 means for 2.

    [1 2 1] is the convolution of [1 1] with [1 1], so the 3×3 blur is two 2×2 means in turn.
    """
    if kind != 2:
        x = b.op("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    return b.op("AveragePool", x, kernel_shape=[2, 2], strides=list(strides))
