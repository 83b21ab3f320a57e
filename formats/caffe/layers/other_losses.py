"""EuclideanLoss, HingeLoss, SigmoidCrossEntropyLoss, MultinomialLogisticLoss and others.

Source: euclidean_loss_layer.cpp, hinge_loss_layer.cpp, sigmoid_cross_entropy_loss_layer.cpp,
multinomial_logistic_loss_layer.cpp (BVLC 9b89154). They store no blobs. Without labels, they are
left out. Their tops are scalars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ....core.training.losses.euclidean import EuclideanLoss as Euclidean
from ....core.training.losses.hinge import HingeLoss as Hinge
from ....core.training.losses.multinomial import MultinomialLoss
from ....core.training.losses.sigmoid import SigmoidLoss
from ....core.training.losses.smooth_l1 import SmoothL1Loss as SmoothL1
from ..layer import CaffeBuilder, Example, Handling, Layer, check_constant, key, layer
from .loss import Loss, chosen


@layer("EuclideanLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class EuclideanLoss(Loss):
    """Σ (a − b)² / 2N."""

    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "label"),
        label=(3,),
        values={"label": (0, 0.5, -1)},
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """Emit the sum of squared differences."""
        difference = b.op("Sub", x, b.reshape(y, *b.dims(x, 0)))
        total = self.total(b, b.op("Mul", difference, difference))
        return b.op("Mul", total, b.scalar(0.5 / b.dims(x, 0)[0]))

    def loss(self, folder: Path) -> Euclidean:
        """Return the loss of training."""
        del folder
        return Euclidean()


@layer("SigmoidCrossEntropyLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class SigmoidCrossEntropyLoss(Loss):
    """−t log σ(x) − (1 − t) log(1 − σ(x)), in the form that does not overflow."""

    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "label"),
        label=(3,),
        values={"label": (0, 1, 1, 0)},
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, t: ir.Value) -> ir.Value:
        """Emit relu(x) − x·t + log(1 + exp(−|x|)), summed."""
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

    def loss(self, folder: Path) -> SigmoidLoss:
        """Return the loss of training."""
        del folder
        return SigmoidLoss(normalization=self.mode(), ignore_label=self.ignore_label)


@layer("HingeLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class HingeLoss(Loss):
    """Σ max(0, 1 ∓ x) / N, minus for the true class; squared for norm L2."""

    norm: str = key("L1", choices=("L1", "L2"), numbers=(1, 2))

    param: ClassVar = "hinge_loss_param"
    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "label"),
        text="hinge_loss_param { norm: L2 }",
        values={"label": (0, 2)},
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, label: ir.Value) -> ir.Value:
        """Emit the sum of margins."""
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

    def loss(self, folder: Path) -> Hinge:
        """Return the loss of training."""
        del folder
        return Hinge(squared=self.norm == "L2")


@layer("MultinomialLogisticLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class MultinomialLogisticLoss(Loss):
    """−log of the probability given for the true class, over N."""

    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("probability", "label"),
        values={"label": (0, 2)},
        lead="""
layer { name: "probability" type: "Softmax" bottom: "after" top: "probability" }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, label: ir.Value) -> ir.Value:
        """Emit the logarithms of the true classes."""
        flat = x if b.rank(x) == 2 else b.op("Flatten", x, axis=1)
        picked, _, _ = chosen(b, flat, label, 1, None)
        terms = b.op("Neg", b.op("Log", b.op("Max", picked, b.scalar(1e-20))))
        return b.op("Mul", self.total(b, terms), b.scalar(1 / b.dims(x, 0)[0]))

    def loss(self, folder: Path) -> MultinomialLoss:
        """Return the loss of training."""
        del folder
        return MultinomialLoss()


@layer("HDF5Output", "DetectionEvaluate", "SegAccuracy")
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOnly(Layer):
    """A layer for training or for scores, which is left out where its labels are absent."""

    optional: ClassVar = True
    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (0, None)
    example: ClassVar = Example(
        handling=Handling.LEFT_OUT, bottoms=("after", "label"), values={"label": (0, 2)}
    )


@layer("SmoothL1Loss")
@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothL1Loss(Layer):
    """Differences of two blobs, squared near 0, perhaps weighted; left out without labels."""

    optional: ClassVar = True
    bottom_range: ClassVar = (2, 4)
    top_range: ClassVar = (0, 1)
    example: ClassVar = Example(
        handling=Handling.LEFT_OUT, bottoms=("after", "label"), values={"label": (0, 2)}
    )

    def loss(self, folder: Path) -> SmoothL1:
        """Return the loss of training.

        Raises:
            UnsupportedError: it is that of another fork, with weights inside and outside.
        """
        del folder
        if len(self.bottoms) > 3:
            raise UnsupportedError("SmoothL1Loss with four bottoms cannot be trained")
        return SmoothL1()
