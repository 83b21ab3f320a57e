"""Segmentation: the class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ...data.labels import IGNORED, check_pixels
from ...data.targets import Targets
from ...errors import DataError
from ...markup import figures, notebook
from .metric import Metric

__all__ = ["PixelMetric", "Pixels", "confusion"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """How often pixels get the right class.

    Args:
        output: the output with the scores of the classes.
        samples: how many images.
        accuracy: share of the pixels with the right class.
        per_class: class → intersection over union of its pixels over all images; classes that
            occur neither in labels nor outputs are left out.
        skipped: images that could not be read.
    """

    output: str
    samples: int
    accuracy: float
    per_class: dict[int, float] = field(default_factory=dict)
    skipped: int = 0

    metric = "Mean IoU"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(figures(f"{self.metric} {self.value:.4g}", self))

    @property
    def value(self) -> float:
        """Mean intersection over union of the classes, 0…1."""
        return float(np.mean(list(self.per_class.values()))) if self.per_class else 0.0


class PixelMetric(Metric):
    """Counts which class is taken for which, over all pixels.

    Args:
        output: the output with the scores, N×classes×H×W.
        classes: how many.
    """

    __slots__ = ("_output", "_samples", "_table")

    def __init__(self, output: str, classes: int):
        self._output = output
        self._table = np.zeros((classes, classes), np.int64)
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in scores and labels N×h×w, sampled to H×W where they differ."""
        if targets.labels is None or targets.labels.ndim < 3:
            raise DataError("the samples have no class a pixel")
        labels = targets.labels.reshape(targets.size, *targets.labels.shape[-2:])
        check_pixels(labels, len(self._table), targets.places)
        self._table += confusion(outputs[self._output], labels, len(self._table))
        self._samples += len(labels)

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        self._table += other._table
        self._samples += other._samples

    def compute(self) -> Pixels:
        """Return what was measured."""
        right = np.diag(self._table)
        union = self._table.sum(axis=0) + self._table.sum(axis=1) - right
        return Pixels(
            output=self._output,
            samples=self._samples,
            accuracy=float(right.sum() / max(1, self._table.sum())),
            per_class={int(k): float(right[k] / union[k]) for k in np.flatnonzero(union)},
        )

    def sums(self) -> np.ndarray:
        """Return how often each class is taken for each."""
        return self._table.astype(np.float64).ravel()

    def figures(self, sums: np.ndarray) -> np.ndarray:
        """Return the mean intersection over union of each row of sums."""
        tables = sums.reshape(len(sums), *self._table.shape)
        right = np.diagonal(tables, axis1=1, axis2=2)
        union = tables.sum(axis=1) + tables.sum(axis=2) - right
        there = union > 0
        shares = np.where(there, right / np.maximum(union, 1), 0.0)
        return np.asarray(shares.sum(axis=1) / np.maximum(there.sum(axis=1), 1))

    def all_right(self) -> PixelMetric:
        """Return what the same samples would give if every pixel were taken for what it is."""
        best = PixelMetric(self._output, len(self._table))
        best._table = np.diag(self._table.sum(axis=1))
        best._samples = self._samples
        return best


def confusion(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class is taken for each: classes × classes, true ones along axis 0.

    Args:
        scores: N×classes×H×W.
        labels: N×h×w, sampled to H×W where they differ; below 0, :data:`~..data.labels.IGNORED`
            and what is no class do not count.
        classes: how many.
    """
    found = scores.argmax(axis=1)
    labels = _nearest(labels, *found.shape[1:])
    counts = (labels >= 0) & (labels < classes) & (labels != IGNORED)
    pairs = labels[counts] * classes + found[counts]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (N×h×w) in another size; each pixel takes the old one at its centre."""
    if labels.shape[1:] == (height, width):
        return labels
    rows = ((np.arange(height) + 0.5) * labels.shape[1] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * labels.shape[2] / width).astype(np.int64)
    return np.asarray(labels[:, rows[:, None], columns])
