"""The settings of a solver, whatever file they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .average import Average
from .schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Method", "Settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Method(ABC):
    """How one blob follows its gradient."""

    histories: ClassVar[int] = 1
    """How many tensors it keeps for each blob."""

    @abstractmethod
    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return what is subtracted from a blob.

        Args:
            gradient: of the blob, regularised; may be overwritten.
            history: the tensors that are kept; they are updated in place.
            rate: learning rate of the blob.
            number: of the update, from 1.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a network is trained.

    Args:
        method: how blobs follow their gradients.
        schedule: the learning rate.
        passes: batches whose gradients are summed before an update.
        divisor: what that sum is divided by.
        clip: largest L2 norm of the sum over all blobs, before it is divided; None for none.
        decay: weight decay, times the blob.
        absolute: weight decay times the sign of the blob instead (L1).
        offset: what is added to the number of finished updates before the schedule is asked.
        images: images of an update, for counting; 0 where they are not counted.
        updates: updates of the whole training; 0 where it is not said.
        everything: blobs with a rate of 0 have histories too.
        average: how weights are averaged; None where they are not.
    """

    method: Method
    schedule: Schedule
    passes: int = 1
    divisor: float = 1.0
    clip: float | None = None
    decay: float = 0.0
    absolute: bool = False
    offset: int = 0
    images: int = 0
    updates: int = 0
    everything: bool = False
    average: Average | None = None
