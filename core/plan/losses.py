"""The losses of one partition that limits allow: those on its path, and all that can be reached."""

from __future__ import annotations

from ..coupling.partitions import Loss, Partition
from .limits import NO_LIMITS, Limits

__all__ = ["legal_path", "nearest", "reachable"]

VISITED = 10_000
"""Losses of a partition with several steps that are looked at."""


def legal_path(
    partition: Partition,
    limits: Limits = NO_LIMITS,
    *,
    start: Loss | None = None,
    end: Loss | None = None,
) -> list[Loss]:
    """Return the losses that limits allow, from a loss to another; see :meth:`.Partition.path`.

    Args:
        partition: the partition.
        limits: the legal numbers of channels. They hold for the number of steps. Where there are
            several steps, they hold for the channels of all shares together.
        start: what is lost already.
        end: the last loss, whatever the limits say.
    """
    path = partition.path(start, end)
    legal = _legal_sums(partition, limits, all_may_go=True)
    return [loss for loss in path if loss == end or sum(loss) in legal]


def reachable(partition: Partition, limits: Limits = NO_LIMITS) -> dict[int, Loss]:
    """Return the numbers of channels that a partition can lose, each with such a loss, 0 included.

    The numbers are exact up to :data:`VISITED` losses; beyond them, they are those of the path.

    Args:
        partition: the partition.
        limits: the legal numbers, as in :func:`legal_path`.
    """
    nothing = (0,) * len(partition)
    if len(partition.steps) == 1:
        found = [nothing, *partition.path()]
    else:
        found = _all(partition, nothing) or [nothing, *partition.path()]
    legal = _legal_sums(partition, limits, all_may_go=True)
    by_sum: dict[int, Loss] = {}
    for loss in found:
        count = sum(loss)
        if count == 0 or count in legal:
            by_sum.setdefault(count, loss)
    return dict(sorted(by_sum.items()))


def nearest(partition: Partition, rate: float, limits: Limits = NO_LIMITS) -> Loss:
    """Return the loss whose number of channels is nearest to a rate; of two, the lower.

    Args:
        partition: the partition.
        rate: fraction of the channels to remove.
        limits: the legal numbers.
    """
    known = reachable(partition, limits)
    wanted = rate * sum(partition.capacity)
    return known[min(known, key=lambda count: (abs(count - wanted), count))]


def _legal_sums(partition: Partition, limits: Limits, *, all_may_go: bool) -> frozenset[int]:
    """Return the numbers of channels that limits allow a partition to lose."""
    capacity = sum(partition.capacity)
    each = sum(partition.steps[0]) if len(partition.steps) == 1 else 1
    counts = limits.counts(capacity // each, all_may_go=all_may_go)
    return frozenset(each * count for count in counts)


def _all(partition: Partition, nothing: Loss) -> list[Loss] | None:
    """Return all losses of a partition, the small ones first; None if there are too many."""
    found = {nothing: None}
    layer = [nothing]
    while layer:
        following = dict.fromkeys(
            after
            for loss in layer
            for step in partition.steps
            if partition.allows(after := tuple(a + b for a, b in zip(loss, step, strict=True)))
        )
        layer = [loss for loss in following if loss not in found]
        found.update(dict.fromkeys(layer))
        if len(found) > VISITED:
            return None
    return list(found)
