"""ROIPooling, PSROIPooling. Source: roi_pooling_layer.cpp of Fast R-CNN; psroi_pooling_layer.cpp of
R-FCN. They store no blobs.

ROIPooling is ONNX's MaxRoiPool. PSROIPooling averages over windows of any size, which ONNX has no
operator for, and forks disagree on ROIAlign: these are borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import (
    CaffeBuilder,
    Example,
    Handling,
    Layer,
    Shape,
    check_positive,
    key,
    layer,
    number,
)
from .border import Border

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
    regions: ClassVar = 1
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
        number(count)  # an image has any number of regions: theirs is not the batch
        if len(rest) > 1:
            regions = b.reshape(regions, 0, 5)
        shape = [self.pooled_h, self.pooled_w]
        return b.op(
            "MaxRoiPool", x, regions, pooled_shape=shape, spatial_scale=float(self.spatial_scale)
        )


@layer("PSROIPooling", "PSROIAlign", "DeformablePSROIPooling")
@dataclass(frozen=True, kw_only=True, slots=True)
class PSROIPooling(Border):
    """Average of windows, each over the channels of its own place in the grid."""

    output_dim: int = key(0)
    group_size: int = key(0)

    param: ClassVar = "psroi_pooling_param"
    regions: ClassVar = 1
    example: ClassVar = Example(
        handling=Handling.BORDER,
        bottoms=("before", "regions"),
        text="psroi_pooling_param { spatial_scale: 1 output_dim: 4 group_size: 2 }",
        lead=REGIONS,
        values=WINDOWS,
    )

    def top_shape(self, position: int, *bottoms: Shape | None) -> tuple[int, ...] | None:
        """Return `output_dim`, and `group_size` twice, behind a first axis of any length."""
        del bottoms
        sizes = (self.output_dim, self.group_size, self.group_size)
        return (1, *sizes) if not position and all(size > 0 for size in sizes) else None


@layer("ROIAlign")
@dataclass(frozen=True, kw_only=True, slots=True)
class ROIAlign(Border):
    """Windows of a map, sampled between its pixels; forks differ in how."""

    pooled_h: int = key(0)
    pooled_w: int = key(0)

    param: ClassVar = "roi_align_param"
    regions: ClassVar = 1
    example: ClassVar = Example(
        handling=Handling.BORDER,
        bottoms=("before", "regions"),
        text="roi_align_param { pooled_h: 2 pooled_w: 2 }",
        lead=REGIONS,
        values=WINDOWS,
    )

    def top_shape(self, position: int, *bottoms: Shape | None) -> tuple[int, ...] | None:
        """Return channels of the map and size of the grid, behind a first axis of any length."""
        first = bottoms[0] if bottoms else None
        if position or not first or len(first) < 2 or self.pooled_h < 1 or self.pooled_w < 1:
            return None
        return (1, int(first[1]), self.pooled_h, self.pooled_w)
