"""Accuracy of classifiers: the best answer, the k best, class by class, and the loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Accuracy", "ClassMeter", "log_probabilities"]

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
        per_class: class → correct answers and samples; only classes that occur.
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

    @property
    def value(self) -> float:
        """The share of correct answers, 0…1."""
        return self.correct / self.samples

    def top_value(self, k: int) -> float:
        """Return the share of samples whose label is among the k best, 0…1."""
        return self.top[k] / self.samples


class ClassMeter:
    """Sums over scores (N×classes) and labels (N)."""

    def __init__(self, top: tuple[int, ...] = (1, 5)):
        self._top = tuple(sorted(set(top) | {1}))
        self._counts: dict[int, int] = dict.fromkeys(self._top, 0)
        self._classes = 0
        self._right = np.zeros(0, np.int64)
        self._all = np.zeros(0, np.int64)
        self._loss = 0.0
        self.samples = 0

    def add(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Take in one batch; a sample with NaN among its scores is never right."""
        if not self._classes:
            self._classes = scores.shape[1]
            self._right, self._all = np.zeros((2, self._classes), np.int64)
        rows = np.arange(len(labels))
        of_label = scores[rows, labels][:, None]
        earlier = np.arange(self._classes)[None] < labels[:, None]
        place = ((scores > of_label) | ((scores == of_label) & earlier)).sum(axis=1)
        place[np.isnan(scores).any(axis=1)] = self._classes
        for k in self._top:
            self._counts[k] += int((place < k).sum())
        self._right += np.bincount(labels[place == 0], minlength=self._classes)
        self._all += np.bincount(labels, minlength=self._classes)
        self._loss -= float(log_probabilities(scores)[rows, labels].sum())
        self.samples += len(labels)

    def result(self, output: str, skipped: int = 0) -> Accuracy:
        """Return what was measured."""
        return Accuracy(
            output=output,
            correct=self._counts[1],
            samples=self.samples,
            top={k: count for k, count in self._counts.items() if k <= self._classes},
            loss=self._loss / self.samples,
            per_class={
                int(number): (int(self._right[number]), int(self._all[number]))
                for number in np.flatnonzero(self._all)
            },
            skipped=skipped,
        )


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Return ln p of every class (float64) of scores N×classes.

    Rows that are distributions already (0…1, sum 1 ± 1e-3) stand for themselves; if any is not,
    all rows go through the softmax.
    """
    values = scores.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3):
            return np.asarray(np.log(np.maximum(values, SMALLEST)))
        shifted = values - values.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
