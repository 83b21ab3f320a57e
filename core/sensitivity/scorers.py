"""Judging outputs in pieces: what one shard tells, and the loss that all of them tell together.

A judge turns the outputs of a shard into a small *evidence*, wherever that shard was computed, and
the evidence of all shards, in their order, into one figure. The figures are those of
:func:`~..evaluate.evaluate` and :func:`~..evaluate.fidelity`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..data.labels import check_labels, check_pixels
from ..data.targets import Targets
from ..engine.session import Arrays
from ..evaluation.metrics.classification import log_probabilities
from ..evaluation.metrics.segmentation import confusion
from ..ir.heads import classifier_output, is_classifier, map_output, output_of_size
from ..ir.network import Network
from .detection import ObjectJudge

__all__ = ["Evidence", "Judge", "find_judge", "least_loss"]

Evidence = Any
"""What a judge makes of one shard; only the same judge can read it."""


class Judge(Protocol):
    """Measures how much worse outputs are than those of the unchanged network."""

    @property
    def metric(self) -> str:
        """Name of the figure, for people."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are read."""
        ...

    def evidence(self, outputs: Arrays, answers: Targets) -> Evidence:
        """Return what the outputs of one shard tell.

        Raises:
            DataError: labels do not fit the network.
        """
        ...

    def value(self, evidence: Sequence[Evidence], answers: Sequence[Targets]) -> float | None:
        """Return the figure of all shards, or None where only differences mean something."""
        ...

    def loss(
        self,
        evidence: Sequence[Evidence],
        baseline: Sequence[Evidence],
        answers: Sequence[Targets],
    ) -> float:
        """Return by how much the figure is worse than the baseline's; negative for a gain."""
        ...

    def perfect(self, baseline: Evidence, answers: Targets) -> Evidence:
        """Return what one shard would tell if nothing could be better.

        `baseline` is what it tells of the unchanged network. No evidence of the shard in its place
        gives a smaller loss, whatever the other shards tell.
        """
        ...


def least_loss(
    judge: Judge,
    evidence: Sequence[Evidence],
    baseline: Sequence[Evidence],
    answers: Sequence[Targets],
) -> float:
    """Return the least loss that is still possible once the first shards are known.

    Args:
        judge: what made the evidence.
        evidence: of the first shards.
        baseline: of all shards, with the unchanged network.
        answers: of all shards.
    """
    rest = zip(baseline[len(evidence) :], answers[len(evidence) :], strict=True)
    return judge.loss([*evidence, *(judge.perfect(*one) for one in rest)], baseline, answers)


def find_judge(network: Network, answers: Targets) -> Judge:
    """Return what judges samples of this kind: by their labels, or without any by the outputs.

    Args:
        network: whose outputs are judged.
        answers: of the first samples.

    Raises:
        DataError: the labels do not fit the network.
    """
    if answers.objects is not None:
        return ObjectJudge.of(network)
    if answers.values is not None:
        return ValueJudge(output_of_size(network, answers.values.shape[1:]))
    if answers.labels is not None and answers.labels.ndim > 1:
        name = map_output(network)
        return PixelJudge(name, int(network.outputs[name][1]))
    if answers.labels is not None:
        return ClassJudge(classifier_output(network))
    if is_classifier(network):
        return DivergenceJudge(classifier_output(network))
    return ErrorJudge(tuple(network.outputs))


class _Quality:
    """A figure of which more is better."""

    def value(self, evidence: Sequence[Evidence], answers: Sequence[Targets]) -> float:
        raise NotImplementedError

    def loss(
        self,
        evidence: Sequence[Evidence],
        baseline: Sequence[Evidence],
        answers: Sequence[Targets],
    ) -> float:
        """Return the figure of the baseline less that of the evidence."""
        return self.value(baseline, answers) - self.value(evidence, answers)


@dataclass(frozen=True, slots=True)
class ClassJudge(_Quality):
    """The share of right classes. Evidence: how many of a shard are right."""

    output: str
    metric = "Accuracy"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def evidence(self, outputs: Arrays, answers: Targets) -> int:
        """Count right answers; a sample with NaN among its scores is never right."""
        scores = outputs[self.output].reshape(answers.size, -1)
        labels = answers.labels
        assert labels is not None
        check_labels(labels, scores.shape[1], answers.places)
        right = scores.argmax(axis=1) == labels
        return int((right & ~np.isnan(scores).any(axis=1)).sum())

    def value(self, evidence: Sequence[int], answers: Sequence[Targets]) -> float:
        """Return the share of right answers, 0…1."""
        return sum(evidence) / sum(one.size for one in answers)

    def perfect(self, baseline: int, answers: Targets) -> int:  # noqa: ARG002
        """Return that all are right."""
        return answers.size


