"""How good a network is by labels, and how true a pruned one stays to its baseline without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .compare import pair
from .data import Dataset, streamed
from .errors import DataError, VerificationError
from .ir.network import Network
from .progress import Progress, silent
from .session import Session, shape_text

__all__ = ["Accuracy", "Fidelity", "OutputFidelity", "classifier_output", "evaluate", "fidelity"]

CLASSIFIER = "classifier"
"""The kind of :class:`Head` that says which output holds the scores of the classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Top-1 accuracy: `correct` of `samples` labels have the highest score of `output`."""

    output: str
    correct: int
    samples: int

    @property
    def value(self) -> float:
        """The share of correct answers, 0…1."""
        return self.correct / self.samples


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFidelity:
    """How close an output of the pruned network is to that of the baseline.

    Args:
        name: of the output in the baseline.
        cosine: cosine similarity of a sample's outputs, the mean over all samples, −1…1; a sample
            with NaN or infinity in one of them counts as 0.
        error: ‖baseline − pruned‖₂ / ‖baseline‖₂ over all data; infinite beside NaN or infinity.
        agreement: share of the samples where the largest value stands in the same place, 0…1;
            None where the output is no single vector of several values.
    """

    name: str
    cosine: float
    error: float
    agreement: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """How close all outputs of a pruned network are to those of its baseline."""

    outputs: tuple[OutputFidelity, ...]
    samples: int
    notes: tuple[str, ...] = ()

    @property
    def agreement(self) -> float | None:
        """Agreement of the last output that has one; None where none has."""
        found = [output.agreement for output in self.outputs if output.agreement is not None]
        return found[-1] if found else None

    @property
    def cosine(self) -> float:
        """The lowest cosine similarity of all outputs."""
        return min(output.cosine for output in self.outputs)

    @property
    def error(self) -> float:
        """The largest relative error of all outputs."""
        return max(output.error for output in self.outputs)


def classifier_output(network: Network) -> str:
    """Return the output with the scores of the classes: that of a classifier head, else the last.

    Raises:
        DataError: that output is no vector of classes.
    """
    heads = [head.output for head in network.heads if head.kind == CLASSIFIER]
    known = [name for name in heads if name in network.outputs]
    name = (known or list(network.outputs))[-1]
    if not _is_vector(network.outputs[name]):
        raise DataError(
            f"output '{name}' ({shape_text(network.outputs[name])}) of network '{network.name}' "
            "is no vector of classes",
            hint="labels can only be used with a classifier",
        )
    return name


def evaluate(
    network: Network,
    dataset: Dataset,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Accuracy:
    """Measure the top-1 accuracy of a classifier.

    Args:
        network: its classifier output (see :func:`classifier_output`) is flattened to classes.
        dataset: labelled samples, opened for `network`; labels count classes from 0.
        threads: threads of each run; None for all cores.
        progress: told about every batch.

    Raises:
        DataError: there are no labels, or they do not fit the classes.
    """
    if not dataset.labelled:
        raise DataError(
            f"there are no labels in {dataset.name}",
            hint="labels stand in array 'y' of a .npz file",
        )
    output = classifier_output(network)
    session = Session(network, threads)
    correct = samples = 0
    for batch in streamed(dataset, "evaluating", progress):
        assert batch.labels is not None, "the dataset says it is labelled"
        scores = session.run(batch.inputs)[output]
        scores = scores.reshape(len(scores), -1)
        labels = _fitting_labels(batch.labels, scores, samples)
        answers = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
        correct += int((answers == labels).sum())
        samples += batch.size
    return Accuracy(output=output, correct=correct, samples=samples)


def fidelity(
    baseline: Network,
    pruned: Network,
    dataset: Dataset,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """Measure, without labels and in one pass, how true a pruned network is to its baseline.

    Args:
        baseline: the original network.
        pruned: the smaller one; its inputs and outputs are paired as by :func:`compare.pair`.
        dataset: opened for `baseline`.
        threads: threads of each run; None for all cores.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
        VerificationError: inputs or outputs of the networks do not match.
    """
    pairing = pair(baseline, pruned)
    sessions = Session(baseline, threads), Session(pruned, threads)
    meters = {name: _Meter(vector=_is_vector(shape)) for name, shape in baseline.outputs.items()}
    samples = 0
    for batch in streamed(dataset, "comparing", progress):
        before = sessions[0].run(batch.inputs)
        after = sessions[1].run(pairing.feeds(batch.inputs))
        for name, meter in meters.items():
            meter.add(name, before[name], after[pairing.outputs[name]], batch.size)
        samples += batch.size
    outputs = tuple(meter.result(name) for name, meter in meters.items())
    return Fidelity(outputs=outputs, samples=samples, notes=pairing.notes)


def _is_vector(shape: tuple[int | str, ...]) -> bool:
    """Whether an output holds one vector of several values a sample: N×C, N×C×1×1."""
    sizes = [size for size in shape[1:] if size != 1]
    return len(sizes) == 1 and isinstance(sizes[0], int)


def _fitting_labels(labels: np.ndarray, scores: np.ndarray, start: int) -> np.ndarray:
    samples, classes = scores.shape
    if len(labels) != samples:
        raise DataError(f"there are {len(labels)} labels for {samples} samples")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"the label of sample {start + int(wrong[0])} is {int(labels[wrong[0]])}, but the "
            f"network tells {classes} classes apart (0…{classes - 1})"
        )
    return labels


class _Meter:
    """Sums over all samples of one output."""

    def __init__(self, *, vector: bool):
        self.vector = vector
        self.rows = 0
        self.cosines = 0.0
        self.agreeing = 0
        self.distance = 0.0
        self.norm = 0.0

    def add(self, name: str, before: np.ndarray, after: np.ndarray, size: int) -> None:
        """Take in one batch of `size` samples."""
        if before.shape != after.shape:
            raise VerificationError(
                f"output '{name}' is {shape_text(before.shape)} in the baseline, but "
                f"{shape_text(after.shape)} in the pruned network"
            )
        rows = size if before.ndim and len(before) == size else 1
        a = before.reshape(rows, -1).astype(np.float64)
        b = after.reshape(rows, -1).astype(np.float64)
        finite = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        self.rows += rows
        if not finite.all():
            self.distance = np.inf
        if self.vector:
            self.agreeing += int((finite & (a.argmax(axis=1) == b.argmax(axis=1))).sum())
        a, b = a[finite], b[finite]
        self.cosines += float(_cosines(a, b).sum())
        self.distance += float(np.square(a - b).sum())
        self.norm += float(np.square(a).sum())

    def result(self, name: str) -> OutputFidelity:
        """Return what was measured."""
        if self.norm:
            error = float(np.sqrt(self.distance / self.norm))
        else:
            error = float(np.inf) if self.distance else 0.0
        return OutputFidelity(
            name=name,
            cosine=self.cosines / self.rows,
            error=error,
            agreement=self.agreeing / self.rows if self.vector else None,
        )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each row; two zero vectors are alike, one alone is not."""
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = norms[0] * norms[1]
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    cosines = (a * b).sum(axis=1) / np.where(product > 0, product, 1.0)
    return np.where(both_zero, 1.0, np.clip(cosines, -1.0, 1.0))
