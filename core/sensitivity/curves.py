"""What an analysis measures: for every group, how many channels are gone at each rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..coupling.groups import Group, Groups
from ..coupling.indices import LabelMask, Unit
from ..criteria.registry import Scores
from ..plan.steps import Step, legal_steps, partition_steps

__all__ = ["Curve", "find_curves"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """What is to be measured of one group.

    Args:
        group: the group.
        order: its removable channels (units) in the order they leave.
        counts: how many of them are gone at each rate: the most that whole steps allow.
    """

    group: Group
    order: tuple[Unit, ...]
    counts: tuple[int, ...]

    @property
    def distinct(self) -> list[int]:
        """Numbers of removed channels to measure, rising."""
        return sorted(set(self.counts) - {0})

    @property
    def places(self) -> tuple[int, ...]:
        """The order as positions among the channels of the group."""
        place = {channel: index for index, channel in enumerate(self.group.units)}
        return tuple(place[channel] for channel in self.order)

    def surviving(self, groups: Groups, count: int) -> LabelMask:
        """Return which labels survive when so many channels are gone."""
        return groups.surviving(groups.mask(self.order[:count]))


def find_curves(groups: Groups, scores: Scores, rates: Sequence[float]) -> list[Curve]:
    """Return what to measure of the groups that can be pruned, in their order.

    Args:
        groups: the groups.
        scores: of each unit; the lowest leave first.
        rates: shares of a group's channels.
    """
    steps: dict[int, list[Step]] = {}
    for partition in partition_steps(groups, scores):
        for step in partition:
            steps.setdefault(step.group, []).append(step)
    curves = []
    for index, own in sorted(steps.items()):
        group = groups.groups[index]
        legal = legal_steps(sorted(own, key=lambda step: (step.fraction, step.units)), groups)
        gone = np.cumsum([0, *(len(step.units) for step in legal)])
        limits = [rate * len(group.units) + 1e-9 for rate in rates]
        curves.append(
            Curve(
                group=group,
                order=tuple(channel for step in legal for channel in step.units),
                counts=tuple(int(gone[gone <= limit].max()) for limit in limits),
            )
        )
    return curves
