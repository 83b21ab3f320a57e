"""The columns of an operator's weight, and the units that they read."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask, UnitVector
from ..ir.network import Network
from .operators import Array, Operator

__all__ = ["WeightColumns", "removable_units", "weight_columns"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightColumns:
    """The weight of an operator as matrices, with the units of its channels.

    A column is one input channel at one tap of the kernel. Groups are those of the operator.

    Args:
        stored: the weight as it is stored.
        matrices: [groups, outputs, columns], zeros for removed channels.
        outputs: unit of each output, [groups, outputs].
        inputs: unit of each column, [groups, columns].
        left: mask over the columns of units that are not removed, [groups, columns].
        removable: units that can still be removed.
    """

    stored: Array
    matrices: Array
    outputs: UnitVector
    inputs: UnitVector
    left: npt.NDArray[np.bool_]
    removable: Set[int]

    def places(self, part: int) -> dict[int, npt.NDArray[np.int64]]:
        """Return the columns of each unit that can be removed, in one group of the operator."""
        columns = self.inputs[part]
        return {
            unit: np.flatnonzero(columns == unit)
            for unit in np.unique(columns).tolist()
            if unit in self.removable
        }


def weight_columns(
    network: Network,
    groups: Groups,
    operator: Operator,
    removable: Set[int],
    removed: UnitMask,
) -> WeightColumns | None:
    """Return the columns of an operator; None for a depthwise one, which consumes no channels.

    Args:
        network: the network, with zeros for channels that were removed before.
        groups: its groups.
        operator: one of its operators.
        removable: the units that :func:`removable_units` returns.
        removed: mask over the units that were removed before, [units].
    """
    labels = next(
        (use.labels for use in reversed(groups.uses) if use.parameter == operator.weight), ()
    )
    if len(labels) < 2:
        return None
    stored = network.array(operator.weight)
    out, into = (
        operator.matrix(np.broadcast_to(groups.units[array], stored.shape)) for array in labels
    )
    return WeightColumns(
        stored=stored,
        matrices=np.where(removed[out] | removed[into], np.float32(0.0), operator.matrix(stored)),
        outputs=UnitVector(out[:, :, 0]),
        inputs=UnitVector(into[:, 0]),
        left=~removed[into[:, 0]],
        removable=removable,
    )


def removable_units(groups: Groups, removed: UnitMask) -> frozenset[int]:
    """Return the units that can still be removed.

    Args:
        groups: the groups.
        removed: mask over the units that were removed before, [units].
    """
    return frozenset(
        group.units[place]
        for group in groups.groups
        for partition in group.partitions
        for share in partition
        for place in share
        if not removed[group.units[place]]
    )
