"""Colours of made images: channels that rise and fall together, around a mean and within 8 bits."""

from __future__ import annotations

import numpy as np

from ..synthetic import FULL_SCALE

__all__ = ["COMMON", "CONTRAST", "MIDDLE", "coloured", "developed"]

MIDDLE = 115.0
"""Mean of a pixel where no mean is known: about 0.45 of full scale, as of ImageNet's images."""

CONTRAST = 58.0
"""Standard deviation of a pixel: 0.224 to 0.229 of full scale in ImageNet's images (the numbers
that torchvision divides by)."""

COMMON = 0.9
"""Share of the variance that all channels have in common. The largest of the three eigenvalues of
ImageNet's colours is 0.2175 of 0.2408 (Krizhevsky et al. 2012, the values of fb.resnet.torch)."""


def coloured(generator: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Return random colours [count, channels]: of mean 0 and variance 1, alike in all channels."""
    common = generator.standard_normal((count, 1))
    own = generator.standard_normal((count, channels))
    if channels == 1:
        return common
    return np.asarray(np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * own)


def developed(planes: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
    """Return whole 8-bit pixels, float32, of planes of about mean 0 and variance 1.

    Args:
        planes: C×H×W.
        mean: what pixels lie around; broadcasts over the planes.
    """
    pixels = np.rint(np.clip(planes * CONTRAST + mean, 0.0, FULL_SCALE))
    return np.asarray(pixels, np.float32)
