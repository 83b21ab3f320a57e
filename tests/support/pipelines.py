"""LeNet with a few digits as images in folders, and a pipeline file beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from .mnist import digits

__all__ = ["lenet_pipeline", "write_digits"]

PIPELINE = """\
model: [lenet.prototxt, lenet.caffemodel]
data:
  calibration: {path: train, limit: 40}
  training: train
  validation: val
  test: test
preprocess: {scale: 0.00390625}
output: out
prune:
  rate: 0.4
  criterion: l1
  repair: none
"""


def write_digits(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write images to a folder a class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number:03}.png"), image)


def lenet_pipeline(shared: Path, folder: Path, more: str = "valid:\n", train: int = 60) -> Path:
    """Write model, digits and file; return the file.

    Args:
        shared: the reference data.
        folder: where.
        more: further lines of the file: steps.
        train: digits to train on; half as many are for validation, and for the test.
    """
    own = shared / "models/lenet_mnist"
    shutil.copyfile(own / "lenet.prototxt", folder / "lenet.prototxt")
    shutil.copyfile(own / "lenet_iter_10000.caffemodel", folder / "lenet.caffemodel")
    half = train // 2
    images, labels = digits(shared, "train10k", train + 2 * half)
    for name, part in (
        ("train", slice(0, train)),
        ("val", slice(train, train + half)),
        ("test", slice(train + half, None)),
    ):
        write_digits(folder / name, images[part], labels[part])
    file = folder / "secateur.yaml"
    file.write_text(PIPELINE + more)
    return file
