"""Convolution. Source: base_conv_layer.cpp, conv_layer.cpp (BVLC 9b89154).

Weights: [out, in/group, kernel…]; bias: [out]. A bottom of i pixels gives
(i + 2p − (d(k−1)+1)) / s + 1 pixels, for kernel k, stride s, pad p and dilation d. C++ cuts the
quotient towards zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import REQUIRED
from ..layer import (
    Blob,
    CaffeBuilder,
    Example,
    Layer,
    Shape,
    check_positive,
    key,
    layer,
    number,
    pair,
    spatial,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Convolving(Layer):
    """What both directions share: Caffe keeps them in one base class too."""

    num_output: int = key(channels=True, doc="channels of the top")
    group: int = key(1, channels=True, doc="groups; equal to the channels for depthwise")
    bias_term: bool = key(default=True, doc="whether there is a bias blob")
    kernel: tuple[int, ...] = pair(REQUIRED, "kernel_size", "kernel_h", "kernel_w")
    stride: tuple[int, ...] = pair((), "stride", "stride_h", "stride_w")
    pad: tuple[int, ...] = pair((), "pad", "pad_h", "pad_w")
    dilation: tuple[int, ...] = key((), doc="one number, or one an axis")
    axis: int = key(1, doc="channel axis; those before it count as batch")

    param: ClassVar = "convolution_param"
    bottom_axes: ClassVar = (1, 32)
    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (1, None)

    def groups(self, channels: int) -> int:
        """Return the number of groups for so many channels of the bottom."""
        del channels
        return self.group

    def window(self, axes: int) -> dict[str, tuple[int, ...]]:
        """Return kernel, stride, pad and dilation of each spatial axis."""
        found = {
            "kernel": spatial(self.kernel, axes, 0, "kernel_size"),
            "stride": spatial(self.stride, axes, 1, "stride"),
            "pad": spatial(self.pad, axes, 0, "pad"),
            "dilation": spatial(self.dilation, axes, 1, "dilation"),
        }
        for name in ("kernel", "stride", "dilation"):
            for value in found[name]:
                check_positive(**{name: value})
        return found

    def sizes(self, *shapes: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        check_positive(num_output=self.num_output)
        shape = shapes[0]
        if not -len(shape) <= self.axis < len(shape):
            raise FormatError(f"axis {self.axis} does not exist: the bottom has {len(shape)} axes")
        axis = self.axis % len(shape)
        channels = number(shape[axis])
        group = self.groups(channels)
        check_positive(group=group)
        if channels % group or self.num_output % group:
            raise FormatError(
                f"group {group} does not divide {channels} channels and {self.num_output} outputs"
            )
        kernel = self.window(len(shape) - axis - 1)["kernel"]
        return {
            "in": channels, "out": self.num_output, "kernel": kernel,
            "in/group": channels // group, "out/group": self.num_output // group,
        }  # fmt: skip

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        """Emit one operator for each bottom."""
        if len(bottoms) != len(self.tops):
            raise FormatError(f"{len(bottoms)} bottoms, but {len(self.tops)} tops")
        return tuple(self._one(b, x) for x in bottoms)

    def _one(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the operator, with the axes before the channel axis folded into one batch axis."""
        axis = b.axis(x, self.axis)
        if axis == 1:
            return self.emit(b, x)
        dims = b.dims(x, 0)
        y = self.emit(b, b.reshape(x, -1, *dims[axis:]))
        return b.reshape(y, *dims[:axis], *b.dims(y, 1))

    def emit(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the operator for a bottom of batch, channels and spatial axes."""
        raise NotImplementedError(f"{b} {x}")


@layer("Convolution", "ConvolutionND", "NdConvolution")
@dataclass(frozen=True, kw_only=True, slots=True)
class Convolution(Convolving):
    """A convolution; several bottoms share its weights, and each gives a top."""

    blobs: ClassVar = (
        Blob("weight", "out in/group kernel"),
        Blob("bias", "out", when="bias_term"),
    )
    example: ClassVar = Example(text="convolution_param { num_output: 16 kernel_size: 3 pad: 1 }")

    def emit(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the operator for a bottom of batch, channels and spatial axes."""
        shape = b.dims(x, 1)
        window = self.window(len(shape) - 1)
        x = self._grown(b, x, shape[1:], window)
        parameters = [b.parameter("weight")] + ([b.parameter("bias")] if self.bias_term else [])
        return b.op(
            "Conv", x, *parameters, group=self.groups(shape[0]), strides=window["stride"],
            pads=window["pad"] * 2, dilations=window["dilation"], kernel_shape=window["kernel"],
        )  # fmt: skip

    def _grown(
        self,
        b: CaffeBuilder,
        x: ir.Value,
        space: Sequence[int],
        window: Mapping[str, Sequence[int]],
    ) -> ir.Value:
        """Add the zeros that Caffe's rounding towards zero reads beyond a too small bottom."""
        lacking = []
        for size, k, s, p, d in zip(space, *window.values(), strict=True):
            room = size + 2 * p - (d * (k - 1) + 1)
            if room <= -s:
                raise FormatError(f"kernel {k} does not fit a bottom of {size} with pad {p}")
            lacking.append(max(0, -room))
        if not any(lacking):
            return x
        none = [0] * (2 + len(lacking))
        return b.op("Pad", x, b.constant([*none, 0, 0, *lacking]))

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the sizes its blobs and nodes have in a changed graph."""
        group = next(n.attributes["group"].as_int() for n in nodes if n.op_type == "Conv")
        return replace(self, num_output=arrays["weight"].shape[0], group=group)
