"""Looking at data before long work: what can be known of labels and samples in a moment.

Labels in memory are checked all. Where each label is a file of its own, some spread over the data
are read. The first and the last sample are made into inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import DataError, Where
from .base import Batch, Dataset, Objects, TargetKind, first_batch
from .labels import check_labels, check_objects, check_pixels

__all__ = [
    "LABEL_FILES",
    "LabelledSource",
    "ProbedDataset",
    "cautions",
    "check_batch",
    "found_labels",
    "probe",
    "probe_classes",
    "spread",
    "without_labels",
]

LABEL_FILES = 1000
"""So many label files are read at most. They take less than a second."""


@runtime_checkable
class ProbedDataset(Protocol):
    """A dataset that can be looked at before it is read."""

    @property
    def found_labels(self) -> str:
        """Where labels were found that nobody asked for, in words; "" where there are none such."""
        ...

    def probe(self, classes: int | None) -> None:
        """Look at labels and at some samples; again only for other classes.

        Args:
            classes: how many classes labels may be of; None for any.

        Raises:
            DataError: the samples cannot be read, do not fit the network, or a label is no class.
        """
        ...

    def unlabelled(self) -> Dataset:
        """Return the same samples without labels."""
        ...


@runtime_checkable
class LabelledSource(Protocol):
    """A source of images that can tell the classes of an image without decoding it."""

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each image."""
        ...

    @property
    def labels_in_memory(self) -> bool:
        """Whether that needs no file."""
        ...

    def __len__(self) -> int:
        """Return how many images there are."""
        ...

    def classes_in(self, index: int) -> Sequence[int]:
        """Return the classes in an image.

        Raises:
            DataError: its label is broken.
        """
        ...

    def place_of(self, index: int) -> Where:
        """Return where its label stands."""
        ...


def found_labels(dataset: Dataset) -> str:
    """Return where labels were found that nobody asked for; "" where there are none such."""
    return dataset.found_labels if isinstance(dataset, ProbedDataset) else ""


def cautions(dataset: Dataset | None) -> tuple[str, ...]:
    """Return what a user should know of inputs that the data does not hold."""
    caution: str = getattr(dataset, "caution", "")
    return (caution,) if caution else ()


def without_labels(dataset: Dataset) -> Dataset:
    """Return a dataset without its labels; itself where it has none."""
    if dataset.labelled and isinstance(dataset, ProbedDataset):
        return dataset.unlabelled()
    return dataset


def probe(dataset: Dataset, classes: int | None = None) -> None:
    """Look at a dataset before it is read: at some samples, and at labels.

    Args:
        dataset: the dataset.
        classes: how many classes labels may be of; None for any.

    Raises:
        DataError: the samples cannot be read, do not fit the network, or a label is no class.
    """
    if isinstance(dataset, ProbedDataset):
        dataset.probe(classes)
    elif dataset.labelled:
        check_batch(first_batch(dataset), classes)


def check_batch(batch: Batch, classes: int | None) -> None:
    """Raise if a label of a batch is of no class.

    Raises:
        DataError: says which, and where.
    """
    if classes is None:
        return
    if batch.objects is not None:
        check_objects(batch.objects, classes, batch.places)
    elif batch.labels is not None and batch.labels.ndim > 1:
        maps = batch.labels.reshape(batch.size, *batch.labels.shape[-2:])
        check_pixels(maps, classes, batch.places)
    elif batch.labels is not None:
        check_labels(batch.labels, classes, batch.places)


def probe_classes(source: object, samples: int, classes: int | None, most_broken: int) -> None:
    """Raise if a label that can be read without its image is of no class.

    Args:
        source: where the images come from.
        samples: how many of them are used.
        classes: how many classes there are; None for any.
        most_broken: so many broken labels are left out with their images.

    Raises:
        DataError: a label is no class, or too many labels are broken.
    """
    if not isinstance(source, LabelledSource):
        return
    broken = 0
    for index in spread(samples, samples if source.labels_in_memory else LABEL_FILES):
        try:
            found = source.classes_in(index)
        except DataError:
            broken += 1
            if broken > most_broken:
                raise
            continue
        if classes is not None and max(found, default=0) >= classes:
            _refuse(source, index, found, classes)


def _refuse(source: LabelledSource, index: int, found: Sequence[int], classes: int) -> None:
    """Raise the error for an image with a class that the network does not have."""
    places = [source.place_of(index)]
    if source.target_kind == "objects":
        boxes = Objects.of([(number, 0.0, 0.0, 0.0, 0.0) for number in found])
        check_objects([boxes], classes, places)
    check_labels(np.array(found), classes, places * len(found))


def spread(count: int, most: int) -> Iterator[int]:
    """Yield positions in a list: the first, the last, and others between them evenly.

    Args:
        count: length of the list.
        most: how many positions, at most.
    """
    if not count:
        return
    yield 0
    if count > 1:
        yield count - 1
    inner = min(most, count) - 2
    for place in range(1, inner + 1):
        yield place * (count - 1) // (inner + 1)
