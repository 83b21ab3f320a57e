"""Noise instead of data: it can show that two networks are equal, but not that they are good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..brief import brief
from ..errors import DataError
from ..ir.dims import shape_text
from ..ir.footprint import multiply_adds
from ..ir.network import Network, Preprocess
from ..ir.regions import region_inputs
from .base import BATCH_SIZE, Batch, batch_size, fixed_batch
from .drawn import placed
from .preprocess import normalized
from .rows import rows_per_sample

__all__ = ["FULL_SCALE", "SyntheticDataset", "affordable", "for_size"]

FULL_SCALE = 255.0
"""The largest value of a pixel before preprocessing."""

WORK = 20_000_000_000
"""Multiplications that noise may cost a network: some seconds of two cores."""


def affordable(network: Network, samples: int) -> int:
    """Return how many samples of noise to run: `samples`, or fewer where each costs much work.

    One large image holds as many numbers as many small ones.
    """
    return max(1, min(samples, WORK // max(1, multiply_adds(network))))


class SyntheticDataset:
    """Inputs of uniform noise, the same for the same seed on every machine.

    Pixels of images are uniform in 0 to 255, then `(pixel − mean) × scale`: inputs lie in the range
    that the preprocessing gives, and in 0 to 255 where none is known. A mean image counts by the
    mean of its channels where it has another size, and as the middle of the range where its file
    was not read. Other inputs (not N×C×H×W, with another number of channels than `mean`, or made by
    a layer that is not computed) are uniform in 0 to 1. Regions are boxes inside their images, as
    many for each. An input of a sample depends only on the seed, the sample's number and the
    input's place, not on the batch.

    Args:
        network: the network.
        samples: number of samples, rounded up to a multiple of the network's fixed batch.
        batch: number of samples of a batch.
        seed: seed of the noise.
        preprocess: preprocessing instead of the network's own.

    Raises:
        DataError: the size of an input is unknown, or `samples` or `batch` is not positive.
    """

    name = "noise"
    labelled = False
    problems: tuple[str, ...] = ()

    def __init__(
        self,
        network: Network,
        *,
        samples: int = BATCH_SIZE,
        batch: int = BATCH_SIZE,
        seed: int = 0,
        preprocess: Preprocess | None = None,
    ):
        self._seed = seed
        self._preprocess = preprocess or network.preprocess
        if samples < 1:
            raise DataError(f"there must be at least one sample, not {samples}")
        own = fixed_batch(network) or 1
        self.samples = -(-samples // own) * own
        self._batch = batch_size(network, batch)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._regions = region_inputs(network.graph)
        self._images = own
        self._plain = {
            name for border in network.borders if border.outputs for name in border.inputs
        }
        self._rows = rows_per_sample(network)
        for name, shape in network.inputs.items():
            sizes = tuple(size for size in shape[1:] if isinstance(size, int))
            if len(sizes) != len(shape) - 1:
                raise DataError(f"input '{name}' ({shape_text(shape)}) has no fixed size")
            self._shapes[name] = sizes

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, repr(self.name), f"{self.samples} samples")

    def __iter__(self) -> Iterator[Batch]:
        """Yield the samples in batches."""
        for start in range(0, self.samples, self._batch):
            stop = min(start + self._batch, self.samples)
            drawn = [self._sample(number) for number in range(start, stop)]
            yield Batch(
                inputs={
                    name: np.concatenate([sample[name] for sample in drawn])
                    for name in self._shapes
                }
            )

    def _sample(self, number: int) -> dict[str, np.ndarray]:
        """Return the rows of a sample, those that end within it where several samples share one."""
        sample = {}
        for place, (name, shape) in enumerate(self._shapes.items()):
            # Of its own, so that no input depends on how much was drawn for those before it.
            generator = np.random.default_rng([self._seed, number, place])
            count = int((number + 1) * self._rows[name]) - int(number * self._rows[name])
            if self._takes_images(name):
                preprocess = for_size(self._preprocess, shape)
                pixels = self._pixels(generator, (number, name), (count, *shape), preprocess)
                sample[name] = normalized(pixels, preprocess)
                continue
            noise = generator.random((count, *shape), dtype=np.float32)
            if name in self._regions:
                noise = placed(self._regions[name], noise, number % self._images)
            sample[name] = noise
        return sample

    def _takes_images(self, name: str) -> bool:
        """Whether an input is made of pixels, as far as sizes tell."""
        shape = self._shapes[name]
        return (
            name not in self._plain
            and name not in self._regions
            and len(shape) == 3
            and len(self._preprocess.mean) in (0, 1, shape[0])
        )

    def _pixels(
        self,
        generator: np.random.Generator,
        of: tuple[int, str],  # noqa: ARG002
        shape: tuple[int, ...],
        preprocess: Preprocess,  # noqa: ARG002
    ) -> np.ndarray:
        """Return pixels [rows, C, H, W], 0 to 255, float32.

        Args:
            generator: of this sample and input.
            of: number of the sample, and name of the input.
            shape: of the pixels.
            preprocess: what is made of them, with a mean of this size.
        """
        return generator.random(shape, dtype=np.float32) * np.float32(FULL_SCALE)


def for_size(preprocess: Preprocess, shape: tuple[int, ...]) -> Preprocess:
    """Return preprocessing that fits pixels of a size, C×H×W, whatever image it is to subtract."""
    image = preprocess.mean_image
    if image is not None and image.shape != shape:
        mean = tuple(float(value) for value in image.mean(axis=(1, 2)))
        fits = len(mean) in (1, shape[0])
        return replace(preprocess, mean_image=None, mean=mean if fits else (FULL_SCALE / 2,))
    if image is None and preprocess.mean_file and not preprocess.mean:
        return replace(preprocess, mean=(FULL_SCALE / 2,))
    return preprocess
