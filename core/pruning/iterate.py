"""Several rounds of pruning with a rising rate, each measured, until a gate closes.

A round prunes the original further than the one before it, or what the one before it left. Rates
are fractions of the original's budget either way. What a round does between pruning and measuring
is one function, :func:`_pruned`; where rounds are kept is the caller's :unit:`Store`, so that work
which is done is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

from ..allocation import Override
from ..cost.budget import LATENCY, OPERATIONS, PARAMETERS
from ..cost.network_cost import NetworkCost, measure_cost
from ..coupling import find_groups
from ..data import Dataset, streamed
from ..data.shards import Fingerprint, shard_size, shards
from ..errors import PlanError
from ..evaluation.gate import NO_GATE, Gate
from ..evaluation.loss import LossMeter
from ..evaluation.task import Task, find_task
from ..ir.digest import digest
from ..ir.network import Network
from ..plan.limits import NO_LIMITS, Limits
from ..progress import Progress, silent
from ..repair import Repairs
from ..sensitivity.result import Analysis
from .prune import AUTOMATIC, prune

__all__ = [
    "SUMMARY",
    "Iteration",
    "Round",
    "Settings",
    "Store",
    "check_rates",
    "folder_of",
    "iterate",
    "rising",
]

VERSION = 1

SUMMARY = "rounds.json"
"""Name of the table of all rounds, where they are kept in a folder."""


def folder_of(number: int) -> str:
    """Return the name of the folder of a round."""
    return f"round-{number:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What every round prunes with; the names are those of :func:`.prune.prune`.

    Args:
        previous: whether a round goes on from what the one before it left, not from the original.
    """

    criterion: str = AUTOMATIC
    allocation: str = AUTOMATIC
    analysis: Analysis | None = None
    budget: str = OPERATIONS
    latencies: Mapping[str, float] | None = None
    overrides: Mapping[str, Override] = field(default_factory=dict)
    repair: Repairs = "auto"
    exclude: Sequence[str] = ()
    limits: Limits = NO_LIMITS
    previous: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of :func:`.prune.prune`."""
        return {
            "criterion": self.criterion,
            "allocation": self.allocation,
            "analysis": self.analysis,
            "budget": self.budget,
            "latencies": self.latencies,
            "overrides": self.overrides,
            "repair": self.repair,
            "exclude": tuple(self.exclude),
            "limits": self.limits,
        }

    def text(self) -> str:
        """Return a text that is the same for the same settings only."""
        plain = {
            **self.arguments(),
            "analysis": self.analysis.digest if self.analysis is not None else None,
            "overrides": {name: value.to_data() for name, value in self.overrides.items()},
            "latencies": dict(self.latencies) if self.latencies is not None else None,
            "limits": asdict(self.limits),
            "previous": self.previous,
        }
        return json.dumps(plain, sort_keys=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round came to.

    Args:
        number: from 1.
        rate: fraction of the original's budget that was to go.
        achieved: fraction of the original's operations that is gone.
        operations: of one sample.
        parameters: stored values.
        value: the metric (0…1 for accuracy, mean average precision …), or the divergence.
        loss: points of a hundred of the metric that are lost (negative for a gain), or the
            divergence.
        passed: whether the gate allows that loss.
    """

    number: int
    rate: float
    achieved: float
    operations: int
    parameters: int
    value: float
    loss: float
    passed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """All rounds, with what they are compared with.

    Args:
        model: name of the network.
        data: name of the data.
        samples: how many.
        metric: name of the figure: that of the labels, else "KL divergence" in nats (classifiers)
            or "Output error" (‖difference‖ / ‖output‖ of the worst output).
        baseline: the original's figure; None for distances from it.
        operations: of the original.
        parameters: of the original.
        rounds: in order; the last one may not have passed.
    """

    model: str
    data: str
    samples: int
    metric: str
    baseline: float | None
    operations: int
    parameters: int
    rounds: tuple[Round, ...]

    @property
    def best(self) -> Round | None:
        """The last round that passed."""
        return next((entry for entry in reversed(self.rounds) if entry.passed), None)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        best = self.best
        return {
            "version": VERSION,
            **asdict(self),
            "rounds": [asdict(entry) for entry in self.rounds],
            "best": best.number if best is not None else None,
        }


class Store(Protocol):
    """Where rounds are kept. A round is there whole, or not at all."""

    def known(self, number: int, key: str) -> Round | None:
        """Return a round that is there; `key` names all that it depends on.

        Raises:
            DataError: a round of that number is there, but not of that key.
        """
        ...

    def network(self, number: int) -> Network:
        """Return the network of a round that is there."""
        ...

    def keep(self, entry: Round, key: str, network: Network) -> None:
        """Keep a round."""
        ...


