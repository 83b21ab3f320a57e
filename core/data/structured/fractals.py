"""Fractals: attractors of random affine maps, drawn over each other in random colours."""

from __future__ import annotations

import numpy as np

from .colour import coloured
from .textures import texture

__all__ = ["fractals"]

LAYERS = (2, 5)
"""Fractals in an image: at least, and below."""

MAPS = (2, 7)
"""Affine maps of a fractal: at least, and below."""

POINTS = 4096
"""Points that the maps move at once."""

STEPS = 36
BURN_IN = 8
"""Times that they are moved, and how many of them before points are drawn."""

COARSE = (24, 256)
"""Range of the longer side, in pixels, that a fractal is drawn at; never above the image's."""

SIZES = (0.3, 0.9)
"""Range of the factors that a map shrinks by."""

SCALES = (0.7, 1.6)
"""Range of the size of a fractal, in parts of the image's."""

LEAST_SIZE = 1e-3
"""Weight of a map that shrinks everything to a line, beside the area that others leave."""

PATTERN = 0.3
"""Contrast of the texture on a fractal."""


def fractals(generator: np.random.Generator, channels: int, height: int, width: int) -> np.ndarray:
    """Return an image [C, H, W] of about mean 0 and variance 1.

    Each fractal is the attractor of an iterated function system with random contracting maps
    (Kataoka et al. 2020; used for calibration by Lazarevich et al. 2021), on a background of noise.
    """
    canvas = texture(generator, channels, height, width)
    pattern = texture(generator, channels, height, width)
    for _ in range(int(generator.integers(*LAYERS))):
        density = _drawn(generator, height, width)
        cover = np.minimum(1.0, density)
        near, far = coloured(generator, 2, channels)[:, :, None, None]
        shade = near + (far - near) * density / max(1.0, density.max())
        canvas = canvas * (1 - cover) + (shade + PATTERN * pattern) * cover
    return canvas


def _drawn(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a fractal as a density [H, W]: drawn coarsely and enlarged, it has surfaces."""
    import cv2

    side = float(np.exp(generator.uniform(np.log(COARSE[0]), np.log(COARSE[1]))))
    part = min(1.0, side / max(height, width))
    rows, columns = max(1, round(height * part)), max(1, round(width * part))
    density = _density(generator, rows, columns).astype(np.float32)
    return np.asarray(cv2.resize(density, (width, height), interpolation=cv2.INTER_LINEAR))


def _density(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return how often the points of a fractal fall on each pixel [H, W], in square roots."""
    count = int(generator.integers(*MAPS))
    matrices, moves = _maps(generator, count)
    sizes = np.abs(np.linalg.det(matrices)) + LEAST_SIZE
    bounds = np.cumsum(sizes / sizes.sum())[:-1]
    (a, b), (c, d) = matrices.transpose(1, 2, 0)
    e, f = moves.T
    y, x = generator.uniform(-1, 1, (2, POINTS))
    seen = []
    for step in range(STEPS):
        which = np.searchsorted(bounds, generator.random(POINTS))
        y, x = a[which] * y + b[which] * x + e[which], c[which] * y + d[which] * x + f[which]
        if step >= BURN_IN:
            seen.append((y, x))
    found = np.concatenate(seen, axis=1)
    low, high = np.quantile(found, (0.01, 0.99), axis=1)
    placed = (found - low[:, None]) / np.maximum(high - low, 1e-9)[:, None] - 0.5
    placed = placed * generator.uniform(*SCALES) + generator.uniform(0.2, 0.8, (2, 1))
    inside = ((placed >= 0) & (placed < 1)).all(axis=0)
    rows, columns = (placed[:, inside] * [[height], [width]]).astype(np.int64)
    counted = np.bincount(rows * width + columns, minlength=height * width)
    expected = max(1.0, POINTS * (STEPS - BURN_IN) / (height * width))
    return np.asarray(np.sqrt(counted.reshape(height, width) / expected))


def _maps(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return contracting maps: matrices [count, 2, 2] and what they add [count, 2]."""
    sizes = generator.uniform(*SIZES, (count, 2))
    turned, tilted = (_turns(generator.uniform(-np.pi, np.pi, count)) for _ in range(2))
    return (turned * sizes[:, None, :]) @ tilted, generator.uniform(-1, 1, (count, 2))


def _turns(angles: np.ndarray) -> np.ndarray:
    """Return the matrices [n, 2, 2] that turn by angles [n]."""
    sine, cosine = np.sin(angles), np.cos(angles)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
