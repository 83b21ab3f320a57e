"""From 8-bit pixels to what a network takes: resize, order channels, subtract mean, scale."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..ir.network import Preprocess

__all__ = ["channel_order", "normalized", "to_input"]

GREY = 127.5
"""What letterboxing fills the remaining area with: half of full scale."""

_DEPTH = {"bgr": 3, "rgb": 3, "gray": 1}


def channel_order(preprocess: Preprocess, channels: int) -> str:
    """Return the order of channels to feed: that of `preprocess`, grey where there is only one.

    Raises:
        DataError: images have no such number of channels, or `mean` has another one.
    """
    order = "gray" if channels == 1 else preprocess.channels
    if order not in _DEPTH:
        raise DataError(
            f"channel order '{order}' is unknown", hint=f"it is one of {', '.join(_DEPTH)}"
        )
    if _DEPTH[order] != channels:
        raise DataError(
            f"the network takes {channels} channels, but {order} images have {_DEPTH[order]}"
        )
    if len(preprocess.mean) not in (0, 1, channels):
        raise DataError(
            f"the mean has {len(preprocess.mean)} values for {channels} channels",
            hint="give one number, or one a channel",
        )
    return order


def normalized(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Return `(pixels − mean) × scale` as float32; `pixels` is C×H×W, `mean` one or C numbers."""
    mean = np.asarray(preprocess.mean or (0.0,), np.float32).reshape(-1, 1, 1)
    return np.asarray((pixels - mean) * np.float32(preprocess.scale), dtype=np.float32)


def to_input(image: np.ndarray, size: tuple[int, int, int], preprocess: Preprocess) -> np.ndarray:
    """Return an image as one sample of an input.

    Args:
        image: 8-bit pixels, H×W×3 in the order blue, green, red, or H×W grey.
        size: channels, height and width of the input.
        preprocess: what to do.

    Returns:
        C×H×W float32.

    Raises:
        DataError: the channels do not fit.
    """
    import cv2

    channels, height, width = size
    order = channel_order(preprocess, channels)
    if image.ndim == 3 and order == "gray":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    elif image.ndim == 3 and order == "rgb":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    elif image.ndim == 2 and order != "gray":
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if preprocess.letterbox:
        pixels = _letterboxed(image, height, width)
    else:
        pixels = _resized(image, height, width).astype(np.float32)
    return normalized(pixels.reshape(height, width, channels).transpose(2, 0, 1), preprocess)


def _letterboxed(image: np.ndarray, height: int, width: int) -> np.ndarray:
    ratio = min(height / image.shape[0], width / image.shape[1])
    inner_height = max(1, min(height, int(image.shape[0] * ratio + 1e-6)))
    inner_width = max(1, min(width, int(image.shape[1] * ratio + 1e-6)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    pixels = np.full((height, width, *image.shape[2:]), GREY, np.float32)
    pixels[top : top + inner_height, left : left + inner_width] = _resized(
        image, inner_height, inner_width
    )
    return pixels


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
