"""What networks are measured by: classes, boxes, pixels, values, and how true they stay."""

from __future__ import annotations

from .agreement import DivergenceMetric, ErrorMetric
from .classification import Accuracy, AccuracyMetric, FullAccuracyMetric
from .decode import Detections, decode
from .detection import DetectionResult, FullPrecisionMetric, PrecisionMetric, average_precision
from .metric import Figure, Metric, Result
from .segmentation import PixelMetric, Pixels
from .values import ValueMetric, Values

__all__ = [
    "Accuracy",
    "AccuracyMetric",
    "DetectionResult",
    "Detections",
    "DivergenceMetric",
    "ErrorMetric",
    "Figure",
    "FullAccuracyMetric",
    "FullPrecisionMetric",
    "Metric",
    "PixelMetric",
    "Pixels",
    "PrecisionMetric",
    "Result",
    "ValueMetric",
    "Values",
    "average_precision",
    "decode",
]
