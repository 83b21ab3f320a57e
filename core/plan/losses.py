"""The losses of one partition that limits allow: those on its path, and all that can be reached."""

from __future__ import annotations

from collections.abc import Mapping

from ..coupling.partitions import Loss, Partition
from .limits import NO_LIMITS, Limits

__all__ = ["Quotas", "largest_loss", "legal_path", "nearest", "reachable"]

Quotas = Mapping[int, Loss]
"""Number of a partition → channels that its shares lose."""

VISITED = 10_000
"""Losses that are looked at to find all of a partition with several steps."""


def legal_path(
    partition: Partition,
    limits: Limits = NO_LIMITS,
    scale: float = 1.0,
    *,
    start: Loss | None = None,
    end: Loss | None = None,
) -> list[Loss]:
    """Return the losses that limits allow, from a loss to another; see :meth:`.Partition.path`.

    Args:
        partition: the partition.
        limits: the legal numbers. Where there is one step, they hold for the number of steps: for
            the channels of a share that loses one at a time. Where there are several steps, they
            hold for the channels of all shares together.
        scale: as for :meth:`.Limits.floor`.
        start: what is lost already.
        end: the last loss, whatever the limits say.
    """
    legal = _legal_counts(partition, limits, scale)
    return [loss for loss in partition.path(start, end) if loss == end or sum(loss) in legal]


def largest_loss(partition: Partition, limits: Limits, scale: float = 1.0) -> Loss:
    """Return the last loss of the path that limits allow; it is 0 where they allow none."""
    if len(partition.steps) > 1:
        return ([_nothing(partition), *legal_path(partition, limits, scale)])[-1]
    legal = _legal_counts(partition, limits, scale)
    (step,) = partition.steps
    for count in sorted(legal, reverse=True):
        times = count // sum(step)
        if partition.allows(loss := tuple(times * each for each in step)):
            return loss
    return _nothing(partition)


def reachable(partition: Partition, limits: Limits = NO_LIMITS) -> dict[int, Loss]:
    """Return the numbers of channels that a partition can lose, each with such a loss.

    The numbers are exact up to :data:`VISITED` losses; beyond them, they are those of the path.

    Args:
        partition: the partition.
        limits: the legal numbers, as in :func:`legal_path`.
    """
    legal = _legal_counts(partition, limits)
    found = _all(partition) if len(partition.steps) > 1 else None
    by_count = {0: _nothing(partition)}
    for loss in found or partition.path():
        if (count := sum(loss)) in legal:
            by_count.setdefault(count, loss)
    return dict(sorted(by_count.items()))


def nearest(partition: Partition, rate: float, limits: Limits = NO_LIMITS) -> Loss:
    """Return the loss whose number of channels is nearest to a rate; of two, the lower.

    Args:
        partition: the partition.
        rate: fraction of the channels to remove.
        limits: the legal numbers.
    """
    known = reachable(partition, limits)
    whole, each = sum(partition.capacity), _each(partition)
    wanted = rate * (whole // each)
    return known[min(known, key=lambda count: (abs(count // each - wanted), count))]


def _nothing(partition: Partition) -> Loss:
    return (0,) * len(partition)


def _each(partition: Partition) -> int:
    """Return the channels that count as one for limits."""
    return sum(partition.steps[0]) if len(partition.steps) == 1 else 1


def _legal_counts(partition: Partition, limits: Limits, scale: float = 1.0) -> frozenset[int]:
    """Return the numbers of channels that limits allow a partition to lose."""
    each = _each(partition)
    counts = limits.counts(sum(partition.capacity) // each, scale, all_may_go=True)
    return frozenset(each * count for count in counts)


def _all(partition: Partition) -> list[Loss] | None:
    """Return all losses of a partition, the small ones first; None if there are too many."""
    layer = [_nothing(partition)]
    found: dict[Loss, None] = {}
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
