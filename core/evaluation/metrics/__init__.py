"""What networks are measured by: classes, boxes, pixels and values. Pure numpy, batch by batch."""

from __future__ import annotations

from .agreement import Divergence
from .classification import ClassMeter
from .decode import Detections, decode
from .detection import DetectionMeter, average_precision
from .segmentation import PixelMeter
from .values import ValueMeter

__all__ = [
    "ClassMeter",
    "DetectionMeter",
    "Detections",
    "Divergence",
    "PixelMeter",
    "ValueMeter",
    "average_precision",
    "decode",
]
