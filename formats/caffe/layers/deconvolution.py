"""Deconvolution. Source: deconv_layer.cpp (BVLC 9b89154).

Weights: [in, out/group, kernel…]; bias: [out]. A bottom of i pixels gives s(i−1) + d(k−1)+1 − 2p
pixels, for kernel k, stride s, pad p and dilation d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, layer
from .convolution import Convolving


@layer("Deconvolution")
@dataclass(frozen=True, kw_only=True, slots=True)
class Deconvolution(Convolving):
    """Transposed convolution; often a fixed bilinear up-sampling, with a group a channel."""

    blobs: ClassVar = (
        Blob("weight", "in out/group kernel"),
        Blob("bias", "out", when="bias_term"),
    )
    example: ClassVar = Example(text="convolution_param { num_output: 16 kernel_size: 3 pad: 1 }")

    def emit(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the operator for a bottom of batch, channels and spatial axes."""
        shape = b.dims(x, 1)
        window = self.window(len(shape) - 1)
        parameters = [b.parameter("weight")] + ([b.parameter("bias")] if self.bias_term else [])
        return b.op(
            "ConvTranspose", x, *parameters, group=self.group, strides=window["stride"],
            pads=window["pad"] * 2, dilations=window["dilation"], kernel_shape=window["kernel"],
        )  # fmt: skip

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the sizes its blobs and nodes have in a changed graph."""
        group = next(n.attributes["group"].as_int() for n in nodes if n.op_type == "ConvTranspose")
        return replace(self, num_output=arrays["weight"].shape[1] * group, group=group)
