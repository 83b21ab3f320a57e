"""The latency of networks, measured in turn so that the figures are comparable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Protocol

import numpy as np
import onnxruntime

from ..data import SyntheticDataset
from ..data.base import fixed_batch
from ..engine.placement import on_processor
from ..engine.session import Session
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = [
    "LOCAL", "Measured", "Stopwatch", "Timing", "by_network", "change", "interleaved", "latency",
    "loads", "measured_here", "sessions_for", "stored_bytes_of", "timings",
]  # fmt: skip

LOCAL = "onnxruntime"
"""The engine that this process itself runs networks with."""

MIN_ROUNDS = 3
"""Least number of rounds, unless they take long."""

LONGEST = 5.0
"""Rounds that take longer than this many times the time they may take end all further ones."""


MOST_LOADED = 1 << 30
"""Bytes of weights that are loaded to time networks in turn."""

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

    @property
    def least(self) -> float:
        """The shortest round in milliseconds: what the network takes when nothing disturbs it."""
        return min(time for session in self.sessions for time in session)

    def since(self, before: Timing) -> tuple[float, float]:
        """Return between which fractions it is slower than another, as :func:`change` says."""
        return change(before, self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What an engine made of some networks.

    Args:
        engine: its name.
        version: its version.
        timings: of each network; None for those that it could not take.
        notes: what it could not take, and what else users should know.
    """

    engine: str
    version: str = ""
    timings: tuple[Timing | None, ...] = ()
    notes: tuple[str, ...] = ()


class Stopwatch(Protocol):
    """Times networks in turn on one engine."""

    def __call__(
        self, networks: Sequence[Network], *, seconds: float = 2.0, progress: Progress = silent
    ) -> Measured:
        """Return how long each network takes for one sample.

        Args:
            networks: the networks, timed in turn.
            seconds: for about how long all of them together are timed.
            progress: reports every round.
        """
        ...


def measured_here(
    networks: Sequence[Network], *, seconds: float = 2.0, progress: Progress = silent
) -> Measured:
    """Return how long each network takes with onnxruntime in this process: a :class:`Stopwatch`.

    Args:
        networks: the networks, timed in turn.
        seconds: for about how long all of them together are timed.
        progress: reports every round.

    Raises:
        UnsupportedError: onnxruntime cannot run a network.
    """
    found = timings(networks, sessions=sessions_for(networks), seconds=seconds, progress=progress)
    return Measured(engine=LOCAL, version=onnxruntime.__version__, timings=tuple(found))


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

    def timed(order: Sequence[int]) -> list[float]:
        found = []
        for number in order:
            before = time.perf_counter()
            runs[number]()
            found.append((time.perf_counter() - before) * 1e3)
        return found

    times = interleaved(
        timed, len(runs), repeats=repeats, warmup=warmup, seconds=seconds, progress=progress
    )
    return by_network(times, [fixed_batch(network) or 1 for network in networks])


def stored_bytes_of(network: Network) -> int:
    """Return the bytes of a network's weights."""
    return sum(
        value.const_value.nbytes
        for value in network.graph.initializers.values()
        if value.const_value is not None
    )


def sessions_for(networks: Sequence[Network]) -> int:
    """Return how often networks are loaded to be timed: twice, unless they fill the memory."""
    return 2 if 2 * sum(map(stored_bytes_of, networks)) <= MOST_LOADED else 1


def loads(sizes: Sequence[int]) -> list[list[int]]:
    """Return which of some networks are loaded together, so that they do not fill the memory.

    Args:
        sizes: bytes of the weights of each.

    Returns:
        the positions of each load, in their order: as many as fit in :data:`MOST_LOADED`, one at
        least.
    """
    found: list[list[int]] = []
    left = 0
    for place, size in enumerate(sizes):
        if not found or size > left:
            found.append([])
            left = MOST_LOADED
        found[-1].append(place)
        left -= size
    return found


def by_network(times: Sequence[Sequence[float]], samples: Sequence[int]) -> list[Timing]:
    """Return the timing of each network from the rounds of all its sessions.

    Args:
        times: milliseconds by round, for every network of the first session, of the second, …
        samples: of one run of each network.
    """
    return [
        Timing(
            tuple(tuple(one / own for one in rounds) for rounds in times[number :: len(samples)])
        )
        for number, own in enumerate(samples)
    ]


def interleaved(
    timed: Callable[[Sequence[int]], Sequence[float]],
    count: int,
    *,
    repeats: int = 200,
    warmup: int = 2,
    seconds: float = 2.0,
    progress: Progress = silent,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Return the milliseconds of every round for some runs that take turns.

    Every second round goes in reverse order, so that a slow moment of the machine affects all.

    Args:
        timed: performs runs in an order and returns how long each took.
        count: how many runs there are.
        repeats: as for :func:`latency`, as the next two.
        warmup: likewise.
        seconds: likewise.
        progress: reports every round.
        clock: seconds; it says when to stop.
    """
    times: list[list[float]] = [[] for _ in range(count)]
    order = list(range(count))
    rounds = max(repeats, MIN_ROUNDS)
    start = clock()
    for _ in range(warmup):
        timed(order)
        if clock() - start > seconds:
            break
    for done in range(rounds):
        progress("measuring", done, rounds)
        left = seconds if done >= MIN_ROUNDS else LONGEST * seconds
        if done and clock() - start > left:
            break
        turn = order if done % 2 == 0 else order[::-1]
        for number, taken in zip(turn, timed(turn), strict=True):
            times[number].append(taken)
    progress("measuring", rounds, rounds)
    return times


def _prepared(network: Network, threads: int | None) -> Callable[[], object]:
    samples = fixed_batch(network) or 1
    (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
    with on_processor():  # what latencies are measured for
        return Session(network, threads).prepare(batch.inputs)
