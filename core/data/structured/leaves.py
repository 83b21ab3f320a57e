"""Dead leaves: shapes of all sizes that hide each other, each with a colour and a texture."""

from __future__ import annotations

import numpy as np

from .colour import coloured
from .textures import texture

__all__ = ["leaves"]

LEAVES = 100
"""Shapes in an image. They cover it more than once at these sizes."""

SMALLEST = 0.08
LARGEST = 0.5
"""Radius of the smallest and the largest shape, in parts of the image's shorter side."""

TEXTURE = (0.0, 0.6)
"""Range of the contrast inside a shape, in parts of that between shapes."""


def leaves(generator: np.random.Generator, channels: int, height: int, width: int) -> np.ndarray:
    """Return an image [C, H, W] of about mean 0 and variance 1.

    Radii r have the density r⁻³, which makes the model of natural images whose statistics do not
    depend on the scale (Lee, Mumford and Huang 2001). Shapes are ellipses, and rectangles for one
    in three, turned by any angle.
    """
    canvas = texture(generator, channels, height, width)
    pattern = texture(generator, channels, height, width)
    shorter = min(height, width)
    low, high = max(0.75, SMALLEST * shorter), max(1.0, LARGEST * shorter)
    quantiles = generator.random(LEAVES)
    radii = 1 / np.sqrt(low**-2 + quantiles * (high**-2 - low**-2))
    colours = coloured(generator, LEAVES, channels)
    centres = generator.random((LEAVES, 2)) * (height, width)
    angles = generator.random(LEAVES) * np.pi
    flatness = generator.uniform(0.4, 1.0, LEAVES)
    contrasts = generator.uniform(*TEXTURE, LEAVES)
    corners = generator.random(LEAVES) < 1 / 3
    for each in range(LEAVES):
        y, x = centres[each]
        reach = radii[each] * 1.5
        top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 2)
        left, right = max(0, int(x - reach)), min(width, int(x + reach) + 2)
        rows = np.arange(top, bottom)[:, None] - y
        columns = np.arange(left, right)[None, :] - x
        sine, cosine = np.sin(angles[each]), np.cos(angles[each])
        along = (cosine * columns + sine * rows) / radii[each]
        beside = (cosine * rows - sine * columns) / (radii[each] * flatness[each])
        inside = (
            np.maximum(np.abs(along), np.abs(beside)) <= 1
            if corners[each]
            else along**2 + beside**2 <= 1
        )
        window = np.s_[:, top:bottom, left:right]
        fill = colours[each][:, None, None] + contrasts[each] * pattern[window]
        canvas[window] = np.where(inside, fill, canvas[window])
    return canvas
