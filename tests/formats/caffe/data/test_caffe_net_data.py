"""A net as data: the phase, the preprocessing and the mean file of its data layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import DataError
from secateur.proto.caffe import message_class
from support.graphs import Graph
from support.mnist import write_lmdb

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4)).astype(np.uint8)


def network():
    g = Graph(size=4)
    return g.network(out=g.conv("scores", g.data, 3))


def net(folder: Path, phase: str, transform: str = "", source: str = "lmdb") -> Path:
    path = folder / "train_val.prototxt"
    before = path.read_text() if path.exists() else ""
    path.write_text(
        f'{before}layer {{ name: "d{phase}" type: "Data" top: "data" top: "label"\n'
        f'include {{ phase: {phase} }} data_param {{ source: "{source}" }} {transform} }}\n'
    )
    return path


def inputs(dataset) -> np.ndarray:
    return np.concatenate([batch.inputs["data"] for batch in dataset])


@pytest.fixture
def folder(tmp_path):
    write_lmdb(tmp_path / "lmdb", IMAGES, np.array([0, 1, 2]))
    write_lmdb(tmp_path / "other", IMAGES[:2], np.array([0, 1]))
    return tmp_path


def test_the_preprocessing_of_the_layer_with_flags_before_it(folder):
    path = net(folder, "TEST", "transform_param { mean_value: 3 scale: 0.5 }")
    np.testing.assert_allclose(inputs(secateur.open_dataset(path, network())), (IMAGES - 3.0) * 0.5)
    np.testing.assert_allclose(
        inputs(secateur.open_dataset(path, network(), mean=[1.0])), (IMAGES - 1.0) * 0.5
    )


def test_phase_test_before_train(folder):
    path = net(folder, "TRAIN", source="other")
    assert secateur.open_dataset(path, network()).samples == 2
    net(folder, "TEST")
    assert secateur.open_dataset(path, network()).samples == 3
    assert secateur.open_dataset(path, network(), purpose="calibrate").samples == 2
    assert secateur.stands_apart(path, network())


def test_the_mean_file_stands_beside_the_net(folder):
    path = net(folder, "TEST", 'transform_param { mean_file: "mean.binaryproto" }')
    with pytest.raises(DataError, match=r"train_val\.prototxt.*'mean\.binaryproto' is not there"):
        secateur.open_dataset(path, network())
    mean = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
    blob = message_class("BlobProto")(num=1, channels=3, height=4, width=4, data=mean.ravel())
    (folder / "mean.binaryproto").write_bytes(blob.SerializeToString())
    np.testing.assert_allclose(inputs(secateur.open_dataset(path, network())), IMAGES - mean)
