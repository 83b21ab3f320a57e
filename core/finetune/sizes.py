"""A network at other sizes of its input while it is trained: modules that share their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..data.augment.sizes import Sizes
from ..errors import SecateurError
from ..ir.network import Network
from ..training.criterion import Criterion

if TYPE_CHECKING:
    from ..training.module import TrainingModule

__all__ = ["AtSizes", "Resize", "Resizing", "criterion_at", "refusal"]

Size = tuple[int, int]
Resize = Callable[[Network, int, int], Network]
"""Returns a network at another height and width of its input, with the same initializers."""


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """At which sizes a network is trained.

    Args:
        sizes: which are drawn.
        own: height and width of the network.
        make: makes the network of a size.
        seed: decides what is drawn.
        passes: batches of an update.
        left: updates until the schedule of the files ends, at the start of the training; None where
            there is none.
    """

    sizes: Sizes
    own: Size
    make: Resize
    seed: int
    passes: int = 1
    left: int | None = None

    def size(self, number: int) -> Size:
        """Return the size of a batch by its number in the training."""
        update = number // self.passes
        left = None if self.left is None else self.left - update
        return self.sizes.size(self.own, update, self.seed, left)


def refusal(sizes: Sizes, own: Size, make: Resize, networks: tuple[Network, ...]) -> str:
    """Return why networks cannot be trained at other sizes; "" where they can."""
    for network in networks:
        for size in (sizes.smallest(own), sizes.largest(own)):
            try:
                make(network, *size)
            except SecateurError as error:
                return str(error)
    return ""


class AtSizes:
    """A module at its own size and at others, made when they are first asked for.

    All share the parameters and statistics of the module itself.

    Args:
        module: at its own size.
        own: height and width of its input.
        make: makes its network at others; None where there are none.
    """

    def __init__(self, module: TrainingModule, own: Size, make: Resize | None = None):
        self.module = module
        self._own = own
        self._make = make
        self._others: dict[Size, TrainingModule] = {}

    def at(self, size: Size) -> TrainingModule:
        """Return the module at a size."""
        if self._make is None or size == self._own:
            return self.module
        if size not in self._others:
            network = self._make(self.module.source, *size)
            self._others[size] = self.module.sharing(network)
        return self._others[size]


def criterion_at(criterion: Criterion, size: Size) -> Criterion:
    """Return losses that know the size of the input."""
    return Criterion([replace(one, loss=one.loss.at(*size)) for one in criterion.objectives])
