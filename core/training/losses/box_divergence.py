"""How far the boxes of a student are from a teacher's.

Nearly all boxes of a detector hold nothing, so that a plain error would be an error of the
background: each box counts as much as the teacher believes in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BoxDivergence"]

LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxDivergence(Loss):
    """Cross entropy of objectness, and of classes and coordinates where the teacher sees something.

    Args:
        anchors: boxes of a cell.
        objectness: which entry of a box is its objectness; those before are coordinates.
        channels_last: the output is N×H×W×(anchors × entries).
        raw: objectness and classes are scores before their sigmoid or softmax.
        softmax: classes of a box are alternatives.
    """

    anchors: int
    objectness: int = 4
    channels_last: bool = False
    raw: bool = False
    softmax: bool = False

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the divergence of a student's output, given a teacher's."""
        del seen
        student, teacher = (self._boxes(output) for output in inputs)
        place = self.objectness
        wanted = self._probability(teacher[..., place])
        believed = wanted.sum().clamp(min=1.0)
        objects = self._entropy(student[..., place], teacher[..., place]).sum() / believed
        boxes = (student[..., :place] - teacher[..., :place]).square().sum(-1)
        total = objects + (boxes * wanted).sum() / believed
        classes = teacher[..., place + 1 :]
        if not classes.shape[-1]:
            return total
        if self.softmax:
            apart = self._alternatives(student[..., place + 1 :], classes)
        else:
            apart = self._entropy(student[..., place + 1 :], classes).sum(-1)
        return total + (apart * wanted).sum() / believed

    def _boxes(self, output: Tensor) -> Tensor:
        """Return an output as boxes × entries."""
        if not self.channels_last:
            output = output.movedim(1, -1)
        return output.reshape(*output.shape[:-1], self.anchors, -1)

    def _probability(self, values: Tensor) -> Tensor:
        found = values.sigmoid() if self.raw else values
        return found.clamp(LEAST, 1 - LEAST)

    def _entropy(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the cross entropy above the teacher's own."""
        s, t = self._probability(student), self._probability(teacher)
        return t * (t / s).log() + (1 - t) * ((1 - t) / (1 - s)).log()

    def _alternatives(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the KL divergence of classes that add up to 1."""
        if self.raw:
            s, t = torch.log_softmax(student, -1), torch.log_softmax(teacher, -1)
            return (t.exp() * (t - s)).sum(-1)
        s, t = student.clamp(min=LEAST), teacher.clamp(min=LEAST)
        return (t * (t / s).log()).sum(-1)
