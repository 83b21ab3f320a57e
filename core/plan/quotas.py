"""Quotas: a fixed number of channels for each share of a partition to lose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ..coupling.groups import Groups, Partition
from ..coupling.indices import UnitMask
from ..errors import PlanError
from .limits import NO_LIMITS, Limits
from .steps import Order, Step

__all__ = ["Quotas", "check_quotas", "nearest", "partitions", "quotas_of", "split"]

Quotas = Mapping[int, int]
"""Number of a partition (see :func:`partitions`) → channels that each of its shares loses."""


def partitions(groups: Groups) -> Iterator[tuple[int, Partition]]:
    """Yield every partition with the position of its group, in the order of their numbers."""
    for index, group in enumerate(groups.groups):
        for partition in group.partitions:
            yield index, partition


def nearest(rate: float, channels: int, limits: Limits = NO_LIMITS) -> int:
    """Return the legal number of channels to remove that is nearest to a rate; of two, the lower.

    Args:
        rate: fraction of the channels to remove.
        channels: number of channels of a share.
        limits: the legal numbers.
    """
    legal = (0, *limits.counts(channels))
    return min(legal, key=lambda count: (abs(count - rate * channels), count))


def quotas_of(groups: Groups, removed: UnitMask) -> dict[int, int]:
    """Return number of a partition → channels that a mask over units removes from each share."""
    return {
        number: int(removed[groups.groups[index].members(partition[0])].sum())
        for number, (index, partition) in enumerate(partitions(groups))
    }


def split(order: Order, groups: Groups, quotas: Quotas) -> tuple[list[Step], list[Step]]:
    """Return the steps that quotas demand, and the steps of partitions without a quota.

    Args:
        order: the steps; those of a partition in the order of their removal.
        groups: the groups of the steps.
        quotas: the quotas.
    """
    partition_of = {
        unit: (number, len(partition))
        for number, (index, partition) in enumerate(partitions(groups))
        for share in partition
        for unit in groups.groups[index].members(share)
    }
    removed: dict[int, int] = defaultdict(int)
    first, rest = [], []
    for step in order:
        number, shares = partition_of[step.units[0]]
        if number not in quotas:
            rest.append(step)
            continue
        removed[number] += len(step.units) // shares
        if removed[number] <= quotas[number]:
            first.append(step)
    return first, rest


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
    for number, (index, _) in enumerate(partitions(groups)):
        if number in quotas and found[number] != quotas[number]:
            group = groups.groups[index]
            raise PlanError(
                f"group '{group.name}' cannot lose {quotas[number]} channels, only "
                f"{found[number]}: each layer keeps at least one"
            )
