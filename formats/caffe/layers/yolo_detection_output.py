"""Yolov3DetectionOutput. Source: yolov3_detection_output_layer.cpp of MobileNet-YOLO.

It stores no blobs. Decoding and suppression hold no weights: the bottoms become outputs of the
graph, and a head for each of them says how to decode it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....core.errors import FormatError
from ....core.ir.network import Head
from ..layer import Example, Handling, Layer, key, layer


@layer("Yolov3DetectionOutput")
@dataclass(frozen=True, kw_only=True, slots=True)
class Yolov3DetectionOutput(Layer):
    """Boxes of anchor grids of several strides."""

    num_classes: int = key(20)
    num_box: int = key(3, doc="anchors of each grid")
    confidence_threshold: float = key(0.5)
    nms_threshold: float = key(0.45)
    biases: tuple[float, ...] = key((), doc="width and height of every anchor, in pixels")
    anchors_scale: tuple[int, ...] = key((), doc="pixels of a cell, for each grid")
    mask_group_num: int = key(2)
    mask: tuple[int, ...] = key((), doc="anchors of each grid, one grid after the other")

    param: ClassVar = "yolov3_detection_output_param"
    bottom_range: ClassVar = (1, None)
    top_range: ClassVar = (0, 1)
    decodes: ClassVar = True
    example: ClassVar = Example(
        handling=Handling.DECODED,
        text="""
  yolov3_detection_output_param { num_classes: 3 num_box: 2 anchors_scale: 1
    biases: 2 biases: 3 biases: 4 biases: 5 mask: 0 mask: 1 }""",
        tail="",
    )

    def heads(self) -> tuple[Head, ...]:
        """Return how to read the outputs as answers."""
        count = len(self.bottoms)
        if len(self.mask) % count or len(self.anchors_scale) < count:
            raise FormatError(f"mask and anchors_scale do not fit {count} bottoms")
        share = len(self.mask) // count
        anchors = tuple(zip(self.biases[::2], self.biases[1::2], strict=False))
        return tuple(
            Head(
                output=bottom,
                kind="yolo",
                settings={
                    "anchors": anchors,
                    "mask": self.mask[index * share : (index + 1) * share],
                    "classes": self.num_classes,
                    "scale_x_y": 1.0,
                    "new_coords": False,
                    "stride": self.anchors_scale[index],
                    "confidence_threshold": self.confidence_threshold,
                    "nms_threshold": self.nms_threshold,
                },
            )
            for index, bottom in enumerate(self.bottoms)
        )
