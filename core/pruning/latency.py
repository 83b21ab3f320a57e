"""Pruning to a latency: the smallest rate at which a network is fast enough, as it is measured.

How long a network takes does not always fall with its operations: odd numbers of channels make
many engines slower. So rates are not halved blindly. Several of them are timed in turn with the
original, the first that is fast enough and the one before it bound the next, narrower scan. Only
numbers of channels matter for that, so the networks that are timed are not repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..cost.latency import (
    MOST_LOADED,
    Measured,
    Stopwatch,
    Timing,
    measured_here,
    stored_bytes_of,
)
from ..cost.latency_goal import LatencyGoal
from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..data import Dataset
from ..errors import PlanError, UnsupportedError
from ..ir.network import Network
from ..plan.state import PruningState
from ..plan.steps import SLACK
from ..progress import Progress, silent
from .choose import Choice, choose, followed, in_steps, obs_path, without_waste
from .demand import Demand
from .options import PruneOptions

__all__ = ["choose_for_latency"]

WIDTH = 6
"""Rates that are timed in turn in one scan."""

NARROW = 0.01
"""Rates between the last too slow one and the first that is fast enough, at the end."""

SECONDS = 2.0
"""For about how long a scan is timed."""

TRIES = 8
"""Rates that are tried in the end, in steps that double: what a method chooses for a rate may
differ from its path, and times differ by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A network of a rate, as it was timed.

    Args:
        rate: what of the budget it lost.
        before: the original, timed in turn with it.
        after: the network; None where the engine could not take it.
        engine: name and version of the engine.
    """

    rate: float
    before: Timing
    after: Timing | None
    engine: str

    def meets(self, goal: LatencyGoal) -> bool:
        """Whether it is fast enough, by its median."""
        if self.after is None:
            return False
        return self.after.median <= goal.milliseconds(self.before.median)

    def text(self) -> str:
        """Return what was measured, in words."""
        if self.after is None:
            return f"{self.engine} could not take the network"
        low, high = self.after.since(self.before)
        return (
            f"{self.after.median:.3g} ms of {self.before.median:.3g} ms, {100 * low:+.0f} to "
            f"{100 * high:+.0f} % (95 % interval, {self.engine})"
        )


def choose_for_latency(
    network: Network,
    groups: Groups,
    options: PruneOptions,
    *,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Choice:
    """Choose the channels to remove so that the network takes no longer than asked.

    Args:
        network: the network.
        groups: its groups.
        options: with a latency to reach.
        data: samples for methods that need some.
        progress: told how far the work is.

    Raises:
        PlanError: the latency is out of reach, nothing has to leave for it, or options do not fit.
        UnsupportedError: the engine cannot take the network.
    """
    assert options.target_latency is not None, "there is a latency to reach"
    goal = LatencyGoal.of(options.target_latency)
    plain = replace(options, target_latency=None, engine=None, rate=0.0)
    path = _path(network, groups, plain, data, progress)
    plain = path.demand.options  # with the times of layers, where a rate is a part of them
    search = _Search(
        path=path, network=network, goal=goal,
        stopwatch=options.engine or measured_here, progress=progress,
    )  # fmt: skip
    rate, most = search.smallest(), path.most
    found = None
    for number in range(TRIES):
        choice = choose(network, groups, replace(plain, rate=rate), data=data, progress=progress)
        found = search.timed([(rate, choice.state.dense())])[0]
        if found.meets(goal):
            return _recorded(choice, found, goal)
        if rate >= most:
            break
        rate = min(rate + NARROW * 2**number, most)
    assert found is not None, "a rate was tried"
    raise search.refusal(found)


def _recorded(choice: Choice, found: Candidate, goal: LatencyGoal) -> Choice:
    """Return a choice whose plan says what was measured; nobody asked for its rate."""
    assert found.after is not None, "it was fast enough"
    low, high = found.after.since(found.before)
    known = choice.plan.provenance
    provenance: dict[str, Any] = {
        **known,
        "rate": {"achieved": known["rate"]["achieved"]},
        "target_latency": {
            "asked": goal.text(),
            "engine": found.engine,
            "before": float(f"{found.before.median:.4g}"),
            "after": float(f"{found.after.median:.4g}"),
            "change": [round(low, 4), round(high, 4)],
        },
    }
    return replace(choice, plan=replace(choice.plan, provenance=provenance), missed=())


@dataclass(frozen=True)
class _Path:
    """The removals of all rates up to the largest.

    Args:
        most: the largest rate.
        at: returns the removal of a rate, a mask over units.
        demand: what is asked.
    """

    most: float
    at: Callable[[float], UnitMask]
    demand: Demand

    def network(self, removed: UnitMask) -> Network:
        """Return the network after a removal; no weight makes up for it."""
        start = PruningState.start(self.demand.network, self.demand.open)
        return start.after(removed).dense()


def _path(
    network: Network,
    groups: Groups,
    options: PruneOptions,
    data: Dataset | None,
    progress: Progress,
) -> _Path:
    """Return what the method of some options removes at each rate.

    Raises:
        PlanError: nothing can be removed.
    """
    demand = Demand.of(network, groups, options, data=data, progress=progress)
    reach = demand.reach().sure
    most = int(1000 * reach) / 1000 if reach > SLACK else 0.0
    if not most:
        raise PlanError("no channel of this network can be removed", option="target_latency")
    if demand.method.obs_allocates:
        last = replace(demand, options=replace(demand.options, rate=most))
        order = obs_path(last, data, progress)

        def along(rate: float) -> UnitMask:
            removed = demand.open.mask(())
            for units in order:
                removed[list(units)] = True
                if demand.achieved(removed) >= rate - SLACK:
                    break
            return without_waste(demand, removed, order)

        return _Path(most, along, demand)

    def at(rate: float) -> Demand:
        return replace(demand, options=replace(demand.options, rate=rate))

    if demand.options.steps > 1 or demand.method.allocation.needs_data:
        # What leaves first depends on the rate: scores are renewed on the way, or removals tried.
        return _Path(most, lambda rate: in_steps(at(rate), data, progress)[0], demand)
    context = demand.context(data, progress)
    return _Path(most, lambda rate: followed(at(rate), context)[0], demand)


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The search for the smallest rate."""

    path: _Path
    network: Network
    goal: LatencyGoal
    stopwatch: Stopwatch
    progress: Progress

    def smallest(self) -> float:
        """Return the smallest rate that is fast enough.

        Raises:
            PlanError: there is none, or the original is fast enough.
            UnsupportedError: the engine cannot take the network.
        """
        low, high = 0.0, self.path.most
        first = True
        while first or high - low > NARROW:
            rates = np.linspace(low, high, self._width() + 1)[1:].tolist()
            networks = self._distinct(rates)
            if not first and len(networks) == 1:
                return high  # one and the same network for all rates in between
            found = self.timed(networks)
            if first:
                self._check(found[0])
            place = next((k for k, one in enumerate(found) if one.meets(self.goal)), None)
            if place is None and first:
                raise self.refusal(min(found, key=_time))
            if place is None:  # what met it in the last scan does not now: they are near
                return high
            high = found[place].rate
            low = max([low, *(rate for rate in rates if rate < high)])  # all of them too slow
            first = False
        return high

    def timed(self, networks: Sequence[tuple[float, Network]]) -> list[Candidate]:
        """Return rates with the networks that they come to, timed in turn with the original.

        Raises:
            UnsupportedError: the engine cannot take the original.
        """
        measured = self.stopwatch(
            [self.network, *(own for _, own in networks)], seconds=SECONDS, progress=self.progress
        )
        before, *others = measured.timings
        if before is None:
            raise UnsupportedError(
                f"engine '{measured.engine}' cannot time the network: "
                + (measured.notes[0] if measured.notes else "it has no time for it")
            )
        return [
            Candidate(rate=rate, before=before, after=after, engine=_engine(measured))
            for (rate, _), after in zip(networks, others, strict=True)
        ]

    def refusal(self, nearest: Candidate) -> PlanError:
        """Return the error that says how far it got."""
        asked = self.path.demand.options
        hints = [
            *(["a smaller --min-keep"] if asked.limits.min_keep else []),
            *(["--target, for whole blocks of channels"] if asked.target is None else []),
            "a larger latency",
        ]
        return PlanError(
            f"latency {self.goal.text()} is out of reach: at rate {nearest.rate:.3f} it is "
            f"{nearest.text()}, and {self.path.most:.3f} is the most that can leave",
            hint=" or ".join(hints),
            option="target_latency",
        )

    def _width(self) -> int:
        """Return how many rates are timed in turn: fewer where networks are large."""
        size = max(1, stored_bytes_of(self.network))
        return max(2, min(WIDTH, MOST_LOADED // size - 1))

    def _distinct(self, rates: Sequence[float]) -> list[tuple[float, Network]]:
        """Return the networks of some rates; of rates that come to the same, the first."""
        found: dict[bytes, tuple[float, Network]] = {}
        for rate in rates:
            removed = self.path.at(rate)
            if removed.tobytes() not in found:
                found[removed.tobytes()] = rate, self.path.network(removed)
        return list(found.values())

    def _check(self, found: Candidate) -> None:
        """Raise where the original is fast enough.

        Raises:
            PlanError: that is so.
        """
        now = found.before.median
        if now <= self.goal.milliseconds(now):
            raise PlanError(
                f"the network takes {now:.3g} ms on {found.engine} as it is: nothing has to leave",
                option="target_latency",
            )


def _time(found: Candidate) -> float:
    """Return how long a network takes, against the original."""
    return found.after.median / found.before.median if found.after is not None else float("inf")


def _engine(measured: Measured) -> str:
    return f"{measured.engine} {measured.version}".strip()
