"""Well-known structures without weights: filled with random ones, loaded, run, and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import SHARED

from secateur.core.ir.rebuild import expose
from secateur.formats.caffe.reader import load
from support.caffe import run
from support.random_weights import caffemodel_for

STRUCTURES = SHARED / "structures"
LAYERS = SHARED / "opencv_layers"
PROTOTXTS = sorted(STRUCTURES.glob("*/*.prototxt"))

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "bvlc_alexnet__train_val": {"input_shapes": {"data": (3, 227, 227)}},
    "examples__cifar10__cifar10_full_sigmoid_train_test_bn": {
        "input_shapes": {"data": (3, 32, 32)}
    },
    "examples__mnist__mnist_autoencoder": {
        "input_shapes": {"data": (1, 28, 28)},
        "stages": ("test-on-test",),
    },
    "examples__siamese__mnist_siamese_train_test": {"input_shapes": {"pair_data": (2, 28, 28)}},
    "test_densenet": {"input_shapes": {"Data1": (3, 32, 32)}},
}
"""What is not in the file: shapes of data layers, and the stage of a net that has several."""

NOT_OPENCV = {
    "bvlc_alexnet__train_val": "data layers of two phases make one blob, and OpenCV reads both",
    "examples__cifar10__cifar10_full_sigmoid_train_test_bn": "as above",
    "examples__mnist__mnist_autoencoder": "as above",
    "examples__siamese__mnist_siamese_train_test": "as above",
    "1.0-SqNxt-23v5__train_val": "as above",
    "test_densenet": "OpenCV knows no data layers",
    "prototxts__enet_deploy_final": "OpenCV has no BN layer",
}


def test_all_structures_are_there(shared: Path) -> None:
    assert len(PROTOTXTS) == 16
    assert set(SETTINGS) | set(NOT_OPENCV) <= {path.stem for path in PROTOTXTS}


@pytest.mark.parametrize("path", PROTOTXTS, ids=lambda path: path.stem)
def test_caffe_structure(path: Path, tmp_path: Path) -> None:
    # Fully connected layers of 4096 are most of the file and nothing of the structure.
    text = re.sub(rb"num_output: 4096\b", b"num_output: 64", path.read_bytes())
    settings = SETTINGS.get(path.stem, {})
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_bytes(text)
    weights.write_bytes(caffemodel_for(text, **settings))
    network = load(prototxt, weights, **settings)
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered == {".prototxt": text, ".caffemodel": weights.read_bytes()}
    random = np.random.default_rng(0)
    feed = {
        name: random.normal(size=[d if isinstance(d, int) else 1 for d in shape]).astype("f4")
        for name, shape in network.inputs.items()
    }
    last = [layer for layer in network.layers if layer.stored][-1]
    outputs = run(expose(network, [last.name]).model, feed)
    assert outputs
    for value in outputs.values():
        assert np.isfinite(value).all()
        assert np.abs(value).max() > 0
    if path.stem in NOT_OPENCV:
        return
    other = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    for name, value in feed.items():
        other.setInput(value, name)
    names = {name: name.removeprefix("layer:") for name in outputs}
    for name, want in zip(outputs, other.forward(list(names.values())), strict=True):
        off = np.abs(outputs[name].reshape(-1) - want.reshape(-1)).max()
        assert off <= 1e-4 * np.abs(want).max(), name


def opencv_noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("path", sorted(LAYERS.glob("*.prototxt")), ids=lambda path: path.stem)
def test_layer_of_opencv(path: Path) -> None:
    network = load(path, path.with_suffix(".caffemodel"))
    given = path.with_suffix(".input.npy")
    expected = path.with_suffix(".npy")
    feed = {
        name: np.load(given)
        if given.exists()
        else opencv_noise(tuple(d if isinstance(d, int) else 1 for d in shape))
        for name, shape in network.inputs.items()
    }
    outputs = run(network.model, feed)
    other = cv2.dnn.readNetFromCaffe(str(path), str(path.with_suffix(".caffemodel")))
    for name, value in feed.items():
        other.setInput(value, name)
    wanted = dict(zip(outputs, other.forward(list(outputs)), strict=True))
    if given.exists():
        wanted[next(iter(outputs))] = np.load(expected)
    for name, want in wanted.items():
        assert np.abs(outputs[name].reshape(-1) - want.reshape(-1)).max() <= 1e-5 * max(
            1.0, float(np.abs(want).max())
        )
