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

import secateur
from secateur.core.errors import UnsupportedError
from secateur.core.ir.rebuild import expose
from secateur.formats.caffe.caffemodel import open_caffemodel
from secateur.formats.caffe.reader import load
from support import darknet
from support.caffe import run
from support.graphs import shown
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


PRUNED = [path for path in PROTOTXTS if path.stem not in {"ssd_vgg16", *NOT_OPENCV}]


@pytest.mark.parametrize("path", PRUNED, ids=lambda path: path.stem)
def test_a_pruned_structure_is_what_opencv_reads(path: Path, tmp_path: Path) -> None:
    text = re.sub(rb"num_output: 4096\b", b"num_output: 64", path.read_bytes())
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_bytes(text)
    weights.write_bytes(caffemodel_for(text))
    pruned = secateur.prune(load(prototxt, weights), rate=0.4, criterion="l1")
    assert 0.38 <= pruned.plan.provenance["rate"]["achieved"] <= 0.4
    saved = secateur.save(pruned, tmp_path / "out")
    feed = {
        name: opencv_noise(tuple(d if isinstance(d, int) else 1 for d in shape))
        for name, shape in pruned.network.inputs.items()
    }
    ours = run(pruned.network.model, feed)
    other = cv2.dnn.readNetFromCaffe(*map(str, saved.paths))
    for name, value in feed.items():
        other.setInput(value, name)
    names = [name for name in ours if name in other.getLayerNames()]
    assert names
    for name, want in zip(names, other.forward(names), strict=True):
        off = np.abs(ours[name].reshape(-1) - want.reshape(-1)).max()
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


@pytest.mark.parametrize("path", sorted((LAYERS / "darknet").glob("*.cfg")), ids=lambda p: p.stem)
def test_darknet_layer_of_opencv(path: Path, tmp_path: Path) -> None:
    network = darknet.load(*darknet.write(tmp_path, path.read_bytes()))
    given = path.with_name(f"{path.stem}_in.npy")
    if not given.exists():  # [reorg] of OpenCV's own making: only its structure is here
        assert list(network.outputs.values()) == [("N", 256, 13, 13)]
        return
    (got,) = darknet.run(network, np.load(given)).values()
    want = np.load(path.with_name(f"{path.stem}_out.npy"))
    assert np.abs(got.reshape(-1) - want.reshape(-1)).max() <= 1e-6


FORKS = {
    "bn_inference": (
        ((2, 3, 4, 4),),
        'type: "BN" bn_param { bn_mode: INFERENCE }',
        lambda x, blobs: x * blobs[0] + blobs[1],
    ),
    "bn_learn": (
        ((2, 3, 4, 4),),
        'type: "BN" bn_param { bn_mode: LEARN }',
        lambda x, blobs: (
            (x - x.mean((0, 2, 3), keepdims=True))
            / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-9)
            * blobs[0]
            + blobs[1]
        ),
    ),
    "bn_four": (
        ((2, 3, 4, 4),),
        'type: "BN" bn_param { eps: 1e-3 frozen: true }',
        lambda x, blobs: (x - blobs[2]) / np.sqrt(blobs[3] + 1e-3) * blobs[0] + blobs[1],
    ),
    "cudnn": (
        ((2, 3, 4, 4),),
        'type: "CuDNNBatchNorm"',
        lambda x, blobs: (x - blobs[2]) / np.sqrt(blobs[3] + 1e-5) * blobs[0] + blobs[1],
    ),
    "nvcaffe": (
        ((2, 3, 4, 4),),
        'type: "BatchNorm" batch_norm_param { scale_bias: true }',
        lambda x, blobs: (x - col(blobs[0])) / np.sqrt(col(blobs[1]) + 1e-5) * col(blobs[3])
        + col(blobs[4]),
    ),
    "axpy": (
        ((2, 3, 1, 1), (2, 3, 4, 4), (2, 3, 4, 4)),
        'type: "Axpy"',
        lambda a, x, y, blobs: a * x + y,
    ),
    "reorg": (
        ((2, 8, 4, 6),),
        'type: "Reorg" reorg_param { stride: 2 }',
        lambda x, blobs: (
            x.reshape(2, 2, 4, 2, 6, 2).transpose(0, 3, 5, 1, 2, 4).reshape(2, 32, 2, 3)
        ),
    ),
    "reorg_reverse": (
        ((2, 8, 4, 6),),
        'type: "Reorg" reorganize_param { stride: 2 reverse: true }',
        lambda x, blobs: (
            x.reshape(2, 2, 2, 2, 4, 6).transpose(0, 3, 4, 1, 5, 2).reshape(2, 2, 8, 12)
        ),
    ),
    "depthwise": (
        ((2, 3, 4, 4),),
        'type: "ConvolutionDepthwise" convolution_param { num_output: 3 kernel_size: 1 '
        "bias_term: false }",
        lambda x, blobs: x * blobs[0].reshape(1, 3, 1, 1),
    ),
    "roi": (
        ((2, 3, 6, 6), (2, 5)),
        'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0.5 }',
        lambda x, rois, blobs: np.stack([
            x[int(n), :, round(b / 2) : round(d / 2) + 1, round(a / 2) : round(c / 2) + 1]
            .max((1, 2), keepdims=True)
            for n, a, b, c, d in rois
        ]),
    ),
}  # fmt: skip
"""Layers of forks: shapes of the bottoms, text, and what the layer computes."""


