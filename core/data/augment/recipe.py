"""An augmentation: what is done to training images at random."""

from __future__ import annotations

from dataclasses import dataclass

from .colour import Distortion
from .geometry import Geometry, Whole
from .sizes import Sizes

__all__ = ["NO_AUGMENTATION", "Augmentation", "Mix"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """How samples are mixed with others.

    Args:
        mosaic: four images in one.
        mixup: two images at half strength each.
        cutmix: a rectangle of another image (classes only).
        probability: of a batch to be mixed at all. Source: data.c (AlexeyAB), `random_gen() % 2`.
        bounded: objects in a mosaic are clipped to their own quarter.
    """

    mosaic: bool = False
    mixup: bool = False
    cutmix: bool = False
    probability: float = 0.5
    bounded: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything to mix."""
        return self.mosaic or self.mixup or self.cutmix


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What is done to training images at random, their labels following.

    Args:
        geometry: which part of an image becomes the input.
        mirror: half of the images are mirrored.
        colour: how far colours change.
        mix: how samples are mixed.
        sizes: which sizes of the input are drawn; None for the network's own alone.
        fill: 8-bit colour outside an image in the order blue, green, red; None for its mean.
        source: where this comes from, for the log.
    """

    geometry: Geometry = Whole()  # noqa: RUF009 (frozen)
    mirror: bool = False
    colour: Distortion | None = None
    mix: Mix = Mix()
    sizes: Sizes | None = None
    fill: tuple[float, ...] | None = None
    source: str = ""


NO_AUGMENTATION = Augmentation()
"""Images as they are."""
