"""ROIPooling, PSROIPooling. Source: roi_pooling_layer.cpp of Fast R-CNN; psroi_pooling_layer.cpp of
R-FCN. They store no blobs.

ROIPooling is ONNX's MaxRoiPool. PSROIPooling averages over windows of any size, which ONNX has no
operator for: its bottoms become outputs, and what lies behind it is no part of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Handling, Layer, check_positive, key, layer

REGIONS = """
layer { name: "regions" type: "Input" top: "regions"
  input_param { shape { dim: 2 dim: 5 } } }"""
WINDOWS = {"regions": (0, 1, 1, 6, 5, 1, 0, 0, 7, 7)}
"""For examples: a region in each of two images."""


@layer("ROIPooling")
@dataclass(frozen=True, kw_only=True, slots=True)
class ROIPooling(Layer):
    """Maximum of a grid of windows laid over each region (image, x1, y1, x2, y2)."""

    pooled_h: int = key(0)
    pooled_w: int = key(0)
    spatial_scale: float = key(1.0, doc="pixels of the bottom for one pixel of the regions")

    param: ClassVar = "roi_pooling_param"
    bottom_axes: ClassVar = (4, 4)
    bottom_range: ClassVar = (2, 2)
    example: ClassVar = Example(
        bottoms=("before", "regions"),
        text="roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
        lead=REGIONS,
        values=WINDOWS,
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value, regions: ir.Value) -> ir.Value:
        """Emit MaxRoiPool."""
        check_positive(pooled_h=self.pooled_h, pooled_w=self.pooled_w)
        count, *rest = b.shape(regions)
        if not rest or any(dim != 1 for dim in rest[1:]) or rest[0] != 5:
            raise FormatError(f"regions are [number, 5], not {(count, *rest)}")
        if len(rest) > 1:
            regions = b.reshape(regions, 0, 5)
        shape = [self.pooled_h, self.pooled_w]
        return b.op(
            "MaxRoiPool", x, regions, pooled_shape=shape, spatial_scale=float(self.spatial_scale)
        )


@layer("PSROIPooling")
@dataclass(frozen=True, kw_only=True, slots=True)
class PSROIPooling(Layer):
    """Average of windows, each over the channels of its own place in the grid."""

    spatial_scale: float = key(REQUIRED)
    output_dim: int = key(REQUIRED)
    group_size: int = key(REQUIRED)

    param: ClassVar = "psroi_pooling_param"
    bottom_range: ClassVar = (2, 2)
    decodes: ClassVar = True
    example: ClassVar = Example(
        handling=Handling.DECODED,
        bottoms=("before", "regions"),
        text="psroi_pooling_param { spatial_scale: 1 output_dim: 4 group_size: 2 }",
        lead=REGIONS,
        tail="",
        values=WINDOWS,
    )
