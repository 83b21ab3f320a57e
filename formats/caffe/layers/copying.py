"""Dropout, Split, Silence: layers that compute nothing when testing.

Source: dropout_layer.cpp, split_layer.cpp, silence_layer.cpp (BVLC 9b89154). They store no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("Dropout")
@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout(Layer):
    """Passes its bottom on: training has made up for what it dropped."""

    dropout_ratio: float = key(0.5, doc="not used when testing")

    param: ClassVar = "dropout_param"
    example: ClassVar = Example(text="dropout_param { dropout_ratio: 0.3 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Return the bottom; for training, emit Dropout, which does the same when testing.

        Raises:
            FormatError: the ratio is none, which Caffe refuses too.
        """
        if not b.reading.training:
            return x
        if not 0 < self.dropout_ratio < 1:
            raise FormatError(f"dropout_ratio must lie between 0 and 1, got {self.dropout_ratio:g}")
        return b.op("Dropout", x, b.scalar(self.dropout_ratio))


@layer("Split")
@dataclass(frozen=True, kw_only=True, slots=True)
class Split(Layer):
    """Gives its bottom under several names."""

    top_range: ClassVar = (1, None)
    example: ClassVar = Example(
        tops=("layer", "copy"),
        tail="""
layer { name: "sum" type: "Eltwise" bottom: "layer" bottom: "copy" top: "sum" }
layer { name: "after" type: "InnerProduct" bottom: "sum" top: "after"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> tuple[ir.Value, ...]:
        """Return the bottom for every top."""
        del b
        return (x,) * len(self.tops)

    def shares_memory(self) -> bool:
        """Whether the top is the bottom's memory in Caffe."""
        return True


@layer("Silence")
@dataclass(frozen=True, kw_only=True, slots=True)
class Silence(Layer):
    """Reads blobs, so that the net does not count them as outputs."""

    optional: ClassVar = True
    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (0, 0)
    example: ClassVar = Example(
        tops=(),
        note="makes nothing",
        tail="""
layer { name: "after" type: "InnerProduct" bottom: "before" top: "after"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        """Return no top."""
        del b, bottoms
        return ()