@dataclass(frozen=True, slots=True)
class PixelJudge(_Quality):
    """Mean intersection over union. Evidence: which class is taken for which."""

    output: str
    classes: int
    metric = "Mean IoU"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def evidence(self, outputs: Arrays, answers: Targets) -> np.ndarray:
        """Count pixels: classes × classes, true ones along axis 0."""
        assert answers.labels is not None
        labels = answers.labels.reshape(len(answers.labels), *answers.labels.shape[-2:])
        check_pixels(labels, self.classes, answers.places)
        return confusion(outputs[self.output], labels, self.classes)

    def value(self, evidence: Sequence[np.ndarray], answers: Sequence[Targets]) -> float:  # noqa: ARG002
        """Return the mean over the classes that occur, 0…1."""
        table = np.sum(np.stack(evidence), axis=0)
        right = np.diag(table)
        union = table.sum(axis=0) + table.sum(axis=1) - right
        occur = union > 0
        return float(np.mean(right[occur] / union[occur])) if occur.any() else 0.0

    def perfect(self, baseline: np.ndarray, answers: Targets) -> np.ndarray:  # noqa: ARG002
        """Return that every pixel is taken for what it is."""
        return np.diag(baseline.sum(axis=1))


@dataclass(frozen=True, slots=True)
class ValueJudge(_Quality):
    """The share of the targets' variance that is explained. Evidence: summed squared errors."""

    output: str
    metric = "Explained variance"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values."""
        return (self.output,)

    def evidence(self, outputs: Arrays, answers: Targets) -> float:
        """Sum the squared errors."""
        assert answers.values is not None
        wanted = answers.values.astype(np.float64).reshape(answers.size, -1)
        return float(np.square(outputs[self.output].reshape(wanted.shape) - wanted).sum())

    def value(self, evidence: Sequence[float], answers: Sequence[Targets]) -> float:
        """Return 1 − squared error / variance."""
        targets = [one.values for one in answers if one.values is not None]
        count = sum(array.size for array in targets)
        mean = sum(float(array.sum(dtype=np.float64)) for array in targets) / count
        spread = sum(float(np.square(array - mean, dtype=np.float64).sum()) for array in targets)
        squares = sum(evidence)
        if not squares:
            return 1.0
        return 1 - squares / spread if spread else -math.inf

    def perfect(self, baseline: float, answers: Targets) -> float:  # noqa: ARG002
        """Return that there is no error."""
        return 0.0


@dataclass(frozen=True, slots=True)
class DivergenceJudge:
    """KL(unchanged ‖ changed) of the classes in nats. Evidence: its sum over a shard."""

    output: str
    metric = "KL divergence"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def evidence(self, outputs: Arrays, answers: Targets) -> float:
        """Sum the divergence; infinite beside NaN or infinity."""
        before = answers.outputs[self.output].reshape(answers.size, -1)
        after = outputs[self.output].reshape(answers.size, -1)
        if not np.isfinite(after).all():
            return math.inf
        p, q = log_probabilities(before), log_probabilities(after)
        return float((np.exp(p) * (p - q)).sum())

    def value(self, evidence: Sequence[float], answers: Sequence[Targets]) -> None:
        """Return nothing: the unchanged network does not differ from itself."""

    def loss(
        self,
        evidence: Sequence[float],
        baseline: Sequence[float],  # noqa: ARG002
        answers: Sequence[Targets],
    ) -> float:
        """Return the mean divergence over the samples."""
        return sum(evidence) / sum(one.size for one in answers)

    def perfect(self, baseline: float, answers: Targets) -> float:  # noqa: ARG002
        """Return that nothing diverges."""
        return 0.0


@dataclass(frozen=True, slots=True)
class ErrorJudge:
    """‖changed − unchanged‖₂ / ‖unchanged‖₂, the largest of all outputs.

    Evidence: squared distance and squared norm of each output.
    """

    outputs: tuple[str, ...]
    metric = "Output error"

    def evidence(self, outputs: Arrays, answers: Targets) -> list[tuple[float, float]]:
        """Sum squares; infinite beside NaN or infinity."""
        found = []
        for name in self.outputs:
            before = answers.outputs[name].astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                distance = float(np.square(outputs[name] - before).sum())
            norm = float(np.square(before).sum())
            found.append((distance if math.isfinite(distance) else math.inf, norm))
        return found

    def value(
        self,
        evidence: Sequence[list[tuple[float, float]]],
        answers: Sequence[Targets],
    ) -> None:
        """Return nothing: the unchanged network does not differ from itself."""

    def loss(
        self,
        evidence: Sequence[list[tuple[float, float]]],
        baseline: Sequence[list[tuple[float, float]]],
        answers: Sequence[Targets],  # noqa: ARG002
    ) -> float:
        """Return the largest relative error."""
        largest = 0.0
        for place in range(len(self.outputs)):
            distance = sum(one[place][0] for one in evidence)
            norm = sum(one[place][1] for one in baseline)
            if distance:
                largest = max(largest, math.sqrt(distance / norm) if norm else math.inf)
        return largest

    def perfect(
        self,
        baseline: list[tuple[float, float]],
        answers: Targets,  # noqa: ARG002
    ) -> list[tuple[float, float]]:
        """Return that outputs are those of the unchanged network."""
        return [(0.0, norm) for _, norm in baseline]
