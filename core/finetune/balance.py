"""How hard labels and a teacher pull, so that a share of the teacher means the same everywhere.

Losses of labels are what the framework of the files minimises: sums over boxes and images, or means
over samples or pixels. Those of a teacher are parts of its values. A share of such numbers would
mean something else for every network. So the teacher's losses are multiplied by a factor with which
their gradient is as long as that of the labels, measured before the first update.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..training.criterion import Criterion
from ..training.module import TrainingModule
from ..training.recipe import Objective

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BATCHES", "factor_of", "per_sample", "pulls"]

BATCHES = 4
"""Batches whose gradients are compared."""

LEAST = 1e-6
"""A teacher whose gradient is shorter than so much of the labels' is not made longer: the network
computes what it computes."""


def per_sample(objectives: Iterable[Objective]) -> tuple[Objective, ...]:
    """Return losses of which all are means over the samples of a batch."""
    return tuple(replace(one, per_sample=True) for one in objectives)


def pulls(
    module: TrainingModule,
    sides: Sequence[Sequence[Objective]],
    batches: Sequence[Mapping[str, Tensor]],
) -> tuple[float, ...]:
    """Return how long the gradients of some losses are, each the mean over some batches.

    Args:
        module: the network; it stays as it is.
        sides: the losses that pull together.
        batches: what they are computed of.
    """
    trial = copy.deepcopy(module).train()
    found = [0.0 for _ in sides]
    for batch in batches:
        for place, objectives in enumerate(sides):
            Criterion(objectives)(trial, batch).total.backward()
            found[place] += _length(trial) / len(batches)
    return tuple(found)


def _length(module: TrainingModule) -> float:
    """Return the L2 norm of all gradients, and forget them."""
    squares = 0.0
    for parameter in module.parameters():
        if parameter.grad is not None:
            squares += float(parameter.grad.double().square().sum())
            parameter.grad = None
    return math.sqrt(squares)


def factor_of(labels: float, teacher: float) -> float:
    """Return the factor with which a teacher's losses pull as hard as those of labels.

    Args:
        labels: length of the labels' gradient.
        teacher: length of the teacher's.
    """
    usable = math.isfinite(labels) and labels > 0 and teacher > LEAST * labels
    return labels / teacher if usable else 1.0
