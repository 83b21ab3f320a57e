"""BatchNorm. Source: batch_norm_layer.cpp (BVLC 9b89154); that of NVCaffe 0.17;
cudnn_batch_norm_layer.cpp and convert_proto.cpp of Vitis AI's Caffe (d134f38).

y = (x − mean) / sqrt(variance + eps). Blobs: mean [channels], variance [channels], factor [1].
The file stores mean and variance multiplied by the factor; where the factor is 0, both count as 0.

Forks scale and shift in the same layer, with five blobs:

* NVCaffe where `scale_bias`, `scale_filler` or `bias_filler` is given: mean, variance, factor,
  scale, shift. Intel's Caffe has the same order.
* Vitis AI and earlier NVCaffe: scale, shift, mean, variance [1, channels, 1, 1 each], and a number
  [1, 1, 1, 1] that is not read.

Both take an `eps` below 1e-5 as 1e-5, cuDNN's least.

`use_global_stats: false` means the statistics of the batch to BVLC's Caffe, in testing too. The
forks do not read it in testing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ....core.training.recipe import Statistics
from ...adapter import blob_shapes
from ..layer import Blob, CaffeBuilder, Example, Layer, Settings, Shape, key, layer, number

STATISTICS = (
    Blob("mean", "channels"),
    Blob("variance", "channels"),
    Blob("factor", "one", doc="divides mean and variance"),
)
NVCAFFE = (
    *STATISTICS,
    Blob("scale", "channels", when="affine", doc="NVCaffe and Intel's Caffe"),
    Blob("shift", "channels", when="affine"),
)
VITIS = (
    *(
        Blob(name, "one channels one one", when="affine")
        for name in ("scale", "shift", "mean", "variance")
    ),
    Blob("factor", "one one one one", when="affine", doc="not read"),
)
LEAST_EPS = 1e-5
"""CUDNN_BN_MIN_EPSILON of cuDNN before version 7.5, which the forks apply on all devices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filler:
    """What a blob is filled with before training; that one is given turns scale and shift on."""

    type: str = key("constant")


