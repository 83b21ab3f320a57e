"""Embed, Parameter. Source: embed_layer.cpp, parameter_layer.hpp (BVLC 9b89154).

Embed weights: [input_dim, out]; bias: [out]. Parameter: one blob of the given shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ...adapter import REQUIRED
from ..layer import Blob, CaffeBuilder, Example, Layer, check_positive, key, layer


@layer("Embed")
@dataclass(frozen=True, kw_only=True, slots=True)
class Embed(Layer):
    """A learned vector for each whole number; the top has one more axis."""

    num_output: int = key(REQUIRED)
    input_dim: int = key(REQUIRED, doc="how many numbers there are")
    bias_term: bool = key(default=True)

    param: ClassVar = "embed_param"
    blobs: ClassVar = (
        Blob("weight", "in out"),
        Blob("bias", "out", when="bias_term"),
    )
    example: ClassVar = Example(
        bottoms=("numbers",),
        text="embed_param { num_output: 16 input_dim: 5 }",
        note="reads whole numbers; its own channels are kept",
        values={"numbers": (0, 3, 1, 4)},
        lead="""
layer { name: "numbers" type: "Input" top: "numbers"
  input_param { shape { dim: 2 dim: 4 } } }""",
    )

    def sizes(self, *_: object) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        check_positive(num_output=self.num_output, input_dim=self.input_dim)
        return {"in": self.input_dim, "out": self.num_output}

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Gather over the rows of the weights."""
        numbers = b.op("Cast", x, to=int(ir.DataType.INT64))
        y = b.op("Gather", b.parameter("weight"), numbers, axis=0)
        return b.op("Add", y, b.parameter("bias")) if self.bias_term else y


@layer("Parameter")
@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter(Layer):
    """A learned blob as a top."""

    shape: tuple[int, ...] = key((), "shape.dim", channels=True)

    param: ClassVar = "parameter_param"
    blobs: ClassVar = (Blob("value", "shape"),)
    bottom_range: ClassVar = (0, 0)
    example: ClassVar = Example(
        bottoms=(),
        text="parameter_param { shape { dim: 16 } }",
        tail="""
layer { name: "scale" type: "Scale" bottom: "before" bottom: "layer" top: "scale" }
layer { name: "after" type: "InnerProduct" bottom: "scale" top: "after"
  inner_product_param { num_output: 3 } }""",
    )

    def sizes(self) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes that `blobs` names."""
        return {"shape": self.shape}

    def to_ir(self, b: CaffeBuilder) -> ir.Value:
        """Return the blob."""
        return b.parameter("value")

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the sizes its blobs and nodes have in a changed graph."""
        del nodes
        return replace(self, shape=tuple(arrays["value"].shape))
