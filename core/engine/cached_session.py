"""Running a part of a network on inner values, few samples at once so that they stay in cache."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np

from ..ir.footprint import value_bytes
from ..ir.network import BATCH, Network, shape_of
from .session import Arrays, Session

__all__ = ["Part"]

LARGEST_CACHED_VALUE = 1 << 19
"""Bytes that the largest value of all samples computed at once may have. Measured: values that do
not fit into the second-level cache cost a third more on networks large and small; a smaller bound
saves nothing."""


class Part(Session):
    """A part of a network on one thread, whose inputs are not checked.

    Inner values may have any first dimension, which the checks of a session would refuse.

    Args:
        network: the part.
        fetch: as for :class:`.session.Session`.
    """

    def __init__(self, network: Network, fetch: Sequence[str] | None = None):
        # Many parts exist at once, and each would keep the memory of its largest run.
        super().__init__(network, threads=1, fetch=fetch, arena=False)
        self.inputs = tuple(network.inputs)
        self._batched = {name for name, shape in network.inputs.items() if shape[:1] == (BATCH,)}
        # Other devices have no such cache, and are slow at small pieces.
        self._step = _samples_at_once(network, self._fetched) if self.on_processor else 0

    def compute(self, feeds: Mapping[str, np.ndarray], pool: Executor | None = None) -> Arrays:
        """Return the same as :meth:`run`; `feeds` may hold further arrays.

        Args:
            feeds: arrays by name.
            pool: threads that share the samples; None for the thread that calls.
        """
        arrays = {name: feeds[name] for name in self.inputs}
        sizes = {len(arrays[name]) for name in self._batched}
        if not self._step or len(sizes) != 1 or max(sizes) <= self._step:
            return self._execute(arrays)
        results: Arrays = {}
        lock = threading.Lock()

        def work(start: int) -> None:
            stop = start + self._step
            piece = self._execute(
                {name: a[start:stop] if name in self._batched else a for name, a in arrays.items()}
            )
            with lock:
                for name, array in piece.items() if not results else ():
                    results[name] = np.empty((max(sizes), *array.shape[1:]), array.dtype)
            # Copied at once: pieces that wait to be joined would take as much memory again.
            for name, array in piece.items():
                results[name][start:stop] = array

        list((pool.map if pool else map)(work, range(0, max(sizes), self._step)))
        return {name: results[name] for name in self._fetched}


def _samples_at_once(network: Network, fetched: Sequence[str]) -> int:
    """Return how many samples fit into the cache; 0 if samples do not lie along axis 0."""
    values = network.values()
    symbols = {size for shape in network.inputs.values() for size in shape if isinstance(size, str)}
    returned = (shape_of(values[name]) for name in (*network.outputs, *fetched))
    if symbols != {BATCH} or any(shape[:1] != (BATCH,) for shape in returned):
        return 0
    largest = max(value_bytes(value) for value in values.values())
    return max(1, int(LARGEST_CACHED_VALUE / max(largest, 1.0)))
