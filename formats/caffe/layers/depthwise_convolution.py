"""DepthwiseConvolution and its aliases. Source: depthwise_conv_layer.cpp of MobileNet forks.

Weights: [out, 1, kernel…]; bias: [out].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ..layer import Example, key, layer
from .convolution import Convolution


@layer(
    "DepthwiseConvolution", "ConvolutionDepthwise", "ConvolutionDepthWise", "DepthWiseConvolution",
    "CuDNNGroupedConvolutionForward",
)  # fmt: skip
@dataclass(frozen=True, kw_only=True, slots=True)
class DepthwiseConvolution(Convolution):
    """A convolution with one group for each channel, whatever `group` says."""

    group: int = key(0, channels=True, doc="not read: each channel is a group")
    example: ClassVar = Example(text="convolution_param { num_output: 16 kernel_size: 3 pad: 1 }")

    def groups(self, channels: int) -> int:
        """Return one group for each channel."""
        return channels

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the sizes its blobs and nodes have in a changed graph."""
        group = next(n.attributes["group"].as_int() for n in nodes if n.op_type == "Conv")
        return replace(self, num_output=arrays["weight"].shape[0], group=group if self.group else 0)
