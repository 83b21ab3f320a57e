"""Rounds of pruning with a rising rate, each measured, until one loses more than allowed.

A round prunes the original further than the round before it, or prunes what that round left. Rates
are fractions of the original's budget either way. The caller's :class:`Store` keeps the rounds, so
that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from ..cost.budget import PARAMETERS
from ..cost.network_cost import NetworkCost, measure_cost
from ..coupling import Groups, find_groups
from ..data import Dataset, streamed
from ..data.shards import Fingerprint, shard_size, shards
from ..evaluation.gate import Gate
from ..evaluation.loss import LossMeter
from ..evaluation.task import find_task
from ..ir.digest import digest
from ..ir.network import Network
from ..ir.windows import loosened, windows
from ..progress import Progress, silent
from .demand import Demand
from .options import IterateOptions
from .prune import prune
from .result import PruneResult

__all__ = [
    "ROUNDS_FILE",
    "Iteration",
    "Round",
    "Store",
    "check_rates",
    "folder_of",
    "gate_of",
    "iterate",
]

VERSION = 1

ROUNDS_FILE = "rounds.json"
"""Name of the table of all rounds, where they are kept in a folder."""


def folder_of(number: int) -> str:
    """Return the name of the folder of a round."""
    return f"round-{number:02d}"


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
        notes: what the user should know of its removal.
    """

    number: int
    rate: float
    achieved: float
    operations: int
    parameters: int
    value: float
    loss: float
    passed: bool = True
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Name of its folder, where rounds are kept in folders."""
        return folder_of(self.number)


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """All rounds, with what they are compared with.

    Args:
        model: name of the network.
        data: name of the data.
        samples: how many.
        metric: name of the figure: that of the labels, else "KL divergence" in nats (classifiers)
            or "Output error" (‖difference‖ / ‖output‖ of the worst output).
        original_value: the original's figure; None for distances from it.
        operations: of the original.
        parameters: of the original.
        rounds: in order; the last one may not have passed.
        notes: what users should know of this run; files do not keep them.
    """

    model: str
    data: str
    samples: int
    metric: str
    original_value: float | None
    operations: int
    parameters: int
    rounds: tuple[Round, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def best(self) -> Round | None:
        """The last round that passed."""
        return next((entry for entry in reversed(self.rounds) if entry.passed), None)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON; the original's figure keeps its key "baseline"."""
        best = self.best
        plain = asdict(self)
        del plain["notes"]
        return {
            "version": VERSION,
            **{"baseline" if key == "original_value" else key: plain[key] for key in plain},
            "rounds": [asdict(entry) for entry in self.rounds],
            "best": best.number if best is not None else None,
        }


def gate_of(options: IterateOptions) -> Gate:
    """Return how much a round may lose by the options."""
    return Gate(drop=options.max_drop, divergence=options.max_divergence)


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

    def keep(self, entry: Round, key: str, result: PruneResult) -> None:
        """Keep a round."""
        ...


def check_rates(
    network: Network, groups: Groups, options: IterateOptions, data: Dataset | None = None
) -> None:
    """Raise if the rate of the last round is out of reach.

    Args:
        network: the original.
        groups: its groups.
        options: rates, and how each round prunes.
        data: as for :func:`iterate`; nothing is measured on it.

    Raises:
        PlanError: it is, or options do not fit the network.
    """
    Demand.of(network, groups, options.of_round(options.rates[-1]), data=data).check()


def iterate(
    network: Network,
    data: Dataset,
    options: IterateOptions,
    *,
    store: Store,
    progress: Progress = silent,
) -> Iteration:
    """Prune round by round, and measure each.

    Args:
        network: the original.
        data: samples that rounds are calibrated, verified and measured on.
        options: rates, limits on the loss, and how each round prunes.
        store: where rounds are kept; those that it holds are not made again.
        progress: told how far the work is.

    Raises:
        PlanError: options do not fit the network, nothing can be removed, or a rate is out of
            reach.
        DataError: the data does not fit, or the store holds rounds of something else.
        VerificationError: a dense network does not equal the masked one.
    """
    found = find_task(network, data, options.task)
    gate = gate_of(options)
    gate.check(found)
    groups = find_groups(network)
    check_rates(network, groups, options, data)
    cost = measure_cost(network, groups)
    known = f"{VERSION} {digest(network)} {_fingerprint(network, data, progress)} {options.key()}"
    known += "".join(f" {digest(companion)}" for companion in network.companions)
    if found.metric != find_task(network, data).metric:
        known += f" {found.metric}"
    meter = LossMeter.of(network, data, found, progress=progress)
    rounds: list[Round] = []
    for number, rate in enumerate(options.rates, 1):
        path = tuple(options.rates[:number]) if options.previous else (rate,)
        key = hashlib.sha256(f"{known} {path}".encode()).hexdigest()
        entry = store.known(number, key)
        if entry is None:
            start = store.network(number - 1) if options.previous and number > 1 else network
            if any(window.free for _, _, window in windows(network)):
                start = loosened(start)
            now = find_groups(start) if start is not network else groups
            now = replace(now, widths={one.name: len(one.units) for one in groups.groups})
            result = _pruned(start, now, cost, rate, data, options, progress)
            entry = _measured(result.network, cost, number, rate, meter, progress)
            entry = replace(entry, notes=result.notes)
            store.keep(entry, key, result)
        rounds.append(replace(entry, passed=gate.passes(entry.loss)))
        if not rounds[-1].passed:
            break
    return Iteration(
        model=network.name,
        data=data.name,
        samples=data.samples,
        metric=meter.metric,
        original_value=meter.original_value,
        operations=cost.operations,
        parameters=cost.parameters,
        rounds=tuple(rounds),
    )


def _pruned(
    start: Network,
    groups: Groups,
    cost: NetworkCost,
    rate: float,
    data: Dataset,
    options: IterateOptions,
    progress: Progress,
) -> PruneResult:
    """Return what a round makes of the network it starts from.

    The rate is a fraction of the original's cost. For a smaller network it is converted to a
    fraction of that network's cost. Floors are fractions of the original's channels, too.
    """
    if options.previous:
        now = measure_cost(start, groups)
        by_parameters = options.budget == PARAMETERS
        before = cost.parameters if by_parameters else cost.operations
        left = now.parameters if by_parameters else now.operations
        rate = max(0.0, 1.0 - (1.0 - rate) * before / left)
    return prune(start, options.of_round(rate), groups=groups, data=data, progress=progress)


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
