"""[local]. Source: parser.c parse_local, local_layer.c forward_local_layer.

Weights: biases [out, height, width], then [positions, out, in × size × size].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import Blob, check_positive, key
from ..activations import activate
from ..section import Example, Section, SectionBuilder, Size, section

LARGEST = 32


@section("local")
@dataclass(frozen=True, kw_only=True, slots=True)
class Local(Section):
    """A convolution with its own weights at every position."""

    filters: int = key(1, channels=True)
    size: int = key(1)
    stride: int = key(1)
    pad: bool = key(default=False, doc="pads by 1, and counts outputs as if that kept the size")
    activation: str = key("logistic")

    blobs = (
        Blob("bias", "out map"),
        Blob("weight", "positions out in kernel"),
    )
    example = Example(text="filters=16\nsize=3\npad=1\nactivation=leaky")

    def _map(self, x: Size) -> tuple[int, int]:
        rows, columns = (
            (length - (1 if self.pad else self.size)) // self.stride + 1 for length in x[1:]
        )
        return rows, columns

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the blobs.

        Raises:
            FormatError: the kernel is larger than the map.
            UnsupportedError: Darknet counts other outputs than it computes.
        """
        check_positive(filters=self.filters, size=self.size, stride=self.stride)
        height, width = self._map(x)
        if height < 1 or width < 1:
            raise FormatError(f"a kernel of {self.size} on a map of {x.height}×{x.width}")
        real = [(length + 2 * self.pad - self.size) // self.stride + 1 for length in x[1:]]
        if real != [height, width] or self.size > LARGEST:
            raise UnsupportedError(f"a local layer of size {self.size} with pad={int(self.pad)}")
        return {
            "out": self.filters,
            "map": (height, width),
            "positions": height * width,
            "in": x.channels,
            "kernel": (self.size, self.size),
        }

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the patches as a matrix per position, and the product with the weights there."""
        x = b.image(x)
        channels, *_ = b.size(x)
        rows, columns = self._map(b.size(x))
        if self.pad:
            x = b.pad(x, 1, 1, 1, 1)
        span = ((rows - 1) * self.stride + 1, (columns - 1) * self.stride + 1)
        cells = [
            b.slice(x, [2, 3], [i, j], [i + span[0], j + span[1]], [self.stride, self.stride])
            for i in range(self.size)
            for j in range(self.size)
        ]
        spread = [b.op("Unsqueeze", cell, b.constant([2])) for cell in cells]
        patches = b.op("Concat", *spread, axis=2)
        taps = channels * self.size**2
        patches = b.op("Reshape", patches, b.constant([0, taps, rows * columns, 1]))
        patches = b.op("Transpose", patches, perm=[0, 2, 1, 3])
        weight = b.blobs["weight"].reshape(rows * columns, self.filters, taps)
        y = b.op("MatMul", b.parameter("weight", weight), patches)
        y = b.op("Transpose", y, perm=[0, 2, 1, 3])
        y = b.op("Reshape", y, b.constant([0, self.filters, rows, columns]))
        return activate(b, self.activation, b.op("Add", y, b.parameter("bias")))

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        """Return the number of filters that the weights have now."""
        return replace(self, filters=arrays["weight"].shape[1])
