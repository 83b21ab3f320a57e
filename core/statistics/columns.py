"""Which channels an operator reads, and where."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..ir.network import Network
from .operators import Array, Operator

__all__ = ["WeightColumns", "removable_units", "weight_columns"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightColumns:
    """Weights of an operator with the units of its channels; columns are inputs · taps.

    Args:
        stored: the weight as it is stored.
        matrices: [groups, outputs, columns], zeros where something is gone.
        outputs: unit of each output, [groups, outputs].
        inputs: unit of each column, [groups, columns].
        left: mask over the columns that are there, [groups, columns].
        removable: units that may still leave.
    """

    stored: Array
    matrices: Array
    outputs: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    left: npt.NDArray[np.bool_]
    removable: Set[int]

    def places(self, part: int) -> dict[int, npt.NDArray[np.int64]]:
        """Return the columns of each unit that may leave, in one group."""
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
    removed: npt.NDArray[np.bool_],
) -> WeightColumns | None:
    """Return what an operator reads; None of depthwise ones, which pass channels on.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups.
        operator: one of its operators.
        removable: what :func:`removable_units` returns.
        removed: mask over units that left before.
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
        outputs=out[:, :, 0],
        inputs=into[:, 0],
        left=~removed[into[:, 0]],
        removable=removable,
    )


def removable_units(groups: Groups, removed: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Return the units that may still leave."""
    return frozenset(
        group.units[place]
        for group in groups.groups
        for partition in group.partitions
        for share in partition
        for place in share
        if not removed[group.units[place]]
    )