def rising(to: float, rounds: int) -> tuple[float, ...]:
    """Return rates that rise to `to` in equal steps.

    Raises:
        PlanError: there is no round, or the rate is out of range.
    """
    if rounds < 1:
        raise PlanError("there must be at least one round")
    if not 0.0 < to < 1.0:
        raise PlanError(f"the last rate must be over 0 and below 1, got {to:g}")
    return tuple(round(to * number / rounds, 9) for number in range(1, rounds + 1))


def check_rates(rates: Sequence[float]) -> tuple[float, ...]:
    """Return the rates of the rounds.

    Raises:
        PlanError: there is none, one is out of range, or they do not rise.
    """
    for rate in rates:
        if not 0.0 < rate < 1.0:
            raise PlanError(f"rates must be over 0 and below 1, got {rate:g}")
    if not rates or any(one >= other for one, other in pairwise(rates)):
        raise PlanError("rates must rise from round to round")
    return tuple(float(rate) for rate in rates)


def iterate(
    network: Network,
    data: Dataset,
    *,
    rates: Sequence[float],
    store: Store,
    settings: Settings = Settings(),
    gate: Gate = NO_GATE,
    task: Task | str | None = None,
    progress: Progress = silent,
) -> Iteration:
    """Prune round by round, and measure each.

    Args:
        network: the original.
        data: what rounds are calibrated, proved and measured on.
        rates: rising fractions of the original's budget.
        store: where rounds are kept; those that are there are not made again.
        settings: what each round prunes with.
        gate: the first round that loses more is the last.
        task: what is measured instead, as for :func:`~..evaluation.task.find_task`.
        progress: told how far the work is.

    Raises:
        PlanError: the rates or the settings do not fit, or nothing can be removed.
        DataError: the data does not fit, or the store holds rounds of something else.
        VerificationError: a dense network does not equal the masked one.
    """
    rates = check_rates(rates)
    found = find_task(network, data, task)
    gate.check(found)
    _check(settings)
    cost = measure_cost(network, find_groups(network))
    known = f"{VERSION} {digest(network)} {_fingerprint(network, data, progress)} {settings.text()}"
    if task is not None and found.metric != find_task(network, data).metric:
        known += f" {found.metric}"
    meter = LossMeter.of(network, data, found, progress=progress)
    rounds: list[Round] = []
    for number, rate in enumerate(rates, 1):
        path = rates[:number] if settings.previous else (rate,)
        key = hashlib.sha256(f"{known} {path}".encode()).hexdigest()
        entry = store.known(number, key)
        if entry is None:
            start = store.network(number - 1) if settings.previous and number > 1 else network
            pruned = _pruned(start, cost, rate, data, settings, progress)
            entry = _measured(pruned, cost, number, rate, meter, progress)
            store.keep(entry, key, pruned)
        rounds.append(replace(entry, passed=gate.passes(entry.loss)))
        if not rounds[-1].passed:
            break
    return Iteration(
        model=network.name,
        data=data.name,
        samples=data.samples,
        metric=meter.metric,
        baseline=meter.original_value,
        operations=cost.operations,
        parameters=cost.parameters,
        rounds=tuple(rounds),
    )


def _check(settings: Settings) -> None:
    """Raise where rounds that go on from each other cannot mean what is asked."""
    if not settings.previous:
        return
    for given, what in (
        (settings.analysis is not None, "an analysis"),
        (settings.budget == LATENCY, "a budget of latency"),
        (bool(settings.overrides), "a layer's own rate"),
        (settings.limits.max_rate < 1.0, "a largest share"),
    ):
        if given:
            raise PlanError(f"{what} is of the original network", hint="start from the original")


def _pruned(
    start: Network,
    cost: NetworkCost,
    rate: float,
    data: Dataset,
    settings: Settings,
    progress: Progress,
) -> Network:
    """Return what a round makes of the network it starts from.

    The rate is of the original, whose costs are `cost`; for a smaller network it is less.
    """
    share = rate
    if settings.previous:
        now = measure_cost(start, find_groups(start))
        by_parameters = settings.budget == PARAMETERS
        before = cost.parameters if by_parameters else cost.operations
        left = now.parameters if by_parameters else now.operations
        share = max(0.0, 1.0 - (1.0 - rate) * before / left)
    return prune(start, rate=share, data=data, progress=progress, **settings.arguments())


def _measured(
    pruned: Network,
    cost: NetworkCost,
    number: int,
    rate: float,
    meter: LossMeter,
    progress: Progress,
) -> Round:
    now = measure_cost(pruned, find_groups(pruned))
    value = meter.value(pruned, progress=progress)
    return Round(
        number=number,
        rate=rate,
        achieved=round(1.0 - now.operations / max(cost.operations, 1), 6),
        operations=now.operations,
        parameters=now.parameters,
        value=value,
        loss=meter.task.points * meter.loss(value),
    )


def _fingerprint(network: Network, data: Dataset, progress: Progress) -> str:
    """Return a digest of all samples."""
    found = Fingerprint()
    for shard in shards(streamed(data, "reading data", progress), shard_size(network)):
        found.add(shard)
    return found.text
