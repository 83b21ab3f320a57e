"""Which channels an operator reads, and where."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..ir.network import Network
from .operators import Array, Operator

__all__ = ["Reading", "reading", "removable_classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Weights of an operator with the classes of its channels; columns are inputs · taps.

    Args:
        stored: the weight as it is stored.
        matrices: [groups, outputs, columns], zeros where something is gone.
        outputs: class of each output, [groups, outputs].
        inputs: class of each column, [groups, columns].
        left: mask over the columns that are there, [groups, columns].
        removable: classes that may still leave.
    """

    stored: Array
    matrices: Array
    outputs: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    left: npt.NDArray[np.bool_]
    removable: Set[int]

    def places(self, part: int) -> dict[int, npt.NDArray[np.int64]]:
        """Return the columns of each class that may leave, in one group."""
        columns = self.inputs[part]
        return {
            channel: np.flatnonzero(columns == channel)
            for channel in np.unique(columns).tolist()
            if channel in self.removable
        }


def reading(
    network: Network,
    groups: Groups,
    operator: Operator,
    removable: Set[int],
    removed: npt.NDArray[np.bool_],
) -> Reading | None:
    """Return what an operator reads; None of depthwise ones, which pass channels on.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups.
        operator: one of its operators.
        removable: what :func:`removable_classes` returns.
        removed: mask over classes that left before.
    """
    labels = next(
        (use.labels for use in reversed(groups.uses) if use.parameter == operator.weight), ()
    )
    if len(labels) < 2:
        return None
    stored = network.array(operator.weight)
    out, into = (
        operator.matrix(np.broadcast_to(groups.classes[array], stored.shape)) for array in labels
    )
    return Reading(
        stored=stored,
        matrices=np.where(removed[out] | removed[into], np.float32(0.0), operator.matrix(stored)),
        outputs=out[:, :, 0],
        inputs=into[:, 0],
        left=~removed[into[:, 0]],
        removable=removable,
    )


def removable_classes(groups: Groups, removed: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Return the classes that may still leave."""
    return frozenset(
        group.channels[place]
        for group in groups.groups
        for bank in group.banks
        for cell in bank
        for place in cell
        if not removed[group.channels[place]]
    )
