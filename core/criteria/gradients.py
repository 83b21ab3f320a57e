"""Gradients of the loss at the gates of all units, minibatch by minibatch.

A gate is 1, so its gradient g is the first-order change of the loss where the unit grows; −g where
it leaves. Normalisations use their stored statistics. Each sample has a gate of its own: the loss
of a minibatch is a mean over samples, and the gradient of a unit's gate is the sum over theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..coupling.groups import Groups
from ..data import BATCH_SIZE, Dataset, streamed
from ..data.base import batch_size
from ..data.calibration import CALIBRATION_SAMPLES
from ..data.part import first_part
from ..data.shards import Shard, shards
from ..errors import DataError
from ..progress import Progress
from ..training.framework import torch
from .gates import Place, find_places, gated
from .output_loss import OutputLoss, find_loss
from .registry import Score, ScoreContext, Scores, criterion

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.module import TrainingModule

__all__ = ["DRAWN", "Differentiated", "Step", "by_gradients"]

DRAWN = 32
"""Gradients at least where targets are drawn: with few minibatches, several are drawn for each."""


COST = f"1 pass forward and back over up to {CALIBRATION_SAMPLES:,} samples"
"""What most criteria by gradients take."""


def by_gradients(
    name: str, *, summary: str, source: str, cost: str = COST, comparable: bool = True
) -> Callable[[Score], Score]:
    """Register a criterion that needs gradients; see :class:`.registry.Criterion`."""
    return criterion(
        name, summary=summary, source=source, needs_data=True, uses_labels=True, gradients=True,
        cost=cost, comparable=comparable,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One minibatch.

    Args:
        gates: the gates of each sample, all 1 [samples, units].
        values: what the network computes.
        loss: the mean over the samples.
    """

    gates: Tensor
    values: dict[str, Tensor]
    loss: Tensor

    def gradients(self, *, again: bool = False) -> Tensor:
        """Return the gradient of the gates [samples, units].

        Args:
            again: whether it is differentiated once more.
        """
        (found,) = self.of([self.gates], again=again)
        return found

    def of(self, tensors: Sequence[Tensor], *, again: bool = False) -> list[Tensor]:
        """Return the gradients of some tensors; zeros where the loss does not depend on one."""
        if not self.loss.requires_grad:
            return [torch.zeros_like(tensor) for tensor in tensors]
        found = torch.autograd.grad(
            self.loss, list(tensors), create_graph=again, retain_graph=True, allow_unused=True
        )
        return [
            torch.zeros_like(tensor) if gradient is None else gradient
            for tensor, gradient in zip(tensors, found, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Differentiated:
    """A network with a gate at each place, its loss and its data; made by :meth:`of`.

    Args:
        groups: groups of the network.
        places: where the units are made.
        module: computes the gated network.
        loss: what is differentiated.
        data: the samples.
        size: samples of a minibatch.
        progress: told how far the work is.
    """

    groups: Groups
    places: tuple[Place, ...]
    module: TrainingModule
    loss: OutputLoss
    data: Dataset
    size: int
    progress: Progress

    @staticmethod
    def of(context: ScoreContext, parameters: Sequence[str] = ()) -> Differentiated:
        """Return what differentiates the network of a context.

        Args:
            context: what a criterion is given.
            parameters: initializers whose gradients are wanted, too.

        Raises:
            UnsupportedError: an operator has no gradient here.
            DataError: the data does not fit the network.
        """
        from ..training.module import TrainingModule  # it loads PyTorch

        assert context.data is not None, "the registry says that the criterion needs data"
        network, groups = context.network, context.groups
        loss, scored = find_loss(context)
        places = find_places(network, groups)
        # The gates stand in the part before a softmax; places behind it would change no loss.
        known = scored.values()
        places = tuple(place for place in places if place.value in known)
        part = gated(scored, places, loss.reads)
        fixed = frozenset(part.graph.initializers) - set(parameters)
        module = TrainingModule(part, frozen=fixed, channels_last=True).eval()
        for name in parameters:
            if name in part.graph.initializers:
                module.tensor(name).requires_grad = True
        return Differentiated(
            groups=groups,
            places=tuple(place for place in places if place.value in module.names),
            module=module,
            loss=loss,
            data=first_part(context.data, CALIBRATION_SAMPLES, network),
            size=batch_size(network, BATCH_SIZE),
            progress=context.progress,
        )

    def steps(self, also: Sequence[str] = ()) -> Iterator[Step]:
        """Yield all minibatches; several times each where targets are drawn and they are few.

        Args:
            also: values that are wanted besides.

        Raises:
            DataError: the data is broken.
        """
        batches = -(-self.data.samples // self.size)
        draws = -(-DRAWN // max(1, batches)) if self.loss.drawn else 1
        batched = shards(streamed(self.data, "gradients", self.progress), self.size)
        for number, shard in enumerate(batched):
            gates, values = self._computed(shard, also)
            for draw in range(draws):
                loss = self.loss.tensor(values, shard.targets, seed=number * draws + draw)
                yield Step(gates=gates, values=values, loss=loss)

    def mean(self, measure: Callable[[Step], Tensor], also: Sequence[str] = ()) -> Scores:
        """Return the mean over minibatches of a measure of each unit [units].

        Args:
            measure: of one minibatch [units].
            also: values that it reads besides.

        Raises:
            DataError: the data is broken, or the loss has no finite gradient.
        """
        total, count = np.zeros(self.groups.unit_count), 0
        for step in self.steps(also):
            total += measure(step).detach().numpy().astype(np.float64)
            count += 1
        if not np.isfinite(total).all():
            raise DataError(
                f"the loss of '{self.module.source.name}' has no finite gradient",
                hint="look at its outputs: secateur predict; check --mean and --scale",
            )
        return total / max(1, count)

    def _computed(self, shard: Shard, also: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the gates of some samples, and the values that they lead to."""
        feeds = {name: torch.from_numpy(array) for name, array in shard.inputs.items()}
        for tensor in feeds.values():  # values before the first gate have gradients, too
            if tensor.is_floating_point():
                tensor.requires_grad = True
        rows = shard.targets.size
        gates = torch.ones((rows, self.groups.unit_count), requires_grad=True)
        for place in self.places:
            units = torch.from_numpy(place.units)
            own = gates if place.by_sample else gates.mean(dim=0, keepdim=True)
            feeds[place.name] = own[:, units].reshape(place.spread(rows))
        return gates, self.module(feeds, self.loss.reads, also)
