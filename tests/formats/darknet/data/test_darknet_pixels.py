"""Pixels as Darknet's own library makes them, and boxes as it finds them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.core.data.preprocess import to_input
from secateur.core.ir.network import Preprocess
from support.darknet_images import load_image

DARKNET = Preprocess(channels="rgb", scale=1 / 255, sampling="corners")


def picture(path: Path, height: int, width: int) -> np.ndarray:
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), image)
    return image


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        ((40, 60), (32, 32)),
        ((97, 61), (64, 32)),
        ((31, 200), (416, 320)),
        ((7, 5), (33, 65)),
        ((1, 9), (8, 8)),
        ((9, 1), (8, 8)),
        ((48, 64), (48, 64)),
        ((375, 500), (320, 320)),
    ],
)
def test_pixels_are_those_of_the_library(
    tmp_path: Path, stored: tuple[int, int], made: tuple[int, int]
) -> None:
    path = tmp_path / "image.png"
    image = picture(path, *stored)
    height, width = made
    theirs = load_image(path, width, height, tmp_path)
    modes = [("stretched", False), ("boxed", True)]
    # Where a side of the letterboxed image is below one pixel, the library draws nothing.
    for name, letterbox in modes if min(stored) > 1 else modes[:1]:
        preprocess = Preprocess(
            channels="rgb", scale=1 / 255, sampling="corners", letterbox=letterbox
        )
        ours = to_input(image, (3, height, width), preprocess)
        np.testing.assert_allclose(ours, theirs[name], atol=2e-6, err_msg=name)


def test_a_photograph_read_from_jpeg(tmp_path: Path, shared: Path) -> None:
    path = sorted((shared / "data/coco/val2017/images").glob("*.jpg"))[0]
    theirs = load_image(path, 320, 320, tmp_path)
    image = cv2.imread(str(path))
    ours = to_input(image, (3, 320, 320), DARKNET)
    # Two decoders of JPEG differ by a step or two of 8 bits.
    assert np.abs(ours - theirs["stretched"]).mean() < 1 / 255
    assert np.abs(ours - theirs["stretched"]).max() < 12 / 255
