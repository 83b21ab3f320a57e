"""Residual blocks: which may leave, and what each format's files are without them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.blocks import disjoint, dropped, find_blocks, layer_names, named_blocks
from secateur.core.ir.network import Network
from support.residual import (
    caffe,
    conv,
    convolution,
    darknet,
    layer,
    onnx_net,
    outputs,
    relu,
    residual,
    section,
    silenced,
    three_blocks,
)  # fmt: skip

SE = conv() + section("avgpool") + conv(filters=4, size=1, norm=0, activation="logistic")
SE += section("scale_channels", **{"from": -3, "activation": "linear"})
YOLO = section("yolo", mask="0,1", anchors="1,2, 3,4", classes=2, num=2)


def shortcut(back: int, activation: str = "linear") -> str:
    return section("shortcut", **{"from": back, "activation": activation})


PLAIN = conv() + conv() + conv(activation="linear") + shortcut(-3) + conv(filters=6)
DARKNET = {
    "plain": PLAIN,
    "dropout": conv() + conv() + conv(activation="linear") + section("dropout", probability=0.2)
    + shortcut(-4) + conv(filters=6),
    "in a row": conv() + (conv() + conv(activation="linear") + shortcut(-3)) * 3 + conv(filters=5),
    "activation": conv(activation="linear") + conv() + conv(activation="linear")
    + shortcut(-3, "leaky") + conv(filters=5),
    "relu of relu": conv(activation="relu") + conv() + conv(activation="linear")
    + shortcut(-3, "relu") + conv(filters=5),
    "absolute indices": conv() + conv() + conv(activation="linear") + shortcut(0) + conv(filters=5)
    + conv(filters=3) + section("route", layers="4,3") + conv(filters=2)
    + section("route", layers="-1,5,-3"),
    "squeeze and excite": conv() + SE + shortcut(-5) + conv(filters=5),
    "through a route": conv() + conv(filters=2) + section("route", layers=-2) + conv()
    + conv(activation="linear") + shortcut(-5) + section("route", layers="-1,1") + conv(filters=5),
    "heads": conv() + (conv() + conv(activation="linear") + shortcut(-3)) * 2
    + conv(filters=14, size=1, norm=0, activation="linear") + YOLO
    + section("route", layers=-3) + conv() + section("upsample", stride=2)
    + section("route", layers="-1") + conv(filters=14, size=1, norm=0, activation="linear") + YOLO,
}  # fmt: skip


def one_darknet(name: str) -> Callable[[Path], Network]:
    return lambda folder: darknet(folder, DARKNET[name])


def bottleneck(folder: Path) -> Network:
    """Batch normalisation and scale, no activation behind the sum, Dropout in the branch."""
    body = convolution("stem", "data")
    for name, x in (("one", "stem"), ("two", "one")):
        body += convolution(f"{name}_a", x) + layer(
            f"{name}_bn", "BatchNorm", f"{name}_a", f"{name}_bn"
        )
        body += layer(
            f"{name}_scale", "Scale", f"{name}_bn", f"{name}_bn", "scale_param { bias_term: true }"
        )
        body += relu(f"{name}_relu", f"{name}_bn") + convolution(f"{name}_b", f"{name}_bn", size=1)
        body += layer(f"{name}_drop", "Dropout", f"{name}_b", f"{name}_drop")
        body += layer(name, "Eltwise", f"{name}_drop {x}", name, "eltwise_param { operation: SUM }")
    return caffe(folder, body, "two")


def with_splits(folder: Path) -> Network:
    """A Split that somebody wrote out, and one layer a line."""
    body = convolution("stem", "data") + layer("fork", "Split", "stem", "left right")
    body += convolution("a", "right") + convolution("b", "a")
    body += layer("sum", "Eltwise", "left b", "sum") + relu("relu", "sum")
    return caffe(folder, body, "sum")


def old_text(folder: Path) -> Network:
    """The same in the version of Caffe before, `layers { type: CONVOLUTION }`."""
    three_blocks(folder)
    path = folder / "net.prototxt"
    text = path.read_text().replace("layer {", "layers {")
    for new, old in (("Convolution", "CONVOLUTION"), ("ReLU", "RELU"), ("Eltwise", "ELTWISE"),
                     ("Pooling", "POOLING"), ("InnerProduct", "INNER_PRODUCT")):  # fmt: skip
        text = text.replace(f'type: "{new}"', f"type: {old}")
    start = text.index("layers {")
    end = text.index("layers {", start + 1)
    path.write_text(f'input: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 8\ninput_dim: 8\n'
                    f"{text[:start]}{text[end:]}")  # fmt: skip
    return secateur.load(path, folder / "net.caffemodel")


NETWORKS = {
    **{f"darknet {name}": one_darknet(name) for name in DARKNET},
    "caffe three": three_blocks,
    "caffe bottleneck": bottleneck,
    "caffe splits": with_splits,
    "caffe old text": old_text,
    "onnx": onnx_net,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_files_without_blocks_compute_what_is_left(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name](tmp_path)
    blocks = find_blocks(network)
    assert blocks
    sets = [some for count in (1, 2, 3) for some in combinations(blocks, count)]
    for number, some in enumerate(sets):
        if any(not disjoint(a, b) for a, b in combinations(some, 2)):
            continue
        wanted = outputs(silenced(network, some))
        settled = dropped(network, some).settled().network
        folder = tmp_path / str(number)
        saved = secateur.save(settled, folder)
        for found in (settled, secateur.load(*saved.paths)):
            for mine, theirs in zip(outputs(found), wanted, strict=True):
                # read anew, a cfg that either Darknet can run has another epsilon
                np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
        count = len({k for b in some for k in b.layers})
        assert len(network.layers) - len(settled.layers) >= count
        assert saved.size < sum(path.stat().st_size for path in network.source.paths.values())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["darknet plain", "darknet in a row", "darknet through a route", "caffe three"]
)
def test_opencv_reads_what_is_left(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name](tmp_path)
    settled = dropped(network, find_blocks(network)[:1]).settled().network
    saved = secateur.save(settled, tmp_path / "out")
    first, second = map(str, saved.paths)
    read = cv2.dnn.readNetFromDarknet if first.endswith(".cfg") else cv2.dnn.readNetFromCaffe
    other = read(first, second)
    x = np.random.default_rng(3).normal(size=(1, 3, 8, 8)).astype(np.float32)
    other.setInput(x)
    (mine,) = secateur.Session(settled).run({next(iter(settled.inputs)): x}).values()
    np.testing.assert_allclose(other.forward(), mine, rtol=1e-3, atol=1e-4)


def test_the_cfg_without_a_block(tmp_path: Path) -> None:
    body = "# the stem\n" + conv() + conv() + conv(activation="linear") + shortcut(-3)
    body += "# a head\n" + conv(filters=5) + section("route", layers="-1, 3")
    network = darknet(tmp_path, body)
    settled = dropped(network, find_blocks(network)).settled().network
    assert settled.source is not None
    written = settled.source.render(settled)[".cfg"].decode()
    wanted = "[net]\nwidth=8\nheight=8\nchannels=3\n\n# the stem\n" + conv() + "# a head\n"
    assert written == wanted + conv(filters=5) + section("route", layers="-1,0")


def test_a_shortcut_that_does_not_follow_what_it_hands_on_becomes_a_route(tmp_path: Path) -> None:
    network = darknet(tmp_path, DARKNET["through a route"])
    settled = dropped(network, find_blocks(network)).settled().network
    assert [info.type for info in settled.layers] == [
        "convolutional", "convolutional", "route", "route", "convolutional",
    ]  # fmt: skip


def test_its_activation_stays_where_it_changes_something(tmp_path: Path) -> None:
    kinds = {}
    for name in ("activation", "relu of relu"):
        (tmp_path / name).mkdir()
        network = darknet(tmp_path / name, DARKNET[name])
        left = dropped(network, find_blocks(network)).settled().network
        kinds[name] = [info.type for info in left.layers]
    assert kinds["activation"] == ["convolutional", "activation", "convolutional"]
    assert kinds["relu of relu"] == ["convolutional", "convolutional"]


def test_an_activation_that_would_need_two_sections_is_refused(tmp_path: Path) -> None:
    body = conv(activation="linear") + conv(filters=2) + section("route", layers=-2) + conv()
    body += conv(activation="linear") + shortcut(-5, "leaky") + section("route", layers="-1,1")
    network = darknet(tmp_path, body + conv())
    with pytest.raises(secateur.UnsupportedError, match=r"layer 5 \[shortcut\].*its branch"):
        dropped(network, find_blocks(network)).settled()


def test_the_texts_of_caffe_without_a_block(tmp_path: Path) -> None:
    network = three_blocks(tmp_path)
    settled = dropped(network, named_blocks(network, ["two"])).settled().network
    assert settled.source is not None
    text = settled.source.render(settled)[".prototxt"].decode()
    whole = (tmp_path / "net.prototxt").read_text()
    start, end = whole.index('layer {\n  name: "two_a"'), whole.index('layer {\n  name: "two_relu"')
    wanted = (whole[:start] + whole[end:]).replace(
        'bottom: "two" top: "two"', 'bottom: "one" top: "two"'
    )
    assert text == wanted


def test_companions_lose_the_same_layers(tmp_path: Path) -> None:
    network = three_blocks(tmp_path)
    text = (tmp_path / "net.prototxt").read_text()
    label = layer("label", "Input", "", "label", "input_param { shape { dim: 1 } }")
    loss = layer("loss", "SoftmaxWithLoss", "fc label", "loss", "include { phase: TRAIN }")
    (tmp_path / "train.prototxt").write_text(text + label + loss)
    network = secateur.load(
        tmp_path / "net.prototxt", tmp_path / "net.caffemodel",
        companions=[tmp_path / "train.prototxt"],
    )  # fmt: skip
    result = secateur.prune(network, drop_blocks="one,three")
    saved = secateur.save(result, tmp_path / "out")
    written = saved.companions[0].read_text()
    assert not any(f'name: "{name}"' in written for name in ("one", "three_a", "three_b"))
    assert 'bottom: "stem"' in written
    secateur.load(*saved.paths, companions=saved.companions)


NOT_BLOCKS = {
    "projection": conv() + conv(filters=5, activation="linear") + section("route", layers=-2)
    + conv(filters=5) + conv(filters=5, activation="linear") + shortcut(-4) + conv(),
    "read inside": conv() + conv() + conv(activation="linear") + shortcut(-3)
    + section("route", layers="-1,1") + conv(),
    "other channels": conv(filters=6) + conv() + conv(activation="linear") + shortcut(-3) + conv(),
    "no weights": conv() + section("maxpool", size=3, stride=1) + shortcut(-2) + conv(),
    "three summands": conv() + conv() + conv() + section("shortcut", **{"from": "-2,-3"}) + conv(),
    "no sum": conv() + conv(),
    "the output": conv() + conv() + conv(activation="linear") + shortcut(-3),
    "shared weights": conv() + conv() + conv(activation="linear") + shortcut(-3)
    + conv(share_index=1),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_BLOCKS)
def test_what_is_no_block(name: str, tmp_path: Path) -> None:
    network = darknet(tmp_path, NOT_BLOCKS[name])
    assert find_blocks(network) == ()
    with pytest.raises(secateur.PlanError, match="no residual block that may leave"):
        secateur.prune(network, drop_blocks=1)


def test_coefficients_are_no_block(tmp_path: Path) -> None:
    body = convolution("stem", "data") + convolution("a", "stem")
    body += layer("sum", "Eltwise", "stem a", "sum", "eltwise_param { coeff: 1 coeff: -1 }")
    assert find_blocks(caffe(tmp_path, body + relu("r", "sum"), "sum")) == ()


def test_a_branch_that_reads_something_else_is_no_block(tmp_path: Path) -> None:
    body = convolution("early", "data") + convolution("stem", "early") + convolution("a", "stem")
    body += layer("mixed", "Eltwise", "a early", "mixed") + convolution("b", "mixed")
    body += layer("sum", "Eltwise", "stem b", "sum") + relu("r", "sum")
    assert find_blocks(caffe(tmp_path, body, "sum")) == ()


def test_one_block_in_another(tmp_path: Path) -> None:
    body = convolution("stem", "data") + convolution("a", "stem") + residual("inner", "a", after="")
    body += convolution("c", "inner") + layer("outer", "Eltwise", "c stem", "outer")
    network = caffe(tmp_path, body + relu("r", "outer"), "outer")
    blocks = {block.name: layer_names(network, block) for block in find_blocks(network)}
    assert set(blocks) == {"inner", "outer"}
    assert set(blocks["inner"]) < set(blocks["outer"])
    with pytest.raises(secateur.PlanError, match="one lies in the other"):
        named_blocks(network, ["inner", "outer"])
    assert secateur.prune(network, drop_blocks="outer").network.layers[-1].name == "fc"


def test_a_layer_in_place_on_what_the_sum_becomes_is_refused(tmp_path: Path) -> None:
    body = convolution("stem", "data") + convolution("a", "stem")
    body += layer("sum", "Eltwise", "stem a", "sum") + relu("on_stem", "stem")
    body += convolution("b", "sum") + convolution("c", "stem")
    body += layer("cat", "Concat", "b c", "cat")
    network = caffe(tmp_path, body, "cat")
    with pytest.raises(secateur.UnsupportedError, match="'stem' is overwritten"):
        secateur.prune(network, drop_blocks="sum")


def test_describe_lists_blocks(tmp_path: Path) -> None:
    found = secateur.describe(three_blocks(tmp_path))
    assert [row.name for row in found.blocks] == ["one", "two", "three"]
    each = 2 * (2 * 4 * 4 * 9 * 64 + 4 * 64)
    assert {row.operations for row in found.blocks} == {each}
    assert {row.parameters for row in found.blocks} == {2 * (4 * 4 * 9 + 4)}
