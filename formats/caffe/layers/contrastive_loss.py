"""ContrastiveLoss. Source: contrastive_loss_layer.cpp (BVLC 9b89154). It stores no blobs.

Of pairs a, b with d² = Σ (a − b)²: d² where the pair is alike, else max(margin − d, 0)²; the sum
over 2N. Without labels, the layer is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ....core.training.losses.contrastive import ContrastiveLoss as Contrastive
from ..layer import CaffeBuilder, Example, Handling, key, layer
from .loss import Loss


@layer("ContrastiveLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveLoss(Loss):
    """The squared distance of pairs that are alike; for others, what they lack of a margin."""

    margin: float = key(1.0)
    legacy_version: bool = key(default=False, doc="max(margin − d², 0) for pairs that differ")

    param: ClassVar = "contrastive_loss_param"
    bottom_range: ClassVar = (3, 3)
    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "twin", "label"),
        text="contrastive_loss_param { margin: 2 }",
        values={"label": (0, 1)},
        lead="""
layer { name: "twin" type: "InnerProduct" bottom: "before" top: "twin"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, y: ir.Value, alike: ir.Value) -> ir.Value:
        """Emit the distances and what they cost."""
        count, channels, *rest = (*b.dims(x, 0), 1)
        if b.dims(y, 0) != b.dims(x, 0) or math.prod(rest) != 1:
            raise FormatError(f"the bottoms are {b.shape(x)} and {b.shape(y)}, not two vectors")
        if math.prod(b.dims(alike, 0)) != count:
            raise FormatError(f"the labels are {b.shape(alike)} for {count} pairs")
        difference = b.reshape(b.op("Sub", x, y), count, channels)
        square = b.op("ReduceSum", b.op("Mul", difference, difference), b.constant([1]), keepdims=0)
        margin = b.scalar(self.margin)
        if self.legacy_version:
            apart = b.op("Relu", b.op("Sub", margin, square))
        else:
            lacking = b.op("Relu", b.op("Sub", margin, b.op("Sqrt", square)))
            apart = b.op("Mul", lacking, lacking)
        same = b.op("Cast", b.reshape(alike, count), to=int(ir.DataType.INT64))
        terms = b.op("Where", b.op("Equal", same, b.constant(0)), apart, square)
        return b.op("Mul", self.total(b, terms), b.scalar(0.5 / count))

    def loss(self, folder: Path) -> Contrastive:
        """Return the loss of training."""
        del folder
        return Contrastive(margin=self.margin, legacy=self.legacy_version)
