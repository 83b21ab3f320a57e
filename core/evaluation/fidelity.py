"""How true a pruned network stays to its original, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..data import Batch, Objects
from ..data.arrays import AnyData, as_dataset
from ..data.probe import cautions
from ..data.targets import Targets
from ..engine.session import Arrays
from ..errors import VerificationError
from ..ir.dims import shape_text
from ..ir.heads import BoxHead, box_heads, is_vector
from ..ir.network import Network
from ..markup import figures, notebook
from ..progress import Progress, silent
from ..verify.compare import pair
from .metrics.agreement import DivergenceSum, ErrorSum
from .metrics.decode import Detections, decode
from .metrics.detection import DetectionResult, Finder, FullPrecisionMetric
from .metrics.metric import Metric
from .runner import side_by_side

__all__ = ["Fidelity", "FidelityMetric", "OutputFidelity", "fidelity"]

CONFIDENT = 0.25
"""Without labels, what the original finds with this score or more counts as an object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFidelity:
    """How close an output of the pruned network is to that of the original.

    Args:
        name: of the output in the original.
        cosine: cosine similarity of a sample's outputs, the mean over all samples, −1…1; a sample
            with NaN or infinity in one of them counts as 0.
        error: ‖original − pruned‖₂ / ‖original‖₂ over all data; infinite beside NaN or infinity.
        agreement: share of the samples whose largest value is in the same place, 0…1;
            None where the output is no single vector of several values.
        divergence: KL(original ‖ pruned) of the classes in nats, the mean over samples; None
            likewise.
    """

    name: str
    cosine: float
    error: float
    agreement: float | None
    divergence: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """How close all outputs of a pruned network are to those of its original.

    Args:
        outputs: one by one.
        samples: how many.
        notes: how outputs with other names were paired, and which inputs were drawn.
        detections: mean average precision of the pruned detector, where what the original finds
            with a score of at least 0.25 counts as an object; None for other networks, and
            where boxes were not asked for.
    """

    outputs: tuple[OutputFidelity, ...]
    samples: int
    notes: tuple[str, ...] = ()
    detections: DetectionResult | None = None

    metric = "Output error"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(*(figures(f"Output {one.name}", one) for one in self.outputs))

    @property
    def value(self) -> float:
        """The largest relative error of all outputs."""
        return self.error

    @property
    def agreement(self) -> float | None:
        """Agreement of the last output that has one; None where none has."""
        found = [output.agreement for output in self.outputs if output.agreement is not None]
        return found[-1] if found else None

    @property
    def divergence(self) -> float | None:
        """Divergence of the last output that has one; None where none has."""
        found = [output.divergence for output in self.outputs if output.divergence is not None]
        return found[-1] if found else None

    @property
    def cosine(self) -> float:
        """The lowest cosine similarity of all outputs."""
        return min(output.cosine for output in self.outputs)

    @property
    def error(self) -> float:
        """The largest relative error of all outputs."""
        return max(output.error for output in self.outputs)


