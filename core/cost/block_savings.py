"""What a path of removals saves where channels cost in blocks: nothing for long, then a block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from .blocks import LayerBlocks
from .network_cost import Costs

__all__ = ["BlockSavings"]


class BlockSavings:
    """The cost that removals would save now, with every step of the cost.

    Args:
        groups: the groups.
        costs: costs whose terms have blocks.
        removed: what is removed already, a mask over units; None for nothing.
    """

    def __init__(self, groups: Groups, costs: Costs, removed: UnitMask | None = None):
        self.removed = groups.mask(()) if removed is None else removed.copy()
        self._layers: list[tuple[LayerBlocks, npt.NDArray[np.int64], npt.NDArray[np.int64] | None]]
        self._layers = []
        self._terms_of: dict[int, list[int]] = {}
        for number, term in enumerate(costs.terms):
            blocks = term.blocks
            assert blocks is not None, "the costs of a target have blocks"
            made = groups.units[blocks.out]
            read = None if blocks.into is None else groups.units[blocks.into]
            self._layers.append((blocks, made, read))
            units = made.ravel() if read is None else np.concatenate([made.ravel(), read.ravel()])
            for unit in np.unique(units).tolist():
                self._terms_of.setdefault(unit, []).append(number)

    def terms(self, units: Iterable[Unit]) -> set[int]:
        """Return the terms that depend on some units."""
        return {number for unit in units for number in self._terms_of.get(unit, ())}

    def after(self, path: Sequence[Sequence[Unit]]) -> npt.NDArray[np.float64]:
        """Return what is saved in all after each step of a path [steps].

        Args:
            path: the units of each step; none of them is removed yet.
        """
        when = np.where(self.removed, 0, len(path) + 1)
        for number, units in enumerate(path, 1):
            when[list(units)] = number
        saved = np.zeros(len(path))
        for number in self.terms(unit for units in path for unit in units):
            blocks, made, read = self._layers[number]
            outputs = _surviving(when[made], len(path))
            if read is None:
                inputs = blocks.read * (outputs > 0)
            else:
                inputs = _surviving(when[read], len(path))
            cost = blocks.cost(outputs, inputs)
            saved += cost[0] - cost[1:]
        return saved

    def of(self, units: Sequence[Unit]) -> float:
        """Return what the removal of some units together saves."""
        return float(self.after([units])[0])

    def remove(self, units: Iterable[Unit]) -> None:
        """Note a removal."""
        self.removed[list(units)] = True

    def give_back(self, units: Sequence[Unit]) -> bool:
        """Give units back if that costs nothing; return whether it was done."""
        self.removed[list(units)] = False
        if self.of(units) <= 0:
            return True
        self.removed[list(units)] = True
        return False


def _surviving(when: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.int64]:
    """Return how many channels of each group survive before and after each step.

    Args:
        when: the step in which each channel leaves; 0 before all, steps + 1 never [groups, …].
        steps: how many there are.

    Returns:
        numbers [steps + 1, groups].
    """
    groups, channels = when.shape
    places = when + (steps + 2) * np.arange(groups)[:, None]
    leaving = np.bincount(places.ravel(), minlength=groups * (steps + 2))
    gone = np.cumsum(leaving.reshape(groups, steps + 2), axis=1)[:, : steps + 1]
    found: npt.NDArray[np.int64] = (channels - gone).T
    return found
