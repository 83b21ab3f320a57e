"""Samples held back: a repair that is judged by the samples it was fitted to always looks good."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..ir.network import Network
from . import Batch, Dataset
from .base import fixed_batch

__all__ = ["HOLD_OUT_EVERY", "HOLD_OUT_FROM", "SamplePart", "split"]

HOLD_OUT_FROM = 50
"""Samples from which on some are held back."""

HOLD_OUT_EVERY = 5
"""Every so many-th sample is held back: spread over the data, since files often come by class."""


class SamplePart:
    """A fixed part of the samples of a dataset, as a dataset again, without labels.

    Args:
        dataset: where they come from.
        held_out: take the samples that are held back, or all others.
        unit: samples that stay together: the batch a network insists on, 1 elsewhere.
    """

    labelled = False

    def __init__(self, dataset: Dataset, *, held_out: bool, unit: int = 1):
        self._dataset, self._held_out, self._unit = dataset, held_out, unit
        self.name = dataset.name
        self.samples = int(self._chosen(0, dataset.samples).sum())

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last pass had to leave out."""
        return self._dataset.problems

    def _chosen(self, start: int, count: int) -> np.ndarray:
        numbers = np.arange(start, start + count) // self._unit
        chosen: np.ndarray = (numbers % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1) == self._held_out
        return chosen

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples."""
        start = 0
        for batch in self._dataset:
            chosen = self._chosen(start, batch.size)
            start += batch.size
            if chosen.any():
                yield Batch(inputs={name: array[chosen] for name, array in batch.inputs.items()})


def split(dataset: Dataset | None, network: Network) -> tuple[Dataset, Dataset] | tuple[None, None]:
    """Return the samples to fit to and those to judge by.

    From :data:`HOLD_OUT_FROM` samples on these are four fifths and one fifth; below, all and all.

    Args:
        dataset: the samples, None for none.
        network: what they are for.
    """
    if dataset is None:
        return None, None
    unit = fixed_batch(network) or 1
    if dataset.samples < HOLD_OUT_FROM * unit:
        return dataset, dataset
    return SamplePart(dataset, held_out=False, unit=unit), SamplePart(
        dataset, held_out=True, unit=unit
    )
