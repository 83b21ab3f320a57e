"""SoftmaxWithLoss. Source: softmax_loss_layer.cpp (BVLC 9b89154). It stores no blobs.

Without labels it is read as Softmax; with them the top is a scalar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ....core.ir.heads import ClassifierHead
from ....core.training.losses.softmax import SoftmaxLoss
from ..layer import CaffeBuilder, Example, Handling, Layer, key, layer

SMALLEST = 1.1754943508222875e-38
"""FLT_MIN: the least probability that a logarithm is taken of."""

_MODES = ("FULL", "VALID", "BATCH_SIZE", "NONE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss(Layer):
    """What losses share: a scalar from scores and labels, divided by a count."""

    ignore_label: int | None = key(None, "/loss_param.ignore_label")
    normalization: str | None = key(None, "/loss_param.normalization", choices=_MODES)
    normalize: bool | None = key(None, "/loss_param.normalize", doc="old: VALID or BATCH_SIZE")

    optional: ClassVar = True
    bottom_range: ClassVar = (2, 2)
    default_mode: ClassVar[str] = "BATCH_SIZE"

    def mode(self) -> str:
        """Return what the sum is divided by."""
        if self.normalization is None and self.normalize is not None:
            return "VALID" if self.normalize else "BATCH_SIZE"
        return self.normalization or self.default_mode

    def total(self, b: CaffeBuilder, terms: ir.Value) -> ir.Value:
        """Emit the sum of all terms, a scalar."""
        return b.op("ReduceSum", terms, b.constant(range(b.rank(terms))), keepdims=0)

    def mean(
        self, b: CaffeBuilder, terms: ir.Value, valid: ir.Value | None, outer: int, count: int
    ) -> ir.Value:
        """Emit the sum of `terms`, divided as :meth:`mode` says; `valid` is 1 where one counts."""
        if valid is not None:
            terms = b.op("Mul", terms, valid)
        total = self.total(b, terms)
        if self.mode() == "VALID" and valid is not None:
            return b.op("Div", total, b.op("Max", self.total(b, valid), b.scalar(1)))
        divisor = {"NONE": 1, "BATCH_SIZE": outer}.get(self.mode(), count)
        return b.op("Mul", total, b.scalar(1 / divisor))


def chosen(
    b: CaffeBuilder, x: ir.Value, label: ir.Value, axis: int, ignored: int | None
) -> tuple[ir.Value, ir.Value | None, ir.Value]:
    """Return the elements of `x` that the labels name, 1 where a label counts, and the labels."""
    dims = list(b.dims(x, 0))
    dims[axis] = 1
    if math.prod(b.dims(label, 0)) != math.prod(dims):
        raise FormatError(f"the labels are {b.shape(label)}, the scores {b.shape(x)}")
    where = b.op("Cast", b.reshape(label, *dims), to=int(ir.DataType.INT64))
    valid = None
    if ignored is not None:
        counts = b.op("Not", b.op("Equal", where, b.constant(ignored)))
        valid = b.op("Cast", counts, to=int(ir.DataType.FLOAT))
        where = b.op("Where", counts, where, b.constant(0))
    return b.op("GatherElements", x, where, axis=axis), valid, where


@layer("SoftmaxWithLoss", "SoftmaxLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxWithLoss(Loss):
    """−log of the probability that softmax gives the true class."""

    axis: int = key(1, "/softmax_param.axis")

    default_mode: ClassVar = "VALID"
    bottom_range: ClassVar = (1, 3)
    top_range: ClassVar = (0, 2)
    example: ClassVar = Example(
        handling=Handling.TRAINING, bottoms=("after", "label"), values={"label": (0, 2)}
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *more: ir.Value) -> ir.Value:
        """Emit Softmax and the logarithms of the true classes."""
        if len(more) != 1 or len(self.tops) != 1:
            raise UnsupportedError("only scores and labels in and one loss out are supported")
        axis = b.axis(x, self.axis)
        dims = b.dims(x, 0)
        probability = b.op("Softmax", x, axis=axis)
        picked, valid, _ = chosen(b, probability, more[0], axis, self.ignore_label)
        terms = b.op("Neg", b.op("Log", b.op("Max", picked, b.scalar(SMALLEST))))
        return self.mean(b, terms, valid, math.prod(dims[:axis]), math.prod(dims) // dims[axis])

    def without(self, b: CaffeBuilder, *bottoms: ir.Value | None) -> ir.Value | None:
        """Return Softmax of the scores."""
        x = bottoms[0]
        return None if x is None else b.op("Softmax", x, axis=b.axis(x, self.axis))

    def loss(self, folder: Path) -> SoftmaxLoss:
        """Return the loss of training."""
        del folder
        return SoftmaxLoss(
            normalization=self.mode(), ignore_label=self.ignore_label, axis=self.axis
        )

    def heads(self) -> tuple[ClassifierHead, ...]:
        """Return how to read the outputs as answers."""
        return (ClassifierHead(output=self.tops[0]),) if self.tops else ()