def col(vector: np.ndarray) -> np.ndarray:
    return vector.reshape(1, -1, 1, 1)


@pytest.mark.parametrize("name", FORKS)
def test_layer_of_a_fork(name: str, tmp_path: Path) -> None:
    shapes, text, computed = FORKS[name]
    net, bottoms = "", ""
    for index, shape in enumerate(shapes):
        dims = " ".join(f"dim: {d}" for d in shape)
        net += f'layer {{ name: "d{index}" type: "Input" top: "d{index}" '
        net += f"input_param {{ shape {{ {dims} }} }} }}\n"
        bottoms += f' bottom: "d{index}"'
    net += f'layer {{ name: "y"{bottoms} top: "y" {text} }}\n'
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(net)
    weights.write_bytes(caffemodel_for(net.encode()))
    random = np.random.default_rng(0)
    feed = {f"d{i}": random.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}
    if name == "roi":
        feed["d1"] = np.array([[0, 0, 2, 8, 10], [1, 4, 4, 7, 6]], np.float32)
    network = load(prototxt, weights)
    assert network.source is not None
    assert network.source.render(network)[".caffemodel"] == weights.read_bytes()
    stored = open_caffemodel(weights)
    blobs = [stored.values(blob).reshape(blob.shape) for blob in stored.layers[-1].blobs]
    got = run(network.model, feed)["y"]
    want = computed(*feed.values(), blobs)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize(
    "text",
    [
        'type: "Upsample" upsample_param { scale: 2 }',
        'type: "Upsample" upsample_param { upsample_h: 6 upsample_w: 8 }',
        'type: "Unpooling" unpooling_param { kernel_size: 2 stride: 2 unpool_h: 6 unpool_w: 8 }',
    ],
)
def test_unpooling_by_a_mask(text: str, tmp_path: Path) -> None:
    net = f"""
layer {{ name: "d" type: "Input" top: "d"
  input_param {{ shape {{ dim: 2 dim: 3 dim: 6 dim: 8 }} }} }}
layer {{ name: "p" type: "Pooling" bottom: "d" top: "p" top: "m"
  pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "y" bottom: "p" bottom: "m" top: "y" {text} }}"""
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(net)
    weights.write_bytes(caffemodel_for(net.encode()))
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 8)).astype(np.float32)
    got = run(load(prototxt, weights).model, {"d": x})["y"]
    cells = x.reshape(2, 3, 3, 2, 4, 2)
    largest = cells == cells.max((3, 5), keepdims=True)
    assert np.array_equal(got, np.where(largest, cells, 0).reshape(x.shape))


