"""Images of CIFAR-10 of the reference data, and an old project of vai_p_caffe with ResNet-20."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np

from support.mnist import CONFIG, SOLVER, write_lmdb

__all__ = ["images", "resnet_project"]


def images(shared: Path, part: str, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N×3×32×32, red, green, blue) and classes: one in so many of a part."""
    found, labels = [], []
    with tarfile.open(shared / f"data/cifar10/{part}_lossless.tar.gz") as archive:
        members = [member for member in archive if member.isfile()]
        for member in members[every // 2 :: every]:
            content = archive.extractfile(member)
            assert content is not None
            pixels = cv2.imdecode(np.frombuffer(content.read(), np.uint8), cv2.IMREAD_COLOR)
            found.append(pixels[:, :, ::-1].transpose(2, 0, 1))
            labels.append(int(Path(member.name).parent.name.split("_")[0]))
    order = np.random.default_rng(0).permutation(len(found))
    return np.stack(found)[order], np.array(labels)[order]


def resnet_project(shared: Path, folder: Path) -> Path:
    """Write config, solver, net, weights, mean images and databases, and return the folder.

    Training images are padded by 4 pixels and cut again, as this net was trained.
    """
    own = shared / "models/resnet20_cifar10"
    text = (own / "res20_cifar_train_test.prototxt").read_text()
    for before, after in (
        ("../mean_pad.binaryproto", "mean.binaryproto"),
        ("../mean.binaryproto", "mean.binaryproto"),
        ("../cifar10_pad4_train_lmdb", "train_lmdb"), ("../cifar10_test_lmdb", "test_lmdb"),
        ("batch_size: 128", "batch_size: 16"), ("batch_size: 100", "batch_size: 50"),
    ):  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    (folder / "train_val.prototxt").write_text(text)
    weights = own / "cifar10_res20_iter_64000.caffemodel"
    shutil.copyfile(weights, folder / "resnet.caffemodel")
    shutil.copyfile(shared / "data/cifar10/mean.binaryproto", folder / "mean.binaryproto")
    config = CONFIG.replace('"accuracy"', '"Accuracy1"').replace("lenet.", "resnet.")
    config = (
        config.replace("rate: 0.4", "rate: 0.1")
        .replace("test_iter: 2", "test_iter: 1")
        .replace("REGULAR", 'REGULAR exclude { layer_top: "Convolution1" layer_top: "Eltwise9" }')
    )
    (folder / "config.prototxt").write_text(config)
    (folder / "solver.prototxt").write_text(SOLVER)
    write_lmdb(folder / "train_lmdb", *images(shared, "train5000", 250))
    write_lmdb(folder / "test_lmdb", *images(shared, "test10000", 200))
    return folder
