"""Tile, BatchReindex. Source: tile_layer.cpp, batch_reindex_layer.cpp (BVLC 9b89154).

They store no blobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Layer, check_positive, key, layer


@layer("Tile")
@dataclass(frozen=True, kw_only=True, slots=True)
class Tile(Layer):
    """A blob repeated along an axis."""

    axis: int = key(1)
    tiles: int = key(REQUIRED, channels=True)

    param: ClassVar = "tile_param"
    example: ClassVar = Example(
        bottoms=("map",),
        text="tile_param { tiles: 16 }",
        note="pass; copies of a single map can be removed",
        lead="""
layer { name: "map" type: "Convolution" bottom: "before" top: "map"
  convolution_param { num_output: 1 kernel_size: 1 } }""",
        tail="""
layer { name: "product" type: "Eltwise" bottom: "before" bottom: "layer" top: "product"
  eltwise_param { operation: PROD } }
layer { name: "long" type: "Tile" bottom: "product" top: "long" tile_param { axis: 2 tiles: 2 } }
layer { name: "after" type: "InnerProduct" bottom: "long" top: "after"
  inner_product_param { num_output: 3 } }""",
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Tile."""
        check_positive(tiles=self.tiles)
        axis = b.axis(x, self.axis)
        if axis == 0:
            b.dims(x, 0)
        repeats = [self.tiles if i == axis else 1 for i in range(b.rank(x))]
        return b.op("Tile", x, b.constant(repeats))

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the number of tiles in a changed graph."""
        del arrays
        repeats = nodes[0].inputs[1]
        assert repeats is not None
        assert repeats.const_value is not None
        return replace(self, tiles=int(repeats.const_value.numpy().max()))


@layer("BatchReindex")
@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReindex(Layer):
    """Items of the first bottom, picked by the positions in the second."""

    bottom_range: ClassVar = (2, 2)
    example: ClassVar = Example(
        bottoms=("before", "picked"),
        lead="""
layer { name: "picked" type: "Input" top: "picked"
  input_param { shape { dim: 2 } } }""",
        values={"picked": (1, 0)},
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, picked: ir.Value) -> ir.Value:
        """Emit Gather over the batch."""
        return b.op("Gather", x, b.op("Cast", picked, to=int(ir.DataType.INT64)), axis=0)
