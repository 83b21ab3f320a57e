"""Masks that change while a network is trained: what a schedule says, done to the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..ir.network import Network
from ..plan.plan import Plan
from ..training.framework import torch
from ..training.module import TrainingModule
from .schedules.registry import Event, Memory, Schedule
from .target import Target

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Places", "Sparsity"]

NORMALISED = frozenset({"mean", "scale"})
"""Roles of what follows a layer that normalises its channels."""


@dataclass(frozen=True)
class _Place:
    """A parameter with the units of its elements, in arrays that broadcast to its shape."""

    parameter: str
    units: tuple[Tensor, ...]
    makes: bool
    """Whether the first array holds the channels that a weight or a bias makes."""


@dataclass(frozen=True)
class Places:
    """Where units lie in the parameters of a module.

    Args:
        places: one a parameter that masks may set to zero.
        normalised: which units are normalised by statistics of their own [units].
    """

    places: tuple[_Place, ...]
    normalised: Tensor

    @classmethod
    def of(cls, module: TrainingModule, groups: Groups) -> Places:
        """Return the places of the units of a module's network."""
        names = {name for name, _ in module.named_parameters()}
        places = []
        normalised = np.zeros(groups.unit_count, dtype=np.bool_)
        for use in groups.uses:
            if use.role in NORMALISED:
                normalised[groups.units_of(use.labels[0])] = True
            if use.zeroed and use.parameter in names:
                device = module.tensor(use.parameter).device
                units = (groups.units_of(labels) for labels in use.labels)
                tensors = tuple(torch.from_numpy(np.ascontiguousarray(u)).to(device) for u in units)
                places.append(_Place(use.parameter, tensors, use.role in ("weight", "bias")))
        device = next(module.parameters()).device
        return cls(tuple(places), torch.from_numpy(normalised).to(device))

    def masks(self, removed: UnitMask) -> dict[str, Tensor]:
        """Return parameter → 1 where it may differ from 0 after a removal, else 0."""
        kept = torch.from_numpy(~np.asarray(removed)).to(self.normalised.device)
        return {
            place.parameter: factors
            for place in self.places
            if not bool((factors := self._product(place, kept)).all())
        }

    def penalties(self, factors: npt.NDArray[np.float64]) -> dict[str, Tensor]:
        """Return parameter → the penalty of each element: the largest of its units'."""
        given = torch.from_numpy(factors.astype(np.float32)).to(self.normalised.device)
        found = {}
        for place in self.places:
            largest = given[place.units[0]]
            for units in place.units[1:]:
                largest = torch.maximum(largest, given[units])
            if bool(largest.any()):
                found[place.parameter] = largest
        return found

    @contextmanager
    def dropped(self, module: TrainingModule, present: npt.NDArray[np.bool_]) -> Iterator[None]:
        """Set to zero what does not take part, and put it back in the end.

        A channel that is normalised drops out behind its normalisation, so that its statistics
        stay those of its values.
        """
        kept = torch.from_numpy(present).to(self.normalised.device)
        makers = kept | self.normalised
        before = {}
        with torch.no_grad():
            for place in self.places:
                tensor = module.tensor(place.parameter)
                before[place.parameter] = tensor.detach().clone()
                for number, units in enumerate(place.units):
                    tensor.mul_((makers if place.makes and number == 0 else kept)[units])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, values in before.items():
                    module.tensor(name).copy_(values)

    def _product(self, place: _Place, kept: Tensor) -> Tensor:
        product = kept[place.units[0]]
        for units in place.units[1:]:
            product = product & kept[units]
        return product


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """How channels leave during training.

    Args:
        name: of the schedule.
        schedule: says who leaves when.
        target: what is to be removed.
        places: where units lie in the module.
        every: updates between two events; None for what the schedule is used to.
        seed: of what is drawn at random.
    """

    name: str
    schedule: Schedule
    target: Target
    places: Places
    every: int | None
    seed: int

    def begin(self, network: Network) -> Memory:
        """Return the memory before the first update of a network."""
        return self.schedule.begin(self.target, self.target.scores(network))

    def after(
        self, memory: Memory, network: Callable[[], Network], step: int, length: int
    ) -> Memory:
        """Return the memory after an update; the same object where nothing changed.

        Args:
            memory: that before it.
            network: returns the network as it is.
            step: number of the update, from 1.
            length: of the part of training in which channels leave.
        """
        every = min(self.every or max(1, length // self.schedule.events), length)
        count = length // every
        last = step == length
        if not last and (step % every or step // every >= count):
            return memory
        event = Event(
            number=count if last else step // every,
            count=count,
            scores=self.target.scores(network()),
        )
        return self.schedule.change(self.target, memory, event)

    def present(self, memory: Memory, step: int) -> npt.NDArray[np.bool_] | None:
        """Return the units that take part in an update; None for all that are left."""
        return self.schedule.present(memory, np.random.default_rng([self.seed, step]))

    def penalties(self, memory: Memory) -> Mapping[str, Tensor]:
        """Return parameter → the factor of the L2 penalty of its elements."""
        factors = self.schedule.penalties(memory)
        return {} if factors is None else self.places.penalties(factors)

    def reached(self, memory: Memory) -> float:
        """Return the fraction of the operations that is gone for good."""
        return self.target.reached(memory.removed)

    def plan(self, memory: Memory) -> Plan:
        """Return the plan that removes what is gone for good."""
        return self.target.plan(memory.removed, self.name)
