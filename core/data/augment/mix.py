"""Mixing training samples: mosaic, mixup and cutmix, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..base import Objects

__all__ = ["Picture", "cutmix", "mixup", "mosaic"]

EDGE = 0.2
"""The cut of a mosaic keeps this fraction of the side from the edges. Source: data.c
`load_data_detection` and `load_data_augment` (AlexeyAB), `min_offset`."""

PATCH = (0.3, 0.8)
"""Sides of the rectangle that cutmix takes over. Source: data.c `load_data_augment` (AlexeyAB)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One training sample before it is normalised.

    Args:
        image: height×width×C or height×width, 8 bits or float32.
        classes: its classes with their shares, which sum to 1; empty where none is known.
        objects: what is in it, in pixels of `image`.
        pixels: the class of each pixel.
        values: what the network should compute; such pictures are neither cut nor mixed.
        shift: edges of the image that lie inside the picture: left, top, right, bottom, in pixels;
            a mosaic does not show what lies outside.
    """

    image: np.ndarray
    classes: tuple[tuple[int, float], ...] = ()
    objects: Objects | None = None
    pixels: np.ndarray | None = None
    values: np.ndarray | None = None
    shift: tuple[int, int, int, int] = (0, 0, 0, 0)


def mixup(one: Picture, other: Picture) -> Picture:
    """Return two pictures at half strength each, with the objects of both.

    A map of classes cannot be mixed: the first picture is returned.
    """
    import cv2

    if one.pixels is not None:
        return one
    return replace(
        one,
        image=np.asarray(cv2.addWeighted(one.image, 0.5, other.image, 0.5, 0.0)),
        classes=_shared([(one, 0.5), (other, 0.5)]),
        objects=_joined([one.objects, other.objects]),
    )


def cutmix(one: Picture, other: Picture, random: np.random.Generator) -> Picture:
    """Return a picture with a rectangle of another one in it, at the same place.

    Pictures with objects stay as they are: cutmix is for classes and maps.
    """
    if one.objects is not None:
        return one
    height, width = one.image.shape[:2]
    high, wide = (int(random.integers(int(side * PATCH[0]), int(side * PATCH[1]) + 1))
                  for side in (height, width))  # fmt: skip
    top, left = (
        int(random.integers(0, height - high + 1)),
        int(random.integers(0, width - wide + 1)),
    )
    place = np.s_[top : top + high, left : left + wide]
    image = one.image.copy()
    image[place] = other.image[place]
    pixels = one.pixels
    if pixels is not None and other.pixels is not None:
        pixels = pixels.copy()
        pixels[place] = other.pixels[place]
    share = high * wide / (height * width)
    return replace(
        one, image=image, pixels=pixels, classes=_shared([(one, 1 - share), (other, share)])
    )


def mosaic(four: Sequence[Picture], random: np.random.Generator, *, bounded: bool) -> Picture:
    """Return four pictures in one, around a cut that is drawn at random.

    Pictures with classes keep the part that the quarter shows. Of pictures with objects, the corner
    that lies at the cut is moved to it, so that no fill is shown between them.

    Args:
        four: left above, right above, left below, right below; all of one size.
        random: where chance comes from.
        bounded: clip objects to their quarter; else to the picture.
    """
    height, width = four[0].image.shape[:2]
    across, down = (
        int(random.integers(int(side * EDGE), int(side * (1 - EDGE)) + 1))
        for side in (width, height)
    )
    quarters = [
        (slice(0, down), slice(0, across)), (slice(0, down), slice(across, width)),
        (slice(down, height), slice(0, across)), (slice(down, height), slice(across, width)),
    ]  # fmt: skip
    moving = four[0].objects is not None
    image = np.empty_like(four[0].image)
    pixels = None if four[0].pixels is None else np.empty_like(four[0].pixels)
    shares, objects = [], []
    for number, (picture, (rows, columns)) in enumerate(zip(four, quarters, strict=True)):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        top, left = (
            _from(picture, number, (rows, columns)) if moving else (rows.start, columns.start)
        )
        image[rows, columns] = picture.image[top : top + high, left : left + wide]
        if pixels is not None and picture.pixels is not None:
            pixels[rows, columns] = picture.pixels[top : top + high, left : left + wide]
        shares.append((picture, high * wide / (height * width)))
        if picture.objects is not None:
            shift = (columns.start - left, rows.start - top)
            bounds = (rows, columns) if bounded else (slice(0, height), slice(0, width))
            objects.append(_moved(picture.objects, shift, bounds))
    return Picture(
        image=image,
        classes=_shared(shares),
        objects=_joined(objects) if objects else None,
        pixels=pixels,
    )


def _from(picture: Picture, number: int, quarter: tuple[slice, slice]) -> tuple[int, int]:
    """Return the first row and column of a picture that its quarter shows.

    The pictures on the left show their right part, as far as the image reaches (`shift`), and so
    for the other sides.
    """
    height, width = picture.image.shape[:2]
    rows, columns = quarter
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    left, top, right, bottom = picture.shift
    row = height - high - min(bottom, height - high) if number < 2 else min(top, height - high)
    column = width - wide - min(right, width - wide) if number % 2 == 0 else min(left, width - wide)
    return row, column


def _moved(objects: Objects, shift: tuple[int, int], bounds: tuple[slice, slice]) -> Objects:
    """Return objects moved by columns and rows and clipped; those below one pixel are left out."""
    rows, columns = bounds
    boxes = objects.boxes + np.array([*shift, *shift], np.float64)
    low = np.array([columns.start, rows.start] * 2, np.float64)
    high = np.array([columns.stop, rows.stop] * 2, np.float64)
    boxes = np.clip(boxes, low, high)
    kept = (boxes[:, 2:] - boxes[:, :2] > 1.0).all(axis=1)
    return Objects(
        boxes=boxes[kept],
        classes=objects.classes[kept],
        ignored=objects.ignored[kept],
        crowd=objects.crowd[kept],
    )


def _joined(parts: Sequence[Objects | None]) -> Objects | None:
    """Return the objects of several pictures together."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    return Objects(
        boxes=np.concatenate([part.boxes for part in found]),
        classes=np.concatenate([part.classes for part in found]),
        ignored=np.concatenate([part.ignored for part in found]),
        crowd=np.concatenate([part.crowd for part in found]),
    )


def _shared(parts: Sequence[tuple[Picture, float]]) -> tuple[tuple[int, float], ...]:
    """Return the classes of several pictures with their shares in the mixture."""
    found: dict[int, float] = {}
    for picture, weight in parts:
        for label, share in picture.classes:
            found[label] = found.get(label, 0.0) + weight * share
    return tuple(found.items())
