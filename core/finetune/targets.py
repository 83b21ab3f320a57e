"""From a batch of samples to the tensors that a network and its losses read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..data import Batch
from ..data.base import Objects
from ..training.framework import torch
from ..training.recipe import Objective

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LABEL", "SHARES", "TRUTH", "VALUES", "label_names", "listed_rows", "tensors_of", "truth_rows",
]  # fmt: skip

LABEL, SHARES, TRUTH, VALUES = "label", "shares", "truth", "values"
"""Keys of targets: a class a sample or pixel; the shares of classes (N×classes); the objects of
each image (N×objects×5), or the shares once more; and what an output should be."""


def label_names(objectives: Iterable[Objective], known: Iterable[str]) -> tuple[str, ...]:
    """Return what losses call the labels: names that are neither values of the graph nor targets.

    Args:
        objectives: the losses.
        known: names of the graph's values.
    """
    others = {*known, SHARES, TRUTH, VALUES}
    reads = (name for one in objectives for name in one.reads)
    return tuple(dict.fromkeys(name for name in reads if name not in others))


def tensors_of(
    batch: Batch,
    labels: Sequence[str] = (LABEL,),
    classes: int = 0,
    device: str = "cpu",
    background: int | None = None,
) -> dict[str, Tensor]:
    """Return the inputs and targets of a batch by name.

    Args:
        batch: the samples.
        labels: what losses call the labels.
        classes: how many there are, for mixed samples.
        device: where the tensors are to be.
        background: the class of nothing, where losses count it and read objects as rows of a list;
            None where there is none.
    """
    found = {name: torch.from_numpy(array) for name, array in batch.inputs.items()}
    if batch.labels is not None:
        found.update(dict.fromkeys(labels, torch.from_numpy(batch.labels)))
    if batch.labels is not None and batch.labels.ndim == 1 and classes:
        found[SHARES] = found[TRUTH] = torch.from_numpy(_shares(batch, classes))
    if batch.objects is not None:
        height, width = next(iter(batch.inputs.values())).shape[2:]
        found[TRUTH] = torch.from_numpy(truth_rows(batch.objects, height, width))
        if background is not None:
            rows = torch.from_numpy(listed_rows(batch.objects, height, width, background))
            found.update(dict.fromkeys(labels, rows))
    if batch.values is not None:
        found[VALUES] = torch.from_numpy(np.asarray(batch.values, np.float32))
    return {name: tensor.to(device, non_blocking=True) for name, tensor in found.items()}


def _shares(batch: Batch, classes: int) -> np.ndarray:
    """Return the share of each class in each sample, N×classes."""
    assert batch.labels is not None
    found = np.zeros((batch.size, classes), np.float32)
    mixed = batch.mixture or (batch.labels[:, None], np.ones((batch.size, 1), np.float32))
    for column in range(mixed[0].shape[1]):
        np.add.at(found, (np.arange(batch.size), mixed[0][:, column]), mixed[1][:, column])
    return found


def truth_rows(objects: Sequence[Objects], height: int, width: int) -> np.ndarray:
    """Return the objects of each image as rows x, y, w, h, class.

    Args:
        objects: boxes in pixels of the input.
        height: rows of the input.
        width: columns of the input.

    Returns:
        N×objects×5 float32: the middle and the sides of a box in parts of the input, and its
        class; rows of zeros fill images with fewer objects, since an x of 0 ends the list.
    """
    kept = [found.classes[~found.ignored] for found in objects]
    most = max([1, *(len(classes) for classes in kept)])
    rows = np.zeros((len(objects), most, 5), np.float32)
    for row, found, classes in zip(rows, objects, kept, strict=True):
        boxes = found.boxes[~found.ignored] / np.array([width, height] * 2)
        row[: len(boxes), :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
        row[: len(boxes), 2:4] = boxes[:, 2:] - boxes[:, :2]
        row[: len(boxes), 4] = classes
    return rows


def listed_rows(objects: Sequence[Objects], height: int, width: int, background: int) -> np.ndarray:
    """Return the objects of a batch as the rows that the losses of prior boxes read.

    Source: annotated_data_layer.cpp `load_batch` (SSD).

    Args:
        objects: boxes in pixels of the input; classes without the background.
        height: rows of the input.
        width: columns of the input.
        background: the class of nothing: classes from it on move up by one. Below 0 for none.

    Returns:
        1×1×objects×8 float32: image, class, instance, left, top, right and bottom in parts of the
        input, difficult. One row of −1 where there are no objects.
    """
    rows = []
    for image, found in enumerate(objects):
        boxes = found.boxes / np.array([width, height] * 2)
        moved = (found.classes >= background) if background >= 0 else np.zeros(len(boxes), bool)
        for place in np.flatnonzero(~found.crowd):
            label = int(found.classes[place]) + int(moved[place])
            rows.append([image, label, place, *boxes[place], float(found.ignored[place])])
    return np.array(rows or [[-1.0] * 8], np.float32).reshape(1, 1, -1, 8)
