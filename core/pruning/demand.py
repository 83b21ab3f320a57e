"""What is asked of a network: how much, by which method, within which floors. Is it possible?

Whether a rate can be reached follows from groups and costs alone. So it is checked before anything
is measured on data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..allocation.overrides import override_quotas
from ..allocation.registry import AllocationContext
from ..allocation.sensitivity import check_reach
from ..allocation.trial import CANDIDATES, Trial
from ..cost.budget import make_costs
from ..cost.budgets import CONVOLUTIONS, LATENCY, OPERATIONS, PARAMETERS, TARGET
from ..cost.measured_steps import measured_times
from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.edit import mask
from ..coupling.groups import Group, Groups
from ..coupling.indices import UnitMask
from ..data import Dataset
from ..errors import PlanError
from ..ir.network import Network
from ..plan.exclude import closed
from ..plan.floors import Floors, find_floors
from ..plan.limits import Limits
from ..plan.quotas import Quotas, asked_steps, partitions, unasked
from ..plan.reach import Reach, find_reach, steps_left
from ..plan.steps import SLACK, Step, legal_steps
from ..progress import Progress, silent
from .options import PruneOptions
from .resolve import Method, resolve, scores_of

__all__ = ["Demand"]

COUNTED = {
    OPERATIONS: "operations",
    CONVOLUTIONS: "operations of convolutions",
    PARAMETERS: "parameters",
    LATENCY: "time",
    TARGET: "cost of the target",
}
"""Budget → what its shares are shares of, in words."""

NAMED = 3
"""Groups that a message names; it counts the others."""

NAMED_SHARE = 0.001
"""Groups that cost a smaller part of the whole do not keep a rate from being reached."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked of a network.

    Args:
        network: the network.
        groups: its groups.
        open: the same, without partitions where the user excluded a layer.
        options: how much to remove, and by which method.
        method: criterion and allocation that apply.
        costs: what a rate is a fraction of.
        quotas: partitions that lose a given number.
        floors: what every share and every layer keeps.
    """

    network: Network
    groups: Groups
    open: Groups
    options: PruneOptions
    method: Method
    costs: Costs
    quotas: Quotas
    floors: Floors

    @classmethod
    def of(
        cls,
        network: Network,
        groups: Groups,
        options: PruneOptions,
        *,
        data: Dataset | None = None,
        progress: Progress = silent,
    ) -> Demand:
        """Return what options ask of a network; a budget of latency may be measured for it.

        Raises:
            PlanError: options do not fit the network or each other, or nothing can be removed.
        """
        open_groups = closed(network, groups, options.exclude)
        if not any(group.prunable for group in open_groups.groups):
            fixed = [f"'{group.name}' ({_reason(group)})" for group in _fixed(open_groups)]
            hint = (
                f"fixed are {_listed(fixed)}" if fixed
                else "it has no convolution and no fully connected layer"
            )  # fmt: skip
            raise PlanError(
                "no channel of this network can be removed",
                hint="; ".join([hint, *_remedies(open_groups)]),
            )
        method = resolve(options, rate=options.rate, data=data)
        if options.budget == LATENCY and options.latencies is None:
            options = replace(options, latencies=measured_times(network, progress=progress))
        costs = make_costs(network, open_groups, options.counted, options.latencies, options.target)
        limits = options.limits.without_width if costs.in_blocks else options.limits
        options = replace(options, limits=limits)
        quotas = override_quotas(open_groups, options.overrides, limits, options.analysis)
        asked = {k for number, (k, _) in enumerate(partitions(open_groups)) if number in quotas}
        return cls(
            network=network,
            groups=groups,
            open=open_groups,
            options=options,
            method=method,
            costs=costs,
            quotas=quotas,
            floors=find_floors(open_groups, limits.finest, asked),
        )

    def achieved(self, removed: UnitMask) -> float:
        """Return the fraction of the cost that a mask over units removes."""
        whole = self.costs.total()
        return 1.0 - self.costs.total(removed) / whole if whole else 0.0

    def context(
        self,
        data: Dataset | None,
        progress: Progress = silent,
        *,
        removed: UnitMask | None = None,
    ) -> AllocationContext:
        """Return what the allocation looks at; a criterion may read the data for it.

        Args:
            data: the samples.
            progress: told how far the work is.
            removed: mask over units that are gone already: the others are scored in the network
                with zeros in their places, and they leave first. None for the whole network.
        """
        options = self.options
        network = self.network
        if removed is not None and removed.any():
            network = mask(network, self.open, removed)
        scores = scores_of(network, self.open, self.method.criterion, options, data, progress)
        if removed is not None and removed.any():
            scores = scores.copy()
            scores[removed] = np.nextafter(min(float(scores[~removed].min()), 0.0), -np.inf)
        return AllocationContext(
            groups=self.open,
            limits=options.limits,
            savings=MarginalSavings(self.open, self.costs).saved,
            scores=scores,
            analysis=options.analysis,
            threshold=options.threshold,
            normalize=self.method.normalize,
            network=self.network,
            trial=self._trial(data, progress),
        )

    def _trial(self, data: Dataset | None, progress: Progress) -> Trial | None:
        """Return what removals are measured with, where the allocation does so."""
        options = self.options
        if data is None or options.rate is None or not self.method.allocation.needs_data:
            return None
        return Trial(
            network=self.network,
            groups=self.open,
            data=data,
            rate=options.rate,
            costs=self.costs,
            quotas=self.quotas,
            floors=self.floors,
            task=options.task,
            candidates=options.candidates or CANDIDATES,
            progress=progress,
            jobs=options.jobs,
        )

    def steps(self, context: AllocationContext) -> tuple[list[Step], list[Step]]:
        """Return the steps that quotas demand, and those of the allocation for all others."""
        rest = unasked(self.method.allocation.order(context), self.open, self.quotas)
        first = asked_steps(self.open, context.scores, context.limits, self.quotas)
        return first, rest

    def check(self) -> None:
        """Raise if the rate is out of reach, unless the user wants to go as far as possible.

        Raises:
            PlanError: names the largest rate, and what keeps the rest.
        """
        if self.options.rate is None or self.options.as_far_as_possible:
            return
        reach = self.reach()
        if self.method.allocation.needs_analysis and self.options.analysis is not None:
            check_reach(self.options.analysis, self.options.rate, reach.most)
        if self.options.rate > reach.most + SLACK:
            raise self.refusal(reach)

    def reach(self) -> Reach:
        """Return how far the network can be pruned."""
        limits = self.options.limits.finest
        if not self.method.allocation.needs_analysis:
            return find_reach(self.open, self.costs, limits, self.quotas, self.floors)
        # An analysis has the order of all channels.
        first, rest = self.steps(replace(self.context(None), limits=limits))
        legal = legal_steps([*first, *rest], self.open, self.floors)
        rate = self.achieved(self.open.mask(unit for step in legal for unit in step.units))
        return Reach(rate, rate)

    def exhausted(self, removed: UnitMask) -> bool:
        """Return whether no channel may leave after a removal (a mask over units)."""
        limits = self.options.limits.finest
        return not steps_left(self.open, removed, limits, self.quotas, self.floors)

    def refusal(self, reach: Reach) -> PlanError:
        """Return the error that says why the rate is out of reach."""
        rate, limits = self.options.rate, self.options.limits
        assert rate is not None, "only a rate is out of reach"
        fixed = self._shares()
        part = (
            f"{limits.min_keep * 100:g} % of their channels" if limits.min_keep else "one channel"
        )
        others = f"{'others' if fixed else 'layers'} keep at least {part}"
        if not limits.finest.single:
            others += f", and a multiple of {limits.round_to}"
        if limits.max_rate < 1.0:
            others += f", and lose at most {limits.max_rate * 100:g} % of them"
        why = f"fixed are {_listed(fixed)}; {others}" if fixed else others
        offered = _rounded_down(reach.sure)
        most = f"{max(reach.sure, 0.0):.3f}"
        if reach.most - reach.sure > SLACK:
            most += f" to {reach.most:.3f}, by which channels stay,"
        hints = [f"a rate of {offered:g}"] if offered else []
        hints += [*_remedies(self.open), *self._wider(), "--as-far-as-possible"]
        return PlanError(
            f"rate {rate:g} is out of reach, {most} is the most: {why}",
            hint=", ".join(hints[:-1]) + f" or {hints[-1]}" if len(hints) > 1 else hints[0],
            option="rate",
        )

    def _wider(self) -> list[str]:
        """Return which limits, if they were wider, would let the rate come nearer."""

        def most(limits: Limits) -> float:
            floors = find_floors(self.open, limits, self._asked)
            return find_reach(self.open, self.costs, limits, self.quotas, floors).most

        limits = self.options.limits.finest
        if self.method.allocation.needs_analysis:  # its curves may end anywhere
            return ["a smaller --min-keep"] if limits.min_keep else []
        now = most(limits)
        wider = {
            "a smaller --min-keep": replace(limits, min_keep=0.0),
            "a smaller --round-to": replace(limits, round_to=1),
            "a larger --max-rate": replace(limits, max_rate=1.0),
        }
        return [text for text, other in wider.items() if most(other) > now + SLACK]

    @property
    def _asked(self) -> set[int]:
        """Positions of the groups of which the user said how many channels leave."""
        return {index for number, (index, _) in enumerate(partitions(self.open))
                if number in self.quotas}  # fmt: skip

    def _shares(self) -> list[str]:
        """Return the groups that keep all channels and cost much, the most costly first."""
        whole = self.costs.total() or 1.0
        cost: dict[str, float] = {}
        for term in self.costs.terms:
            owner = self.open.group_of.get(self.open.distinct_units(term.out[:1])[0])
            if owner is not None:
                cost[owner.name] = cost.get(owner.name, 0.0) + self.costs.of(term, None)
        fixed = [
            (cost.get(group.name, 0.0) / whole, group)
            for group in self.open.groups
            if not group.prunable or self._not_analysed(group)
        ]
        what = COUNTED[self.options.counted]
        return [
            f"'{group.name}' ({self._why(group)}; {share * 100:.1f} % of the {what})"
            for share, group in sorted(fixed, key=lambda entry: -entry[0])
            if share >= NAMED_SHARE
        ]

    def _not_analysed(self, group: Group) -> bool:
        """Whether an allocation by curves keeps a group, since it has none."""
        analysis = self.options.analysis
        if analysis is None or not self.method.allocation.needs_analysis:
            return False
        return analysis.by_name(group.name) is None

    def _why(self, group: Group) -> str:
        return "left out by the analysis" if group.prunable else _reason(group)


def _fixed(open_groups: Groups) -> list[Group]:
    """Return the groups that keep all channels."""
    return [group for group in open_groups.groups if not group.prunable]


def _reason(group: Group) -> str:
    return str(group.reason) if group.reason is not None else "excluded"


def _remedies(open_groups: Groups) -> list[str]:
    """Return what users may do so that fixed groups are fixed no more."""
    reasons = [group.reason for group in _fixed(open_groups) if group.reason is not None]
    return list(dict.fromkeys(one.remedy for one in reasons if one.remedy is not None))


def _listed(texts: list[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _rounded_down(rate: float) -> float:
    """Return a rate in whole hundredths, or thousandths where it is small, never above it."""
    digits = 100 if rate >= 0.01 else 1000
    return math.floor(rate * digits + 1e-9) / digits
