"""How many samples at once a network computes fastest, found by measurement."""

from __future__ import annotations

import math
import time

import numpy as np

from ..data.base import fixed_batch
from ..engine.padding import for_speed
from ..engine.session import Session
from ..ir.footprint import total_bytes
from ..ir.network import Network

__all__ = ["best_batch"]

CANDIDATES = (1, 4, 16, 64)

MEMORY = 1 << 30
"""Bytes that the values of one batch may take, all of them counted."""

SECONDS = 0.05
"""Runs are repeated until they took so long together; the shortest counts."""

GAIN = 0.97
"""A larger batch is taken only where a sample takes at most this share of the time."""


def best_batch(network: Network, samples: int, *, threads: int | None = None) -> int:
    """Return the number of samples a run that takes the least time a sample.

    It runs the network on zeros with a few sizes, growing while that pays.

    Args:
        network: what to run.
        samples: how many there are; a batch is at most a quarter of them.
        threads: threads of each run; None for one, as :func:`evaluate` runs.
    """
    own = fixed_batch(network)
    if own is not None:
        return own
    network = for_speed(network)
    most = min(samples // 4, MEMORY // max(1, total_bytes(network)))
    # One thread: :mod:`.parallel` gives every core a run of its own.
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
    """Return the shortest time of a few runs after a first one."""
    # One thread computes where it is called: its own time leaves out what others on the machine do.
    clock = time.thread_time if threads == 1 else time.perf_counter
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
