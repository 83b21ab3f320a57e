"""Samples in pieces that one task works on, and a digest of what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..engine.session import Arrays
from ..ir.footprint import largest_bytes
from ..ir.network import Network
from ..progress import Progress, silent
from .base import Batch, Dataset, fixed_batch, streamed
from .targets import Targets

__all__ = ["Fingerprint", "Shard", "fingerprint_of", "shard_size", "shards"]

SHARD_BYTES = 32 << 20
"""Bytes that the largest value of a shard may take, so that some shards for each core fit."""

MOST_SAMPLES = 128
"""Samples a shard at most, so that the cores share even small networks evenly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Some samples: `inputs` feed the network, its outputs are compared with `targets`."""

    inputs: Arrays
    targets: Targets

    def with_outputs(self, outputs: Arrays) -> Shard:
        """Return the shard with the outputs of the original network."""
        return replace(self, targets=replace(self.targets, outputs=outputs))


def shard_size(network: Network) -> int:
    """Return how many samples to work on at once."""
    fixed = fixed_batch(network)
    if fixed is not None:
        return fixed
    return max(1, min(MOST_SAMPLES, SHARD_BYTES // max(1, largest_bytes(network))))


def shards(batches: Iterable[Batch], size: int) -> Iterator[Shard]:
    """Yield the samples of some batches in shards of `size`; the last one may be smaller."""
    waiting: list[Batch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.size
        while count >= size:
            joined = _joined(waiting)
            yield _shard(_slice(joined, 0, size))
            count -= size
            waiting = [_slice(joined, size, joined.size)] if count else []
    if count:
        yield _shard(_joined(waiting))


def _shard(batch: Batch) -> Shard:
    return Shard(
        inputs={name: np.ascontiguousarray(array) for name, array in batch.inputs.items()},
        targets=Targets.of(batch),
    )


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    if (start, stop) == (0, batch.size):
        return batch
    return Batch(
        inputs=batch.part(start, stop),
        labels=None if batch.labels is None else batch.labels[start:stop],
        objects=None if batch.objects is None else batch.objects[start:stop],
        values=None if batch.values is None else batch.values[start:stop],
        frames=None if batch.frames is None else batch.frames[start:stop],
        places=None if batch.places is None else batch.places[start:stop],
    )


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    values = [batch.values for batch in batches if batch.values is not None]
    first = batches[0]
    return Batch(
        inputs={name: np.concatenate([b.inputs[name] for b in batches]) for name in first.inputs},
        labels=np.concatenate(labels) if labels else None,
        objects=None
        if first.objects is None
        else tuple(one for batch in batches for one in batch.objects or ()),
        values=np.concatenate(values) if values else None,
        frames=None
        if first.frames is None
        else tuple(one for batch in batches for one in batch.frames or ()),
        places=None
        if first.places is None
        else tuple(one for batch in batches for one in batch.places or ()),
    )


class Fingerprint:
    """The SHA-256 of all samples with their labels, in their order."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, shard: Shard) -> None:
        """Take in some samples."""
        targets = shard.targets
        for name, array in shard.inputs.items():
            self._array(f"input {name}", array)
        for name, labels in (("labels", targets.labels), ("targets", targets.values)):
            if labels is not None:
                self._array(name, labels)
        for objects in targets.objects or ():
            for array in (objects.boxes, objects.classes, objects.ignored, objects.crowd):
                self._array("objects", array)
        self._state.update(repr(targets.frames).encode())

    def _array(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        self._state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        self._state.update(array.data if array.size else b"")

    @property
    def text(self) -> str:
        """The digest in hexadecimal."""
        return self._state.hexdigest()


def fingerprint_of(network: Network, data: Dataset, progress: Progress = silent) -> str:
    """Return the digest of all samples of a dataset that was opened for a network.

    Raises:
        DataError: the data is broken.
    """
    found = Fingerprint()
    for shard in shards(streamed(data, "reading data", progress), shard_size(network)):
        found.add(shard)
    return found.text
