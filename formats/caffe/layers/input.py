"""Input. Source: caffe.proto InputParameter, input_layer.cpp (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Handling, Layer, key, layer


@layer("Input")
@dataclass(frozen=True, kw_only=True, slots=True)
class Input(Layer):
    """Blobs fed from outside; one shape serves all tops, or each has its own."""

    shape: tuple[tuple[int, ...], ...] = key((), doc="shape of each top, or one for all")

    param: ClassVar = "input_param"
    bottom_range: ClassVar = (0, 0)
    top_range: ClassVar = (1, None)
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data",),
        text="input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } }",
    )

    def to_ir(self, b: CaffeBuilder) -> tuple[ir.Value | None, ...]:
        """Declare an input for every top."""
        if len(self.shape) not in (1, len(self.tops)):
            raise FormatError(f"{len(self.tops)} tops, but {len(self.shape)} shapes")
        shapes = self.shape if len(self.shape) == len(self.tops) else self.shape * len(self.tops)
        return tuple(b.input(top, dims) for top, dims in zip(self.tops, shapes, strict=True))
