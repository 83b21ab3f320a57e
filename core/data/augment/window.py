"""The part of an image that becomes an input, and what it makes of pixels, boxes and maps.

Every way to cut images at random comes down to a :class:`Window`: edges in the image, which may lie
outside it, a mirror, and perhaps a turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..base import Objects
from ..labels import IGNORED

__all__ = ["Window", "boxes_in", "cut_map", "cut_out", "whole"]

LEAST = 1.0
"""Boxes with a side below so many pixels of the input are no truth. Source: data.c
`fill_truth_detection` (AlexeyAB)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The part of an image that becomes an input.

    Args:
        left: first column, in pixels of the image after it was resized to `scaled`.
        top: first row.
        width: columns; those outside the image get a fill colour.
        height: rows.
        scaled: height and width to which the image is resized first; None for its own.
        mirrored: left and right are exchanged afterwards.
        turned: degrees, clockwise, by which what is cut out is turned around its middle.
    """

    left: int
    top: int
    width: int
    height: int
    scaled: tuple[int, int] | None = None
    mirrored: bool = False
    turned: float = 0.0

    def flipped(self, mirrored: bool) -> Window:
        """Return the window with or without a mirror."""
        return replace(self, mirrored=mirrored)


def whole(height: int, width: int) -> Window:
    """Return the window of a whole image."""
    return Window(left=0, top=0, width=width, height=height)


def cut_out(
    image: np.ndarray, window: Window, height: int, width: int, fill: tuple[float, ...] | None
) -> np.ndarray:
    """Return what a window shows, in the size of an input.

    Args:
        image: H×W or H×W×C, 8 bits or float32.
        window: the part of it.
        height: rows of the input.
        width: columns of the input.
        fill: colour outside the image; None for the image's mean colour. Source of the mean:
            image_opencv.cpp `image_data_augmentation` (AlexeyAB).

    Returns:
        height×width or height×width×C, of the same type.
    """
    import cv2

    if window.scaled is not None and image.shape[:2] != window.scaled:
        image = cv2.resize(image, window.scaled[::-1], interpolation=cv2.INTER_LINEAR)
    colour = tuple(cv2.mean(image)) if fill is None else (*fill, *fill[-1:] * 3)[:4]
    if window.turned:
        matrix = _affine(window, height, width)
        cut = cv2.warpAffine(
            image, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT, borderValue=colour,
        )  # fmt: skip
    else:
        cut = _filled(image, window, colour)
        if cut.shape[:2] != (height, width):
            cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.flip(cut, 1) if window.mirrored else cut


def cut_map(labels: np.ndarray, window: Window, height: int, width: int) -> np.ndarray:
    """Return a map of classes (H×W uint8) through a window, by the nearest pixels.

    Outside the image, classes are :data:`~..labels.IGNORED`.
    """
    import cv2

    if window.scaled is not None and labels.shape != window.scaled:
        labels = cv2.resize(labels, window.scaled[::-1], interpolation=cv2.INTER_NEAREST)
    if window.turned:
        cut = cv2.warpAffine(
            labels, _affine(window, height, width), (width, height),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(IGNORED,),
        )  # fmt: skip
    else:
        cut = _filled(labels, window, (IGNORED,))
        if cut.shape != (height, width):
            cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.flip(cut, 1) if window.mirrored else cut)


def boxes_in(
    objects: Objects, window: Window, size: tuple[int, int], height: int, width: int
) -> Objects:
    """Return the objects that a window shows, clipped to it.

    Args:
        objects: boxes in pixels of the image as stored.
        window: the part of the image; it must not be turned.
        size: height and width of the image as stored.
        height: rows of the input.
        width: columns of the input.

    Returns:
        boxes in pixels of the input. Those that end up below one pixel are left out.
    """
    scaled = window.scaled or size
    stretch = np.array([scaled[1] / size[1], scaled[0] / size[0]] * 2)
    offset = np.array([window.left, window.top] * 2)
    zoom = np.array([width / window.width, height / window.height] * 2)
    boxes = (objects.boxes * stretch - offset) * zoom
    if window.mirrored:
        boxes = np.stack(
            [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1
        )
    boxes = np.clip(boxes, 0.0, np.array([width, height] * 2, np.float64))
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (sides >= LEAST).all(axis=1)
    return Objects(
        boxes=boxes[kept],
        classes=objects.classes[kept],
        ignored=objects.ignored[kept],
        crowd=objects.crowd[kept],
    )


def _filled(image: np.ndarray, window: Window, colour: tuple[float, ...]) -> np.ndarray:
    """Return the pixels of a window, with a colour outside the image."""
    own_height, own_width = image.shape[:2]
    left, top = max(0, window.left), max(0, window.top)
    right = min(own_width, window.left + window.width)
    bottom = min(own_height, window.top + window.height)
    if (right - left, bottom - top) == (window.width, window.height):
        return np.ascontiguousarray(image[top:bottom, left:right])
    channels = image.shape[2:]
    kind = np.rint(colour) if image.dtype == np.uint8 else np.asarray(colour)
    found = np.empty((window.height, window.width, *channels), image.dtype)
    found[:] = kind[: channels[0]] if channels else kind[0]
    if right > left and bottom > top:
        rows = slice(top - window.top, bottom - window.top)
        columns = slice(left - window.left, right - window.left)
        found[rows, columns] = image[top:bottom, left:right]
    return found


def _affine(window: Window, height: int, width: int) -> np.ndarray:
    """Return the 2×3 matrix that leads from a pixel of the input to one of the image."""
    across, down = window.width / width, window.height / height
    cosine, sine = math.cos(math.radians(window.turned)), math.sin(math.radians(window.turned))
    turn = np.array([[cosine * across, -sine * down], [sine * across, cosine * down]])
    middle = np.array([window.left + window.width / 2, window.top + window.height / 2])
    shift = middle - 0.5 - turn @ np.array([width / 2 - 0.5, height / 2 - 0.5])
    return np.concatenate([turn, shift[:, None]], axis=1)
