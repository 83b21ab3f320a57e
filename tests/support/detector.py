"""A tiny Darknet detector with random weights, and images of squares with labels for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .darknet import with_random_weights

__all__ = ["detector", "squares"]

NET = """[net]
batch=8
subdivisions=1
width=64
height=64
channels=3
learning_rate=0.001
max_batches={batches}
policy=steps
steps=20
scales=.1
burn_in=4
resize_step=16
{net}

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=12
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
{middle}
[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=16,16, 32,32
classes=2
num=2
jitter=.1
{head}
"""

MIDDLE = """
[maxpool]
size=2
stride=2

[upsample]
stride=2

[route]
layers=-1,-3
"""


def detector(
    folder: Path,
    *,
    net: str = "",
    head: str = "random=1",
    middle: str = MIDDLE,
    batches: int = 0,
    seed: int = 0,
) -> list[Path]:
    """Write a detector of two classes at 64 × 64; return its files."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = NET.format(net=net, head=head, middle=middle, batches=batches)
    return list(with_random_weights(folder, cfg, flavour="alexeyab", seed=seed))


def squares(folder: Path, count: int = 48, seed: int = 0) -> Path:
    """Write images with one to three bright squares on noise, and their labels; return the folder.

    Class 0 is red, class 1 is blue.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        image = random.integers(0, 60, (72, 96, 3), np.uint8)
        rows = []
        for _ in range(int(random.integers(1, 4))):
            kind = int(random.integers(2))
            side = int(random.integers(14, 36))
            left, top = int(random.integers(0, 96 - side)), int(random.integers(0, 72 - side))
            image[top : top + side, left : left + side] = 40
            image[top : top + side, left : left + side, 0 if kind else 2] = 230
            middle = ((left + side / 2) / 96, (top + side / 2) / 72)
            rows.append(f"{kind} {middle[0]} {middle[1]} {side / 96} {side / 72}")
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
        (folder / f"{number:03}.txt").write_text("\n".join(rows) + "\n")
    return folder
