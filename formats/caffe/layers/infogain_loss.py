"""InfogainLoss. Source: infogain_loss_layer.cpp (BVLC 9b89154). It stores no blobs.

−Σ_k H[label, k] log p_k, with p the softmax of the scores: a third bottom or a file holds H, which
weighs for every true class how much the probability of each class counts. The top is a scalar.
Without labels, the layer is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError, located
from ....core.training.losses.infogain import InfogainLoss as Infogain
from ..blob import read_blob
from ..layer import CaffeBuilder, Example, Handling, key, layer
from .loss import Loss

LOG_THRESHOLD = 1e-20
"""kLOG_THRESHOLD of loss_layer.hpp: the least probability that a logarithm is taken of."""


@layer("InfogainLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class InfogainLoss(Loss):
    """−log of probabilities, weighed by a matrix of classes × classes."""

    source: str = key("", doc="file of the matrix, where no third bottom gives it")
    axis: int = key(1)

    param: ClassVar = "infogain_loss_param"
    default_mode: ClassVar = "VALID"
    bottom_range: ClassVar = (2, 3)
    top_range: ClassVar = (0, 2)
    example: ClassVar = Example(
        handling=Handling.TRAINING,
        bottoms=("after", "label", "matrix"),
        values={"label": (0, 2), "matrix": (1, 0.5, 0.25)},
        lead="""
layer { name: "matrix" type: "Input" top: "matrix"
  input_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }""",
    )

    def to_ir(
        self, b: CaffeBuilder, x: ir.Value, label: ir.Value, *matrix: ir.Value
    ) -> tuple[ir.Value, ...]:
        """Emit Softmax, and the rows of the matrix that the labels pick times its logarithms."""
        if self.normalize is not None:
            raise FormatError("InfogainLoss knows normalization, not normalize; Caffe refuses it")
        axis = b.axis(x, self.axis)
        dims = b.dims(x, 0)
        classes = dims[axis]
        outer = list(dims[:axis] + dims[axis + 1 :])
        if math.prod(b.dims(label, 0)) != math.prod(outer):
            raise FormatError(f"the labels are {b.shape(label)}, the scores {b.shape(x)}")
        weights = matrix[0] if matrix else self._stored(b)
        if math.prod(b.dims(weights, 0)) != classes**2:
            raise FormatError(f"the matrix is {b.shape(weights)} for {classes} classes")
        probability = b.op("Softmax", x, axis=axis)
        logarithm = b.op("Log", b.op("Max", probability, b.scalar(LOG_THRESHOLD)))
        order = [k for k in range(len(dims)) if k != axis]
        logarithm = b.op("Transpose", logarithm, perm=[*order, axis])
        where = b.op("Cast", b.reshape(label, *outer), to=int(ir.DataType.INT64))
        valid = None
        if self.ignore_label is not None:
            counts = b.op("Not", b.op("Equal", where, b.constant(self.ignore_label)))
            valid = b.op("Cast", counts, to=int(ir.DataType.FLOAT))
            where = b.op("Where", counts, where, b.constant(0))
        rows = b.op("Gather", b.reshape(weights, classes, classes), where, axis=0)
        last = b.constant([len(dims) - 1])
        terms = b.op("Neg", b.op("ReduceSum", b.op("Mul", rows, logarithm), last, keepdims=0))
        loss = self.mean(b, terms, valid, math.prod(dims[:axis]), math.prod(outer))
        return (loss, probability)[: len(self.tops)]

    def _stored(self, b: CaffeBuilder) -> ir.Value:
        return b.constant(self._matrix(b.reading.folder), np.float32)

    def loss(self, folder: Path) -> Infogain:
        """Return the loss of training."""
        return Infogain(
            normalization=self.mode(), ignore_label=self.ignore_label, axis=self.axis,
            matrix=None if len(self.bottoms) == 3 else self._matrix(folder),
        )  # fmt: skip

    def _matrix(self, folder: Path) -> np.ndarray:
        if not self.source:
            raise FormatError("the matrix must be a third bottom, or infogain_loss_param.source")
        path = folder / self.source
        if not path.is_file() and Path(self.source).is_absolute():
            path = folder / Path(self.source).name
        with located(file=str(path)):
            if not path.is_file():
                raise UnsupportedError(
                    "the matrix of InfogainLoss is not there",
                    hint="put it beside the prototxt, or take the layer out",
                )
            return read_blob(path, "matrix", FormatError)
