"""What every source of samples looks like to the rest of the core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import DataError
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = ["BATCH_SIZE", "Batch", "Dataset", "batch_size", "fixed_batch", "limited", "streamed"]

BATCH_SIZE = 16
"""Samples a batch where nobody says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some samples, ready to be fed to a network.

    Args:
        inputs: input name → array with the samples along axis 0 (N×C×H×W float32).
        labels: one class number a sample (N, int64), or None where they are unknown.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))


@runtime_checkable
class Dataset(Protocol):
    """Samples that can be streamed any number of times, always in the same order.

    Only a few batches are in memory at any time.
    """

    @property
    def name(self) -> str:
        """What messages call it: its path, or what it is."""
        ...

    @property
    def samples(self) -> int:
        """How many samples one pass yields at most (unreadable images are left out)."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether batches have labels."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last pass had to leave out, and why: one line each."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Stream all samples once.

        Raises:
            DataError: the data is broken.
        """
        ...


def streamed(dataset: Dataset, label: str, progress: Progress = silent) -> Iterator[Batch]:
    """Yield all batches and report the samples that have been worked on.

    Raises:
        DataError: the data is broken, or there is none.
    """
    done = 0
    progress(label, 0, dataset.samples)
    for batch in dataset:
        yield batch
        done += batch.size
        progress(label, done, max(done, dataset.samples))
    if not done:
        raise DataError(f"there are no samples in {dataset.name}")
    if done < dataset.samples:
        progress(label, done, done)


def fixed_batch(network: Network) -> int | None:
    """Return the number of samples a network insists on, None where it takes any number."""
    sizes = [shape[0] for shape in network.inputs.values() if shape]
    return next((size for size in sizes if isinstance(size, int)), None)


def batch_size(network: Network, wanted: int) -> int:
    """Return the multiple of the network's own batch that is nearest below `wanted`.

    Raises:
        DataError: `wanted` is not positive.
    """
    if wanted < 1:
        raise DataError(f"a batch must hold at least one sample, not {wanted}")
    own = fixed_batch(network) or 1
    return max(1, wanted // own) * own


def limited(samples: int, limit: int | None, network: Network) -> int:
    """Return how many of `samples` to use.

    Raises:
        DataError: that is none, or no multiple of the batch that the network insists on.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the limit must be at least one sample, not {limit}")
    used = samples if limit is None else min(samples, limit)
    own = fixed_batch(network) or 1
    if used % own:
        fitting = used // own * own
        hint = f"limit the data to {fitting} samples" if fitting else None
        raise DataError(
            f"network '{network.name}' takes batches of {own}, but there are {used} samples",
            hint=hint,
        )
    return used
