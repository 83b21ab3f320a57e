"""Regression: how far the values of an output are from what they should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ...data.targets import Targets
from ...errors import DataError
from ...markup import figures, notebook
from .metric import Metric

__all__ = ["ValueMetric", "Values"]


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

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(figures(f"{self.metric} {self.value:.4g}", self))


class ValueMetric(Metric):
    """Sums over outputs and targets of the same size.

    Args:
        output: the output with the values.
        peak: full scale of the values; None for the range of the first batch's targets.
    """

    __slots__ = ("_count", "_errors", "_mean", "_output", "_peak", "_spread", "_squares")

    def __init__(self, output: str, peak: float | None = None):
        self._output = output
        self._peak = peak
        self._squares = 0.0
        self._errors: list[np.ndarray] = []
        """Mean squared error of each sample, batch by batch."""
        self._count = 0
        self._mean = 0.0
        self._spread = 0.0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch."""
        if targets.values is None:
            raise DataError("the samples have no values to compute")
        wanted = targets.values.astype(np.float64).reshape(targets.size, -1)
        found = outputs[self._output].astype(np.float64).reshape(wanted.shape)
        errors = np.square(found - wanted)
        if self._peak is None:
            self._peak = float(np.ptp(wanted)) or 1.0
        self._errors.append(errors.mean(axis=1))
        self._squares += float(errors.sum())
        mean = float(wanted.mean())
        spread = float(np.square(wanted - mean).sum())
        if self._count:
            self._add(wanted.size, mean, spread)
        else:
            self._count, self._mean, self._spread = wanted.size, mean, spread

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        if self._peak is None:
            self._peak = other._peak
        self._errors.extend(other._errors)
        self._squares += other._squares
        self._add(other._count, other._mean, other._spread)

    def _add(self, count: int, mean: float, spread: float) -> None:
        """Take in values of a mean and a summed squared distance from it.

        This is Chan's update, which does not cancel.
        """
        if not count:
            return
        total = self._count + count
        self._spread += spread + (mean - self._mean) ** 2 * self._count * count / total
        self._mean += (mean - self._mean) * count / total
        self._count = total

    def compute(self) -> Values:
        """Return what was measured."""
        peak = self._peak or 1.0
        with np.errstate(divide="ignore"):
            ratios = sum(float((10 * np.log10(peak**2 / one)).sum()) for one in self._errors)
        samples = sum(map(len, self._errors))
        explained = 1 - self._squares / self._spread if self._spread else -math.inf
        return Values(
            output=self._output,
            samples=samples,
            mse=self._squares / self._count,
            psnr=ratios / samples,
            peak=peak,
            value=explained if self._squares else 1.0,
        )

    def all_right(self) -> ValueMetric:
        """Return what the same samples would give without any error."""
        best = ValueMetric(self._output, self._peak)
        best._errors = [np.zeros_like(one) for one in self._errors]
        best._count, best._mean, best._spread = self._count, self._mean, self._spread
        return best
