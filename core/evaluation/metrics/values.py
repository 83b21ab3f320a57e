"""Regression: how far the values of an output are from what they should be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["ValueMeter", "Values"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """How far an output is from its targets.

    Args:
        output: its name.
        samples: how many.
        mse: mean of the squared error over all values.
        psnr: 10 · lg(peak² / mse) in dB, the mean over samples; infinite without error.
        peak: the difference between the largest and the smallest target that `psnr` counts with.
        value: 1 − mse / variance of the targets, the share of the variance that is explained.
        skipped: samples that could not be read.
    """

    output: str
    samples: int
    mse: float
    psnr: float
    peak: float
    value: float
    skipped: int = 0

    metric = "Explained variance"


class ValueMeter:
    """Sums over outputs and targets of the same shape.

    Args:
        peak: full scale of the values; None for the range of the first batch's targets.
    """

    def __init__(self, peak: float | None = None):
        self._peak = peak
        self._squares = 0.0
        self._psnr = 0.0
        self._count = 0
        self._mean = 0.0
        self._spread = 0.0
        self.samples = 0

    def add(self, values: np.ndarray, targets: np.ndarray) -> None:
        """Take in one batch."""
        wanted = targets.astype(np.float64).reshape(len(targets), -1)
        errors = np.square(values.astype(np.float64).reshape(wanted.shape) - wanted)
        if self._peak is None:
            self._peak = float(np.ptp(wanted)) or 1.0
        with np.errstate(divide="ignore"):
            self._psnr += float((10 * np.log10(self._peak**2 / errors.mean(axis=1))).sum())
        self._squares += float(errors.sum())
        # Chan's update of mean and sum of squares, which does not cancel.
        count, mean = wanted.size, float(wanted.mean())
        total = self._count + count
        self._spread += float(np.square(wanted - mean).sum()) + (
            (mean - self._mean) ** 2 * self._count * count / total
        )
        self._mean += (mean - self._mean) * count / total
        self._count = total
        self.samples += len(targets)

    def result(self, output: str, skipped: int = 0) -> Values:
        """Return what was measured."""
        explained = 1 - self._squares / self._spread if self._spread else -math.inf
        return Values(
            output=output,
            samples=self.samples,
            mse=self._squares / self._count,
            psnr=self._psnr / self.samples,
            peak=self._peak or 1.0,
            value=explained if self._squares else 1.0,
            skipped=skipped,
        )
