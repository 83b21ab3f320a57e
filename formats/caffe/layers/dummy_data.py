"""DummyData. Source: dummy_data_layer.cpp (BVLC 9b89154). It stores no blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Handling, Layer, key, layer


@layer("DummyData")
@dataclass(frozen=True, kw_only=True, slots=True)
class DummyData(Layer):
    """Blobs that the framework fills; here they become inputs, which the caller fills."""

    shape: tuple[tuple[int, ...], ...] = key(())
    num: tuple[int, ...] = key(())
    channels: tuple[int, ...] = key(())
    height: tuple[int, ...] = key(())
    width: tuple[int, ...] = key(())

    param: ClassVar = "dummy_data_param"
    bottom_range: ClassVar = (0, 0)
    top_range: ClassVar = (1, None)
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data",),
        text="dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } }",
    )

    def to_ir(self, b: CaffeBuilder) -> tuple[ir.Value | None, ...]:
        """Declare an input for every top."""
        legacy = (self.num, self.channels, self.height, self.width)
        if len({len(dims) for dims in legacy}) > 1:
            raise FormatError("num, channels, height and width stand equally often")
        shapes = self.shape or tuple(zip(*legacy, strict=True))
        if len(shapes) == 1:
            shapes *= len(self.tops)
        if len(shapes) != len(self.tops):
            raise FormatError(f"{len(self.tops)} tops, but {len(shapes)} shapes")
        return tuple(b.input(top, dims) for top, dims in zip(self.tops, shapes, strict=True))
