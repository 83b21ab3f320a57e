"""How long a sample takes in batches, and the batch size with the least time, by measurement."""

from __future__ import annotations

import math
import time

import numpy as np

from ..data.base import BATCH_SIZE, batch_size, fixed_batch
from ..engine.padding import for_speed
from ..engine.session import Session
from ..ir.footprint import total_bytes
from ..ir.network import Network

__all__ = ["best_batch", "seconds_per_sample"]

CANDIDATES = (1, 4, 16, 64)

MEMORY = 1 << 30
"""Largest size of all values of one batch, in bytes."""

SECONDS = 0.05
"""Time for which runs are repeated; the shortest run counts."""

LONGEST = 0.5
"""Seconds of a batch from which on no larger one is tried: one sample tells enough."""

GAIN = 0.97
"""A larger batch must lower the time of a sample to this fraction or less."""


def best_batch(network: Network, samples: int, *, threads: int | None = None) -> int:
    """Return the batch size with the least time for a sample.

    The network runs on zeros with a few batch sizes, which grow as long as the time falls.

    Args:
        network: the network.
        samples: number of samples; a batch is at most a quarter of them.
        threads: threads of each run; None for one, as in :func:`evaluate`.
    """
    own = fixed_batch(network)
    if own is not None:
        return own
    network = for_speed(network)
    most = min(samples // 4, MEMORY // max(1, total_bytes(network)))
    # One thread: evaluation gives every core a run of its own.
    session = Session(network, threads or 1)
    best, least = 1, math.inf
    for batch in CANDIDATES:
        if batch > max(1, most):
            break
        taken = _seconds(session, network, batch, threads or 1) / batch
        if taken > least * GAIN:
            break
        best, least = batch, taken
    return best


def _seconds(session: Session, network: Network, batch: int, threads: int) -> float:
    """Return the shortest time of several runs, without the first one."""
    # A single thread computes in the calling thread: its own clock leaves out other processes.
    own = threads == 1 and session.on_processor
    clock = time.thread_time if own else time.perf_counter
    feeds = {
        name: np.zeros([d if isinstance(d, int) else batch for d in shape], np.float32)
        for name, shape in network.inputs.items()
    }
    run = session.prepare(feeds)
    run()
    times: list[float] = []
    while len(times) < 2 or sum(times) < SECONDS:
        began = clock()
        run()
        times.append(clock() - began)
    return min(times)


def seconds_per_sample(network: Network) -> float:
    """Return the seconds that one sample takes with all cores of this process, in batches.

    The network runs on zeros for a moment, as it runs where it is measured or calibrated.

    Args:
        network: the network.
    """
    size = batch_size(network, BATCH_SIZE)
    network = for_speed(network)
    one = fixed_batch(network) or 1
    session = Session(network)
    taken = _seconds(session, network, one, threads=2) / one
    if size == one or taken * size > LONGEST:
        return taken
    return min(taken, _seconds(session, network, size, threads=2) / size)
