"""How far the classes of a student are from a teacher's.

Source: Hinton 2015, arXiv 1503.02531: KL divergence of softened classes, times T², so that
gradients keep their size whatever the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import functional, torch
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SoftmaxDivergence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxDivergence(Loss):
    """T² · KL(teacher ‖ student) of softmax(scores / T), the mean over positions.

    Args:
        axis: of the classes.
        temperature: T.
    """

    axis: int = 1
    temperature: float = 1.0

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the divergence of a student's scores, given a teacher's."""
        del seen
        student, teacher = (scores / self.temperature for scores in inputs)
        wanted = torch.log_softmax(teacher, self.axis)
        found = torch.log_softmax(student, self.axis)
        total = functional.kl_div(found, wanted, reduction="sum", log_target=True)
        positions = student.numel() // student.shape[self.axis]
        return total * self.temperature**2 / positions
