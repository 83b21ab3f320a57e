"""[deconvolutional]. Source: parser.c parse_deconvolutional, deconvolutional_layer.c.

Weights: biases, then scales, means, variances, then [in, out, size, size].
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
from ..batch_norm import batch_norm, stored_variance
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, Size, section


@section("deconvolutional", "deconv")
@dataclass(frozen=True, kw_only=True, slots=True)
class Deconvolutional(Section):
    """A transposed convolution, its batch normalisation and its activation."""

    filters: int = key(1, channels=True)
    size: int = key(1)
    stride: int = key(1)
    pad: bool = key(default=False, doc="pads by size/2, whatever `padding` says")
    padding: int = key(0)
    batch_normalize: bool = key(default=False)
    activation: str = key("logistic")
    dontload: bool = key(default=False)
    dontloadscales: bool = key(default=False)

    blobs = (
        Blob("bias", "out"),
        Blob("scale", "out", when="batch_normalize"),
        Blob("rolling_mean", "out", when="batch_normalize"),
        Blob("rolling_variance", "out", when="batch_normalize"),
        Blob("weight", "in out kernel"),
    )
    only = {"": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example(text="filters=16\nsize=3\npad=1\nactivation=leaky")

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the blobs.

        Raises:
            UnsupportedError: the weights are not in the file.
        """
        check_positive(filters=self.filters, size=self.size, stride=self.stride)
        if self.padding < 0:
            raise FormatError(f"padding must not be negative, got {self.padding}")
        if self.dontload or self.dontloadscales:
            raise UnsupportedError("dontload and dontloadscales leave weights out of the file")
        return {"in": x.channels, "out": self.filters, "kernel": (self.size, self.size)}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit ConvTranspose, BatchNormalization and the activation."""
        padding = self.size // 2 if self.pad else self.padding
        y = b.op(
            "ConvTranspose", b.image(x), b.parameter("weight"),
            None if self.batch_normalize else b.parameter("bias"),
            kernel_shape=[self.size, self.size], strides=[self.stride, self.stride],
            pads=[padding] * 4,
        )  # fmt: skip
        if self.batch_normalize:
            y = batch_norm(b, y, channels=self.filters)
        return activate(b, self.activation, y)

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        """Return the number of filters the weights have now."""
        return replace(self, filters=arrays["weight"].shape[1])

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the variances as the file holds them."""
        return stored_variance(arrays, rooted=self.context.rooted)
