"""Accuracy. Source: accuracy_layer.cpp (BVLC 9b89154). It stores no blobs.

Without labels, the layer is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import CaffeBuilder, Example, Handling, Layer, check_constant, key, layer
from .loss import chosen

_FLOAT = int(ir.DataType.FLOAT)


@layer("Accuracy")
@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy(Layer):
    """The share of items whose true class is among the `top_k` best scores.

    A second top holds that share for each class.
    """

    top_k: int = key(1)
    axis: int = key(1)
    ignore_label: int | None = key(None)

    param: ClassVar = "accuracy_param"
    bottom_axes: ClassVar = (1, 32)
    optional: ClassVar = True
    bottom_range: ClassVar = (2, 2)
    top_range: ClassVar = (1, 2)
    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "label"),
        text="accuracy_param { top_k: 2 }",
        values={"label": (0, 2)},
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, label: ir.Value) -> tuple[ir.Value, ...]:
        """Emit the comparison of every score with that of the true class."""
        axis = b.axis(x, self.axis)
        picked, valid, true = chosen(b, x, label, axis, self.ignore_label)
        ahead = b.op("Cast", b.op("GreaterOrEqual", x, picked), to=int(ir.DataType.INT64))
        place = b.op("ReduceSum", ahead, b.constant([axis]))
        right = b.op("Cast", b.op("LessOrEqual", place, b.constant(self.top_k)), to=_FLOAT)
        counted = valid if valid is not None else b.op("Add", b.op("Mul", right, b.scalar(0)),
                                                       b.scalar(1))  # fmt: skip
        right = b.op("Mul", right, counted)
        tops = [self._share(b, right, counted, list(range(b.rank(x))))]
        if len(self.tops) == 2:
            classes = b.dims(x, axis)[0]
            check_constant(classes, "classes")
            row = [1] * b.rank(x)
            row[axis] = classes
            numbers = b.reshape(b.constant(range(classes)), *row)
            of_class = b.op("Cast", b.op("Equal", true, numbers), to=_FLOAT)
            others = [i for i in range(b.rank(x)) if i != axis]
            hits, counts = b.op("Mul", of_class, right), b.op("Mul", of_class, counted)
            tops.append(self._share(b, hits, counts, others))
        return tuple(tops)

    def _share(
        self, b: CaffeBuilder, hits: ir.Value, counts: ir.Value, axes: list[int]
    ) -> ir.Value:
        """Emit Σ hits / Σ counts over axes, 0 where nothing counts."""
        over = b.constant(axes)
        total = b.op("ReduceSum", hits, over, keepdims=0)
        count = b.op("ReduceSum", counts, over, keepdims=0)
        return b.op("Div", total, b.op("Max", count, b.scalar(1)))
