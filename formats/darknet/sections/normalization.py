"""[normalization]. Source: normalization_layer.c forward_normalization_layer.

x · (κ + α Σ x²)^−β over `size` neighbouring channels, α not divided by size. Darknet keeps a
running sum. The sum starts without the square of channel size/2, but the square is subtracted
later: every sum holds it one time too little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ....core.ir.windows import WINDOW, Window, neighbours
from ...adapter import check_positive, key
from ..section import Example, Section, SectionBuilder, section

MOST_CHANNELS = 4096


@section("normalization", "lrn")
@dataclass(frozen=True, kw_only=True, slots=True)
class Normalization(Section):
    """Local response normalisation across channels."""

    size: int = key(5)
    alpha: float = key(0.0001)
    beta: float = key(0.75)
    kappa: float = key(1.0)
    example = Example(text="size=3\nalpha=0.1")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the sums as a product with a matrix of 0, 1 and −1."""
        check_positive(size=self.size)
        x = b.image(x)
        channels, height, width = b.size(x)
        if channels <= self.size // 2:
            raise FormatError(f"{channels} channels are too few for size {self.size}")
        if channels > MOST_CHANNELS:
            raise UnsupportedError(f"more than {MOST_CHANNELS} channels")
        squares = b.op("Reshape", b.op("Mul", x, x), b.constant([0, 0, -1]))
        matrix = b.constant(self.matrix(channels), np.float32)
        assert matrix.const_value is not None
        matrix.meta[WINDOW] = Window(matrix.const_value.numpy(), least=self.size // 2 + 1)
        sums = b.op("MatMul", matrix, squares)
        sums = b.op("Reshape", sums, b.constant([0, 0, height, width]))
        norms = b.op("Add", sums, b.scalar(self.kappa))
        return b.op("Mul", x, b.op("Pow", norms, b.scalar(-self.beta)))

    def matrix(self, channels: int) -> np.ndarray:
        """Return α times how often each square (column) counts in each sum (row)."""
        matrix = neighbours(channels, self.size, 1.0)
        matrix[:, self.size // 2] -= 1
        return np.asarray(self.alpha * matrix)
