"""What the keys of a cfg make of training images."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.core.data.augment.colour import Distortion
from secateur.core.data.augment.geometry import Jitter, Placed, TurnedCrop
from secateur.core.data.augment.recipe import Mix
from secateur.core.data.augment.sizes import FactorSizes, SquareSizes
from secateur.core.errors import FormatError
from secateur.formats.darknet.augmentation import augmentation_of
from secateur.formats.darknet.document import parse
from secateur.formats.darknet.flavour import Flavour

DETECTOR = b"""[net]
width=416
height=416
hue=.1
saturation = 1.5
exposure = 1.75
mosaic=1
flip=0
[convolutional]
filters=18
[yolo]
jitter=.3
resize=1.5
[yolo]
jitter=.2
"""

CLASSIFIER = b"""[net]
width=224
height=224
min_crop=128
max_crop=448
angle=7
aspect=.75
"""


def test_keys_of_the_last_head_count() -> None:
    found = augmentation_of(parse(DETECTOR, "yolo.cfg"), Flavour.ALEXEYAB)
    assert found.geometry == Jitter(jitter=0.2, resize=1.0)
    assert found.colour == Distortion(hue=0.1, saturation=1.5, exposure=1.75)
    assert found.mix == Mix(mosaic=True)
    assert not found.mirror
    assert found.source == "the keys of yolo.cfg"


def test_the_older_darknet_places_images_and_knows_no_mosaic() -> None:
    found = augmentation_of(parse(DETECTOR, "yolo.cfg"), Flavour.PJREDDIE)
    assert found.geometry == Placed(jitter=0.2)
    assert not found.mix.any
    assert found.mirror


def test_a_classifier_is_cut_by_its_short_side() -> None:
    found = augmentation_of(parse(CLASSIFIER, "darknet19.cfg"), Flavour.ALEXEYAB)
    assert found.geometry == TurnedCrop(low=128, high=448, angle=7.0, aspect=0.75)
    assert found.colour == Distortion()


def test_every_cfg_of_a_real_network_is_read(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*/*.cfg")):
        for flavour in Flavour:
            assert augmentation_of(parse(path.read_bytes(), str(path)), flavour).geometry


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[net]\nhue=green\n", r"x.cfg:2: \[net\]: hue=green is no number"),
        (b"[net]\nsaturation=0\n", r"x.cfg:2: \[net\]: saturation=0 is out of range"),
        (b"[net]\n[yolo]\njitter=1\n", r"x.cfg:3: \[yolo\]: jitter=1 is out of range"),
    ],
)
def test_a_number_that_cannot_be_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        augmentation_of(parse(text, "x.cfg"), Flavour.ALEXEYAB)


@pytest.mark.parametrize(
    ("net", "random", "expected"),
    [
        (b"", b"random=0", None),
        (b"", b"random=1", FactorSizes(factor=1.4, step=32, last=100)),
        (b"resize_step=64\n", b"random=1.2", FactorSizes(factor=1.2, step=64, last=100)),
    ],
)
def test_random_says_at_which_sizes_a_detector_is_trained(
    net: bytes, random: bytes, expected: FactorSizes | None
) -> None:
    text = b"[net]\nwidth=416\nheight=416\n" + net + b"[yolo]\n" + random + b"\n"
    assert augmentation_of(parse(text, "x.cfg"), Flavour.ALEXEYAB).sizes == expected
    older = None if expected is None else SquareSizes(last=200)
    assert augmentation_of(parse(text, "x.cfg"), Flavour.PJREDDIE).sizes == older
