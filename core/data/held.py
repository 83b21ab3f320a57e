"""Samples that are read once and stay in memory, for work that passes over them many times."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.footprint import value_bytes
from ..ir.network import Network
from .base import Batch, Dataset
from .view import DatasetView

__all__ = ["HELD_BYTES", "held"]

HELD_BYTES = 1 << 30
"""Bytes of inputs that may stay in memory."""


class _Held(DatasetView):
    """A dataset whose batches are kept from the first complete pass on."""

    def __init__(self, dataset: Dataset):
        super().__init__(dataset)
        self._batches: tuple[Batch, ...] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples.

        Raises:
            DataError: the data is broken.
        """
        if self._batches is None:
            self._batches = tuple(self._dataset)
        yield from self._batches


def held(dataset: Dataset, network: Network) -> Dataset:
    """Return a dataset that is read once, or the same where its inputs are too large for that.

    Args:
        dataset: the samples.
        network: the network that reads them.
    """
    size = sum(map(value_bytes, network.graph.inputs))
    return _Held(dataset) if size * dataset.samples <= HELD_BYTES else dataset
