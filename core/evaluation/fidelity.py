"""How true a pruned network stays to its baseline, without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..data import Batch, Dataset, Objects
from ..engine.session import Arrays
from ..errors import VerificationError
from ..ir.dims import shape_text
from ..ir.heads import box_heads, is_vector
from ..ir.network import Network
from ..progress import Progress, silent
from ..verify.compare import Pairing, pair
from .metrics.agreement import Divergence
from .metrics.decode import decode
from .metrics.detection import DetectionMeter, DetectionResult, ImageMatches
from .runner import mapped, sessions

__all__ = ["Fidelity", "OutputFidelity", "fidelity", "side_by_side"]

T = TypeVar("T")

CONFIDENT = 0.25
"""Without labels, what the baseline finds with this score or more counts as an object."""


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
        divergence: KL(baseline ‖ pruned) of the classes in nats, the mean over samples; None
            likewise.
    """

    name: str
    cosine: float
    error: float
    agreement: float | None
    divergence: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """How close all outputs of a pruned network are to those of its baseline.

    Args:
        outputs: one by one.
        samples: how many.
        notes: how outputs with other names were paired.
        detections: mean average precision of the pruned detector, where what the baseline finds
            with a score of at least 0.25 stands for the objects; None for other networks, and
            where boxes were not asked for.
    """

    outputs: tuple[OutputFidelity, ...]
    samples: int
    notes: tuple[str, ...] = ()
    detections: DetectionResult | None = None

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
    baseline: Network,
    pruned: Network,
    dataset: Dataset,
    *,
    boxes: bool = True,
    threads: int | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """Measure, without labels and in one pass, how true a pruned network is to its baseline.

    Args:
        baseline: the original network.
        pruned: the smaller one; its inputs and outputs are paired as by :func:`compare.pair`.
        dataset: opened for `baseline`.
        boxes: whether a detector's boxes are compared, too, which can take longer than the
            networks.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
        VerificationError: inputs or outputs of the networks do not match.
    """
    pairing = pair(baseline, pruned)
    meters = {name: _Meter(vector=is_vector(shape)) for name, shape in baseline.outputs.items()}
    finders = boxes and box_heads(baseline) and box_heads(pruned)
    objects = DetectionMeter()
    samples = 0

    def seen(
        batch: Batch, before: Arrays, after: Arrays
    ) -> tuple[int, Arrays, Arrays, list[ImageMatches]]:
        images = _agreeing(objects, baseline, before, pruned, after) if finders else []
        return batch.size, before, after, images

    for size, before, after, images in side_by_side(
        baseline, pruned, pairing, dataset, seen, threads=threads, progress=progress
    ):
        for name, meter in meters.items():
            meter.add(name, before[name], after[pairing.outputs[name]], size)
        for image in images:
            objects.take(image)
        samples += size
    outputs = tuple(meter.result(name) for name, meter in meters.items())
    return Fidelity(
        outputs=outputs,
        samples=samples,
        notes=pairing.notes,
        detections=objects.result() if finders else None,
    )


def side_by_side(
    baseline: Network,
    pruned: Network,
    pairing: Pairing,
    dataset: Dataset,
    make: Callable[[Batch, Arrays, Arrays], T],
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Iterator[T]:
    """Yield what is made of every batch and the outputs of both networks.

    Args:
        baseline: one network.
        pruned: the other one.
        pairing: which inputs and outputs belong together.
        dataset: opened for `baseline`.
        make: called in the thread that ran the networks, with a batch and the outputs of each
            network under its own names.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
    """
    (first, second), workers = sessions([baseline, pruned], threads)

    def both(batch: Batch) -> T:
        before = first.run(batch.inputs)
        return make(batch, before, second.run(pairing.feeds(batch.inputs)))

    for _, made in mapped(dataset, both, "comparing", workers=workers, progress=progress):
        yield made


def _agreeing(
    meter: DetectionMeter, baseline: Network, before: Arrays, pruned: Network, after: Arrays
) -> list[ImageMatches]:
    """Match what a pruned network detects with what its baseline detects, image by image."""
    wanted = decode(box_heads(baseline), before, score=CONFIDENT)
    found = decode(box_heads(pruned), after)
    return [
        meter.match(
            one,
            Objects(
                boxes=truth.boxes,
                classes=truth.classes,
                ignored=np.zeros(len(truth), bool),
                crowd=np.zeros(len(truth), bool),
            ),
        )
        for one, truth in zip(found, wanted, strict=True)
    ]


class _Meter:
    """Sums over all samples of one output."""

    def __init__(self, *, vector: bool):
        self.vector = vector
        self.divergence = Divergence()
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
        if self.vector and len(a):
            self.divergence.add(a, b)
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
            divergence=self.divergence.value if self.vector else None,
        )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each row; two zero vectors are alike, one alone is not."""
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = norms[0] * norms[1]
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    cosines = (a * b).sum(axis=1) / np.where(product > 0, product, 1.0)
    return np.where(both_zero, 1.0, np.clip(cosines, -1.0, 1.0))
