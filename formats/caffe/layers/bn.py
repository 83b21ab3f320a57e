"""BN, CuDNNBatchNorm: normalisation with scale and shift in one layer, of several forks.

Source: bn_layer.cpp of SegNet (two blobs; INFERENCE only scales and shifts, LEARN takes the
statistics of the batch) and of yjxiong's Caffe (four blobs); cudnn_batch_norm_layer.cpp of SENet.
All blobs are [1, channels, 1, 1]: scale, shift, then mean and variance where they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.training.recipe import Statistics
from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@dataclass(frozen=True, kw_only=True, slots=True)
class _Affine(Layer):
    """What these layers share: the blobs and where they go."""

    eps: float = key(1e-5)
    momentum: float = key(0.9, doc="not used when testing")
    frozen: bool = key(default=False, doc="not used when testing")

    bottom_axes: ClassVar = (2, 4)
    blobs: ClassVar = (
        Blob("scale", "one channels one one"),
        Blob("shift", "one channels one one"),
        Blob("mean", "one channels one one", when="statistics"),
        Blob("variance", "one channels one one", when="statistics"),
    )

    @property
    def statistics(self) -> bool:
        """Whether mean and variance are stored."""
        return True

    def sizes(self, shape: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"channels": number(shape[1]), "one": 1}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit BatchNormalization by the stored statistics."""
        vectors = [
            b.parameter(name, b.blobs[name].reshape(-1))
            for name in ("scale", "shift", "mean", "variance")
        ]
        return b.op("BatchNormalization", x, *vectors, epsilon=self.eps)

    def rolling(self) -> Statistics | None:
        """Return what training does: each batch's statistics go into a weighted mean."""
        if not self.statistics:
            return None
        return Statistics(frozen=self.frozen, fraction=self.momentum)


@layer("BN")
@dataclass(frozen=True, kw_only=True, slots=True)
class BN(_Affine):
    """Normalisation of two forks: SegNet's where the file gives `bn_mode`, else yjxiong's."""

    bn_mode: str = key(
        "",
        choices=("LEARN", "INFERENCE"),
        doc="SegNet: INFERENCE scales and shifts, LEARN takes statistics of the batch first",
    )

    param: ClassVar = "bn_param"
    example: ClassVar = Example(text="bn_param { bn_mode: INFERENCE }")

    @property
    def statistics(self) -> bool:
        """Whether mean and variance are stored."""
        return not self.bn_mode

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit what the mode asks for."""
        if self.statistics:
            return _Affine.to_ir(self, b, x)
        if self.bn_mode == "LEARN":
            if b.reading.phase == "TEST":
                b.reading.caution(
                    "bn_mode: LEARN takes the statistics of the batch in testing too: results then "
                    "depend on the other samples of a batch",
                    self.name,
                )
            x = self._by_batch(b, x)
        column = (-1, *(1,) * (b.rank(x) - 2))
        y = b.op("Mul", x, b.parameter("scale", b.blobs["scale"].reshape(column)))
        return b.op("Add", y, b.parameter("shift", b.blobs["shift"].reshape(column)))

    def _by_batch(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        axes = b.constant([0, *range(2, b.rank(x))])
        centred = b.op("Sub", x, b.op("ReduceMean", x, axes))
        variance = b.op("ReduceMean", b.op("Mul", centred, centred), axes)
        return b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, b.scalar(1e-9))))


@layer("CuDNNBatchNorm")
@dataclass(frozen=True, kw_only=True, slots=True)
class CuDNNBatchNorm(_Affine):
    """Normalisation by stored statistics, then scale and shift."""

    param: ClassVar = "cudnn_batch_norm_param"
    example: ClassVar = Example()
