"""How good a network is during training: on samples held out, and on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.augment.training import TrainingSamples
from ..evaluation.loss import LossMeter
from ..training.criterion import Criterion
from ..training.framework import torch
from ..training.module import TrainingModule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HOLD_OUT_EVERY", "Judge", "Judgement", "held_out"]

HOLD_OUT_EVERY, HOLD_OUT_FROM = 10, 40
"""One sample in ten is held out, from 40 samples on; below, all are trained on and judged by."""

MOST = 512
"""Largest number of samples that are held out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What was measured.

    Args:
        held_out: loss on the samples held out.
        value: the metric on the validation data; None without any.
        badness: what decides: lower is better.
    """

    held_out: float
    value: float | None
    badness: float


def held_out(samples: TrainingSamples) -> tuple[np.ndarray, bool]:
    """Return the numbers of samples to judge by, and whether they are kept out of training.

    They are spread over the data, since files are often sorted by class.
    """
    used = samples.used
    if len(used) < HOLD_OUT_FROM:
        return used, False
    chosen = used[HOLD_OUT_EVERY - 1 :: HOLD_OUT_EVERY]
    step = -(-len(chosen) // MOST)
    return chosen[::step], True


class Judge:
    """Measures a network that is being trained.

    Args:
        criterion: the losses that count in the end.
        batches: tensors of the samples held out, the teacher's values included.
        meter: measures on validation data; None without any.
    """

    def __init__(
        self,
        criterion: Criterion,
        batches: Sequence[Mapping[str, Tensor]],
        meter: LossMeter | None = None,
    ):
        self._criterion = criterion
        self._batches = tuple(batches)
        self._meter = meter

    @property
    def metric(self) -> str:
        """Name of the figure on the validation data; "" without any."""
        return self._meter.metric if self._meter is not None else ""

    def __call__(self, module: TrainingModule) -> Judgement:
        """Return what a network is worth."""
        loss = self.loss(module, self._criterion)
        value = self._meter.value(module.network()) if self._meter is not None else None
        return Judgement(held_out=loss, value=value, badness=self.badness(loss, value))

    def loss(self, module: TrainingModule, criterion: Criterion) -> float:
        """Return a loss on the samples held out; the network is in eval mode meanwhile."""
        training = module.training
        module.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self._batches:
                size = len(next(iter(batch.values())))
                total += size * float(criterion(module, batch).total)
                count += size
        module.train(training)
        return total / count

    def badness(self, held_out: float, value: float | None) -> float:
        """Return what decides which network is the best: lower is better."""
        if self._meter is None or value is None:
            return held_out
        return self._meter.loss(value)
