"""The latency of networks, measured in turn so that the figures are comparable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

import numpy as np

from ..data import SyntheticDataset
from ..data.base import fixed_batch
from ..engine.session import Session
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = ["Timing", "change", "latency", "timings"]

MIN_ROUNDS = 3
"""Least number of rounds, unless they take long."""

LONGEST = 5.0
"""Rounds that take longer than this many times the time they may take end all further ones."""


FEW = 6
"""Rounds below which the interval of a median is the range of all: 1 − 2 · 0.5⁶ = 97 %."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a network took in each round.

    Args:
        sessions: milliseconds of one sample, by round, for each session that was made of it.
    """

    sessions: tuple[tuple[float, ...], ...]

    @property
    def median(self) -> float:
        """The median of all rounds in milliseconds."""
        return median(time for session in self.sessions for time in session)


def change(before: Timing, after: Timing) -> tuple[float, float]:
    """Return between which fractions one network is slower than another (negative: faster).

    Times of one round are compared with each other, so that a slow moment counts in both. For each
    pair of sessions this is the interval that holds the median of the ratios with 95 % (order
    statistics, for any distribution). Sessions of one network differ, by where their memory lies:
    the result is the interval around those of all pairs.

    Args:
        before: a network.
        after: another, of the same rounds.
    """
    lows, highs = [], []
    for one, other in product(before.sessions, after.sessions):
        ratios = np.sort(np.asarray(other) / np.asarray(one)) - 1.0
        count = len(ratios)
        place = 0 if count < FEW else max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
        lows.append(float(ratios[place]))
        highs.append(float(ratios[count - 1 - place]))
    return min(lows), max(highs)


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
    found = timings(
        networks, repeats=repeats, warmup=warmup, seconds=seconds, threads=threads,
        progress=progress,
    )  # fmt: skip
    return [timing.median for timing in found]


def timings(
    networks: Sequence[Network],
    *,
    sessions: int = 1,
    repeats: int = 200,
    warmup: int = 2,
    seconds: float = 2.0,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[Timing]:
    """Return the times of all rounds, as :func:`latency` measures them.

    Args:
        networks: the networks.
        sessions: how many sessions are made of each. Two show what of a difference is by chance.
        repeats: as for :func:`latency`, as all that follows.
        warmup: likewise.
        seconds: likewise.
        threads: likewise.
        progress: likewise.

    Raises:
        UnsupportedError: onnxruntime cannot run a network.
    """
    runs = [_prepared(network, threads) for _ in range(sessions) for network in networks]
    times: list[list[float]] = [[] for _ in runs]
    order = list(range(len(runs)))
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
    found = []
    for number, network in enumerate(networks):
        samples = fixed_batch(network) or 1
        own = times[number :: len(networks)]
        found.append(Timing(tuple(tuple(one / samples for one in session) for session in own)))
    return found


def _prepared(network: Network, threads: int | None) -> Callable[[], object]:
    samples = fixed_batch(network) or 1
    (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
    return Session(network, threads).prepare(batch.inputs)
