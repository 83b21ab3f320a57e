"""Data in two parts, with all that is known of the samples: to train on, and to measure on.

One sample in ten is held out. They are spread over the data, since files are often sorted by class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..ir.network import Network
from .base import Batch, Dataset, fixed_batch
from .rows import rows_of
from .stream import ImageStream
from .view import DatasetView

__all__ = ["MEASURED_EVERY", "MEASURED_FROM", "chosen_part", "first_part", "parted", "some_of"]

MEASURED_EVERY = 10
"""One sample in this many is held out."""

MEASURED_FROM = 40
"""Samples of the smallest dataset of which some are held out."""


def parted(dataset: Dataset, network: Network) -> tuple[Dataset, Dataset] | None:
    """Return the samples to train on and those to measure on; None where they are too few.

    Args:
        dataset: the samples.
        network: the network that reads them. Where it fixes a batch, whole batches are held out.
    """
    batch = fixed_batch(network) or 1
    if dataset.samples < MEASURED_FROM * batch:
        return None
    groups = np.arange(dataset.samples) // batch
    held_out = groups % MEASURED_EVERY == MEASURED_EVERY - 1
    return chosen_part(dataset, ~held_out), chosen_part(dataset, held_out)


def first_part(dataset: Dataset, samples: int, network: Network | None = None) -> Dataset:
    """Return the first samples of a dataset, at most so many.

    Args:
        dataset: the samples.
        samples: how many.
        network: the network that reads them. Where it fixes a batch, whole batches are taken, at
            least one.
    """
    batch = (fixed_batch(network) if network is not None else None) or 1
    return chosen_part(dataset, np.arange(dataset.samples) < max(1, samples // batch) * batch)


def some_of(dataset: Dataset, network: Network, samples: int) -> Dataset:
    """Return about so many samples, spread over a dataset; all where it has no more.

    Args:
        dataset: the samples.
        network: the network that reads them. Where it fixes a batch, whole batches are taken.
        samples: how many.
    """
    batch = fixed_batch(network) or 1
    count, wanted = dataset.samples // batch, max(1, samples // batch)
    if count <= wanted:
        return dataset
    chosen = np.zeros(count, bool)
    chosen[np.arange(wanted) * count // wanted] = True
    whole = np.zeros(dataset.samples, bool)
    whole[: count * batch] = np.repeat(chosen, batch)
    return chosen_part(dataset, whole)


def chosen_part(dataset: Dataset, chosen: np.ndarray) -> Dataset:
    """Return the samples of a dataset that a mask chooses [samples]."""
    if isinstance(dataset, ImageStream):
        return dataset.part(np.flatnonzero(chosen).tolist())
    return DatasetPart(dataset, chosen)


class DatasetPart(DatasetView):
    """Some samples of a dataset that is streamed.

    Args:
        dataset: the dataset.
        chosen: which samples belong to the part [samples].
    """

    def __init__(self, dataset: Dataset, chosen: np.ndarray):
        super().__init__(dataset, int(chosen.sum()))
        self._chosen = chosen

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples.

        Raises:
            DataError: the data is broken.
        """
        start, end = 0, int(np.flatnonzero(self._chosen).max(initial=-1)) + 1
        for batch in self._dataset:
            if start >= end:
                return
            chosen = self._chosen[start : start + batch.size]
            start += batch.size
            if chosen.any():
                yield _some(batch, chosen)


def _some(batch: Batch, chosen: np.ndarray) -> Batch:
    """Return the samples of a batch that a mask chooses."""
    rows = np.flatnonzero(chosen)
    return Batch(
        inputs={name: array[rows_of(len(array), chosen)] for name, array in batch.inputs.items()},
        labels=None if batch.labels is None else batch.labels[chosen],
        objects=None if batch.objects is None else tuple(batch.objects[row] for row in rows),
        values=None if batch.values is None else batch.values[chosen],
        frames=None if batch.frames is None else tuple(batch.frames[row] for row in rows),
        places=None if batch.places is None else tuple(batch.places[row] for row in rows),
    )
