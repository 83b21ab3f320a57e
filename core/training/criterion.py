"""What is minimised: the weighted sum of a network's losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError
from .framework import torch
from .recipe import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from .module import TrainingModule

__all__ = ["Criterion", "Losses"]


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one batch.

    Args:
        total: their weighted sum, to be differentiated.
        parts: name of an objective → its value without its weight.
        values: what the network computed for them, by name.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


class Criterion:
    """The losses of a network.

    Args:
        objectives: the losses and what they read.

    Raises:
        DataError: there are none.
    """

    def __init__(self, objectives: Sequence[Objective]):
        if not objectives:
            raise DataError(
                "the network's files name no loss", hint="give the file that training used"
            )
        self.objectives = tuple(objectives)

    def __call__(
        self,
        module: TrainingModule,
        batch: Mapping[str, Tensor],
        *,
        seen: int = 0,
        also: Sequence[str] = (),
    ) -> Losses:
        """Run a batch and return its losses.

        Args:
            module: the network.
            batch: inputs of the network and targets, by name.
            seen: images that training saw before.
            also: further values of the graph that are wanted.

        Raises:
            DataError: the batch lacks a target.
            UnsupportedError: the network cannot be trained.
        """
        names = module.names
        reads = [name for one in self.objectives for name in one.reads if name in names]
        values = module(batch, tuple(dict.fromkeys(reads)), tuple(also))
        parts: dict[str, Tensor] = {}
        total = None
        for one in self.objectives:
            inputs = [self._input(one, name, values, batch) for name in one.reads]
            part = one.loss(*inputs, seen=seen)
            if one.per_sample and one.loss.summed:
                part = part / max(1, len(inputs[0]))
            parts[one.name] = part.detach()
            weighted = part if one.weight == 1 else part * one.weight
            total = weighted if total is None else total + weighted
        assert total is not None
        return Losses(total, parts, values)

    def _input(
        self,
        one: Objective,
        name: str,
        values: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
    ) -> Tensor:
        if name in values:
            value = values[name]  # sums over a batch need more than 16 bits
            return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        if name not in batch:
            raise DataError(f"the data holds no '{name}', which loss '{one.name}' reads")
        return batch[name]
