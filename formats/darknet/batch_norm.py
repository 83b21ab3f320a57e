"""Batch normalisation as the two Darknets compute it. Source: blas.c normalize_cpu.

AlexeyAB: (x − μ) / √(v + 1e-5); pjreddie: (x − μ) / (√v + 1e-6). ONNX has only the first form. For
the second form, the graph holds the variance (√v + 1e-6)², with an epsilon of 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from .section import SectionBuilder

__all__ = ["batch_norm", "graph_variance", "stored_variance"]

EPSILON = 1e-5
PJREDDIE_EPSILON = 1e-6


def batch_norm(
    b: SectionBuilder,
    x: ir.Value,
    *,
    channels: int,
    scale: str | None = "scale",
    bias: str | None = "bias",
    mean: str | None = "rolling_mean",
    variance: str | None = "rolling_variance",
) -> ir.Value:
    """Emit a BatchNormalization over axis 1.

    Args:
        b: the builder.
        x: the value to normalise.
        channels: length of its axis 1.
        scale: name of the blob; None for 1, with which Darknet starts.
        bias: name of the blob; None for 0.
        mean: name of the blob; None for 0.
        variance: name of the blob; None for 0.
    """

    def vector(blob: str | None, default: float) -> ir.Value:
        if blob is not None:
            return b.parameter(blob)
        return b.constant(np.full(channels, default), np.float32)

    if variance is None or not b.rooted:
        spread = vector(variance, PJREDDIE_EPSILON**2 if b.rooted else 0.0)
    else:
        spread = b.parameter(variance, graph_variance(b.blobs[variance]))
    return b.op(
        "BatchNormalization", x, vector(scale, 1.0), vector(bias, 0.0), vector(mean, 0.0), spread,
        epsilon=0.0 if b.rooted else EPSILON,
    )  # fmt: skip


def graph_variance(stored: np.ndarray) -> np.ndarray:
    """Return (√v + 1e-6)². With an epsilon of 0, it gives pjreddie's normalisation."""
    # Darknet is built with -Ofast: the processor then treats denormal numbers as 0, also negative
    # ones. Some trained files contain them.
    flushed = np.where(np.abs(stored) < np.finfo(np.float32).tiny, 0, stored)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(flushed.astype(np.float64))
    return np.square(root + PJREDDIE_EPSILON).astype(np.float32)


def stored_variance(
    arrays: Mapping[str, np.ndarray], *, rooted: bool, name: str = "rolling_variance"
) -> Mapping[str, np.ndarray]:
    """Return the arrays with the variance of the file: the inverse of :func:`graph_variance`."""
    if not rooted or name not in arrays:
        return arrays
    with np.errstate(invalid="ignore"):
        root = np.sqrt(arrays[name].astype(np.float64)) - PJREDDIE_EPSILON
    return {**arrays, name: np.square(np.maximum(root, 0)).astype(np.float32)}
