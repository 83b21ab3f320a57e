"""How Caffe augments training images, from a data layer's fields.

Source: data_transformer.cpp (BVLC 9b89154): in phase TRAIN the crop lies anywhere, and half of the
images are mirrored.
"""

from __future__ import annotations

from ...core.data.augment.geometry import RandomCrop, Whole
from ...core.data.augment.recipe import Augmentation
from .layers.data import FromFiles
from .source import CaffeSource

__all__ = ["augmentation_of", "stated_augmentation"]


def augmentation_of(layer: FromFiles) -> Augmentation:
    """Return what Caffe does to the training images of a data layer."""
    cut = bool(layer.crop_size)
    return Augmentation(
        geometry=RandomCrop(layer.resize()) if cut else Whole(),
        mirror=layer.mirror,
        source=f"transform_param of layer '{layer.name}'",
    )


def stated_augmentation(source: CaffeSource) -> Augmentation | None:
    """Return what a net's first data layer does to training images; None where it has none."""
    layers = (own.layer for own in source.layers)
    found = next((layer for layer in layers if isinstance(layer, FromFiles)), None)
    return augmentation_of(found) if found is not None else None
