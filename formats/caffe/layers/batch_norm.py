"""BatchNorm. Source: batch_norm_layer.cpp (BVLC 9b89154).

y = (x − mean) / sqrt(variance + eps). Blobs: mean [channels], variance [channels], factor [1].
The file stores mean and variance multiplied by the factor; where the factor is 0, both count as 0.
NVCaffe's `scale_bias` adds the blobs scale and shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@layer("BatchNorm")
@dataclass(frozen=True, kw_only=True, slots=True)
class BatchNorm(Layer):
    """Normalisation by stored statistics, or by those of the batch where the file asks for it."""

    use_global_stats: bool = key(
        default=True, doc="false takes statistics of the batch, even in TEST"
    )
    moving_average_fraction: float = key(0.999, doc="not used when testing")
    eps: float = key(1e-5)
    scale_bias: bool = key(default=False, doc="NVCaffe: scale and shift are blobs of this layer")

    param: ClassVar = "batch_norm_param"
    bottom_axes: ClassVar = (2, 32)
    blobs: ClassVar = (
        Blob("mean", "channels"),
        Blob("variance", "channels"),
        Blob("factor", "one", doc="divides mean and variance"),
        Blob("scale", "channels", when="scale_bias"),
        Blob("shift", "channels", when="scale_bias"),
    )
    example: ClassVar = Example()

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"channels": number(shape[1]) if len(shape) > 1 else 1, "one": 1}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit BatchNormalization with γ = 1 and β = 0, or the statistics of the batch."""
        if not (self.use_global_stats or b.reading.companion):
            return self._of_batch(b, x)
        channels = b.blobs["mean"].size
        factor = float(b.blobs["factor"].reshape(-1)[0])
        statistics = []
        for name in ("mean", "variance"):
            stored = b.blobs[name]
            if factor == 0:
                stored = np.zeros_like(stored)
            elif factor != 1:
                stored = stored * np.float32(1 / factor)
            statistics.append(b.parameter(name, stored))
        if self.scale_bias:
            affine = [b.parameter("scale"), b.parameter("shift")]
        else:
            affine = [
                b.constant(np.ones(channels), np.float32),
                b.constant(np.zeros(channels), np.float32),
            ]
        return b.op("BatchNormalization", x, *affine, *statistics, epsilon=self.eps)

    def _of_batch(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        axes = b.constant([0, *range(2, b.rank(x))])
        centred = b.op("Sub", x, b.op("ReduceMean", x, axes))
        variance = b.op("ReduceMean", b.op("Mul", centred, centred), axes)
        deviation = b.op("Sqrt", b.op("Add", variance, b.scalar(self.eps)))
        y = b.op("Div", centred, deviation)
        if not self.scale_bias:
            return y
        column = (-1, *(1,) * (b.rank(x) - 2))
        y = b.op("Mul", y, b.parameter("scale", b.blobs["scale"].reshape(column)))
        return b.op("Add", y, b.parameter("shift", b.blobs["shift"].reshape(column)))

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return mean and variance as they are, with a factor of 1."""
        if "mean" not in arrays:
            return arrays
        return {**arrays, "factor": np.ones(1, np.float32)}
