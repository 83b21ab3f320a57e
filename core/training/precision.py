"""The type that a network is computed in, and its gradients; its weights stay float32.

Small gradients are 0 in float16. So the loss is multiplied, and the gradients are divided again in
float32. Where they were too large then, the update is left out, and the factor falls. Source:
`torch.amp.GradScaler` (docs.pytorch.org), whose numbers these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .criterion import Criterion
from .framework import torch
from .module import TrainingModule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FLOAT32", "Scaling", "computed_in", "gradients"]

FLOAT32 = "float32"

FIRST, FACTOR, PATIENCE = 65536.0, 2.0, 2000
"""The first factor of a loss; what it rises or falls by; sound updates before it rises."""

LEAST = 1.0
"""Where gradients are infinite though nothing enlarges them, the cause is another."""


def computed_in(precision: str, device: str) -> AbstractContextManager[Any]:
    """Return the context in which a network is computed in a type.

    Args:
        precision: float32, bfloat16 or float16.
        device: kind of the device: cpu or cuda.
    """
    if precision == FLOAT32:
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(device, dtype=getattr(torch, precision))
    return context


@dataclass
class Scaling:
    """What losses are multiplied by, and what became of their gradients.

    Args:
        factor: of the loss.
        good: updates since the factor changed.
        skipped: updates that were left out.
    """

    factor: float = FIRST
    good: int = 0
    skipped: int = 0

    @property
    def lost(self) -> bool:
        """Whether gradients are not finite at any factor."""
        return self.factor < LEAST

    @property
    def state(self) -> tuple[float, int, int]:
        """All that is needed to go on later."""
        return self.factor, self.good, self.skipped

    def finite(self, module: TrainingModule) -> bool:
        """Divide the gradients of an update by the factor; return whether all are numbers."""
        found = [p.grad for p in module.parameters() if p.grad is not None]
        for gradient in found:
            gradient.mul_(1 / self.factor)
        sound = not found or bool(torch.stack([g.isfinite().all() for g in found]).all())
        self.good = self.good + 1 if sound else 0
        if not sound:
            self.skipped += 1
            self.factor /= FACTOR
        elif self.good == PATIENCE:
            self.factor *= FACTOR
            self.good = 0
        return sound


def gradients(
    module: TrainingModule,
    criterion: Criterion,
    batch: Mapping[str, Tensor],
    *,
    precision: str = FLOAT32,
    seen: int = 0,
    factor: float = 1.0,
) -> float:
    """Add the gradients of a batch to the parameters, times a factor; return its loss.

    Args:
        module: the network.
        criterion: its losses.
        batch: inputs and targets.
        precision: type that the network is computed in.
        seen: images that training saw before.
        factor: of the gradients.
    """
    with computed_in(precision, next(iter(batch.values())).device.type):
        losses = criterion(module, batch, seen=seen)
    (losses.total if factor == 1 else losses.total * factor).backward()
    return float(losses.total.detach())