def segnet(tmp_path: Path, last: str = "") -> tuple[Path, Path]:
    """Write an encoder of two poolings and the decoder that undoes them, as SegNet has them."""
    text = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 18 dim: 25 } } }"""

    def convolution(name: str, bottom: str, count: int) -> str:
        return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {count} kernel_size: 3 pad: 1 }} }}
layer {{ name: "{name}_bn" type: "BN" bottom: "{name}" top: "{name}"
  bn_param {{ bn_mode: INFERENCE }} }}
layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}"""

    def pooling(index: int, bottom: str) -> str:
        return f"""
layer {{ name: "pool{index}" type: "Pooling" bottom: "{bottom}" top: "pool{index}" top: "m{index}"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}"""

    def upsample(index: int, bottom: str, height: int, width: int) -> str:
        return f"""
layer {{ name: "up{index}" type: "Upsample" bottom: "{bottom}" bottom: "m{index}" top: "up{index}"
  upsample_param {{ scale: 2 upsample_h: {height} upsample_w: {width} }} }}"""

    text += convolution("conv1", "data", 12) + pooling(1, "conv1")
    text += convolution("conv2", "pool1", 20) + pooling(2, "conv2")
    text += upsample(2, "pool2", 9, 13) + convolution("back2", "up2", 12)
    text += upsample(1, "back2", 18, 25) + convolution("back1", "up1", 4) + last
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(text)
    weights.write_bytes(caffemodel_for(text.encode()))
    return prototxt, weights


@pytest.mark.parametrize(
    "last",
    ["", '\nlayer { name: "class" type: "ArgMax" bottom: "back1" top: "class"\n'
     "  argmax_param { axis: 1 } }"],
    ids=["scores", "classes"],
)  # fmt: skip
def test_segnet_is_pruned_through_its_unpooling(last: str, tmp_path: Path) -> None:
    files = segnet(tmp_path, last)
    network = secateur.load(*files)
    assert shown(secateur.find_groups(network)) == {
        "conv1": (("conv1", "back2"), 12, [[12]]),
        "conv2": (("conv2",), 20, [[20]]),
        "back1": "mixed by 'class' (ArgMax)" if last else "feeds output 'back1'",
    }
    pruned = secateur.prune(network, rate=0.5, criterion="l1")
    achieved = pruned.plan.provenance["rate"]["achieved"]
    assert 0.45 <= achieved <= 0.5
    secateur.save(pruned, tmp_path / "out")
    counts = re.findall(rb"num_output: (\d+)", (tmp_path / "out/net.prototxt").read_bytes())
    kept = {group.name: group.kept for group in pruned.plan.groups}
    assert list(map(int, counts)) == [kept["conv1"], kept["conv2"], kept["conv1"], 4]
    again = secateur.load(tmp_path / "out/net.prototxt", tmp_path / "out/net.caffemodel")
    x = np.random.default_rng(0).normal(size=(2, 3, 18, 25)).astype(np.float32)
    (got,) = run(again.model, {"data": x}).values()
    (want,) = run(pruned.network.model, {"data": x}).values()
    assert np.array_equal(got, want)
    assert len(np.unique(got)) > 1


def test_a_tiled_map_is_written_with_fewer_tiles(tmp_path: Path) -> None:
    text = """
layer { name: "d" type: "Input" top: "d"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "a" type: "Convolution" bottom: "d" top: "a"
  convolution_param { num_output: 12 kernel_size: 3 } }
layer { name: "m" type: "Convolution" bottom: "a" top: "m"
  convolution_param { num_output: 1 kernel_size: 1 } }
layer { name: "t" type: "Tile" bottom: "m" top: "t" tile_param { axis: 1 tiles: 12 } }
layer { name: "x" type: "Eltwise" bottom: "a" bottom: "t" top: "x"
  eltwise_param { operation: PROD } }
layer { name: "y" type: "Convolution" bottom: "x" top: "y"
  convolution_param { num_output: 5 kernel_size: 3 } }"""
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(text)
    weights.write_bytes(caffemodel_for(text.encode()))
    pruned = secateur.prune(load(prototxt, weights), rate=0.5, criterion="l1")
    assert secateur.save(pruned, tmp_path / "out").difference <= 1e-6
    written = (tmp_path / "out/net.prototxt").read_text()
    assert re.findall(r"(?:num_output|tiles): (\d+)", written) == ["6", "1", "6", "5"]


def test_a_python_layer_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    data = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }\n'
    prototxt.write_text(
        data + 'layer { name: "p" type: "Python" bottom: "d" top: "p"\n'
        '  python_param { module: "rpn.proposal" layer: "Proposal" } }\n'
    )
    weights.write_bytes(
        caffemodel_for(data.encode() + b'layer { name: "r" type: "ReLU" bottom: "d" top: "r" }')
    )
    with pytest.raises(UnsupportedError, match="nothing is computed before this layer") as caught:
        load(prototxt, weights)
    assert f"{prototxt}:2: layer 'p' (Python)" in str(caught.value)
