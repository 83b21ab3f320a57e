"""Boxes drawn at random, for inputs that hold regions of images and that nothing computes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..ir.network import Caution, Network
from ..ir.regions import COLUMNS, Regions, region_inputs
from .base import Frame, fixed_batch
from .rows import rows_per_sample

__all__ = ["DrawnRegions", "placed"]

SMALLEST_REGION = 0.25
"""Width and height of the smallest region, in parts of the image's. Smaller ones would give
windows of one pixel."""

SEED = 0
"""Of the boxes beside images that are read: the same at every reading."""

WHOLE = Frame(width=1, height=1)
"""An image that fills its input."""


def placed(image: Regions, noise: np.ndarray, number: int, frame: Frame = WHOLE) -> np.ndarray:
    """Return rows of regions made of noise, in its shape: the number of an image, and a box in it.

    Boxes have between a quarter and all of the width and of the height of the image.

    Args:
        image: the size of the input.
        noise: uniform in 0 to 1, [number, 5] or with axes of size 1 behind.
        number: of the image in the batch that the network fixes.
        frame: where the image lies in the input; boxes stay inside of both.
    """
    rows = noise.reshape(-1, COLUMNS)
    sides = np.array([image.width, image.height], np.float32) - 1
    size = SMALLEST_REGION + (1 - SMALLEST_REGION) * rows[:, 1:3]
    corner = (1 - size) * rows[:, 3:]
    first = np.array([max(0.0, frame.left), max(0.0, frame.top)], np.float32)
    extent = np.array([min(1.0, frame.right), min(1.0, frame.bottom)], np.float32) - first
    edges = [(first + extent * part) * sides for part in (corner, corner + size)]
    found = np.concatenate([np.full((len(rows), 1), number), *edges], axis=1)
    return found.astype(np.float32).reshape(noise.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnRegions:
    """The inputs of a network that boxes are drawn for, beside images that are read.

    Args:
        inputs: input → the images that its regions lie in.
        sizes: input → the sizes of a row.
        rows: input → rows a sample.
        images: samples of the batch that the network fixes.
        caution: what a user should know of them.
    """

    inputs: dict[str, Regions]
    sizes: dict[str, tuple[int, ...]]
    rows: dict[str, Fraction]
    images: int
    caution: Caution

    @staticmethod
    def of(network: Network) -> DrawnRegions | None:
        """Return the inputs to draw boxes for; None unless they are all but the first.

        The first input says how many images a batch holds.
        """
        shapes, inputs = network.inputs, dict(region_inputs(network.graph))
        others = [name for name in shapes if name not in inputs]
        if not inputs or others != list(shapes)[:1]:
            return None
        rows = rows_per_sample(network)
        return DrawnRegions(
            inputs=inputs,
            sizes={name: tuple(int(size) for size in shapes[name][1:]) for name in inputs},
            rows={name: rows[name] for name in inputs},
            images=fixed_batch(network) or 1,
            caution=_caution(network, others[0], list(inputs)),
        )

    def beside(self, numbers: Sequence[int], frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Return the inputs for a batch; the boxes of an image depend on its number alone.

        Args:
            numbers: of each image of the batch in its source.
            frames: where each image lies in its input.
        """
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.inputs}
        for place, (number, frame) in enumerate(zip(numbers, frames, strict=True)):
            generator = np.random.default_rng([SEED, number])
            for name, image in self.inputs.items():
                rows = self.rows[name]
                count = int((place + 1) * rows) - int(place * rows)
                noise = generator.random((count, *self.sizes[name]), dtype=np.float32)
                found[name].append(placed(image, noise, place % self.images, frame))
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _caution(network: Network, image: str, names: Collection[str]) -> Caution:
    makers = {name: border.subject for border in network.borders for name in border.inputs}
    origins = [
        f"'{name}' is made by {makers[name]}, which cannot be computed"
        if name in makers
        else f"'{name}' holds regions of images"
        for name in names
    ]
    stored = ", ".join(f"'{name}'" for name in (image, *names))
    them = "it" if len(names) == 1 else "them"
    return Caution(
        f"{', '.join(origins)}: boxes drawn at random stand for {them}, "
        "and labels are not used, since outputs behind such boxes say nothing about them; "
        f"give a .npz with {stored} to calibrate on real ones"
    )
