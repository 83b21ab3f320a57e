"""The samples that calibration reads: the first samples of a dataset, as a dataset of their own."""

from __future__ import annotations

from collections.abc import Iterator

from . import Batch, Dataset

__all__ = ["CALIBRATION_SAMPLES", "Calibration"]

CALIBRATION_SAMPLES = 1024
"""Samples that statistics are taken from. More samples change the statistics little."""


class Calibration:
    """The first samples of a dataset, without their labels.

    Args:
        dataset: the dataset.
        samples: the largest number of samples.
    """

    labelled = False

    def __init__(self, dataset: Dataset, samples: int = CALIBRATION_SAMPLES):
        self._dataset = dataset
        self.name = dataset.name
        self.samples = min(samples, dataset.samples)

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages about the samples that the last pass skipped."""
        return self._dataset.problems

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples."""
        remaining = self.samples
        for batch in self._dataset:
            inputs = batch.first(remaining)
            remaining -= min(remaining, batch.size)
            yield Batch(inputs=inputs)
            if not remaining:
                return
