"""Structured random images as a dataset: what stands in for images where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import DataError
from ...ir.footprint import multiply_adds, peak_bytes
from ...ir.network import Network, Preprocess
from ..base import BATCH_SIZE, fixed_batch
from ..preprocess import normalized
from ..synthetic import FULL_SCALE, SyntheticDataset, for_size
from .colour import MIDDLE, developed
from .fractals import fractals
from .leaves import leaves
from .textures import texture

__all__ = ["MADE_SAMPLES", "STYLES", "USUAL_STYLE", "StructuredDataset", "affordable_images"]

Style = Callable[[np.random.Generator, int, int, int], np.ndarray]
"""Makes an image C×H×W of about mean 0 and variance 1: from a generator, C, H and W."""

STYLES: dict[str, tuple[Style, ...]] = {
    "structured": (fractals, leaves),
    "fractals": (fractals,),
    "leaves": (leaves,),
    "textures": (texture,),
}
"""What images are made in turn, by the name of the whole."""

USUAL_STYLE = "structured"
"""The style of `synthetic` alone."""

MADE_SAMPLES = 128
"""Images that are made where nobody says how many."""

LEAST_SAMPLES = 32
"""Images that are made however much work each is, where nobody says how many. On 16 small ones, OBS
left a network of 28 × 28 pixels less than L1 does."""

WORK = 100_000_000_000
"""Multiplications of a pass over all images, where nobody says how many: some tens of seconds."""

LEAST_SIDE = 8
"""Rows and columns of the smallest image; smaller inputs hold features."""

KEPT_BYTES = 1 << 26
"""Bytes of pixels that are kept from one pass to the next. Others are made again."""

LARGEST = 1 << 31
"""Bytes of values of one sample; a file that claims a larger input gets no made images."""

DARKEST = 16.0
"""A mean below this is none of 8-bit images (it may be of pixels from 0 to 1)."""


def affordable_images(network: Network) -> int:
    """Return how many images to make where nobody says: fewer where each is much work."""
    most = WORK // max(1, multiply_adds(network))
    return max(LEAST_SAMPLES, min(MADE_SAMPLES, most))


class StructuredDataset(SyntheticDataset):
    """Random images with edges, textures and colours about as photographs have them.

    Whole 8-bit pixels around the mean of the preprocessing, with the spread of photographs; then
    `(pixel − mean) × scale`. The same for the same seed; a sample depends only on the seed and its
    number. Inputs that are no images hold the noise of :class:`.SyntheticDataset`.

    Args:
        network: the network.
        style: a name of :data:`STYLES`.
        samples: number of images, rounded up to a multiple of the network's fixed batch; None for
            :func:`affordable_images`.
        batch: number of samples of a batch.
        seed: of all that is random.
        preprocess: preprocessing instead of the network's own.

    Raises:
        DataError: no input takes images, its size is unknown or claims too much memory, or
            `samples` or `batch` is not positive.
    """

    def __init__(
        self,
        network: Network,
        *,
        style: str = USUAL_STYLE,
        samples: int | None = None,
        batch: int = BATCH_SIZE,
        seed: int = 0,
        preprocess: Preprocess | None = None,
    ):
        if peak_bytes(network) * (fixed_batch(network) or 1) > LARGEST:
            raise DataError(
                f"network '{network.name}' is too large to make images for",
                hint="give images as --data",
            )
        count = affordable_images(network) if samples is None else samples
        super().__init__(network, samples=count, batch=batch, seed=seed, preprocess=preprocess)
        self.name = f"made images ({style})"
        self._styles: Sequence[Style] = STYLES[style]
        self._kept: dict[tuple[int, str], np.ndarray] = {}
        self._kept_bytes = 0
        if not any(map(self._takes_images, self._shapes)):
            raise DataError(
                f"network '{network.name}' takes no images, and nothing else can be made up for it",
                hint="give samples as --data: an .npz file",
            )

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become inputs."""
        return self._preprocess

    @property
    def bounds(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Input that is an image → what black and white become [C, H, W]."""
        found = {}
        for name in filter(self._takes_images, self._shapes):
            shape = self._shapes[name]
            fitting = for_size(self._preprocess, shape)
            ends = [normalized(np.full(shape, v, np.float32), fitting) for v in (0.0, FULL_SCALE)]
            found[name] = np.minimum(*ends), np.maximum(*ends)
        return found

    def _takes_images(self, name: str) -> bool:
        return super()._takes_images(name) and min(self._shapes[name][1:]) >= LEAST_SIDE

    def _pixels(
        self,
        generator: np.random.Generator,
        of: tuple[int, str],
        shape: tuple[int, ...],
        preprocess: Preprocess,
    ) -> np.ndarray:
        found = self._kept.get(of)
        if found is None:
            style = self._styles[of[0] % len(self._styles)]
            mean = _mean(preprocess)
            made = [developed(style(generator, *shape[1:]), mean) for _ in range(shape[0])]
            found = np.stack(made).astype(np.uint8)
            if self._kept_bytes + found.nbytes <= KEPT_BYTES:
                self._kept[of] = found
                self._kept_bytes += found.nbytes
        return found.astype(np.float32)


def _mean(preprocess: Preprocess) -> np.ndarray | float:
    """Return what pixels lie around: C×H×W or C×1×1, or one number for all."""
    if preprocess.mean_image is not None:
        mean = np.asarray(preprocess.mean_image, np.float64)
    elif preprocess.mean:
        mean = np.asarray(preprocess.mean, np.float64).reshape(-1, 1, 1)
    else:
        return MIDDLE
    return mean if mean.mean() >= DARKEST else MIDDLE
