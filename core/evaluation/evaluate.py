"""How good a network is at what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ..data import Batch, Dataset, Frame
from ..data.arrays import AnyData, as_dataset
from ..data.probe import cautions
from ..engine.session import Arrays
from ..errors import DataError
from ..ir.heads import box_heads, classes_of, no_head
from ..ir.network import Network
from ..options import options_of
from ..progress import Progress, silent
from .fitted import fit_data
from .measure import measured
from .metrics.decode import Detections
from .metrics.detection import Finder
from .metrics.metric import Result
from .options import EvaluateOptions
from .runner import computed

__all__ = ["evaluate", "find_objects"]


def evaluate(
    network: Network,
    dataset: AnyData,
    options: EvaluateOptions | None = None,
    *,
    progress: Progress = silent,
    **settings: Any,
) -> Result:
    """Measure a network by the labels of its data, whatever kind they are.

    Args:
        network: a classifier (see :func:`~..ir.heads.classifier_output`), a detector (its heads say
            how its outputs become boxes), or a network that makes maps or values.
        dataset: labelled samples, opened for `network`; classes count from 0.
        options: what is measured, and how.
        progress: told about every batch.
        settings: fields of :class:`EvaluateOptions`, instead of `options`.

    Returns:
        by the labels: :class:`~.metrics.Accuracy` for one class a sample,
        :class:`~.metrics.DetectionResult` for objects, :class:`~.metrics.Pixels` for one class a
        pixel, :class:`~.metrics.Values` for values; or what the metric of the task gives.

    Raises:
        DataError: there are no labels, they do not fit the network, or the task compares networks.
    """
    dataset = as_dataset(dataset, network)
    options = options_of(EvaluateOptions, options, settings)
    if options.task is None and not dataset.labelled and not cautions(dataset):
        raise _unlabelled(network, dataset)
    found = fit_data(network, dataset, options.task, options, asked=True).task
    if found.needs_original:
        raise DataError(
            f"{found.metric} compares a network with the one it was made from, and there is one",
            hint="fidelity and check_drop take both",
        )
    metric = measured(
        network, dataset, found, full=True, threads=options.threads, progress=progress
    )
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
    dataset: AnyData,
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
    dataset = as_dataset(dataset, network)
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
