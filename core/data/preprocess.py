"""From 8-bit pixels to inputs of a network: resize, crop, order channels, subtract mean, scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..ir.network import Preprocess
from .base import Frame
from .labels import IGNORED
from .resample import resized_by_corners

__all__ = ["as_planes", "channel_order", "frame_of", "labels_to_input", "normalized", "to_input"]

GREY = 127.5
"""Value of the area that letterboxing leaves free: half of full scale."""

_PLACES = {"bgr": (0, 1, 2), "rgb": (2, 1, 0), "gray": (0,)}
"""Order of channels → position of each channel in an image as stored."""

_SAMPLING = ("centres", "corners")


def channel_order(preprocess: Preprocess, channels: int) -> str:
    """Return the order of channels of an input: that of `preprocess`; "gray" for one channel.

    Raises:
        DataError: images of that order have another number of channels, the order or the sampling
            is unknown, or `mean` has another number of values.
    """
    order = "gray" if channels == 1 else preprocess.channels
    if order not in _PLACES:
        raise DataError(
            f"channel order '{order}' is unknown", hint=f"it is one of {', '.join(_PLACES)}"
        )
    if len(_PLACES[order]) != channels:
        raise DataError(
            f"the network takes {channels} channels, but {order} images have {len(_PLACES[order])}"
        )
    if preprocess.sampling not in _SAMPLING:
        raise DataError(
            f"sampling '{preprocess.sampling}' is unknown",
            hint=f"it is one of {', '.join(_SAMPLING)}",
        )
    if len(preprocess.mean) not in (0, 1, channels):
        raise DataError(
            f"the mean has {len(preprocess.mean)} values for {channels} channels",
            hint="give one number, or one a channel",
        )
    return order


def normalized(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Return `(pixels − mean) × scale` as float32.

    Args:
        pixels: …×C×H×W.
        preprocess: `mean` with one or C numbers, or `mean_image` with the size of the pixels.

    Raises:
        DataError: the mean image has another size.
    """
    return _normalize(np.array(pixels, np.float32, order="C"), preprocess)


def as_planes(pixels: np.ndarray, channels: int, preprocess: Preprocess) -> np.ndarray:
    """Return float32 pixels of an image as stored (H×W×3, or H×W grey) as normalized C×H×W."""
    import cv2

    planes = np.empty((channels, *pixels.shape[:2]), np.float32)
    # OpenCV separates the channels: NumPy takes ten times as long to read every third number.
    order = channel_order(preprocess, channels)
    places = _PLACES[order] if pixels.ndim == 3 else (0,) * channels
    pairs = [place for pair in zip(places, range(channels), strict=True) for place in pair]
    cv2.mixChannels([np.ascontiguousarray(pixels)], list(planes), pairs)
    return _normalize(planes, preprocess)


