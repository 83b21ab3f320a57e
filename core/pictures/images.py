"""The pictures that samples were made of: as stored, or made again of the inputs of a network."""

from __future__ import annotations

from pathlib import PurePath
from typing import Protocol, runtime_checkable

import numpy as np

from ..data.base import Batch, Dataset
from ..data.stream import Sample
from ..ir.network import Preprocess

__all__ = ["Picture", "shown"]

Picture = np.ndarray
"""H×W×3, 8 bits, red first."""

NEARLY = 8.0
"""Inputs that go so far beyond 0…255, once mean and scale are undone, are pixels all the same."""


@runtime_checkable
class Pictured(Protocol):
    """A dataset that knows the images its samples are made of."""

    def picture(self, number: int) -> Sample:
        """Return an image as stored."""
        ...


def shown(
    dataset: Dataset, batch: Batch, place: int, preprocess: Preprocess, number: int
) -> tuple[str, Picture]:
    """Return what one sample is called, and its picture.

    Args:
        dataset: that the batch is of.
        batch: the samples.
        place: of the sample in the batch.
        preprocess: how images became inputs, to be undone where the dataset keeps no images.
        number: of the sample in the dataset, from 0.

    Returns:
        the name of its file without suffix, or "sample" and its number from 1; the picture.

    Raises:
        DataError: the image is broken by now.
    """
    if batch.numbers is not None and isinstance(dataset, Pictured):
        found = dataset.picture(batch.numbers[place])
        name = PurePath(found.file.replace("\\", "/")).stem
        return name or f"sample {number + 1}", _as_picture(found.image)
    values = next(
        (rows[place] for rows in batch.inputs.values() if rows.ndim == 4 and len(rows) > place),
        np.zeros((1, 1, 1), np.float32),
    )
    return f"sample {number + 1}", _undone(values, preprocess)


def _as_picture(image: np.ndarray) -> Picture:
    """Return an image as stored (blue first, or grey) with red first."""
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image[:, :, ::-1])


def _undone(values: np.ndarray, preprocess: Preprocess) -> Picture:
    """Return an input (C×H×W) as pixels; where it holds no pixels, from its least to its most."""
    pixels = values.astype(np.float64) / (preprocess.scale or 1.0)
    if preprocess.mean_image is not None and preprocess.mean_image.shape == pixels.shape:
        pixels = pixels + preprocess.mean_image
    elif len(preprocess.mean) in (1, len(pixels)):
        pixels = pixels + np.array(preprocess.mean)[:, None, None]
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=255.0, neginf=0.0)
    low, high = float(pixels.min()), float(pixels.max())
    if low < -NEARLY or high > 255 + NEARLY or high - low <= 2:
        pixels = (pixels - low) * (255.0 / (high - low if high > low else 1.0))
    planes = np.clip(np.round(pixels), 0, 255).astype(np.uint8)
    if len(planes) != 3:
        return np.repeat(planes[0][:, :, None], 3, axis=2)
    red_first = planes if preprocess.channels == "rgb" else planes[::-1]
    return np.ascontiguousarray(red_first.transpose(1, 2, 0))
