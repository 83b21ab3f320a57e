"""Tile, BatchReindex. Source: tile_layer.cpp, batch_reindex_layer.cpp (BVLC 9b89154). No blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Layer, check_positive, key, layer


@layer("Tile")
@dataclass(frozen=True, kw_only=True, slots=True)
class Tile(Layer):
    """A blob repeated along an axis."""

    axis: int = key(1)
    tiles: int = key(REQUIRED)

    param: ClassVar = "tile_param"

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Tile."""
        check_positive(tiles=self.tiles)
        axis = b.axis(x, self.axis)
        if axis == 0:
            b.dims(x, 0)
        repeats = [self.tiles if i == axis else 1 for i in range(b.rank(x))]
        return b.op("Tile", x, b.constant(repeats))


@layer("BatchReindex")
@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReindex(Layer):
    """Items of the first bottom, picked by the positions in the second."""

    bottom_range: ClassVar = (2, 2)

    def to_ir(self, b: CaffeBuilder, x: ir.Value, picked: ir.Value) -> ir.Value:
        """Emit Gather over the batch."""
        return b.op("Gather", x, b.op("Cast", picked, to=int(ir.DataType.INT64)), axis=0)
