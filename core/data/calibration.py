"""The samples that calibration looks at: the first so many of a dataset, as a dataset again."""

from __future__ import annotations

from collections.abc import Iterator

from . import Batch, Dataset

__all__ = ["CALIBRATION_SAMPLES", "Calibration"]

CALIBRATION_SAMPLES = 1024
"""Samples that statistics are taken from; more change them little."""


class Calibration:
    """The first samples of a dataset, without their labels.

    Args:
        dataset: where they come from.
        samples: how many at the most.
    """

    labelled = False

    def __init__(self, dataset: Dataset, samples: int = CALIBRATION_SAMPLES):
        self._dataset = dataset
        self.name = dataset.name
        self.samples = min(samples, dataset.samples)

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last pass had to leave out."""
        return self._dataset.problems

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples."""
        left = self.samples
        for batch in self._dataset:
            inputs = batch.first(left)
            left -= min(left, batch.size)
            yield Batch(inputs=inputs)
            if not left:
                return
