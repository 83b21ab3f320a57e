"""Random changes of colour: hue, saturation and exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Distortion", "Shade", "recoloured"]

HALF_TURN = 179
"""What OpenCV's 8-bit hue is multiplied by. Source: image_opencv.cpp `image_data_augmentation`
(AlexeyAB): 8-bit hues count from 0 to 179."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shade:
    """One change of colour.

    Args:
        hue: added, in turns of the colour circle.
        saturation: factor.
        exposure: factor.
    """

    hue: float
    saturation: float
    exposure: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Distortion:
    """How far colours change at most. Source: image.c `random_distort_image` (AlexeyAB).

    Args:
        hue: most that is added to or taken from the hue, in turns.
        saturation: largest factor, or its inverse.
        exposure: largest factor, or its inverse.
    """

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0

    def drawn(self, random: np.random.Generator) -> Shade:
        """Return a change drawn at random."""
        hue = random.uniform(-self.hue, self.hue) if self.hue else 0.0
        return Shade(
            hue=hue,
            saturation=_factor(self.saturation, random),
            exposure=_factor(self.exposure, random),
        )


def _factor(most: float, random: np.random.Generator) -> float:
    found = random.uniform(min(1.0, most), max(1.0, most))
    return float(found if random.integers(2) else 1 / found)


def recoloured(image: np.ndarray, shade: Shade) -> np.ndarray:
    """Return an 8-bit image (H×W×3 in the order blue, green, red, or H×W grey) in other colours.

    Saturation, exposure and hue saturate at the ends of their 8-bit ranges, as in AlexeyAB's
    code with OpenCV: hues do not wrap around below 0.
    """
    import cv2

    if image.ndim == 2:
        return _scaled(image, shade.exposure)
    if (shade.hue, shade.saturation, shade.exposure) == (0.0, 1.0, 1.0):
        return image
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    shifted = np.clip(np.rint(hue + HALF_TURN * shade.hue), 0, 255).astype(np.uint8)
    merged = cv2.merge(
        [shifted, _scaled(saturation, shade.saturation), _scaled(value, shade.exposure)]
    )
    return np.asarray(cv2.cvtColor(merged, cv2.COLOR_HSV2BGR))


def _scaled(plane: np.ndarray, factor: float) -> np.ndarray:
    table = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return np.asarray(table[plane])
