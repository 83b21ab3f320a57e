"""How far the outputs of a network are from those of the original it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from ...data.targets import Targets
from .classification import log_probabilities
from .metric import Figure, Metric

__all__ = ["DivergenceMetric", "DivergenceSum", "ErrorMetric", "ErrorSum"]


class DivergenceSum:
    """The mean of KL(P ‖ Q) = Σ p · (ln p − ln q) over all samples, in nats."""

    __slots__ = ("rows", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.rows = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take in scores of the original and of the other network (N×classes, finite)."""
        p, q = log_probabilities(before), log_probabilities(after)
        self.total += float((np.exp(p) * (p - q)).sum())
        self.rows += len(before)

    def merge(self, other: DivergenceSum) -> None:
        """Take in what another one has seen."""
        self.total += other.total
        self.rows += other.rows

    @property
    def value(self) -> float:
        """The mean so far; 0 without samples."""
        return self.total / self.rows if self.rows else 0.0


class ErrorSum:
    """‖after − before‖₂ / ‖before‖₂ over all samples."""

    __slots__ = ("distance", "norm")

    def __init__(self) -> None:
        self.distance = 0.0
        self.norm = 0.0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take in an output of the original and of the other network, of the same shape."""
        before = before.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # the sums say so themselves
            distance = float(np.square(after - before).sum())
            norm = float(np.square(before).sum())
        self.distance += distance if math.isfinite(distance) else math.inf
        self.norm += norm if math.isfinite(norm) else 0.0

    def merge(self, other: ErrorSum) -> None:
        """Take in what another one has seen."""
        self.distance += other.distance
        self.norm += other.norm

    @property
    def value(self) -> float:
        """The relative error so far; infinite beside NaN or infinity."""
        if not self.distance:
            return 0.0
        return math.sqrt(self.distance / self.norm) if self.norm else math.inf


class DivergenceMetric(Metric):
    """KL(original ‖ network) of the classes in nats, the mean over samples.

    Args:
        output: the output with the scores of the classes.
    """

    __slots__ = ("_output", "_sum")

    name = "KL divergence"

    def __init__(self, output: str):
        self._output = output
        self._sum = DivergenceSum()

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch; it is infinite beside NaN or infinity."""
        before = targets.outputs[self._output].reshape(targets.size, -1)
        after = outputs[self._output].reshape(targets.size, -1)
        if np.isfinite(after).all():
            self._sum.add(before, after)
        else:
            self._sum.total = math.inf
            self._sum.rows += targets.size

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        self._sum.merge(other._sum)

    def compute(self) -> Figure:
        """Return the mean divergence."""
        return Figure(metric=self.name, value=self._sum.value, samples=self._sum.rows)

    def sums(self) -> np.ndarray:
        """Return the summed divergence, and how many samples there are."""
        return np.array([self._sum.total, self._sum.rows], np.float64)

    def figures(self, sums: np.ndarray) -> np.ndarray:
        """Return the mean divergence of each row of sums."""
        return np.asarray(sums[:, 0] / sums[:, 1])

    def all_right(self) -> DivergenceMetric:
        """Return what the same samples would give if nothing diverged."""
        best = DivergenceMetric(self._output)
        best._sum.rows = self._sum.rows
        return best


class ErrorMetric(Metric):
    """The relative error of the worst output.

    Args:
        outputs: names of those that are compared.
    """

    __slots__ = ("_outputs", "_samples", "_sums")

    name = "Output error"

    def __init__(self, outputs: Sequence[str]):
        self._outputs = tuple(outputs)
        self._sums = [ErrorSum() for _ in self._outputs]
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch."""
        for name, one in zip(self._outputs, self._sums, strict=True):
            one.add(targets.outputs[name], outputs[name])
        self._samples += targets.size

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        for mine, its in zip(self._sums, other._sums, strict=True):
            mine.merge(its)
        self._samples += other._samples

    def compute(self) -> Figure:
        """Return the largest relative error."""
        value = max(one.value for one in self._sums)
        return Figure(metric=self.name, value=value, samples=self._samples)

    def sums(self) -> np.ndarray:
        """Return squared distance and squared norm of each output."""
        return np.array([(one.distance, one.norm) for one in self._sums], np.float64).ravel()

    def figures(self, sums: np.ndarray) -> np.ndarray:
        """Return the largest relative error of each row of sums."""
        distance, norm = np.moveaxis(sums.reshape(len(sums), -1, 2), 2, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(distance > 0, np.sqrt(distance / norm), 0.0)
        return np.asarray(ratio.max(axis=1))

    def all_right(self) -> ErrorMetric:
        """Return what the same samples would give if outputs were those of the original."""
        best = ErrorMetric(self._outputs)
        for mine, its in zip(best._sums, self._sums, strict=True):
            mine.norm = its.norm
        best._samples = self._samples
        return best
