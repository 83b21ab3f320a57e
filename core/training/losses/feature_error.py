"""How far values are from a teacher's, in parts of the teacher's.

Source: OBC's global AdaPrune (`postproc.py`, gap): ‖y − t‖² / ‖t‖², and MiR (Wang 2022,
arXiv 2201.02620), which compares feature maps before the global pooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureError"]

LEAST = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureError(Loss):
    """‖student − teacher‖² / ‖teacher‖² over a batch.

    Args:
        axis: of the channels.
        kept: channels of the teacher that the student has, in its order; None for all.
    """

    axis: int = 1
    kept: tuple[int, ...] | None = None

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the error of a student's value, given a teacher's."""
        del seen
        student, teacher = inputs
        if self.kept is not None:
            where = teacher.new_tensor(self.kept, dtype=int)
            teacher = teacher.index_select(self.axis, where)
        difference = (student - teacher).square().sum()
        return difference / teacher.square().sum().clamp(min=LEAST)
