"""What is to be removed during training, and which channels that can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..cost.budget import make_costs
from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..coupling.partitions import Loss
from ..criteria.registry import CRITERIA, Criterion, ScoreContext, Scores
from ..errors import PlanError
from ..ir.digest import digest
from ..ir.network import Network
from ..ir.windows import windows
from ..plan.exclude import closed
from ..plan.floors import Floors, find_floors
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.plan import Plan, make_plan
from ..plan.quotas import asked_steps
from ..plan.reach import find_reach
from ..plan.steps import SLACK, Step, cut, legal_steps, partition_steps
from .sparsify import SparsifyOptions

__all__ = ["Share", "Target"]


@dataclass(frozen=True, slots=True)
class Share:
    """Units of which a given number leave; any of them may be among these.

    Args:
        units: the units.
        leave: so many are removed in the end.
    """

    units: tuple[Unit, ...]
    leave: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be removed.

    Args:
        network: the network at its full size.
        whole: its groups.
        groups: the same, without partitions for layers that keep all channels.
        costs: operations of the network.
        limits: the legal numbers of channels.
        floors: what every share and every layer keeps.
        criterion: scores the channels.
        rate: fraction of the operations to remove.
        before: mask over units: those that are gone from the start.
    """

    network: Network
    whole: Groups
    groups: Groups
    costs: Costs
    limits: Limits
    floors: Floors
    criterion: Criterion
    rate: float
    before: UnitMask

    @classmethod
    def of(
        cls, network: Network, groups: Groups, before: UnitMask, options: SparsifyOptions
    ) -> Target:
        """Return what options ask of a network.

        Args:
            network: the network.
            groups: its groups.
            before: mask over units: those that are gone from the start.
            options: what is asked.

        Raises:
            PlanError: the criterion is unknown or needs data, a layer to keep is not in the
                network, the rate is out of reach or below what is gone already, or zeros would
                not compute what a smaller network does.
        """
        if any(window.free for _, _, window in windows(network)):
            raise PlanError(
                "a network with zeros computes another LRN than the dense one",
                hint="leave --lrn inexact out",
                option="sparsify",
            )
        criterion = CRITERIA.find(options.criterion)
        if criterion.needs_data:
            known = ", ".join(sorted(n for n, one in CRITERIA.items() if not one.needs_data))
            raise PlanError(
                f"criterion '{criterion.name}' needs data, and training asks for scores often",
                hint=f"without data work {known}",
            )
        assert options.rate is not None, "a method goes with a rate"
        open_groups = closed(network, groups, options.exclude)
        found = cls(
            network=network,
            whole=groups,
            groups=open_groups,
            costs=make_costs(network, groups),
            limits=options.limits,
            floors=_lowered(find_floors(open_groups, options.limits.finest), before),
            criterion=criterion,
            rate=options.rate,
            before=before,
        )
        found._check()
        return found

    def _check(self) -> None:
        """Raise where the rate cannot be reached, or is reached from the start.

        Raises:
            PlanError: it says what can be.
        """
        gone = self.reached(self.before)
        if gone > self.rate + SLACK:
            raise PlanError(
                f"the plan removes {gone:.3f} of the operations already, over the rate "
                f"{self.rate:g}",
                hint="a higher --rate",
                option="rate",
            )
        most = find_reach(self.groups, self.costs, self.limits.finest, {}, self.floors).most
        if self.rate > max(most, gone) + SLACK:
            raise PlanError(
                f"rate {self.rate:g} is out of reach, {max(most, 0.0):.3f} is the most",
                hint="a lower --rate, a smaller --min-keep, or fewer layers in --exclude",
                option="rate",
            )

    def scores(self, network: Network) -> Scores:
        """Return the score of every unit in a network of the same shape; the lowest leave first."""
        return self.criterion.score(ScoreContext(network=network, groups=self.whole))

    def reached(self, removed: UnitMask) -> float:
        """Return the fraction of the operations that a mask over units removes."""
        whole = self.costs.total()
        return 1.0 - self.costs.total(removed) / whole if whole else 0.0

    def toward(
        self, rate: float, scores: Scores, removed: UnitMask, *, filled: bool = True
    ) -> UnitMask:
        """Return a mask over units that removes more, evenly over all groups.

        Args:
            rate: fraction of the operations, which is not exceeded.
            scores: score of every unit.
            removed: mask over the units that are gone already.
            filled: whether small steps out of their turn come as near to the rate as possible. On
                the way to a higher rate they would make small groups lose most.
        """
        rate = max(rate, self.reached(removed))
        if filled:
            for limits in (self.limits, *self.limits.finer):
                if rate - self.reached(removed) > SLACK:
                    gone, steps = self._steps(scores, removed, limits)
                    removed, _ = cut(
                        steps, self.groups, self.costs, rate, gone, self.floors, near=limits.near
                    )
            return removed
        gone, steps = self._steps(scores, removed, self.limits)
        legal = legal_steps([*gone, *steps], self.groups, self.floors)
        low, high = 1, len(legal)
        while low < high:  # more steps never save less
            middle = (low + high + 1) // 2
            within = self.reached(self._mask(legal[:middle])) <= rate
            low, high = (middle, high) if within else (low, middle - 1)
        return self._mask(legal[:low])

    def _steps(
        self, scores: Scores, removed: UnitMask, limits: Limits
    ) -> tuple[list[Step], list[Step]]:
        """Return the step that was taken, and those that may follow, evenly over all groups."""
        steps = [
            step
            for own in partition_steps(self.groups, _first(removed, scores), limits)
            for step in own
            if not removed[list(step.units)].all()
        ]
        steps.sort(key=lambda step: (step.fraction, step.group, step.units))
        return [Step(0, 0.0, tuple(_units(removed)))], steps

    def shares(self, scores: Scores) -> tuple[Share, ...]:
        """Return the shares of all partitions, and how many units of each leave at the rate."""
        removed = self.toward(self.rate, scores, self.before)
        return tuple(
            Share(
                tuple(group.members(share)), int(removed[group.members(share)].sum())
            )
            for group in self.groups.groups
            for partition in group.partitions
            for share in partition
        )  # fmt: skip

    def legal(self, removed: UnitMask, units: list[Unit]) -> UnitMask:
        """Return a mask that removes further units one by one, as far as floors allow."""
        steps = [Step(0, 0.0, tuple(_units(removed))), *(Step(0, 0.0, (u,)) for u in units)]
        legal = legal_steps(steps, self.groups, self.floors)
        return self._mask(legal)

    def filled(self, removed: UnitMask, scores: Scores, shares: tuple[Share, ...]) -> UnitMask:
        """Return a mask in which each share has lost its units: those gone first, then the lowest.

        Args:
            removed: mask over the units that are gone already.
            scores: score of every unit.
            shares: as :meth:`shares` returned them.
        """
        losses = iter(shares)
        quotas: dict[int, Loss] = {}
        for number, partition in enumerate(p for g in self.groups.groups for p in g.partitions):
            quotas[number] = tuple(next(losses).leave for _ in partition)
        ranked = _first(removed, scores)
        steps = asked_steps(self.groups, ranked, self.limits, quotas)
        legal = legal_steps(steps, self.groups, self.floors)
        return UnitMask(self.before | self._mask(legal))

    def _mask(self, steps: list[Step]) -> UnitMask:
        return self.groups.mask(unit for step in steps for unit in step.units)

    def plan(self, removed: UnitMask, schedule: str) -> Plan:
        """Return the plan that removes units (a mask over units)."""
        limits = self.limits
        changed = {
            name: getattr(limits, name)
            for name in ("round_to", "max_rate", "min_keep")
            if getattr(limits, name) != getattr(USUAL_LIMITS, name)
        }
        companions = [companion.name for companion in self.network.companions]
        excluded = [g.name for g, own in zip(self.whole.groups, self.groups.groups, strict=True)
                    if g.prunable and not own.prunable]  # fmt: skip
        provenance: dict[str, Any] = {
            "model": self.network.name,
            "digest": f"sha256:{digest(self.network)}",
            **({"companions": companions} if companions else {}),
            "criterion": self.criterion.name,
            "allocation": "uniform",
            "schedule": schedule,
            "rate": {"asked": self.rate, "achieved": round(self.reached(removed), 6)},
            **({"exclude": excluded} if excluded else {}),
            **({"limits": changed} if changed else {}),
        }
        return make_plan(self.whole, removed, provenance)


def _lowered(floors: Floors, before: UnitMask) -> Floors:
    """Return floors that what is gone from the start does not go below."""
    left = [int((~before[list(units)]).sum()) for units in floors.sets]
    return replace(floors, least=tuple(map(min, floors.least, left)))


def _first(removed: UnitMask, scores: Scores) -> Scores:
    """Return scores by which the units that are gone come first."""
    return np.where(removed, scores.min(initial=0.0) - 1.0, scores)


def _units(removed: UnitMask) -> Iterator[Unit]:
    return (Unit(unit) for unit in np.flatnonzero(removed).tolist())