@layer("BatchNorm")
@dataclass(frozen=True, kw_only=True, slots=True)
class BatchNorm(Layer):
    """Normalisation by stored statistics, or by those of the batch where the file asks for it."""

    use_global_stats: bool | None = key(
        None,
        doc="false takes statistics of the batch, even in TEST; not read in TEST by NVCaffe and "
        "Vitis AI, see --batch-norm",
    )
    moving_average_fraction: float = key(0.999, doc="not used when testing")
    eps: float = key(1e-5)
    scale_bias: bool = key(default=False, doc="NVCaffe: scale and shift are blobs of this layer")
    scale_filler: Filler | None = key(None, doc="NVCaffe: likewise")  # noqa: RUF009
    bias_filler: Filler | None = key(None, doc="NVCaffe: likewise")  # noqa: RUF009

    order: tuple[Blob, ...] = NVCAFFE
    """The blobs in the order of the fork that wrote them."""

    param: ClassVar = "batch_norm_param"
    bottom_axes: ClassVar = (2, 32)
    blobs: ClassVar = NVCAFFE
    example: ClassVar = Example()

    @property
    def affine(self) -> bool:
        """Whether scale and shift are blobs of this layer."""
        fillers = (self.scale_filler, self.bias_filler)
        return self.scale_bias or any(filler is not None for filler in fillers)

    def fitted(self, stored: Sequence[Shape]) -> Self:
        """Return the layer with the blobs of the fork that wrote the file."""
        if len(stored) != len(VITIS):
            return self
        ones = [shape == (1,) * len(shape) for shape in stored]
        last = ones[4] and (not ones[2] or len(stored[0]) == len((1, "channels", 1, 1)))
        return replace(self, scale_bias=True, order=VITIS if last else NVCAFFE)

    def stored(self) -> tuple[Blob, ...]:
        """Return the blobs of the file, in its order."""
        return tuple(blob for blob in self.order if not blob.when or self.affine)

    def shapes(self, *bottoms: Shape) -> dict[str, tuple[int, ...]]:
        """Return the file shape of every stored blob, given the shape of the bottom."""
        return blob_shapes(self.stored(), self, self.sizes(*bottoms))

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"channels": number(shape[1]) if len(shape) > 1 else 1, "one": 1}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit BatchNormalization with γ = 1 and β = 0, or the statistics of the batch."""
        channels = b.blobs["mean"].size
        mean, variance = (self._true(b.blobs, name).reshape(-1) for name in ("mean", "variance"))
        statistics = [b.parameter("mean", mean), b.parameter("variance", variance)]
        if b.reading.training:
            if self.order is not VITIS:
                b.parameter("factor")
        elif self._by_batch(b.reading):
            return self._of_batch(b, x, statistics)
        if self.affine:
            affine = [b.parameter(name, b.blobs[name].reshape(-1)) for name in ("scale", "shift")]
        else:
            affine = [
                b.constant(np.ones(channels), np.float32),
                b.constant(np.zeros(channels), np.float32),
            ]
        return b.op("BatchNormalization", x, *affine, *statistics, epsilon=self._epsilon())

    def _true(self, blobs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        """Return the mean or variance that a file stores, without the factor."""
        factor = 1.0 if self.order is VITIS else float(blobs["factor"].reshape(-1)[0])
        if factor == 0:
            return np.zeros_like(blobs[name])
        return blobs[name] if factor == 1 else blobs[name] * np.float32(1 / factor)

    def _epsilon(self) -> float:
        return max(self.eps, LEAST_EPS) if self.affine else self.eps

    def _by_batch(self, reading: Settings) -> bool:
        """Whether to take the statistics of the batch; a caution says so where forks differ."""
        if self.use_global_stats is not False:
            return False
        if reading.phase == "TRAIN":
            return True
        by_batch = reading.batch_norm == "batch"
        if reading.batch_norm == "auto":
            by_batch = not self.affine and reading.batch != 1
        if by_batch:
            reading.caution(
                "use_global_stats: false is read as Caffe reads it, by the statistics of the "
                "batch: results then depend on the other samples of a batch; NVCaffe and Vitis AI "
                "use the stored statistics (--batch-norm stored)",
                self.name,
            )
        elif reading.batch_norm == "auto":
            reading.caution(
                "use_global_stats: false is read as NVCaffe and Vitis AI read it in testing, by "
                f"the stored statistics, since {self._evidence()}; BVLC's Caffe takes those of the "
                "batch (--batch-norm batch)",
                self.name,
            )
        return by_batch

    def _evidence(self) -> str:
        return "five blobs are stored" if self.affine else "the net has batch 1"

    def _of_batch(self, b: CaffeBuilder, x: ir.Value, unread: Sequence[ir.Value]) -> ir.Value:
        """Emit the statistics of the batch; those that are stored follow the channels."""
        axes = b.constant([0, *range(2, b.rank(x))])
        centred = b.op("Sub", x, b.op("ReduceMean", x, axes))
        b.follow(centred, *unread)
        variance = b.op("ReduceMean", b.op("Mul", centred, centred), axes)
        deviation = b.op("Sqrt", b.op("Add", variance, b.scalar(self._epsilon())))
        y = b.op("Div", centred, deviation)
        if not self.affine:
            return y
        column = (-1, *(1,) * (b.rank(x) - 2))
        y = b.op("Mul", y, b.parameter("scale", b.blobs["scale"].reshape(column)))
        return b.op("Add", y, b.parameter("shift", b.blobs["shift"].reshape(column)))

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return mean and variance times the factor, or as they are with a factor of 1.

        It is in the graph only where that was read for training.
        """
        if "mean" not in arrays or self.order is VITIS:
            return arrays
        if "factor" not in arrays:
            return {**arrays, "factor": np.ones(1, np.float32)}
        factor = np.float32(arrays["factor"].reshape(-1)[0])
        return {**arrays, **{name: arrays[name] * factor for name in ("mean", "variance")}}

    def rolling(self) -> Statistics:
        """Return what training does: each batch's statistics go into a weighted mean."""
        return Statistics(
            frozen=bool(self.use_global_stats),
            fraction=self.moving_average_fraction,
            factor="" if self.order is VITIS else "factor",
        )
