"""How good a network is at what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ..data import Batch, Dataset, Frame
from ..engine.session import Arrays
from ..errors import DataError
from ..ir.heads import box_heads, classes_of, no_head
from ..ir.network import Network
from ..progress import Progress, silent
from .measure import measured
from .metrics.decode import Detections
from .metrics.detection import MATCH, Finder
from .metrics.metric import Result
from .runner import computed
from .task import Task, TaskOptions, find_task

__all__ = ["evaluate", "find_objects"]


def evaluate(
    network: Network,
    dataset: Dataset,
    *,
    task: Task | str | None = None,
    top: Sequence[int] = (1, 5),
    score: float | None = None,
    suppress: float | None = None,
    overlap: float = MATCH,
    output: str | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Result:
    """Measure a network by the labels of its data, whatever kind they are.

    Args:
        network: a classifier (see :func:`~..ir.heads.classifier_output`), a detector (its heads say
            how its outputs become boxes), or a network that makes maps or values.
        dataset: labelled samples, opened for `network`; classes count from 0.
        task: what is measured instead, as for :func:`~.task.find_task`; what follows is for tasks
            that are given by name or found.
        top: classifiers: for each k, count the labels among the k highest scores.
        score: detectors: leave out detections with not more than this score; None for the head's
            own limit, or 0.005.
        suppress: detectors: overlap at which a box suppresses a worse one of its class; None for
            the head's own limit, or 0.45.
        overlap: detectors: intersection over union that makes a detection right.
        output: the output to measure, where it is not the usual one.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Returns:
        by the labels: :class:`~.metrics.Accuracy` for one class a sample,
        :class:`~.metrics.DetectionResult` for objects, :class:`~.metrics.Pixels` for one class a
        pixel, :class:`~.metrics.Values` for values; or what the metric of the task gives.

    Raises:
        DataError: there are no labels, they do not fit the network, or the task compares networks.
    """
    if task is None and not dataset.labelled:
        raise _unlabelled(network, dataset)
    options = TaskOptions(top=top, score=score, suppress=suppress, overlap=overlap, output=output)
    found = find_task(network, dataset, task, options)
    if found.needs_original:
        raise DataError(
            f"{found.metric} compares a network with the one it was made from, and there is one",
            hint="fidelity and check_drop take both",
        )
    metric = measured(network, dataset, found, full=True, threads=threads, progress=progress)
    return _with_skipped(metric.compute(), len(dataset.problems))


def _with_skipped(result: Result, count: int) -> Result:
    """Return a result that says how many samples could not be read, where it can say so."""
    made: Any = result
    if count and is_dataclass(made) and "skipped" in {field.name for field in fields(made)}:
        made = replace(made, skipped=count)  # type: ignore[type-var]
    return made  # type: ignore[no-any-return]


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
        hint="docs/data.md says where labels are in each kind of data; two models can be "
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
        score: as for :func:`evaluate`.
        suppress: as for :func:`evaluate`.
        threads: as for :func:`evaluate`.
        progress: told about every batch.

    Raises:
        DataError: the network is no detector, or the data does not fit.
    """
    heads = box_heads(network)
    if not heads:
        raise no_head(network)
    finder = Finder(heads=heads, score=score, suppress=suppress)

    def found(batch: Batch, outputs: Arrays) -> list[Detections]:
        frames = batch.frames or (Frame(width=1, height=1),) * batch.size
        return finder.found(outputs, frames)

    for objects in computed(
        network, dataset, "detecting", found, threads=threads, progress=progress
    ):
        yield from objects
