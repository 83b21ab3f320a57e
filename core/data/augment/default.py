"""The augmentation where the files of a network say nothing of theirs."""

from __future__ import annotations

from ..base import TargetKind
from .colour import Distortion
from .geometry import Jitter, ResizedCrop, Shift
from .recipe import NO_AUGMENTATION, Augmentation

__all__ = ["usual_augmentation"]

SMALL = 64
"""Inputs below so many pixels are moved, not cut and resized: they would lose what they show."""

MILD = Distortion(hue=0.1, saturation=1.5, exposure=1.5)
"""As detectors were usually trained (AlexeyAB: hue=.1, saturation=1.5, exposure=1.5)."""


def usual_augmentation(size: tuple[int, int, int], kind: TargetKind) -> Augmentation:
    """Return what is usual for such inputs and labels.

    Grey images are not mirrored: they are often text and digits. Small grey ones stay as they are,
    since such networks are trained so.

    Args:
        size: channels, height and width of the input.
        kind: what is known of the samples.
    """
    channels, height, width = size
    coloured = channels == 3
    if kind == "objects":
        return Augmentation(
            geometry=Jitter(jitter=0.2), mirror=True, colour=MILD if coloured else None,
            source="the usual for detectors: edges move by up to a fifth, mirror, colours",
        )  # fmt: skip
    if min(height, width) < SMALL and not coloured:
        return NO_AUGMENTATION
    if min(height, width) < SMALL:
        return Augmentation(
            geometry=Shift(), mirror=True, source="the usual for small images: moved and mirrored"
        )
    return Augmentation(
        geometry=ResizedCrop(), mirror=coloured,
        source="the usual for photographs: parts of a quarter to all of the image"
        + (", mirrored" if coloured else ""),
    )  # fmt: skip
