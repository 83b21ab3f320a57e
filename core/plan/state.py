"""The state of a removal: the removed units of a network, and the weights that compensate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..coupling.edit import expand, mask, shrink
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..data import Dataset
from ..ir.network import Network
from ..ir.rebuild import rebuild

__all__ = ["PruningState", "RemovedStep"]


@dataclass(frozen=True, slots=True)
class RemovedStep:
    """Units that were removed together.

    Args:
        units: the units.
        loss: estimated loss of their removal, in the measure of the criterion; None if the
            criterion does not estimate it.
    """

    units: tuple[Unit, ...]
    loss: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PruningState:
    """A removal at full size: all channels keep their labels.

    Args:
        original: the network before pruning, whose outputs are to be kept.
        groups: groups of the original.
        removed: mask over their units.
        full: the network at the size of the original, with compensated weights; the original
            itself if nothing is compensated.
        data: inputs for calibration, without labels; None if the user gave none.
        history: the steps so far, in their order.
        stands_for: value of a network without residual blocks → value of the original that it is
            read in place of.
    """

    original: Network
    groups: Groups
    removed: UnitMask
    full: Network
    data: Dataset | None = None
    history: tuple[RemovedStep, ...] = ()
    stands_for: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, network: Network, groups: Groups, data: Dataset | None = None) -> PruningState:
        """Return the state before anything is removed."""
        return cls(
            original=network, groups=groups, removed=groups.mask(()), full=network, data=data
        )

    @property
    def compensated(self) -> bool:
        """Whether weights were changed to compensate for the removal."""
        return self.full is not self.original

    def dense(self) -> Network:
        """Return the network without the removed channels."""
        return shrink(self.full, self.groups, self.removed)

    def masked(self, *, close_up: bool = True) -> Network:
        """Return the network at full size, with zeros for the removed channels.

        Args:
            close_up: whether windows over channels close up over the removed ones.
        """
        return mask(self.full, self.groups, self.removed, close_up=close_up)

    def expanded(self, dense: Network) -> Network:
        """Return a dense network of this state at full size, with zeros for removed channels."""
        return expand(self.original, dense, self.groups, self.removed)

    def after(
        self,
        removed: UnitMask,
        *,
        tensors: Mapping[str, npt.NDArray[np.generic]] | None = None,
        steps: Sequence[RemovedStep] = (),
    ) -> PruningState:
        """Return the state after a further removal.

        Args:
            removed: mask over units, earlier ones included.
            tensors: initializer → compensated values at full size.
            steps: the steps of the further removal, in their order.
        """
        full = rebuild(self.full, tensors=tensors) if tensors else self.full
        return replace(self, removed=removed, full=full, history=(*self.history, *steps))

    def with_weights(self, dense: Network) -> PruningState:
        """Return the state with the weights of a dense network of this state."""
        return replace(self, full=self.expanded(dense))