def fidelity(
    original: Network,
    pruned: Network,
    dataset: AnyData,
    *,
    boxes: bool = True,
    threads: int | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """Measure, without labels and in one pass, how true a pruned network is to its original.

    Args:
        original: the network before pruning.
        pruned: the smaller one; its inputs and outputs are paired as by :func:`compare.pair`.
        dataset: opened for `original`.
        boxes: whether a detector's boxes are compared, too, which can take longer than the
            networks.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
        VerificationError: inputs or outputs of the networks do not match.
    """
    dataset = as_dataset(dataset, original)
    pairing = pair(original, pruned)
    heads = box_heads(original) if boxes and box_heads(pruned) else ()

    def made(batch: Batch, before: Arrays, after: Arrays) -> FidelityMetric:
        metric = FidelityMetric(original, heads)
        metric.update(pairing.renamed(after), Targets.of(batch, before))
        return metric

    total = FidelityMetric(original, heads)
    for part in side_by_side(
        original, pruned, pairing, dataset, made, threads=threads, progress=progress
    ):
        total.merge(part)
    return replace(total.compute(), notes=(*pairing.notes, *cautions(dataset)))


class FidelityMetric(Metric):
    """All of :class:`Fidelity` but the notes; outputs have the names of the original.

    Args:
        original: the network before pruning.
        heads: what makes boxes of outputs; empty where boxes are not compared.
    """

    __slots__ = ("_boxes", "_heads", "_outputs", "_samples")

    def __init__(self, original: Network, heads: tuple[BoxHead, ...] = ()):
        self._outputs = {
            name: _Output(vector=is_vector(shape)) for name, shape in original.outputs.items()
        }
        self._heads = heads
        self._boxes = FullPrecisionMetric(Finder(heads=heads))
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch.

        Raises:
            VerificationError: outputs of the networks differ in shape.
        """
        for name, one in self._outputs.items():
            one.add(name, targets.outputs[name], outputs[name], targets.size)
        self._samples += targets.size
        if self._heads:
            wanted = decode(self._heads, targets.outputs, score=CONFIDENT)
            for found, truth in zip(decode(self._heads, outputs), wanted, strict=True):
                self._boxes.add(found, _as_objects(truth))

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        for name, one in self._outputs.items():
            one.merge(other._outputs[name])
        self._samples += other._samples
        self._boxes.merge(other._boxes)

    def compute(self) -> Fidelity:
        """Return what was measured."""
        return Fidelity(
            outputs=tuple(one.result(name) for name, one in self._outputs.items()),
            samples=self._samples,
            detections=self._boxes.compute() if self._heads else None,
        )


def _as_objects(found: Detections) -> Objects:
    """Return detections as the objects that another network should find."""
    none = np.zeros(len(found), bool)
    return Objects(boxes=found.boxes, classes=found.classes, ignored=none, crowd=none)


class _Output:
    """Sums over all samples of one output."""

    def __init__(self, *, vector: bool):
        self.vector = vector
        self.divergence = DivergenceSum()
        self.error = ErrorSum()
        self.rows = 0
        self.cosines = 0.0
        self.agreeing = 0

    def add(self, name: str, before: np.ndarray, after: np.ndarray, size: int) -> None:
        """Take in one batch of `size` samples."""
        if before.shape != after.shape:
            raise VerificationError(
                f"output '{name}' is {shape_text(before.shape)} in the original, but "
                f"{shape_text(after.shape)} in the pruned network"
            )
        one_a_row = before.ndim and (self.vector or len(before) == size)
        rows = len(before) if one_a_row else 1
        a = before.reshape(rows, -1).astype(np.float64)
        b = after.reshape(rows, -1).astype(np.float64)
        finite = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        self.rows += rows
        if not finite.all():
            self.error.distance = np.inf
        if self.vector:
            self.agreeing += int((finite & (a.argmax(axis=1) == b.argmax(axis=1))).sum())
        a, b = a[finite], b[finite]
        if self.vector and len(a):
            self.divergence.add(a, b)
        self.cosines += float(_cosines(a, b).sum())
        self.error.add(a, b)

    def merge(self, other: _Output) -> None:
        """Take in what another one has seen."""
        self.divergence.merge(other.divergence)
        self.error.merge(other.error)
        self.rows += other.rows
        self.cosines += other.cosines
        self.agreeing += other.agreeing

    def result(self, name: str) -> OutputFidelity:
        """Return what was measured."""
        return OutputFidelity(
            name=name,
            cosine=self.cosines / self.rows,
            error=self.error.value,
            agreement=self.agreeing / self.rows if self.vector else None,
            divergence=self.divergence.value if self.vector else None,
        )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each row; two zero vectors are alike, one alone is not."""
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = norms[0] * norms[1]
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    cosines = (a * b).sum(axis=1) / np.where(product > 0, product, 1.0)
    return np.where(both_zero, 1.0, np.clip(cosines, -1.0, 1.0))
