"""A dataset in batches of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .base import Batch, Dataset

__all__ = ["Rebatched"]


class Rebatched:
    """A dataset in batches of one size, so that results do not depend on how it is stored.

    Args:
        dataset: the dataset; its labels are dropped.
        size: samples of a batch; the last batch may be smaller.
    """

    labelled = False

    def __init__(self, dataset: Dataset, size: int):
        self._dataset = dataset
        self._size = size
        self.name = dataset.name
        self.samples = dataset.samples

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages about the samples that the last pass skipped."""
        return self._dataset.problems

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples."""
        held: list[dict[str, np.ndarray]] = []
        count = 0
        for batch in self._dataset:
            start = 0
            while start < batch.size:
                end = min(batch.size, start + self._size - count)
                held.append(batch.part(start, end))
                count += end - start
                start = end
                if count == self._size:
                    yield _joined(held)
                    held, count = [], 0
        if held:
            yield _joined(held)


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> Batch:
    return Batch(inputs={name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
