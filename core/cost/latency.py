"""The latency of networks, measured in turn so that the figures are comparable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from ..data import SyntheticDataset
from ..data.base import fixed_batch
from ..engine.session import Session
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = ["latency"]

MIN_ROUNDS = 3
"""Least number of rounds, unless they take long."""

LONGEST = 5.0
"""Rounds that take longer than this many times the time they may take end all further ones."""


def latency(
    networks: Sequence[Network],
    *,
    repeats: int = 200,
    warmup: int = 2,
    seconds: float = 2.0,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[float]:
    """Return the time of one sample for several networks.

    Each round runs all networks in turn, every second round in reverse order. So a temporary
    slowdown of the machine affects all of them. The input is noise.

    Args:
        networks: the networks.
        repeats: largest number of rounds.
        warmup: number of earlier rounds, which are not counted.
        seconds: time after which no round begins, except for the first :data:`MIN_ROUNDS` as long
            as :data:`LONGEST` allows. One round is always counted.
        threads: threads of a run; None for all cores of this process.
        progress: reports every round.

    Returns:
        for each network the median in milliseconds at batch 1. For a network with a fixed batch, it
        is the time of a batch divided by its size.

    Raises:
        UnsupportedError: onnxruntime cannot run a network.
    """
    runs = [_prepared(network, threads) for network in networks]
    times: list[list[float]] = [[] for _ in networks]
    order = list(range(len(networks)))
    rounds = max(repeats, MIN_ROUNDS)
    start = time.perf_counter()
    for _ in range(warmup):
        for run in runs:
            run()
        if time.perf_counter() - start > seconds:
            break
    for done in range(rounds):
        progress("measuring", done, rounds)
        left = seconds if done >= MIN_ROUNDS else LONGEST * seconds
        if done and time.perf_counter() - start > left:
            break
        for number in order if done % 2 == 0 else reversed(order):
            before = time.perf_counter()
            runs[number]()
            times[number].append((time.perf_counter() - before) * 1e3)
    progress("measuring", rounds, rounds)
    return [
        median(measured) / (fixed_batch(network) or 1)
        for network, measured in zip(networks, times, strict=True)
    ]


def _prepared(network: Network, threads: int | None) -> Callable[[], object]:
    samples = fixed_batch(network) or 1
    (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
    return Session(network, threads).prepare(batch.inputs)
