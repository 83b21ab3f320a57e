"""[convolutional]. Source: parser.c parse_convolutional, convolutional_layer.c.

Weights: biases, then scales, means, variances, then [out, in/groups, size, size]; with `flipped`
[in × size × size, out]. Under batch normalisation the biases are its shift, and the convolution
itself has none.
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
from ..geometry import UNSET, check_counts, check_pointwise, strides
from ..pooling import blur
from ..section import Example, Section, SectionBuilder, Size, section

NOT_SHARED = -1000000000
MUST_AGREE = ("normalized", "dontloadscales", "flipped")
"""What two convolutions that share weights must have in common."""
ALEXEYAB_KEYS = ("stride_x", "stride_y", "dilation", "antialiasing", "share_index", "cbn")


@section("convolutional", "conv")
@dataclass(frozen=True, kw_only=True, slots=True)
class Convolutional(Section):
    """A convolution, its batch normalisation, its activation, and the blur behind it."""

    filters: int = key(1, channels=True)
    size: int = key(1)
    stride: int = key(1)
    stride_x: int = key(UNSET)
    stride_y: int = key(UNSET)
    pad: bool = key(default=False, doc="pads by size/2, whatever `padding` says")
    padding: int = key(0)
    groups: int = key(1, channels=True)
    dilation: int = key(1, doc="1 where size is 1; multiplies the padding too")
    batch_normalize: bool = key(default=False)
    cbn: bool = key(default=False, doc="batch normalisation, trained over several batches")
    activation: str = key("logistic")
    antialiasing: int = key(0, doc="convolve at stride 1, then blur at the stride")
    share_index: int = key(NOT_SHARED, doc="use the parameters of another layer")
    flipped: bool = key(default=False)
    dontload: bool = key(default=False)
    dontloadscales: bool = key(default=False)
    numload: int = key(0)
    xnor: bool = key(default=False)

    blobs = (
        Blob("bias", "out", when="stored"),
        Blob("scale", "out", when="stores_scales"),
        Blob("rolling_mean", "out", when="stores_scales"),
        Blob("rolling_variance", "out", when="stores_scales"),
        Blob("weight", "out in/groups kernel", when="stored"),
    )
    references = ("share_index",)
    only = dict.fromkeys(ALEXEYAB_KEYS, Flavour.ALEXEYAB)
    example = Example(text="batch_normalize=1\nfilters=16\nsize=3\npad=1\nactivation=leaky")

    def agreed(self) -> bool:
        """Return whether both convolve alike: pjreddie's ignores the stride of 1×1 kernels."""
        return Section.agreed(self) and not (self.size == 1 and self.stride != 1)

    @property
    def normalized(self) -> bool:
        """Whether batch normalisation follows."""
        return self.batch_normalize or self.cbn

    @property
    def stored(self) -> bool:
        """Whether the file holds this layer's own weights."""
        return self.share_index == NOT_SHARED

    @property
    def stores_scales(self) -> bool:
        """Whether the file holds this layer's own scales, means and variances."""
        return self.stored and self.normalized and not self.dontloadscales

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns from one output to the next."""
        return strides(self.stride, self.stride_y, self.stride_x)

    def shares(self) -> int | None:
        """Return the layer named by share_index."""
        return None if self.stored else self.context.absolute(self.share_index)

    def check_shared(
        self, owner: Section, shapes: Mapping[str, tuple[int, ...]], *inputs: Size
    ) -> None:
        """Check that the other layer is a convolution of the same shape.

        Raises:
            FormatError: it is not.
        """
        axes = self.sizes(*inputs)
        kernel = (axes["out"], axes["in/groups"], self.size, self.size)
        if (
            not isinstance(owner, Convolutional)
            or shapes["weight"] != kernel
            or any(getattr(owner, name) != getattr(self, name) for name in MUST_AGREE)
        ):
            raise FormatError(f"layer {owner.context.index} cannot share its weights with this one")

    def sizes(self, x: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the blobs.

        Raises:
            FormatError: groups do not divide the channels.
            UnsupportedError: the weights are not in the file.
        """
        check_positive(
            filters=self.filters, size=self.size, stride=min(self.strides), groups=self.groups,
            dilation=self.dilation,
        )  # fmt: skip
        if x.channels % self.groups or self.filters % self.groups:
            raise FormatError(
                f"{self.groups} groups do not divide {x.channels} input channels and "
                f"{self.filters} filters"
            )
        if self.padding < 0:
            raise FormatError(f"padding must not be negative, got {self.padding}")
        if self.dontload or self.numload:
            raise UnsupportedError("dontload and numload leave weights out of the file")
        if self.xnor:
            raise UnsupportedError("xnor: inputs and weights are cut to their signs")
        if self.flipped and self.groups > 1:
            raise UnsupportedError("flipped weights with groups")
        within = x.channels // self.groups
        return {"out": self.filters, "in/groups": within, "kernel": (self.size, self.size)}

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Conv, BatchNormalization, the activation and the blur."""
        x = b.image(x)
        steps = (1, 1) if self.antialiasing else self.strides
        dilation = self.dilation if self.size > 1 else 1
        padding = self.size // 2 if self.pad else self.padding
        if self.size == 1:
            check_pointwise(b, steps, padding)
        y = b.op(
            "Conv", x, self._weight(b), None if self.normalized else b.parameter("bias"),
            kernel_shape=[self.size, self.size], strides=list(steps),
            pads=[padding * dilation] * 4, dilations=[dilation] * 2, group=self.groups,
        )  # fmt: skip
        check_counts(b.size(x), b.size(y), self.size, steps, padding)
        if self.normalized:
            own = not self.dontloadscales
            y = batch_norm(
                b, y, channels=self.filters, scale="scale" if own else None,
                mean="rolling_mean" if own else None,
                variance="rolling_variance" if own else None,
            )  # fmt: skip
        y = activate(b, self.activation, y)
        return blur(b, y, self.antialiasing, self.strides) if self.antialiasing else y

    def _weight(self, b: SectionBuilder) -> ir.Value:
        stored = b.blobs["weight"]
        if not self.flipped:
            return b.parameter("weight")
        out = stored.shape[0]
        return b.parameter("weight", stored.reshape(-1, out).T.reshape(stored.shape).copy())

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return filters and groups as the convolution in the graph has them."""
        (conv,) = (node for node in nodes if node.op_type == "Conv")
        return replace(
            self, filters=arrays["weight"].shape[0], groups=conv.attributes["group"].as_int()
        )

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the variances and flipped weights as the file holds them."""
        arrays = stored_variance(arrays, rooted=self.context.rooted)
        if not self.flipped or "weight" not in arrays:
            return arrays
        weight = arrays["weight"]
        return {**arrays, "weight": weight.reshape(weight.shape[0], -1).T}
