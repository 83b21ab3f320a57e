"""Where Darknet's convolutions step, and where its counting departs from a convolution.

Source: convolutional_layer.c convolutional_out_height, forward_convolutional_layer.
"""

from __future__ import annotations

from ...core.errors import UnsupportedError
from .numerals import quotient
from .section import SectionBuilder, Size

__all__ = ["UNSET", "check_counts", "check_pointwise", "strides"]

UNSET = -1


def strides(both: int, along_y: int, along_x: int) -> tuple[int, int]:
    """Return rows and columns from one output to the next; `both` serves for what is not set."""
    return along_y if along_y >= 1 else both, along_x if along_x >= 1 else both


def check_counts(x: Size, y: Size, size: int, steps: tuple[int, int], padding: int) -> None:
    """Check that a convolution has as many outputs as Darknet counts, which forgets dilation.

    Raises:
        UnsupportedError: it has others.
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
    """Say where Darknet's shortcut for 1×1 kernels is not a convolution.

    On the CPU it multiplies the memory as it stands: pjreddie's for every kernel of size 1,
    AlexeyAB's where stride_x is 1 and dilation too.

    Raises:
        UnsupportedError: the two Darknets, or CPU and GPU, disagree about what comes out.
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
