"""[reorg], [reorg3d]. Source: reorg_layer.c, reorg_old_layer.c, blas.c reorg_cpu.

[reorg] is not space-to-depth: it was written for the other direction and is called with the sizes
of its input, so that it cuts the memory of C × H × W values as if it were
C/s² × H × s × W × s. [reorg3d] is space-to-depth with the place in the block outermost.
Reversed, both are depth-to-space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import check_positive, key
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, section


@section("reorg")
@dataclass(frozen=True, kw_only=True, slots=True)
class Reorg(Section):
    """Blocks of pixels become channels, in Darknet's own order."""

    stride: int = key(1)
    reverse: bool = key(default=False)
    flatten: bool = key(default=False)
    extra: int = key(0, doc="a flat copy with so many zeros behind it instead")

    only = {"flatten": Flavour.PJREDDIE, "extra": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example(text="stride=2")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Reshape, Transpose, Reshape."""
        check_positive(stride=self.stride)
        x = b.image(x)
        step, (channels, height, width) = self.stride, b.size(x)
        if self.flatten:
            return self._flatten(b, x)
        if self.extra > 0:
            return b.op("Pad", b.flat(x), b.constant([0, 0, 0, self.extra]))
        if self.reverse:
            if channels % step**2:
                raise FormatError(f"{channels} channels are no multiple of {step}²")
            x = b.op("Reshape", x, b.constant([0, step, step, -1, height, width]))
            x = b.op("Transpose", x, perm=[0, 3, 4, 1, 5, 2])
            return b.op("Reshape", x, b.constant([0, -1, height * step, width * step]))
        if height % step or width % step:
            raise FormatError(f"{height}×{width} cannot be cut into blocks of {step}×{step}")
        down = [height // step, width // step]
        if self.context.training and self.overlapping(channels):
            return self._overlapped(b, x, down)
        blocks = self._blocks(b, x, down)
        x = b.op("Transpose", blocks, perm=[0, 3, 5, 1, 2, 4])
        return b.op("Reshape", x, b.constant([0, -1, *down]))

    def _blocks(self, b: SectionBuilder, x: ir.Value, down: list[int]) -> ir.Value:  # noqa: ARG002
        channels, height, width = b.size(x)
        if channels % self.stride**2:
            raise FormatError(f"{channels} channels are no multiple of {self.stride}²")
        b.blocks(x, self.stride**2)
        return b.op("Reshape", x, b.constant([0, -1, height, self.stride, width, self.stride]))

    def overlapping(self, channels: int) -> bool:
        """Whether blocks do not divide the channels: Darknet then reads some values twice."""
        return not self.reverse and channels % self.stride**2 != 0 < channels // self.stride**2

    def _overlapped(self, b: SectionBuilder, x: ir.Value, down: list[int]) -> ir.Value:
        """Emit what Darknet computes of a single image."""
        step, (channels, height, width) = self.stride, b.size(x)
        inner = channels // step**2
        k, j, i = np.indices((channels, height, width), sparse=True)
        offset = k // inner
        column, row = i * step + offset % step, j * step + offset // step
        places = column + width * step * (row + height * step * (k % inner))
        if places.max() >= channels * height * width:
            raise FormatError(f"{channels} channels are no multiple of {step}²")
        flat = b.op("Gather", b.flat(x), b.constant(places.reshape(-1)), axis=1)
        return b.op("Reshape", flat, b.constant([0, channels * step**2, *down]))

    def _flatten(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the values pixel by pixel in memory, while the shape claims to be what it was."""
        _, height, width = b.size(x)
        if self.reverse or self.stride > 1:
            raise UnsupportedError("flatten with reverse or a stride")
        x = b.op("Transpose", x, perm=[0, 2, 3, 1])
        return b.op("Reshape", x, b.constant([0, -1, height, width]))


@section("reorg3d")
@dataclass(frozen=True, kw_only=True, slots=True)
class Reorg3d(Reorg):
    """Blocks of pixels become channels: true space-to-depth."""

    only = {"": Flavour.ALEXEYAB, "flatten": Flavour.PJREDDIE, "extra": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example(text="stride=2")

    def _blocks(self, b: SectionBuilder, x: ir.Value, down: list[int]) -> ir.Value:
        return b.op("Reshape", x, b.constant([0, -1, down[0], self.stride, down[1], self.stride]))
