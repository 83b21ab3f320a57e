"""Quotas: how many channels the shares of a partition lose, where that is fixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups, Partition
from ..coupling.indices import UnitMask
from ..errors import PlanError
from .limits import Limits
from .losses import Quotas
from .steps import Order, Step, partition_steps

__all__ = ["Quotas", "asked_steps", "check_quotas", "partitions", "quotas_of", "unasked"]


def partitions(groups: Groups) -> Iterator[tuple[int, Partition]]:
    """Yield every partition with the position of its group, in the order of their numbers."""
    for index, group in enumerate(groups.groups):
        for partition in group.partitions:
            yield index, partition


def quotas_of(groups: Groups, removed: UnitMask) -> Quotas:
    """Return number of a partition → channels that a mask over units removes from its shares."""
    return {
        number: tuple(
            int(removed[groups.groups[index].members(share)].sum()) for share in partition
        )
        for number, (index, partition) in enumerate(partitions(groups))
    }


def asked_steps(
    groups: Groups, scores: npt.NDArray[np.float64], limits: Limits, quotas: Quotas
) -> list[Step]:
    """Return the steps that quotas demand, evenly over their partitions.

    Args:
        groups: the groups.
        scores: score of every unit [units]; the lowest leave first.
        limits: the legal numbers of channels, of which the floor does not count here.
        quotas: the quotas.
    """
    steps = [
        step
        for number, own in enumerate(
            partition_steps(groups, scores, limits.as_named, quotas)
        )
        if number in quotas
        for step in own
    ]  # fmt: skip
    return sorted(steps, key=lambda step: (step.fraction, step.group, step.units))


def unasked(order: Order, groups: Groups, quotas: Quotas) -> list[Step]:
    """Return the steps of partitions without a quota."""
    asked = {
        unit
        for number, (index, partition) in enumerate(partitions(groups))
        if number in quotas
        for share in partition
        for unit in groups.groups[index].members(share)
    }
    return [step for step in order if step.units[0] not in asked]


def check_quotas(groups: Groups, removed: UnitMask, quotas: Quotas) -> None:
    """Raise if a partition did not lose its quota.

    Args:
        groups: the groups.
        removed: mask over units.
        quotas: the quotas.

    Raises:
        PlanError: names the group.
    """
    found = quotas_of(groups, removed)
    asked: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for number, (index, _) in enumerate(partitions(groups)):
        if number in quotas:
            asked[index][0] += sum(quotas[number])
            asked[index][1] += sum(found[number])
    for index, (quota, lost) in asked.items():
        if quota != lost:
            raise PlanError(
                f"group '{groups.groups[index].name}' cannot lose {quota} channels, only {lost}: "
                "each layer keeps at least one"
            )
