"""Digits of the reference data, and what an old tutorial of vai_p_caffe has beside a LeNet."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from secateur.proto.caffe import message_class

__all__ = ["CONFIG", "SOLVER", "digits", "lenet_project", "rows"]

CONFIG = """\
# config of vai_p_caffe
workspace: "regular"
gpu: "0"
test_iter: 2
acc_name: "accuracy"
model: "train_val.prototxt"
weights: "lenet.caffemodel"
solver: "solver.prototxt"
rate: 0.4
pruner {
  method: REGULAR
}
"""

SOLVER = """\
net: "train_val.prototxt"
test_iter: 4
test_interval: 1000
base_lr: 0.001
momentum: 0.9
weight_decay: 0.0005
lr_policy: "inv"
gamma: 0.0001
power: 0.75
max_iter: 8
snapshot: 4
snapshot_prefix: "somewhere/else"
solver_mode: GPU
"""


def digits(shared: Path, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and classes: of "t10k", "train10k" or "train50k"."""
    folder = shared / "data/mnist"
    pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)
    return images[:count], np.frombuffer(labels, np.uint8, offset=8)[:count]


def rows(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and `Datum` messages; images are N×H×W or N×C×H×W."""
    datum = message_class("Datum")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        channels, height, width = image.shape if image.ndim == 3 else (1, *image.shape)
        value = datum(
            channels=channels, height=height, width=width, data=image.tobytes(), label=int(label)
        )
        yield f"{number:08}".encode(), value.SerializeToString()


def write_lmdb(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a database of images."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=1 << 26) as opened, opened.begin(write=True) as writing:
        for key, value in rows(images, labels):
            writing.put(key, value)


def lenet_project(shared: Path, folder: Path, train: int = 300, test: int = 400) -> Path:
    """Write config, solver, net, weights and databases, and return the folder."""
    own = shared / "models/lenet_mnist"
    text = (own / "lenet_train_test.prototxt").read_text()
    for name, batch in (("train", 64), ("test", 100)):
        assert f"batch_size: {batch}" in text
        text = text.replace(f'"mnist_{name}_lmdb"', f'"data/{name}_lmdb"')
    (folder / "train_val.prototxt").write_text(text)
    shutil.copyfile(own / "lenet_iter_10000.caffemodel", folder / "lenet.caffemodel")
    (folder / "config.prototxt").write_text(CONFIG)
    (folder / "solver.prototxt").write_text(SOLVER)
    (folder / "data").mkdir()
    write_lmdb(folder / "data/train_lmdb", *digits(shared, "train10k", train))
    write_lmdb(folder / "data/test_lmdb", *digits(shared, "t10k", test))
    return folder
