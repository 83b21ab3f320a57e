"""Losses. Source: softmax_loss_layer.cpp, euclidean_loss_layer.cpp, hinge_loss_layer.cpp,
sigmoid_cross_entropy_loss_layer.cpp, multinomial_logistic_loss_layer.cpp (BVLC 9b89154). No blobs.

Without labels SoftmaxWithLoss is read as Softmax and the others are left out. The tops are scalars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ....core.ir.network import Head
from ..layer import CaffeBuilder, Layer, check_constant, key, layer

SMALLEST = 1.1754943508222875e-38
"""FLT_MIN: the least probability that a logarithm is taken of."""

_MODES = ("FULL", "VALID", "BATCH_SIZE", "NONE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss(Layer):
    """What losses share: a scalar from scores and labels, divided by a count."""

    ignore_label: int | None = key(None, "/loss_param.ignore_label")
    normalization: str | None = key(None, "/loss_param.normalization", choices=_MODES)
    normalize: bool | None = key(None, "/loss_param.normalize", doc="old: VALID or BATCH_SIZE")

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

    def to_ir(self, b: CaffeBuilder, x: ir.Value, *more: ir.Value) -> ir.Value:
        if len(more) != 1 or len(self.tops) != 1:
            raise UnsupportedError("only scores and labels in and one loss out are supported")
        axis = b.axis(x, self.axis)
        dims = b.dims(x, 0)
        probability = b.op("Softmax", x, axis=axis)
        picked, valid, _ = chosen(b, probability, more[0], axis, self.ignore_label)
        terms = b.op("Neg", b.op("Log", b.op("Max", picked, b.scalar(SMALLEST))))
        return self.mean(b, terms, valid, math.prod(dims[:axis]), math.prod(dims) // dims[axis])

    def without(self, b: CaffeBuilder, *bottoms: ir.Value | None) -> ir.Value | None:
        x = bottoms[0]
        return None if x is None else b.op("Softmax", x, axis=b.axis(x, self.axis))

    def heads(self) -> tuple[Head, ...]:
        return (Head(output=self.tops[0], kind="classifier"),) if self.tops else ()


@layer("EuclideanLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class EuclideanLoss(Loss):
    """Σ (a − b)² / 2N."""

    def to_ir(self, b: CaffeBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        difference = b.op("Sub", x, b.reshape(y, *b.dims(x, 0)))
        total = self.total(b, b.op("Mul", difference, difference))
        return b.op("Mul", total, b.scalar(0.5 / b.dims(x, 0)[0]))


@layer("SigmoidCrossEntropyLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class SigmoidCrossEntropyLoss(Loss):
    """−t log σ(x) − (1 − t) log(1 − σ(x)), in the form that does not overflow."""

    def to_ir(self, b: CaffeBuilder, x: ir.Value, t: ir.Value) -> ir.Value:
        dims = b.dims(x, 0)
        target = b.reshape(t, *dims)
        small = b.op("Exp", b.op("Neg", b.op("Abs", x)))
        terms = b.op("Sub", b.op("Relu", x), b.op("Mul", x, target))
        terms = b.op("Add", terms, b.op("Log", b.op("Add", small, b.scalar(1))))
        valid = None
        if self.ignore_label is not None:
            counts = b.op("Not", b.op("Equal", target, b.scalar(self.ignore_label)))
            valid = b.op("Cast", counts, to=int(ir.DataType.FLOAT))
        return self.mean(b, terms, valid, dims[0], math.prod(dims))


@layer("HingeLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class HingeLoss(Loss):
    """Σ max(0, 1 ∓ x) / N, minus for the true class; squared for norm L2."""

    norm: str = key("L1", choices=("L1", "L2"), numbers=(1, 2))

    param: ClassVar = "hinge_loss_param"

    def to_ir(self, b: CaffeBuilder, x: ir.Value, label: ir.Value) -> ir.Value:
        outer = b.dims(x, 0)[0]
        scores = x if b.rank(x) == 2 else b.op("Flatten", x, axis=1)
        check_constant(b.dims(scores, 1)[0], "classes")
        classes = b.constant(range(b.dims(scores, 1)[0]))
        true = b.op("Cast", b.reshape(label, outer, 1), to=int(ir.DataType.INT64))
        sign = b.op("Where", b.op("Equal", true, classes), b.scalar(-1), b.scalar(1))
        terms = b.op("Relu", b.op("Add", b.op("Mul", scores, sign), b.scalar(1)))
        if self.norm == "L2":
            terms = b.op("Mul", terms, terms)
        return b.op("Mul", self.total(b, terms), b.scalar(1 / outer))


@layer("MultinomialLogisticLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class MultinomialLogisticLoss(Loss):
    """−log of the probability given for the true class, over N."""

    def to_ir(self, b: CaffeBuilder, x: ir.Value, label: ir.Value) -> ir.Value:
        flat = x if b.rank(x) == 2 else b.op("Flatten", x, axis=1)
        picked, _, _ = chosen(b, flat, label, 1, None)
        terms = b.op("Neg", b.op("Log", b.op("Max", picked, b.scalar(1e-20))))
        return b.op("Mul", self.total(b, terms), b.scalar(1 / b.dims(x, 0)[0]))


@layer("InfogainLoss", "ContrastiveLoss", "HDF5Output", "SmoothL1Loss", "MultiBoxLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOnly(Layer):
    """Layers for training that are left out where their labels are absent."""

    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (0, None)
