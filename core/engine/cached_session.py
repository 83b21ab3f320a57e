"""Running a part of a network on inner values, so few samples at a time that they stay in cache."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np

from ..ir.footprint import value_bytes
from ..ir.network import BATCH, Network, shape_of
from .session import Arrays, Session

__all__ = ["Part"]

CACHE = 1 << 19
"""Bytes of the largest value for which samples are computed at once. Measured: values that leave
the second cache cost a third more on networks large and small; less than this saves nothing."""


class Part(Session):
    """A part of a network on one thread, fed with arrays that need no check.

    Inner values may have any first dimension, so the checks of a session for users do not fit.
    """

    def __init__(self, network: Network, fetch: Sequence[str] | None = None):
        # Many parts stand side by side, and each would keep what its largest run took.
        super().__init__(network, threads=1, fetch=fetch, arena=False)
        self.inputs = tuple(network.inputs)
        self._batched = {name for name, shape in network.inputs.items() if shape[:1] == (BATCH,)}
        self._step = _samples_at_once(network, self._fetched)

    def compute(self, feeds: Mapping[str, np.ndarray], pool: Executor | None = None) -> Arrays:
        """Return what :meth:`run` returns; `feeds` may hold more than is read.

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
            # Into place at once: pieces that wait to be joined would take as much memory again.
            for name, array in piece.items():
                results[name][start:stop] = array

        list((pool.map if pool else map)(work, range(0, max(sizes), self._step)))
        return {name: results[name] for name in self._fetched}


def _samples_at_once(network: Network, fetched: Sequence[str]) -> int:
    """Return how many samples stay in the cache; 0 where samples do not lie along axis 0."""
    values = network.values()
    symbols = {size for shape in network.inputs.values() for size in shape if isinstance(size, str)}
    returned = (shape_of(values[name]) for name in (*network.outputs, *fetched))
    if symbols != {BATCH} or any(shape[:1] != (BATCH,) for shape in returned):
        return 0
    largest = max(value_bytes(value) for value in values.values())
    return max(1, int(CACHE / max(largest, 1.0)))