def _normalize(planes: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Normalize float32 planes in place, and return them."""
    image = preprocess.mean_image
    if image is not None and image.shape != planes.shape[-3:]:
        raise DataError(
            f"the mean image is {_by(image.shape)}, but the image {_by(planes.shape[-3:])}",
            hint="make the mean of images of this size, or give --mean with one value a channel",
        )
    if image is not None:
        planes -= image
    elif any(preprocess.mean):
        planes -= np.asarray(preprocess.mean, np.float32).reshape(-1, 1, 1)
    planes *= np.float32(preprocess.scale)
    return planes


def to_input(image: np.ndarray, size: tuple[int, int, int], preprocess: Preprocess) -> np.ndarray:
    """Return an image as one sample of an input.

    Args:
        image: 8-bit pixels, H×W×3 in the order blue, green, red, or H×W grey.
        size: channels, height and width of the input.
        preprocess: the preprocessing.

    Returns:
        the sample, C×H×W float32.

    Raises:
        DataError: the channels do not fit, or the image is too small for the crop.
    """
    channels, height, width = size
    if channel_order(preprocess, channels) == "gray":
        image = _gray(image)
    if preprocess.crop:
        pixels = _sized(image, *_before_crop(image, height, width, preprocess), preprocess)
        return _cropped(pixels, size, preprocess)
    if preprocess.letterbox:
        pixels = _letterboxed(image, height, width, preprocess)
    else:
        pixels = _sized(image, height, width, preprocess)
    return as_planes(pixels, channels, preprocess)


def frame_of(image: np.ndarray, height: int, width: int, preprocess: Preprocess) -> Frame:
    """Return the place of an image in an input of `height` × `width` pixels."""
    own_height, own_width = image.shape[:2]
    if preprocess.crop:
        full_height, full_width = _before_crop(image, height, width, preprocess)
    elif preprocess.letterbox:
        full_height, full_width = _inside(image, height, width)
    else:
        return Frame(width=own_width, height=own_height)
    # The offsets are fractions, although the pixels were placed at whole numbers: frameworks that
    # letterbox convert boxes back in this way.
    left, top = (1 - full_width / width) / 2, (1 - full_height / height) / 2
    return Frame(
        width=own_width, height=own_height, left=left, top=top, right=1 - left, bottom=1 - top
    )


def labels_to_input(
    labels: np.ndarray, height: int, width: int, preprocess: Preprocess
) -> np.ndarray:
    """Return a map of classes (H×W) for an input, with the nearest pixels instead of interpolation.

    In the area that letterboxing leaves free, classes are :data:`~.labels.IGNORED`.
    """
    if preprocess.crop:
        full = _before_crop(labels, height, width, preprocess)
        labels = _nearest(labels, *full)
        top, left = (full[0] - height) // 2, (full[1] - width) // 2
        return labels[top : top + height, left : left + width]
    if preprocess.letterbox:
        inner = _inside(labels, height, width)
        whole = np.full((height, width), IGNORED, labels.dtype)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        whole[top : top + inner[0], left : left + inner[1]] = _nearest(labels, *inner)
        return whole
    return _nearest(labels, height, width)


def _gray(image: np.ndarray) -> np.ndarray:
    import cv2

    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _before_crop(
    image: np.ndarray, height: int, width: int, preprocess: Preprocess
) -> tuple[int, int]:
    """Return height and width of an image before its centre is cropped.

    Raises:
        DataError: they are smaller than the crop.
    """
    own_height, own_width = image.shape[:2]
    if len(preprocess.resize) == 2:
        full = preprocess.resize[0], preprocess.resize[1]
    elif len(preprocess.resize) == 1:
        short = preprocess.resize[0]
        if own_width < own_height:
            full = own_height * short // own_width, short
        else:
            full = short, own_width * short // own_height
    else:
        full = own_height, own_width
    if full[0] < height or full[1] < width:
        raise DataError(
            f"the image is {_by(full)}, too small to cut {height}×{width} out of it",
            hint="resize first: --resize H,W or --resize SHORT_SIDE",
        )
    return full


def _cropped(pixels: np.ndarray, size: tuple[int, int, int], preprocess: Preprocess) -> np.ndarray:
    """Return the normalised centre of pixels; a mean image of their size is cropped as well."""
    channels, height, width = size
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    window = np.s_[top : top + height, left : left + width]
    mean = preprocess.mean_image
    if mean is not None and mean.shape[1:] == pixels.shape[:2]:
        preprocess = replace(preprocess, mean_image=mean[:, window[0], window[1]])
    return as_planes(pixels[window], channels, preprocess)


def _inside(image: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """Return height and width of an image inside the frame of a letterbox."""
    own_height, own_width = image.shape[:2]
    if width * own_height < height * own_width:
        return max(1, own_height * width // own_width), width
    return height, max(1, own_width * height // own_height)


def _letterboxed(image: np.ndarray, height: int, width: int, preprocess: Preprocess) -> np.ndarray:
    inner_height, inner_width = _inside(image, height, width)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    pixels = np.full((height, width, *image.shape[2:]), GREY, np.float32)
    inside = np.s_[top : top + inner_height, left : left + inner_width]
    pixels[inside] = _sized(image, inner_height, inner_width, preprocess)
    return pixels


def _sized(image: np.ndarray, height: int, width: int, preprocess: Preprocess) -> np.ndarray:
    """Return an image in another size, as float32."""
    import cv2

    if preprocess.sampling == "corners":
        return resized_by_corners(image, height, width)
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    if labels.shape == (height, width):
        return labels
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
