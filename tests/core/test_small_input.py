"""Networks at a smaller input: the same function, as long as every window keeps what it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.data import SyntheticDataset
from secateur.core.data.synthetic import WORK, affordable
from secateur.core.engine.session import Session
from secateur.core.ir.footprint import multiply_adds
from secateur.core.ir.network import Network
from secateur.core.ir.resize import OwnSize, reshaped, resized, spatial_step
from secateur.core.verify.small_input import smallest, with_noise, within_memory
from support.darknet import with_random_weights
from support.graphs import Graph
from support.random_weights import caffemodel_for

HED = """
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 1 dim: 3 dim: {rows} dim: {columns} }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 35 }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "p1" type: "Pooling" bottom: "c1" top: "p1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "c2" type: "Convolution" bottom: "p1" top: "c2"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "r2" type: "ReLU" bottom: "c2" top: "c2" }}
layer {{ name: "p2" type: "Pooling" bottom: "c2" top: "p2"
  pooling_param {{ pool: AVE kernel_size: 3 stride: 2 }} }}
layer {{ name: "c3" type: "Convolution" bottom: "p2" top: "c3"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }} }}
layer {{ name: "s1" type: "Convolution" bottom: "c1" top: "s1"
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "s3" type: "Convolution" bottom: "c3" top: "s3"
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "up" type: "Deconvolution" bottom: "s3" top: "up"
  convolution_param {{ num_output: 1 kernel_size: 8 stride: 4 bias_term: false }} }}
layer {{ name: "k1" type: "Crop" bottom: "s1" bottom: "data" top: "k1"
  crop_param {{ axis: 2 offset: 34 offset: 34 }} }}
layer {{ name: "k3" type: "Crop" bottom: "up" bottom: "data" top: "k3"
  crop_param {{ axis: 2 offset: 34 offset: 34 }} }}
layer {{ name: "all" type: "Concat" bottom: "k1" bottom: "k3" top: "all" }}
layer {{ name: "fused" type: "Convolution" bottom: "all" top: "fused"
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ name: "edges" type: "Sigmoid" bottom: "fused" top: "edges" }}
"""
"""Two scales of HED: side outputs enlarged, cropped to the image and joined."""

YOLO = """[net]
width=160
height=96
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=mish
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[upsample]
stride=2
[route]
layers=-1,-3
[convolutional]
filters=21
size=1
stride=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=2
num=3
"""


def caffe(folder: Path, text: str) -> Network:
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(text)
    paths[1].write_bytes(caffemodel_for(text.encode()))
    return secateur.load(*paths)


def outputs(network: Network) -> dict[str, np.ndarray]:
    (batch,) = SyntheticDataset(network, samples=2)
    return Session(network).run(batch.inputs)


def test_a_resized_network_is_the_file_at_another_size(tmp_path: Path):
    """Crop, Deconvolution and poolings that round up follow as the reader would make them."""
    large = caffe(tmp_path, HED.format(rows=100, columns=140))
    wanted = caffe(tmp_path, HED.format(rows=20, columns=28))
    assert spatial_step(large) == 4
    small = resized(large, {"data": ("N", 3, 20, 28)})
    assert small.outputs == wanted.outputs
    for name, array in outputs(wanted).items():
        np.testing.assert_allclose(outputs(small)[name], array, rtol=1e-5, atol=1e-6)


def test_a_detector_of_darknet_follows(tmp_path: Path):
    network = secateur.load(*with_random_weights(tmp_path, YOLO))
    small = resized(network, {"data": ("N", 3, 32, 48)})
    (tmp_path / "small").mkdir()
    cfg = YOLO.replace("width=160", "width=48").replace("height=96", "height=32")
    wanted = secateur.load(*with_random_weights(tmp_path / "small", cfg))
    assert small.outputs == wanted.outputs
    for name, array in outputs(wanted).items():
        # Boxes are in parts of the image: where they depend on its size, the grid's is used.
        assert outputs(small)[name].shape == array.shape


def test_the_smallest_input_keeps_every_window_whole(tmp_path: Path):
    network = caffe(tmp_path, HED.format(rows=500, columns=500))
    (small,) = smallest(network)
    assert small.inputs == {"data": ("N", 3, 16, 16)}
    (strict,) = smallest(network, least=100)
    assert strict.inputs == {"data": ("N", 3, 100, 100)}
    deep = Graph(size=128)
    x = deep.data
    for number in range(4):
        x = deep.op(f"p{number}", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = deep.conv("last", x, 4, kernel=5)
    (small,) = smallest(deep.network(y=x))
    assert small.inputs == {"data": ("N", 3, 80, 80)}  # 5 rows of 16


@pytest.mark.parametrize("kind", ["Gemm", "AveragePool"])
def test_what_has_a_size_of_its_own_keeps_it(kind):
    g = Graph(size=96)
    x = g.conv("c", g.data, 2)
    if kind == "Gemm":
        x = g.gemm("fc", g.op("flat", "Flatten", x), 3)
    else:
        x = g.op("pool", kind, x, kernel_shape=[96, 96])
    network = g.network(y=x)
    assert smallest(network) == (network,)
    with pytest.raises(OwnSize):
        resized(network, {"data": ("N", 3, 95, 95)})


def test_axes_are_joined_and_split_as_before():
    assert reshaped(("N", 255, 19, 19), ("N", 255, 3, 3), ("N", 3, 85, 19, 19)) == (
        "N", 3, 85, 3, 3,
    )  # fmt: skip
    assert reshaped(("N", 19, 19, 84), ("N", 3, 3, 84), ("N", 361 * 84)) == ("N", 9 * 84)
    assert reshaped(("N", 361 * 84), ("N", 9 * 84), ("N", 361 * 4, 21)) == ("N", 9 * 4, 21)
    with pytest.raises(OwnSize):
        reshaped(("N", 8, 4), ("N", 8, 2), (4, "N", 8))


def test_noise_costs_no_more_than_it_may():
    g = Graph(size=32)
    network = g.network(y=g.conv("c", g.data, 4))
    assert multiply_adds(network) == 4 * 3 * 9 * 32 * 32
    assert affordable(network, 8) == 8
    g = Graph(channels=64, size=512)
    network = g.network(y=g.conv("c", g.data, 512))
    assert affordable(network, 8) == 1
    assert multiply_adds(network) > WORK


def test_a_fixed_batch_that_is_claimed_becomes_small():
    g = Graph(size=16, batch=999_999)
    network = g.network(y=g.conv("c", g.data, 4))
    (small,) = within_memory(network)
    assert small.inputs == {"data": (1, 3, 16, 16)}
    first, second, noise = with_noise(network, network)
    assert first.inputs == second.inputs == {"data": (1, 3, 16, 16)}
    assert noise.samples == 8
    g = Graph(size=16, batch=4)
    network = g.network(y=g.conv("c", g.data, 4))
    assert within_memory(network) == (network,)


def test_a_mean_image_fits_noise_of_another_size():
    g = Graph(size=8)
    network = g.network(y=g.conv("c", g.data, 2))
    image = np.full((3, 20, 20), 100, np.float32)
    for preprocess, low in (
        (secateur.Preprocess(mean_image=image), -100),
        (secateur.Preprocess(mean_file="mean.binaryproto"), -127.5),
        (secateur.Preprocess(mean=(50.0,), scale=0.5), -25),
        (secateur.Preprocess(), 0),
    ):
        (batch,) = SyntheticDataset(network, samples=4, preprocess=preprocess)
        assert low <= batch.inputs["data"].min() < low + 5
