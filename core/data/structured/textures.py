"""Random textures: noise whose power falls with frequency, as it does in photographs."""

from __future__ import annotations

import numpy as np

from .colour import coloured

__all__ = ["FALLS", "texture"]

FALLS = (0.5, 2.0)
"""Range of the power of frequency that amplitudes fall with. Photographs lie around 1 (Field 1987);
images drawn from this range train features well (Baradad et al. 2021, "spectrum": 0.5 to 3.5)."""


def texture(generator: np.random.Generator, channels: int, height: int, width: int) -> np.ndarray:
    """Return a texture [C, H, W] of mean 0 and variance 1 over all, with alike channels."""
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1.0
    amplitude = frequency ** -generator.uniform(*FALLS)
    amplitude[0, 0] = 0.0
    spread = coloured(generator, height * width, channels).T.reshape(channels, height, width)
    found = np.fft.irfft2(np.fft.rfft2(spread) * amplitude, s=(height, width))
    deviation = found.std()
    return np.asarray(found / deviation if deviation > 0 else found)
