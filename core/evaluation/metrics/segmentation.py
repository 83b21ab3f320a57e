"""Segmentation: the class of every pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...data.labels import IGNORED

__all__ = ["PixelMeter", "Pixels", "confusion"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """How well pixels are told apart.

    Args:
        output: the output with the scores of the classes.
        samples: how many images.
        accuracy: share of the pixels with the right class.
        per_class: class → intersection over union of its pixels over all images; classes that
            occur neither in labels nor answers are left out.
        skipped: images that could not be read.
    """

    output: str
    samples: int
    accuracy: float
    per_class: dict[int, float] = field(default_factory=dict)
    skipped: int = 0

    metric = "Mean IoU"

    @property
    def value(self) -> float:
        """Mean intersection over union of the classes, 0…1."""
        return float(np.mean(list(self.per_class.values()))) if self.per_class else 0.0


class PixelMeter:
    """Counts which class is taken for which, over all pixels."""

    def __init__(self, classes: int):
        self._table = np.zeros((classes, classes), np.int64)
        self.samples = 0

    def add(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Take in scores N×classes×H×W and labels N×h×w, sampled to H×W where they differ."""
        self._table += confusion(scores, labels, len(self._table))
        self.samples += len(labels)

    def result(self, output: str, skipped: int = 0) -> Pixels:
        """Return what was measured."""
        right = np.diag(self._table)
        union = self._table.sum(axis=0) + self._table.sum(axis=1) - right
        return Pixels(
            output=output,
            samples=self.samples,
            accuracy=float(right.sum() / max(1, self._table.sum())),
            per_class={int(k): float(right[k] / union[k]) for k in np.flatnonzero(union)},
            skipped=skipped,
        )


def confusion(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class is taken for each: classes × classes, true ones along axis 0.

    Args:
        scores: N×classes×H×W.
        labels: N×h×w, sampled to H×W where they differ; below 0, :data:`~..data.labels.IGNORED`
            and what is no class do not count.
        classes: how many.
    """
    answers = scores.argmax(axis=1)
    labels = _nearest(labels, *answers.shape[1:])
    counts = (labels >= 0) & (labels < classes) & (labels != IGNORED)
    pairs = labels[counts] * classes + answers[counts]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (N×h×w) in another size; each pixel takes the old one at its centre."""
    if labels.shape[1:] == (height, width):
        return labels
    rows = ((np.arange(height) + 0.5) * labels.shape[1] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * labels.shape[2] / width).astype(np.int64)
    return np.asarray(labels[:, rows[:, None], columns])
