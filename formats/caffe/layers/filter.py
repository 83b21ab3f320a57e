"""Filter. Source: filter_layer.cpp (BVLC 9b89154); filter_layer.cpp, filter_layer.cu and
caffe.proto of caffe-pro (yihui-he's channel pruning, 4465d1e).

Blob: mask [channels]. Channels whose number in it is not zero are passed on, in their order.
BVLC's layer has no blob: its last bottom says which samples to pass on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import Blob, CaffeBuilder, Example, Layer, Shape, key, layer, number


@layer("Filter")
@dataclass(frozen=True, kw_only=True, slots=True)
class Filter(Layer):
    """Channels that a stored mask picks."""

    axis: int = key(1)
    num_output: int = key(0, channels=True, doc="channels of the top; 0 for those of the mask")

    param: ClassVar = "filter_param"
    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (1, None)
    blobs: ClassVar = (Blob("mask", "channels", when="masked"),)
    example: ClassVar = Example(
        text="filter_param { num_output: 16 }",
        note="pass; channels that are not picked can be removed",
    )

    @property
    def masked(self) -> bool:
        """Whether a stored mask picks channels, and no bottom picks samples."""
        return len(self.bottoms) == len(self.tops)

    def sizes(self, *shapes: Shape) -> dict[str, int | tuple[int, ...]]:
        """Return the length of the mask."""
        shape = shapes[0]
        if not -len(shape) <= self.axis < len(shape):
            raise FormatError(f"axis {self.axis} does not exist: the bottom has {len(shape)} axes")
        return {"channels": number(shape[self.axis])}

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        """Emit Gather over the channels that the mask picks; the mask follows the channels."""
        if not self.masked:
            raise UnsupportedError(
                "the last bottom picks samples, so that their number depends on the data",
                hint="cut the net before this layer, and prune that part",
            )
        picked = np.flatnonzero(b.blobs["mask"].reshape(-1))
        if self.num_output not in (0, len(picked)):
            raise FormatError(f"num_output is {self.num_output}, but the mask picks {len(picked)}")
        if not len(picked):
            raise FormatError("the mask picks no channel")
        mask = b.parameter("mask")
        tops = []
        for x in bottoms:
            axis = b.axis(x, self.axis)
            if b.dims(x, axis)[0] != b.blobs["mask"].size:
                raise FormatError(f"the bottoms differ along axis {axis}, which the mask picks of")
            b.follow(x, mask)
            tops.append(b.op("Gather", x, b.constant(picked), axis=axis))
        return tuple(tops)

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the number of channels that the mask still picks."""
        del nodes
        if not self.num_output or "mask" not in arrays:
            return self
        return replace(self, num_output=int(np.count_nonzero(arrays["mask"])))
