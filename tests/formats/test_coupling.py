"""Coupling structures as Caffe and Darknet files write them, with the expected groups written out.

Layer names are those of prototxt files; sections of a cfg are known by their type and number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.ir.network import Network
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from support import darknet
from support.graphs import random_removal, shown
from support.random_weights import caffemodel_for

DATA = """input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
"""


def layer(kind: str, name: str, bottoms: str, top: str = "", **more: object) -> str:
    """Return a layer in text form; `more` are its parameters as text."""
    lines = "".join(f' bottom: "{bottom}"' for bottom in bottoms.split())
    tops = "".join(f' top: "{one}"' for one in (top or name).split())
    parameters = " ".join(f"{key} {{ {value} }}" for key, value in more.items())
    return f'layer {{ name: "{name}" type: "{kind}"{lines}{tops} {parameters} }}\n'


def conv(name: str, bottom: str, count: int, more: str = "kernel_size: 3 pad: 1") -> str:
    return layer("Convolution", name, bottom, convolution_param=f"num_output: {count} {more}")


def whole(name: str, count: int, *others: str) -> tuple[tuple[str, ...], int, list[list[int]]]:
    return ((name, *others), count, [[count]])


def out(name: str = "out") -> str:
    return f"feeds output '{name}'"


SQUEEZE = (
    layer("Pooling", "pool", "a", pooling_param="pool: AVE global_pooling: true")
    + conv("down", "pool", 4, "kernel_size: 1")
    + layer("ReLU", "relu", "down", "down")
    + conv("up", "down", 8, "kernel_size: 1")
    + layer("Sigmoid", "gate", "up", "gate")
)
GATED = {"a": whole("a", 8, "up"), "down": whole("down", 4), "out": out()}

CAFFE = {
    "squeeze_and_excite_by_scale": (
        conv("a", "data", 8) + SQUEEZE
        + layer("Reshape", "flat", "gate", reshape_param="shape { dim: 0 dim: -1 }")
        + layer("Scale", "scaled", "a flat", scale_param="axis: 0")
        + conv("out", "scaled", 2),
        GATED,
    ),
    "squeeze_and_excite_by_axpy": (
        conv("a", "data", 8) + SQUEEZE + conv("b", "data", 8)
        + layer("Axpy", "sum", "gate a b") + conv("out", "sum", 2),
        {"a": whole("a", 8, "up", "b"), "down": whole("down", 4), "out": out()},
    ),
    "squeeze_and_excite_by_inner_products": (
        conv("a", "data", 8)
        + layer("Pooling", "pool", "a", pooling_param="pool: AVE global_pooling: true")
        + layer("InnerProduct", "down", "pool", inner_product_param="num_output: 4")
        + layer("InnerProduct", "up", "down", inner_product_param="num_output: 8")
        + layer("Sigmoid", "gate", "up", "gate")
        + layer("Scale", "scaled", "a gate", scale_param="axis: 0")
        + conv("out", "scaled", 2),
        GATED,
    ),
    "residual_of_three_by_eltwise": (
        "".join(conv(name, "data", 6) for name in "abc")
        + layer("Eltwise", "sum", "a b c",
                eltwise_param="operation: SUM coeff: 1 coeff: -1 coeff: 2")
        + conv("out", "sum", 2),
        {"a": whole("a", 6, "b", "c"), "out": out()},
    ),
    "product_and_maximum": (
        "".join(conv(name, "data", 6) for name in "abc")
        + layer("Eltwise", "prod", "a b", eltwise_param="operation: PROD")
        + layer("Eltwise", "max", "prod c", eltwise_param="operation: MAX")
        + conv("out", "max", 2),
        {"a": whole("a", 6, "b", "c"), "out": out()},
    ),
    "dense_block": (
        conv("a", "data", 4) + conv("b", "a", 3) + layer("Concat", "ab", "a b")
        + layer("BatchNorm", "norm", "ab") + layer("Scale", "scale", "norm",
                                                  scale_param="bias_term: true")
        + conv("c", "scale", 3) + layer("Concat", "abc", "ab c") + conv("d", "abc", 5)
        + conv("out", "d", 2),
        {"a": whole("a", 4), "b": whole("b", 3), "c": whole("c", 3), "d": whole("d", 5),
         "out": out()},
    ),
    "inception": (
        conv("stem", "data", 6) + conv("one", "stem", 4, "kernel_size: 1")
        + conv("three_a", "stem", 3, "kernel_size: 1") + conv("three_b", "three_a", 5)
        + layer("Pooling", "pool", "stem", pooling_param="kernel_size: 3 stride: 1 pad: 1")
        + conv("proj", "pool", 2, "kernel_size: 1")
        + layer("Concat", "cat", "one three_b proj") + conv("out", "cat", 2),
        {"stem": whole("stem", 6), "one": whole("one", 4), "three_a": whole("three_a", 3),
         "three_b": whole("three_b", 5), "proj": whole("proj", 2), "out": out()},
    ),
    "even_slices": (
        conv("a", "data", 8) + layer("Slice", "cut", "a", "p q")
        + layer("Concat", "cat", "q p") + conv("out", "cat", 2),
        {"a": whole("a", 8), "out": out()},
    ),
    "uneven_slices": (
        conv("a", "data", 8) + layer("Slice", "cut", "a", "p q r",
                                     slice_param="axis: 1 slice_point: 2 slice_point: 5")
        + conv("b", "q", 3) + layer("Eltwise", "sum", "r b") + layer("Concat", "cat", "sum p q")
        + conv("out", "cat", 2),
        {"a": whole("a", 8, "b"), "out": out()},
    ),
    "shuffled_groups": (
        conv("a", "data", 8, "kernel_size: 1 group: 1")
        + conv("b", "a", 8, "kernel_size: 1 group: 2")
        + layer("ShuffleChannel", "mix", "b", shuffle_channel_param="group: 2")
        + conv("c", "mix", 8, "kernel_size: 3 pad: 1 group: 8") + conv("out", "c", 2),
        {"a": (("a",), 8, [[4, 4]]), "b": (("b",), 4, [[4]]), "out": out()},
    ),
    "vectors": (
        conv("a", "data", 6, "kernel_size: 3 pad: 1 bias_term: false")
        + layer("BatchNorm", "norm", "a") + layer("Scale", "scale", "norm")
        + layer("PReLU", "slope", "scale") + layer("Bias", "shift", "slope")
        + conv("out", "shift", 2),
        {"a": whole("a", 6), "out": out()},
    ),
    "flattened_into_fully_connected": (
        conv("a", "data", 6)
        + layer("Pooling", "pool", "a", pooling_param="kernel_size: 4 stride: 4")
        + layer("Flatten", "flat", "pool")
        + layer("InnerProduct", "fc", "flat", inner_product_param="num_output: 7")
        + layer("InnerProduct", "out", "fc", inner_product_param="num_output: 3"),
        {"a": whole("a", 6), "fc": whole("fc", 7), "out": out()},
    ),
    "deconvolution": (
        conv("a", "data", 6) + layer("Deconvolution", "up", "a",
                                     convolution_param="num_output: 4 kernel_size: 2 stride: 2")
        + layer("Deconvolution", "each", "up",
                convolution_param="num_output: 4 kernel_size: 2 stride: 2 group: 4")
        + conv("out", "each", 2),
        {"a": whole("a", 6), "up": whole("up", 4), "out": out()},
    ),
    "shared_weights": (
        conv("a", "data", 4)
        + 'layer { name: "b" type: "Convolution" bottom: "data" top: "b" param { name: "w" } '
          'param { name: "v" } convolution_param { num_output: 5 kernel_size: 1 } }\n'
        + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" } '
          'param { name: "v" } convolution_param { num_output: 5 kernel_size: 1 } }\n'
        + layer("Concat", "cat", "a b c") + conv("out", "cat", 2),
        {"a": whole("a", 4), "b": whole("b", 5, "c"), "out": out()},
    ),
    "reorganised": (
        conv("a", "data", 32) + layer("Reorg", "fold", "a", reorg_param="stride: 2")
        + conv("out", "fold", 2),
        {"a": whole("a", 8), "out": out()},  # blocks of four channels
    ),
    "across_channels": (
        conv("a", "data", 6) + layer("LRN", "lrn", "a") + conv("b", "lrn", 6)
        + layer("ReLU", "relu", "b", "b") + conv("out", "b", 2),
        {"a": "mixed by 'lrn' (LRN)", "b": whole("b", 6), "out": out()},
    ),
    "recurrent": (
        'input: "data" input_shape { dim: 5 dim: 1 dim: 6 }\n'
        'input: "cont" input_shape { dim: 5 dim: 1 }\n'
        + layer("InnerProduct", "a", "data", inner_product_param="num_output: 8 axis: 2")
        + layer("LSTM", "lstm", "a cont", recurrent_param="num_output: 4")
        + layer("InnerProduct", "b", "lstm", inner_product_param="num_output: 6 axis: 2")
        + layer("InnerProduct", "out", "b", inner_product_param="num_output: 2 axis: 2"),
        {"a": whole("a", 8), "lstm": "is input 'cont'", "b": whole("b", 6), "out": out()},
    ),
    "ssd": (
        conv("a", "data", 8, "kernel_size: 3 pad: 1 stride: 2")
        + conv("b", "a", 8, "kernel_size: 3 pad: 1 stride: 2")
        + "".join(
            conv(f"{x}_loc", x, 8) + conv(f"{x}_conf", x, 6)
            + layer("Permute", f"{x}_loc_p", f"{x}_loc",
                    permute_param="order: 0 order: 2 order: 3 order: 1")
            + layer("Flatten", f"{x}_loc_f", f"{x}_loc_p")
            + layer("Permute", f"{x}_conf_p", f"{x}_conf",
                    permute_param="order: 0 order: 2 order: 3 order: 1")
            + layer("Flatten", f"{x}_conf_f", f"{x}_conf_p")
            + layer("PriorBox", f"{x}_prior", f"{x} data",
                    prior_box_param="min_size: 4 max_size: 8 variance: 0.1")
            for x in "ab"
        )
        + layer("Concat", "loc", "a_loc_f b_loc_f") + layer("Concat", "conf", "a_conf_f b_conf_f")
        + layer("Concat", "prior", "a_prior b_prior", concat_param="axis: 2")
        + layer("Reshape", "conf_r", "conf", reshape_param="shape { dim: 0 dim: -1 dim: 3 }")
        + layer("Softmax", "conf_s", "conf_r", softmax_param="axis: 2")
        + layer("Flatten", "conf_o", "conf_s")
        + layer("DetectionOutput", "out", "loc conf_o prior", detection_output_param=(
            "num_classes: 3 nms_param { nms_threshold: 0.45 top_k: 20 } keep_top_k: 10 "
            "confidence_threshold: 0.1 code_type: CENTER_SIZE")),
        {"a": whole("a", 8), "b": whole("b", 8), "a_loc": out("loc"), "b_loc": out("loc"),
         "a_conf": out("conf_o"), "b_conf": out("conf_o")},
    ),
}  # fmt: skip

NET = """[net]
batch=1
width=16
height=16
channels=3
"""


def convolutional(filters: int, size: int = 3, **more: object) -> str:
    keys = {"filters": filters, "size": size, "stride": 1, "pad": 1, "activation": "leaky", **more}
    return "[convolutional]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


def section(name: str, **keys: object) -> str:
    return f"[{name}]\n" + "".join(f"{key.rstrip('_')}={value}\n" for key, value in keys.items())


ANCHORS = "1,2, 3,4, 5,6"
DARKNET = {
    "shortcut": (
        convolutional(8) + convolutional(8) + section("shortcut", from_=-2, activation="linear")
        + convolutional(2),
        {"0": whole("0", 8, "1"), "3": out("layer_3")},
    ),
    "shortcut_of_fewer": (  # the sum has the five channels of the later operand
        convolutional(8) + convolutional(5) + section("shortcut", from_=-2, activation="linear")
        + convolutional(2),
        {"0": whole("0", 8, "1"), "3": out("layer_3")},
    ),
    "scale_channels": (
        convolutional(8) + section("avgpool") + convolutional(4, 1)
        + convolutional(8, 1, activation="logistic") + section("scale_channels", from_=-4)
        + convolutional(2),
        {"0": whole("0", 8, "3"), "2": whole("2", 4), "5": out("layer_5")},
    ),
    "sam": (
        convolutional(8) + convolutional(8, activation="logistic") + section("sam", from_=-2)
        + convolutional(2),
        {"0": whole("0", 8, "1"), "3": out("layer_3")},
    ),
    "csp": (  # a cfg can only cut into equal groups
        convolutional(8, batch_normalize=1) + section("route", layers=-1, groups=2, group_id=1)
        + convolutional(4) + section("route", layers="-1,-3") + convolutional(2),
        {"0": (("0",), 8, [[4, 4]]), "2": whole("2", 4), "4": out("layer_4")},
    ),
    "reorg": (  # blocks of four channels
        convolutional(32) + section("reorg", stride=2) + convolutional(6) + convolutional(2),
        {"0": whole("0", 8), "2": whole("2", 6), "3": out("layer_3")},
    ),
    "grouped": (
        convolutional(8) + convolutional(8, groups=2) + convolutional(8, groups=8)
        + convolutional(2),
        {"0": (("0",), 8, [[4, 4]]), "1": (("1",), 8, [[4, 4]]), "3": out("layer_3")},
    ),
    "yolo": (
        convolutional(8) + convolutional(24, 1, activation="linear")
        + section("yolo", mask="0,1,2", anchors=ANCHORS, classes=3, num=3)
        + section("route", layers=0) + convolutional(6) + section("upsample", stride=2)
        + convolutional(24, 1, activation="linear")
        + section("yolo", mask="0,1,2", anchors=ANCHORS, classes=3, num=3),
        {"0": whole("0", 8), "1": out("layer_2"), "4": whole("4", 6), "6": out("layer_7")},
    ),
    "region": (
        convolutional(8) + convolutional(24, 1, activation="linear")
        + section("region", anchors=ANCHORS, classes=3, num=3, coords=4, softmax=1),
        {"0": whole("0", 8), "1": out("layer_2")},
    ),
}  # fmt: skip


def caffe(folder: Path, name: str) -> Network:
    text = CAFFE[name][0]
    text = text if text.startswith("input") else DATA + text
    prototxt, weights = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text)
    weights.write_bytes(caffemodel_for(text.encode()))
    return secateur.load(prototxt, weights)


def cfg(folder: Path, name: str) -> Network:
    return secateur.load(*darknet.with_random_weights(folder, NET + DARKNET[name][0]))


@pytest.mark.parametrize("name", CAFFE)
def test_groups_of_a_prototxt(name: str, tmp_path: Path) -> None:
    network = caffe(tmp_path, name)
    assert shown(find_groups(network)) == CAFFE[name][1]
    proved(network, tmp_path)


@pytest.mark.parametrize("name", DARKNET)
def test_groups_of_a_cfg(name: str, tmp_path: Path) -> None:
    network = cfg(tmp_path, name)
    assert shown(find_groups(network)) == DARKNET[name][1]
    proved(network, tmp_path)


def proved(network: Network, folder: Path) -> None:
    """Prove masked = dense and written = dense for random removals."""
    groups = find_groups(network)
    random = np.random.default_rng(2)
    data = SyntheticDataset(network, samples=2)
    for number in range(3):
        removed = random_removal(groups, random)
        dense = shrink(network, groups, removed)
        full, narrow = mask(network, groups, removed), narrowed(groups, removed)
        verify_equal("masked = dense", full, dense, data, narrow=narrow, tolerance=1e-3)
        secateur.save(dense, folder / f"out{number}", data=data)
