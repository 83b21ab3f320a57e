"""What the fields of a data layer make of training images."""

from __future__ import annotations

import pytest

from secateur.core.data.augment.geometry import Geometry, RandomCrop, Whole
from secateur.formats.caffe.augmentation import augmentation_of
from secateur.formats.caffe.layers.data import Data, FromFiles, ImageData


@pytest.mark.parametrize(
    ("layer", "geometry", "mirror"),
    [
        (Data(name="d", type="Data", crop_size=227, mirror=True), RandomCrop(), True),
        (
            ImageData(name="d", type="ImageData", crop_size=24, new_height=32, new_width=36),
            RandomCrop((32, 36)),
            False,
        ),
        (Data(name="d", type="Data"), Whole(), False),
    ],
)
def test_crop_and_mirror_are_those_of_transform_param(
    layer: FromFiles, geometry: Geometry, mirror: bool
) -> None:
    found = augmentation_of(layer)
    assert (found.geometry, found.mirror) == (geometry, mirror)
    assert found.source == "transform_param of layer 'd'"
