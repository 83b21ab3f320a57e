"""What a whole group can lose: the numbers of channels that its partitions reach together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..coupling.groups import Groups
from ..coupling.indices import Unit
from ..coupling.partitions import Loss, Partition
from ..errors import PlanError
from ..plan.limits import NO_LIMITS, Limits
from ..plan.losses import nearest, reachable
from ..plan.quotas import partitions

__all__ = ["GroupLosses"]


@dataclass(frozen=True, kw_only=True)
class GroupLosses:
    """The losses of one group.

    Args:
        groups: all groups.
        index: position of the group.
        limits: the legal numbers of channels.
        partitions: the partitions of the group by their numbers.
        options: for each partition, the numbers of channels that it can lose, with such losses.
        sums: bit n of entry k is set where the first k partitions can lose n channels together.
    """

    groups: Groups
    index: int
    limits: Limits
    partitions: dict[int, Partition]
    options: tuple[dict[int, Loss], ...]
    sums: tuple[int, ...]

    @classmethod
    def of(cls, groups: Groups, index: int, limits: Limits = NO_LIMITS) -> GroupLosses:
        """Find what a group can lose within limits."""
        own = {
            number: partition
            for number, (owner, partition) in enumerate(partitions(groups))
            if owner == index
        }
        options = tuple(reachable(partition, limits) for partition in own.values())
        sums = [1]
        for option in options:
            reached = 0
            for count in option:
                reached |= sums[-1] << count
            sums.append(reached)
        return cls(
            groups=groups, index=index, limits=limits, partitions=own, options=options,
            sums=tuple(sums),
        )  # fmt: skip

    @property
    def channels(self) -> int:
        """Number of channels that a rate counts."""
        return sum(sum(partition.capacity) for partition in self.partitions.values())

    def at_rate(self, rate: float, name: str) -> dict[int, Loss]:
        """Return number of a partition → the loss that is nearest to a rate.

        Each partition loses the number that is nearest for it. If that is nothing for all, or more
        than layers can lose together, the group loses the number that is nearest for it as a whole.

        Args:
            rate: fraction of the channels, 0 to below 1.
            name: what the user calls the group.

        Raises:
            PlanError: the rate is over 0, but nothing would leave, or so much cannot leave.
        """
        found = {
            number: nearest(partition, rate, self.limits)
            for number, partition in self.partitions.items()
        }
        wanted = rate * self.channels
        if rate and not (_total(found) and self._legal(found)):
            found = next(self._by_distance(wanted))
        missed = wanted - _total(found)
        group = self.groups.groups[self.index]
        if rate and (
            not _total(found) or missed >= group.step * self.limits.multiple(self.channels)
        ):
            raise PlanError(
                f"'{name}' cannot lose {rate:g} of its {self.channels} channels: "
                f"{self._possible(wanted)}",
                hint=self._hint(wanted),
            )
        return found

    def at(self, count: int) -> dict[int, Loss] | None:
        """Return number of a partition → a loss, in all of `count` channels; None if impossible.

        The losses are as even as possible.
        """
        if count < 0 or not self.sums[-1] >> count & 1:
            return None
        found: dict[int, Loss] = {}
        weights = [sum(partition.capacity) for partition in self.partitions.values()]
        rest = count
        for place in reversed(range(len(weights))):
            even = rest * weights[place] / sum(weights[: place + 1])
            fitting = [
                own for own in self.options[place]
                if own <= rest and self.sums[place] >> (rest - own) & 1
            ]  # fmt: skip
            own = min(fitting, key=lambda option: (abs(option - even), option))
            found[list(self.partitions)[place]] = self.options[place][own]
            rest -= own
        return found if self._legal(found) else None

    def around(self, wanted: float) -> tuple[int | None, int | None]:
        """Return the nearest possible numbers of channels up to a number, and above it."""
        counts = [_total(found) for found in self._by_distance(wanted, most=64)]
        below = max((count for count in counts if count <= wanted), default=None)
        return below, min((count for count in counts if count > wanted), default=None)

    def _by_distance(self, wanted: float, most: int | None = None) -> Iterator[dict[int, Loss]]:
        """Yield legal losses, the nearest to a number of channels first; of two, the lower."""
        reached = self.sums[-1]
        counts = [count for count in range(reached.bit_length()) if reached >> count & 1]
        for count in sorted(counts, key=lambda count: (abs(count - wanted), count))[:most]:
            found = self.at(count)
            if found is not None:
                yield found

    def _legal(self, losses: dict[int, Loss]) -> bool:
        """Return whether every value keeps a channel."""
        group = self.groups.groups[self.index]
        gone: set[Unit] = set()
        for number, loss in losses.items():
            for share, lost in zip(self.partitions[number], loss, strict=True):
                if lost == len(share):
                    gone.update(group.members(share))
        return not any(gone.issuperset(units) for units in self.groups.kept_units)

    def _possible(self, wanted: float) -> str:
        """Return in words which numbers are nearest."""
        below, above = self.around(wanted)
        if not below and above is None:
            return "the limits allow no other number than 0"
        known = [str(count) for count in (below, above) if count is not None]
        return f"the nearest possible numbers are {' and '.join(known)}"

    def _hint(self, wanted: float) -> str | None:
        below, above = self.around(wanted)
        offered = above if above is not None else below
        return f"a rate of {offered / self.channels:.3g}" if offered else None


def _total(losses: dict[int, Loss]) -> int:
    return sum(map(sum, losses.values()))
