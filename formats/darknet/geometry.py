"""Strides of Darknet's convolutions, and checks where Darknet departs from a convolution.

Source: convolutional_layer.c convolutional_out_height, forward_convolutional_layer.
"""

from __future__ import annotations

from ...core.errors import UnsupportedError
from .numerals import quotient
from .section import SectionBuilder, Size

__all__ = ["UNSET", "check_counts", "check_pointwise", "strides"]

UNSET = -1


def strides(both: int, along_y: int, along_x: int) -> tuple[int, int]:
    """Return the strides in rows and columns; `both` replaces one that is not set."""
    return along_y if along_y >= 1 else both, along_x if along_x >= 1 else both


def check_counts(x: Size, y: Size, size: int, steps: tuple[int, int], padding: int) -> None:
    """Check that Darknet, which ignores dilation here, counts the outputs of the convolution.

    Args:
        x: size of the input.
        y: size of the output of the convolution.
        size: size of the kernel.
        steps: strides in rows and columns.
        padding: pixels of padding on each side.

    Raises:
        UnsupportedError: Darknet counts another number of outputs.
    """
    counted = [
        quotient(length + 2 * padding - size, step) + 1
        for length, step in zip(x[1:], steps, strict=True)
    ]
    if [y.height, y.width] != counted:
        raise UnsupportedError(
            f"with this dilation and padding Darknet counts {counted[0]}×{counted[1]} outputs, "
            f"where a convolution has {y.height}×{y.width}"
        )


def check_pointwise(b: SectionBuilder, steps: tuple[int, int], padding: int) -> None:
    """Note or refuse 1×1 kernels for which Darknet's shortcut is no convolution.

    On the CPU, the shortcut multiplies the whole input, without strides and padding. pjreddie's
    takes it for every kernel of size 1, AlexeyAB's if stride_x and dilation are 1.

    Raises:
        UnsupportedError: CPU and GPU of AlexeyAB's Darknet give different outputs.
    """
    if steps == (1, 1) and not padding:
        return
    if b.pjreddie:
        b.note(
            "1×1 convolutions with strides are computed as on the GPU; on the CPU this Darknet "
            "ignores their strides"
        )
    elif steps[1] == 1 and steps[0] > 1:
        raise UnsupportedError("a 1×1 convolution with stride_x=1 and another stride_y")
