"""How good a network is by the labels of its data, whatever kind they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..data import Batch, Dataset, Frame
from ..data.labels import check_labels, check_objects, check_pixels
from ..engine.session import Arrays
from ..errors import DataError, located
from ..ir.dims import shape_text
from ..ir.heads import box_heads, classes_of, classifier_output, no_head
from ..ir.network import Network
from ..options import options_of
from ..progress import Progress, silent
from .fidelity import Fidelity, OutputFidelity, fidelity
from .metrics.classification import Accuracy, ClassMeter
from .metrics.decode import Detections, decode
from .metrics.detection import DetectionMeter, DetectionResult, ImageMatches
from .metrics.segmentation import PixelMeter, Pixels
from .metrics.values import ValueMeter, Values
from .options import EvaluateOptions
from .runner import computed

__all__ = [
    "Accuracy",
    "Fidelity",
    "OutputFidelity",
    "Result",
    "evaluate",
    "fidelity",
    "find_objects",
]

Result = Accuracy | DetectionResult | Pixels | Values
"""What a measurement gives: `metric` is the name of its main figure, `value` that figure."""


def evaluate(
    network: Network,
    dataset: Dataset,
    options: EvaluateOptions | None = None,
    *,
    progress: Progress = silent,
    **settings: Any,
) -> Result:
    """Measure a network by the labels of its data, whatever kind they are.

    Args:
        network: a classifier (see :func:`classifier_output`), a detector (its heads say how its
            outputs become boxes), or a network that makes maps or values.
        dataset: labelled samples, opened for `network`; classes count from 0.
        options: what is measured, and how.
        progress: told about every batch.
        settings: fields of :class:`EvaluateOptions`, instead of `options`.

    Returns:
        by the labels: :class:`Accuracy` for one class a sample, :class:`DetectionResult` for
        objects, :class:`Pixels` for one class a pixel, :class:`Values` for targets.

    Raises:
        DataError: there are no labels, or they do not fit the network.
    """
    options = options_of(EvaluateOptions, options, settings)
    output = options.output
    if not dataset.labelled:
        raise _unlabelled(network, dataset)
    if output is not None and output not in network.outputs:
        raise DataError(
            f"network '{network.name}' has no output '{output}'",
            hint=f"it has {', '.join(network.outputs)}",
        )
    meters: list[_Measuring] = []
    first = threading.Lock()

    def evidence(batch: Batch, outputs: Arrays) -> Any:
        with first:
            if not meters:
                limits = options.score, options.suppress, options.overlap
                meters.append(_measuring(network, batch, output, tuple(options.top), limits))
        with located(file=dataset.name):
            return meters[0].evidence(outputs, batch)

    for one in computed(
        network, dataset, "evaluating", evidence, threads=options.threads, progress=progress
    ):
        meters[0].add(one)
    return meters[0].result(len(dataset.problems))


def _unlabelled(network: Network, dataset: Dataset) -> DataError:
    """Return why nothing can be measured, and what can be done."""
    if not network.heads and not classes_of(network):
        # Folders of classes and label files are not looked for then, so do not say there are none.
        return DataError(
            f"{dataset.name} has no labels for network '{network.name}': its files do not say what "
            "its outputs mean, and they are no classes",
            hint="two such models can be compared without labels",
        )
    return DataError(
        f"there are no labels in {dataset.name}",
        hint="docs/data.md says where labels stand in each kind of data; two models can be "
        "compared without any",
    )


def find_objects(
    network: Network,
    dataset: Dataset,
    *,
    score: float | None = None,
    suppress: float | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Iterator[Detections]:
    """Yield what a detector finds in each sample, in pixels of the image it was made of.

    Args:
        network: a detector.
        dataset: opened for `network`; labels are not needed.
        score: as for :class:`EvaluateOptions`.
        suppress: as for :class:`EvaluateOptions`.
        threads: as for :class:`EvaluateOptions`.
        progress: told about every batch.

    Raises:
        DataError: the network is no detector, or the data does not fit.
    """
    if not box_heads(network):
        raise no_head(network)

    def found(batch: Batch, outputs: Arrays) -> list[Detections]:
        frames = batch.frames or (Frame(width=1, height=1),) * batch.size
        return _placed(decode(box_heads(network), outputs, score=score, overlap=suppress), frames)

    for objects in computed(
        network, dataset, "detecting", found, threads=threads, progress=progress
    ):
        yield from objects


def _placed(found: Sequence[Detections], frames: Sequence[Frame]) -> list[Detections]:
    """Return what was found in each image with boxes in its pixels."""
    return [
        Detections(frame.to_image(one.boxes), one.scores, one.classes)
        for one, frame in zip(found, frames, strict=True)
    ]


class _Measuring(Protocol):
    """Takes in outputs and what they should be."""

    def evidence(self, outputs: Arrays, batch: Batch) -> Any:
        """Return what counts of a batch, in any thread."""
        ...

    def add(self, evidence: Any) -> None:
        """Count it, batch by batch."""
        ...

    def result(self, skipped: int) -> Result: ...


def _measuring(
    network: Network,
    batch: Batch,
    output: str | None,
    top: tuple[int, ...],
    limits: tuple[float | None, float | None, float],
) -> _Measuring:
    """Return what measures labels of the kind that a batch has."""
    if batch.objects is not None:
        return _OfObjects(network, *limits)
    if batch.targets is not None:
        return _OfValues(output or _fitting_output(network, batch.targets.shape[1:]))
    assert batch.labels is not None, "the dataset says it is labelled"
    if batch.labels.ndim > 1:
        return _OfPixels(network, output or _map_output(network))
    return _OfClasses(output or classifier_output(network), top)


class _OfClasses:
    def __init__(self, output: str, top: tuple[int, ...]):
        self._output = output
        self._meter = ClassMeter(top)

    def evidence(self, outputs: Arrays, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        scores = outputs[self._output]
        scores = scores.reshape(len(scores), -1)
        assert batch.labels is not None
        if len(batch.labels) != len(scores):
            raise DataError(f"there are {len(batch.labels)} labels for {len(scores)} samples")
        check_labels(batch.labels, scores.shape[1], batch.places)
        return scores, batch.labels

    def add(self, evidence: tuple[np.ndarray, np.ndarray]) -> None:
        self._meter.add(*evidence)

    def result(self, skipped: int) -> Result:
        return self._meter.result(self._output, skipped)


class _OfObjects:
    def __init__(
        self, network: Network, score: float | None, suppress: float | None, overlap: float
    ):
        self._heads = box_heads(network)
        if not self._heads:
            raise no_head(network)
        self._classes = int(self._heads[0].settings["classes"])
        self._limits = score, suppress
        self._meter = DetectionMeter(overlap)

    def evidence(self, outputs: Arrays, batch: Batch) -> list[ImageMatches]:
        score, suppress = self._limits
        found = decode(self._heads, outputs, score=score, overlap=suppress)
        assert batch.objects is not None
        assert batch.frames is not None
        check_objects(batch.objects, self._classes, batch.places)
        placed = _placed(found, batch.frames)
        return [
            self._meter.match(one, truth) for one, truth in zip(placed, batch.objects, strict=True)
        ]

    def add(self, evidence: list[ImageMatches]) -> None:
        for image in evidence:
            self._meter.take(image)

    def result(self, skipped: int) -> Result:
        return self._meter.result(skipped)


class _OfPixels:
    def __init__(self, network: Network, output: str):
        self._output = output
        self._classes = int(network.outputs[output][1])
        self._meter = PixelMeter(self._classes)

    def evidence(self, outputs: Arrays, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        assert batch.labels is not None
        labels = batch.labels.reshape(len(batch.labels), *batch.labels.shape[-2:])
        check_pixels(labels, self._classes, batch.places)
        return outputs[self._output], labels

    def add(self, evidence: tuple[np.ndarray, np.ndarray]) -> None:
        self._meter.add(*evidence)

    def result(self, skipped: int) -> Result:
        return self._meter.result(self._output, skipped)


class _OfValues:
    def __init__(self, output: str):
        self._output = output
        self._meter = ValueMeter()

    def evidence(self, outputs: Arrays, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        assert batch.targets is not None
        return outputs[self._output], batch.targets

    def add(self, evidence: tuple[np.ndarray, np.ndarray]) -> None:
        self._meter.add(*evidence)

    def result(self, skipped: int) -> Result:
        return self._meter.result(self._output, skipped)


def _map_output(network: Network) -> str:
    for name, shape in reversed(network.outputs.items()):
        if len(shape) == 4 and isinstance(shape[1], int) and shape[1] > 1:
            return name
    raise DataError(f"the labels are maps, but network '{network.name}' makes none")


def _fitting_output(network: Network, wanted: tuple[int, ...]) -> str:
    size = int(np.prod(wanted))
    for name, shape in reversed(network.outputs.items()):
        if all(isinstance(d, int) for d in shape[1:]) and size == np.prod(
            [int(d) for d in shape[1:]]
        ):
            return name
    raise DataError(
        f"no output of network '{network.name}' has the {shape_text(wanted)} values of a target"
    )
