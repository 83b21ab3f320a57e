"""Samples held back: a repair judged on the samples that it was fitted to always looks good."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..ir.network import Network
from . import Batch, Dataset
from .base import fixed_batch
from .rows import rows_of

__all__ = ["HOLD_OUT_EVERY", "HOLD_OUT_FROM", "SamplePart", "split"]

HOLD_OUT_FROM = 50
"""Samples of the smallest dataset of which some are held back."""

HOLD_OUT_EVERY = 5
"""One sample in this many is held back. Held-out samples are spread over the data, since files are
often sorted by class."""


class SamplePart:
    """A fixed part of the samples of a dataset, as a dataset of its own, without labels.

    Args:
        dataset: the dataset.
        held_out: whether the part is the samples held back, or all others.
        batch: number of consecutive samples that are held back or not as a whole: the batch that a
            network fixes, 1 for other networks.
    """

    labelled = False

    def __init__(self, dataset: Dataset, *, held_out: bool, batch: int = 1):
        self._dataset, self._held_out, self._batch = dataset, held_out, batch
        self.name = dataset.name
        self.samples = int(self._chosen(0, dataset.samples).sum())

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages about the samples that the last pass skipped."""
        return self._dataset.problems

    def _chosen(self, start: int, count: int) -> np.ndarray:
        numbers = np.arange(start, start + count) // self._batch
        chosen: np.ndarray = (numbers % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1) == self._held_out
        return chosen

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples."""
        start = 0
        for batch in self._dataset:
            chosen = self._chosen(start, batch.size)
            start += batch.size
            if chosen.any():
                yield Batch(
                    inputs={
                        name: array[rows_of(len(array), chosen)]
                        for name, array in batch.inputs.items()
                    }
                )


def split(dataset: Dataset | None, network: Network) -> tuple[Dataset, Dataset] | tuple[None, None]:
    """Return the samples to fit a repair to, and the samples to judge it on.

    From :data:`HOLD_OUT_FROM` samples (or fixed batches) on, these are four fifths and one fifth.
    Below, both are the whole dataset.

    Args:
        dataset: the samples; None for none.
        network: the network that reads them.
    """
    if dataset is None:
        return None, None
    batch = fixed_batch(network) or 1
    if dataset.samples < HOLD_OUT_FROM * batch:
        return dataset, dataset
    return SamplePart(dataset, held_out=False, batch=batch), SamplePart(
        dataset, held_out=True, batch=batch
    )
