"""Samples that are read once and stay in memory, for work that passes over them many times."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..ir.network import Network, Preprocess
from .base import Batch, Dataset, TargetKind, target_kind
from .stated import used_preprocess

__all__ = ["HELD_BYTES", "held"]

HELD_BYTES = 1 << 30
"""Bytes of inputs that may stay in memory."""


class _Held:
    """A dataset whose batches are kept from the first complete pass on."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset
        self._batches: tuple[Batch, ...] | None = None
        self.name = dataset.name
        self.samples = dataset.samples
        self.labelled = dataset.labelled

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages about the samples that the pass skipped."""
        return self._dataset.problems

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each sample."""
        return target_kind(self._dataset)

    @property
    def preprocess(self) -> Preprocess | None:
        """How pixels become inputs; None where the inputs come as they are."""
        return used_preprocess(self._dataset)

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
    numbers = sum(
        math.prod(size for size in shape[1:] if isinstance(size, int))
        for shape in network.inputs.values()
    )
    return _Held(dataset) if numbers * 4 * dataset.samples <= HELD_BYTES else dataset
