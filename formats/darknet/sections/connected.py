"""[connected]. Source: parser.c parse_connected, load_connected_weights, connected_layer.c.

Weights: biases, then [out, in], and, unlike a convolution, only then scales, means, variances.
Files of version 1000 and above (by major or minor) hold the matrix as [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np
import onnx_ir as ir

from ...adapter import Blob, check_positive, key
from ..activations import activate
from ..batch_norm import batch_norm, stored_variance
from ..section import Example, Section, SectionBuilder, Size, section


@section("connected", "conn")
@dataclass(frozen=True, kw_only=True, slots=True)
class Connected(Section):
    """A fully connected layer over all values of its input."""

    output: int = key(1, channels=True)
    activation: str = key("logistic")
    batch_normalize: bool = key(default=False)

    blobs = (
        Blob("bias", "out"),
        Blob("weight", "out in"),
        Blob("scale", "out", when="batch_normalize"),
        Blob("rolling_mean", "out", when="batch_normalize"),
        Blob("rolling_variance", "out", when="batch_normalize"),
    )
    example = Example(text="output=16\nactivation=leaky")

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the blobs."""
        check_positive(output=self.output)
        return {"out": self.output, "in": prod(x)}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Gemm on the flattened input, BatchNormalization and the activation."""
        stored = b.blobs["weight"]
        if self.context.transposed:
            matrix = b.parameter("weight", stored.reshape(stored.shape[::-1]).T.copy())
        else:
            matrix = b.parameter("weight")
        bias = None if self.batch_normalize else b.parameter("bias")
        y = b.op("Gemm", b.flat(x), matrix, bias, transB=1)
        if self.batch_normalize:
            y = batch_norm(b, y, channels=self.output)
        return activate(b, self.activation, y)

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        """Return the number of outputs that the matrix has now."""
        return replace(self, output=arrays["weight"].shape[0])

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return variances and matrix as the file holds them."""
        arrays = stored_variance(arrays, rooted=self.context.rooted)
        if self.context.transposed and "weight" in arrays:
            arrays = {**arrays, "weight": arrays["weight"].T}
        return arrays
