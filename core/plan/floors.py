"""Floors: what every share of a group, and every layer, keeps at least.

A group may hold the channels of several layers, of which some are narrow. If only the group kept a
part of its channels, such a layer could be left with one. So each layer has a floor of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from .limits import Limits
from .losses import largest_loss

__all__ = ["Floors", "find_floors", "protected_units", "scale_of"]


@dataclass(frozen=True, slots=True)
class Floors:
    """Sets of units with the number of units that each keeps at least.

    Args:
        sets: the units of a share, of the outputs of a layer, or of a part of a value.
        least: for each set, how many stay.
    """

    sets: tuple[tuple[Unit, ...], ...]
    least: tuple[int, ...]


def scale_of(groups: Groups, index: int) -> float:
    """Return by how much a group was wider before earlier rounds; 1 where there were none."""
    group = groups.groups[index]
    return max(1.0, groups.widths.get(group.name, 0) / len(group.units))


def find_floors(groups: Groups, limits: Limits, asked: Collection[int] = ()) -> Floors:
    """Return the floors of all shares and layers.

    Args:
        groups: the groups.
        limits: the legal numbers of channels.
        asked: positions of groups of which the user said how many channels leave; there, each layer
            keeps one channel.
    """
    owner = {unit: k for k, group in enumerate(groups.groups) for unit in group.units}
    sets, least = [], []
    for units in groups.kept_units:
        index = owner.get(units[0])
        free = index in asked
        scale = 1.0 if index is None else scale_of(groups, index)
        sets.append(units)
        least.append(1 if free else limits.floor(len(units), scale))
    for units, count in groups.kept_crowds:
        sets.append(units)
        least.append(min(count, len(units)))
    for index, group in enumerate(groups.groups):
        for partition in () if index in asked else group.partitions:
            largest = largest_loss(partition, limits, scale_of(groups, index))
            for share, lost in zip(partition, largest, strict=True):
                sets.append(tuple(group.members(share)))
                least.append(len(share) - lost)
    return Floors(tuple(sets), tuple(least))


def protected_units(groups: Groups, scores: npt.NDArray[np.float64], floors: Floors) -> UnitMask:
    """Return a mask over units: those of the highest scores that the floors keep.

    What is kept for a narrow set counts for the wider sets around it.

    Args:
        groups: the groups.
        scores: score of every unit [units].
        floors: their floors.
    """
    kept = ~groups.mask(unit for group in groups.groups for unit in group.removable())
    for number in sorted(range(len(floors.sets)), key=lambda k: len(floors.sets[k])):
        units = np.array(floors.sets[number])
        lacking = floors.least[number] - int(kept[units].sum())
        if lacking > 0:
            free = units[~kept[units]]
            ranked = free[np.lexsort((free, scores[free]))]
            kept[ranked[len(ranked) - lacking :]] = True
    return UnitMask(kept)
