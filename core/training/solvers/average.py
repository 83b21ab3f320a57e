"""A moving average of the weights, which takes their place near the end of a training.

Source: network.c `train_network_waitkey`, `ema_update`, `ema_apply` (AlexeyAB).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..framework import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..module import TrainingModule

__all__ = ["Average", "Averages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Average:
    """How weights are averaged.

    Args:
        share: of the old average when weights are taken in.
        first: the update from which weights are averaged.
        applied: the update at which they become their average; then averaging ends.
        names: the initializers that are averaged.
    """

    share: float
    first: int
    applied: int
    names: tuple[str, ...] = ()


class Averages:
    """The averages of a module's weights.

    Args:
        module: the network.
        rule: how they are made.
    """

    def __init__(self, module: TrainingModule, rule: Average):
        self.module, self.rule = module, rule
        self._kept: dict[str, Tensor] = {}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the averages by name; none where nothing is averaged."""
        return {name: kept.cpu().numpy().copy() for name, kept in self._kept.items()}

    def take(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from averages of an earlier run."""
        self._kept = {
            name: torch.from_numpy(np.array(array)).to(self.module.tensor(name))
            for name, array in arrays.items()
        }

    def after(self, updates: int) -> None:
        """Take the weights in after an update, or put the averages in their place.

        Args:
            updates: those of the whole training, this one included.
        """
        rule = self.rule
        if not rule.first <= updates <= rule.applied:
            return
        with torch.no_grad():
            if not self._kept:
                self._kept = {n: self.module.tensor(n).detach().clone() for n in rule.names}
            if updates == rule.applied:
                for name, kept in self._kept.items():
                    self.module.tensor(name).copy_(kept)
                self._kept = {}
                return
            for name, kept in self._kept.items():
                kept.mul_(rule.share).add_(self.module.tensor(name), alpha=1 - rule.share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the averages in the place of the weights for a while; statistics stay."""
        with torch.no_grad():
            own = {name: self.module.tensor(name).detach().clone() for name in self._kept}
            for name, kept in self._kept.items():
                self.module.tensor(name).copy_(kept)
            try:
                yield
            finally:
                for name, tensor in own.items():
                    self.module.tensor(name).copy_(tensor)
