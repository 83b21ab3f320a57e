"""How long networks take, measured so that they can be compared with each other."""

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
"""Rounds that are measured however long they take."""


def latency(
    networks: Sequence[Network],
    *,
    repeats: int = 200,
    warmup: int = 2,
    seconds: float = 2.0,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[float]:
    """Measure the time of one sample, side by side.

    All networks run in turn in every round, every other round backwards, so that whatever slows
    the machine down for a while slows all of them. The input is noise.

    Args:
        networks: what to measure.
        repeats: rounds at most.
        warmup: rounds before that, not counted.
        seconds: no further round is begun after so many, except for the first three.
        threads: threads of a run; None for all cores this process may use.
        progress: told about every round.

    Returns:
        for each network the median in milliseconds at batch 1 (a network that insists on a larger
        batch: its time divided by that batch).

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
    for done in range(rounds):
        progress("measuring", done, rounds)
        if done >= MIN_ROUNDS and time.perf_counter() - start > seconds:
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
