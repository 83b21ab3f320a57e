"""The windows of Darknet's pools, and the blur that `antialiasing` adds.

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
    """Return the cells to add before and after a row so that plain windows cover what Darknet's do.

    Darknet makes (length + padding − size) / stride + 1 windows; the first begins ⌊padding / 2⌋
    cells before the row, and the last may end behind it.

    Raises:
        FormatError: nothing would come out.
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
    """Emit a MaxPool or AveragePool with exactly Darknet's windows.

    Averages count only the cells inside the image.

    Raises:
        FormatError: the image is too small.
        UnsupportedError: windows of an average lie outside the image altogether.
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

    [1 2 1] is [1 1] over [1 1], so the 3×3 blur is two means over 2×2, whatever the channels.
    """
    if kind != 2:
        x = b.op("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    return b.op("AveragePool", x, kernel_shape=[2, 2], strides=list(strides))
