"""Accuracy of classifiers: the best class, the k best, class by class, and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ...data.labels import check_labels
from ...data.targets import Targets
from ...errors import DataError
from ...markup import figures, notebook
from .metric import Figure, Metric

__all__ = [
    "Accuracy",
    "AccuracyMetric",
    "FullAccuracyMetric",
    "log_probabilities",
    "log_softmax",
    "scored",
]

SMALLEST = float(np.finfo(np.float32).tiny)
"""Probabilities below count as this. Source: FLT_MIN in softmax_loss_layer.cpp."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """How often a classifier is right.

    Args:
        output: the output with the scores of the classes.
        correct: how many labels have the highest score (the first one where several have).
        samples: how many there are.
        top: k → how many labels are among the k highest scores.
        loss: mean of −ln p(label); of the softmax of the output where it is no distribution.
        per_class: class → how many are right, and samples; only classes that occur.
        skipped: samples that could not be read.
    """

    output: str
    correct: int
    samples: int
    top: dict[int, int] = field(default_factory=dict)
    loss: float | None = None
    per_class: dict[int, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0

    metric = "Accuracy"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(figures(f"{self.metric} {self.value:.4g}", self))

    @property
    def value(self) -> float:
        """The share of labels with the highest score, 0…1."""
        return self.correct / self.samples

    def top_value(self, k: int) -> float:
        """Return the share of samples whose label is among the k best, 0…1."""
        return self.top[k] / self.samples


def places_of(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes are ahead of each label; of equal scores, the first class is ahead.

    Args:
        scores: of the classes, N×C.
        labels: N classes.
    """
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1])[None] < labels[:, None]
    places: np.ndarray = ((scores > of_label) | ((scores == of_label) & earlier)).sum(axis=1)
    return places


class AccuracyMetric(Metric):
    """The share of right classes alone.

    Args:
        output: the output with the scores of the classes.
        best: a class is right if its score is among so many of the best.
    """

    __slots__ = ("_best", "_correct", "_output", "_samples")

    def __init__(self, output: str, best: int = 1):
        self._output = output
        self._best = best
        self._correct = 0
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch; a sample with NaN among its scores is never right."""
        scores, labels = scored(outputs[self._output], targets)
        if self._best == 1:
            right = scores.argmax(axis=1) == labels
        else:
            right = places_of(scores, labels) < self._best
        self._correct += int((right & ~np.isnan(scores).any(axis=1)).sum())
        self._samples += targets.size

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        self._correct += other._correct
        self._samples += other._samples

    def compute(self) -> Figure:
        """Return the share, 0…1."""
        value = self._correct / self._samples
        return Figure(metric=Accuracy.metric, value=value, samples=self._samples)

    def sums(self) -> np.ndarray:
        """Return how many are right, and how many there are."""
        return np.array([self._correct, self._samples], np.float64)

    def figures(self, sums: np.ndarray) -> np.ndarray:
        """Return the share of each row of sums."""
        return np.asarray(sums[:, 0] / sums[:, 1])

    def all_right(self) -> AccuracyMetric:
        """Return what the same samples would give if all were right."""
        best = AccuracyMetric(self._output, self._best)
        best._correct = best._samples = self._samples
        return best


class FullAccuracyMetric(Metric):
    """All of :class:`Accuracy`.

    Args:
        output: the output with the scores of the classes.
        top: for each k, count the labels among the k highest scores.
    """

    __slots__ = ("_all", "_classes", "_counts", "_loss", "_output", "_right", "_samples", "_top")

    def __init__(self, output: str, top: Sequence[int] = (1, 5)):
        self._output = output
        self._top = tuple(sorted({*top, 1}))
        self._counts: dict[int, int] = dict.fromkeys(self._top, 0)
        self._classes = 0
        self._right = np.zeros(0, np.int64)
        self._all = np.zeros(0, np.int64)
        self._loss = 0.0
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch; a sample with NaN among its scores is never right."""
        scores, labels = scored(outputs[self._output], targets)
        self._sized(scores.shape[1])
        rows = np.arange(len(labels))
        place = places_of(scores, labels)
        place[np.isnan(scores).any(axis=1)] = self._classes
        for k in self._top:
            self._counts[k] += int((place < k).sum())
        self._right += np.bincount(labels[place == 0], minlength=self._classes)
        self._all += np.bincount(labels, minlength=self._classes)
        self._loss -= float(log_probabilities(scores)[rows, labels].sum())
        self._samples += len(labels)

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        if not other._classes:
            return
        self._sized(other._classes)
        for k in self._top:
            self._counts[k] += other._counts[k]
        self._right += other._right
        self._all += other._all
        self._loss += other._loss
        self._samples += other._samples

    def _sized(self, classes: int) -> None:
        if not self._classes:
            self._classes = classes
            self._right, self._all = np.zeros((2, classes), np.int64)

    def compute(self) -> Accuracy:
        """Return what was measured."""
        return Accuracy(
            output=self._output,
            correct=self._counts[1],
            samples=self._samples,
            top={k: count for k, count in self._counts.items() if k <= self._classes},
            loss=self._loss / self._samples,
            per_class={
                int(number): (int(self._right[number]), int(self._all[number]))
                for number in np.flatnonzero(self._all)
            },
        )


def scored(output: np.ndarray, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (N×classes) and the labels (N) of a batch.

    Raises:
        DataError: there are no labels, there are more or fewer than samples, or one is no class.
    """
    scores = output.reshape(len(output), -1)
    labels = targets.labels
    if labels is None or labels.ndim > 1:
        raise DataError("the samples have no labels of one class each")
    if len(labels) != len(scores):
        raise DataError(f"there are {len(labels)} labels for {len(scores)} samples")
    check_labels(labels, scores.shape[1], targets.places)
    return scores, labels


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Return ln p of every class (float64) of scores N×classes.

    Rows that are distributions already (0…1, sum 1 ± 1e-3) stand for themselves; if any is not,
    all rows go through the softmax.
    """
    values = scores.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3):
            return np.asarray(np.log(np.maximum(values, SMALLEST)))
        return log_softmax(values)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return ln p of every class (float64), p being the softmax of scores N×classes."""
    from scipy.special import log_softmax as of_axis  # slow to load, and not always needed

    return np.asarray(of_axis(scores.astype(np.float64), axis=1))
