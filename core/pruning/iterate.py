"""Rounds of pruning with a rising rate, each measured, until one loses more than allowed.

A round prunes the original further than the round before it, or prunes what that round left. Rates
and plans count from the original either way. A round may be fine-tuned before it is measured. The
caller's :class:`Store` keeps the rounds, so that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ..cost.budget import make_costs
from ..cost.budgets import CONVOLUTIONS, PARAMETERS, TARGET
from ..cost.network_cost import NetworkCost, measure_cost
from ..coupling import Groups, find_groups
from ..data import Dataset
from ..data.shards import fingerprint_of
from ..evaluation.gate import Gate
from ..evaluation.loss import LossMeter
from ..evaluation.task import find_task
from ..ir.digest import digest
from ..ir.network import Network
from ..ir.windows import loosened, windows
from ..plan.blocks import without_blocks
from ..plan.compose import composed
from ..plan.plan import Plan, make_plan, removed_units
from ..progress import Progress, inside, silent
from .apply import apply_plan
from .counted import channels_left, counted_plan
from .demand import Demand
from .options import IterateOptions
from .prune import prune
from .resolve import resolved_criterion
from .result import PruneResult
from .rounds import VERSION, Iteration, Round, Trained

__all__ = ["Measured", "Store", "check_rates", "gate_of", "iterate"]


def gate_of(options: IterateOptions) -> Gate:
    """Return how much a round may lose by the options."""
    return Gate(drop=options.max_drop, divergence=options.max_divergence)


Measured = Callable[[Network, Trained], Round]
"""Returns what a fine-tuned round came to."""


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

    def plan(self, number: int) -> Plan:
        """Return the plan of a round that is there."""
        ...

    def keep(self, entry: Round, key: str, result: PruneResult) -> None:
        """Keep a round."""
        ...

    def begun(self, number: int, key: str) -> Round | None:
        """Return a round that is pruned and is to be fine-tuned.

        Raises:
            DataError: as for :meth:`known`.
        """
        ...

    def begin(self, entry: Round, key: str, result: PruneResult) -> None:
        """Keep a round that is pruned and is to be fine-tuned."""
        ...

    def tune(self, entry: Round, key: str, measured: Measured) -> Round:
        """Fine-tune a round that was begun, and keep it.

        Args:
            entry: the round.
            key: as for :meth:`known`.
            measured: returns the figures of the network that is kept, and of its training.
        """
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
    if options.drop_blocks is not None:
        return  # how far channels have to go is known when blocks have left
    Demand.of(network, groups, options.of_round(options.rates[-1]), data=data).check()


def iterate(
    network: Network,
    data: Dataset,
    options: IterateOptions,
    *,
    store: Store,
    validation: Dataset | None = None,
    progress: Progress = silent,
) -> Iteration:
    """Prune round by round, fine-tune where that is asked for, and measure each.

    Args:
        network: the original.
        data: samples that rounds are calibrated, verified and trained on.
        options: rates, limits on the loss, and how each round prunes and is trained.
        store: where rounds are kept; those that it holds are not made again.
        validation: samples that rounds are measured on; None for `data`.
        progress: told how far the work is.

    Raises:
        PlanError: options do not fit the network, nothing can be removed, or a rate is out of
            reach.
        DataError: the data does not fit, or the store holds rounds of something else.
        VerificationError: a dense network does not equal the masked one.
    """
    judged = data if validation is None else validation
    found = find_task(network, judged, options.task)
    gate = gate_of(options)
    gate.check(found)
    groups = find_groups(network)
    check_rates(network, groups, options, data)
    known = _key(network, data, options, progress)
    if found.metric != find_task(network, judged).metric:
        known += f" {found.metric}"
    if validation is not None:
        known += f" {fingerprint_of(network, validation, progress)}"
    work = _Work(
        network=network, groups=groups, cost=measure_cost(network, groups), data=data,
        options=options, meter=LossMeter.of(network, judged, found, progress=progress),
        store=store, progress=progress,
    )  # fmt: skip
    rounds: list[Round] = []
    for number, rate in enumerate(options.rates, 1):
        path = tuple(options.rates[:number]) if options.goes_on else (rate,)
        key = hashlib.sha256(f"{known} {path}".encode()).hexdigest()
        own = inside(progress, f"round {number} of {len(options.rates)}")
        entry = store.known(number, key) or replace(work, progress=own).made(number, rate, key)
        rounds.append(replace(entry, passed=gate.passes(entry.loss)))
        if not rounds[-1].passed:
            break
    return Iteration(
        model=network.name,
        data=data.name,
        samples=data.samples,
        metric=work.meter.metric,
        original_value=work.meter.original_value,
        operations=work.cost.operations,
        parameters=work.cost.parameters,
        rounds=tuple(rounds),
        validation=judged.name if judged is not data else "",
        validation_samples=judged.samples if judged is not data else 0,
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What all rounds have in common."""

    network: Network
    groups: Groups
    cost: NetworkCost
    data: Dataset
    options: IterateOptions
    meter: LossMeter
    store: Store
    progress: Progress

    def made(self, number: int, rate: float, key: str) -> Round:
        """Make a round and keep it."""
        if self.options.finetune is None:
            result = self.pruned(number, rate)
            entry = self.measured(result.network, number, rate)
            entry = replace(entry, notes=result.notes)
            self.store.keep(entry, key, result)
            return entry
        begun = self.store.begun(number, key) or self.begun(number, rate, key)

        def tuned(network: Network, training: Trained) -> Round:
            entry = self.measured(network, number, rate)
            return replace(
                entry,
                notes=begun.notes,
                pruned_value=begun.value,
                seconds=round((begun.seconds or 0.0) + training.seconds, 1),
                training_notes=training.notes,
            )

        return self.store.tune(begun, key, tuned)

    def begun(self, number: int, rate: float, key: str) -> Round:
        """Make a round up to its fine-tuning, and keep that."""
        start = time.monotonic()
        result = self.pruned(number, rate)
        entry = self.measured(result.network, number, rate)
        passed = round(time.monotonic() - start, 3)
        entry = replace(entry, notes=result.notes, seconds=passed)
        self.store.begin(entry, key, result)
        return entry

    def pruned(self, number: int, rate: float) -> PruneResult:
        """Return what a round makes of the network it starts from; its plan is of the original.

        Floors are fractions of the original's channels, whatever the round starts from.
        """
        first = number == 1 or not self.options.goes_on
        start = self.network if first else self.store.network(number - 1)
        own = self._base(number)
        if any(window.free for _, _, window in windows(self.network)):
            start = loosened(start)
        groups = find_groups(start) if start is not self.network else self.groups
        now = replace(groups, widths={one.name: len(one.units) for one in own.groups})
        if first:
            return self._prune(start, now, rate)
        if self.options.analysis is not None:
            result = self._count(start, now, rate)
        else:
            result = self._prune(start, now, self._rate_of(start, now, rate))
        return replace(result, plan=self._composed(result, now, number, rate))

    def _base(self, number: int) -> Groups:
        """Return the groups that plans count from: those without the blocks that left first."""
        if number == 1 or not self.options.goes_on or self.options.drop_blocks is None:
            return self.groups
        return find_groups(without_blocks(self.network, self.store.plan(number - 1)))

    def _prune(self, start: Network, groups: Groups, rate: float) -> PruneResult:
        options = self.options.of_round(rate)
        if start is not self.network:
            options = replace(options, drop_blocks=None)  # they left in the first round
        return prune(
            start, options, groups=groups, data=self.data,
            progress=self.progress,
        )  # fmt: skip

    def _count(self, start: Network, groups: Groups, rate: float) -> PruneResult:
        """Prune to the numbers of channels that the curves of the original give."""
        options = self.options
        asked = options.of_round(rate)
        left = channels_left(self.network, self.groups, asked, self.data)
        return apply_plan(
            start, counted_plan(groups, left), groups=groups, data=self.data,
            criterion=resolved_criterion(options.criterion, options.analysis, self.data),
            repair=options.repair, progress=self.progress,
        )  # fmt: skip

    def _rate_of(self, start: Network, groups: Groups, rate: float) -> float:
        """Return a rate of the original as one of a smaller network."""
        whole, now = self._spent(self.network, self.groups), self._spent(start, groups)
        return max(0.0, 1.0 - (1.0 - rate) * whole / now)

    def _spent(self, network: Network, groups: Groups) -> float:
        """Return the cost of a network in the budget."""
        if self.options.counted == TARGET:
            return make_costs(network, groups, TARGET, target=self.options.target).total()
        cost = self.cost if network is self.network else measure_cost(network, groups)
        counted = {PARAMETERS: cost.parameters, CONVOLUTIONS: cost.convolution_operations}
        return counted.get(self.options.budget, cost.operations)

    def _composed(self, result: PruneResult, groups: Groups, number: int, rate: float) -> Plan:
        """Return what was removed from the original in all rounds so far."""
        last, own = self.store.plan(number - 1), self._base(number)
        before = removed_units(last, own)
        removed = composed(before, own, removed_units(result.plan, groups), groups)
        now = self._spent(result.network, find_groups(result.network))
        achieved = 1.0 - now / max(self._spent(self.network, self.groups), 1)
        provenance = {
            **result.plan.provenance,
            "model": self.network.name,
            "digest": f"sha256:{digest(self.network)}",
            "rate": {"asked": float(rate), "achieved": round(achieved, 6)},
        }
        return replace(make_plan(own, removed, provenance), dropped=last.dropped)

    def measured(self, pruned: Network, number: int, rate: float) -> Round:
        """Return the figures of the network of a round."""
        now = measure_cost(pruned, find_groups(pruned))
        value = self.meter.value(pruned, progress=self.progress)
        return Round(
            number=number,
            rate=rate,
            achieved=round(1.0 - now.operations / max(self.cost.operations, 1), 6),
            operations=now.operations,
            parameters=now.parameters,
            value=value,
            loss=self.meter.task.points * self.meter.loss(value),
        )


def _key(network: Network, data: Dataset, options: IterateOptions, progress: Progress) -> str:
    """Return a text of what all rounds depend on."""
    found = f"{VERSION} {digest(network)} {fingerprint_of(network, data, progress)} {options.key()}"
    if options.goes_on:
        found += " plans of the original"
    return found + "".join(f" {digest(companion)}" for companion in network.companions)
