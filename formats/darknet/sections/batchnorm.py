"""[batchnorm]. Source: parser.c load_batchnorm_weights, batchnorm_layer.c.

Weights: biases (AlexeyAB only), scales, means, variances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...adapter import Blob
from ..batch_norm import batch_norm, stored_variance
from ..section import Example, Section, SectionBuilder, Size, section


@section("batchnorm")
@dataclass(frozen=True, kw_only=True, slots=True)
class Batchnorm(Section):
    """Batch normalisation on its own."""

    blobs = (
        Blob("bias", "out", when="stores_bias"),
        Blob("scale", "out"),
        Blob("rolling_mean", "out"),
        Blob("rolling_variance", "out"),
    )
    example = Example()

    @property
    def stores_bias(self) -> bool:
        """Whether the file holds biases; without them they are 0."""
        return not self.context.pjreddie

    def agreed(self) -> bool:
        """Return False: only AlexeyAB's stores biases."""
        return False

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the blobs."""
        return {"out": x.channels}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit BatchNormalization."""
        x = b.image(x)
        bias = "bias" if self.stores_bias else None
        return batch_norm(b, x, channels=b.size(x).channels, bias=bias)

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the variances as the file holds them."""
        return stored_variance(arrays, rooted=self.context.rooted)
