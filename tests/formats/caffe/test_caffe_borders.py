"""Layers that the graph does not carry: what becomes an output, an input, and what stays absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.ir.network import Caution
from secateur.formats.caffe.caffemodel import open_caffemodel
from support.random_weights import caffemodel_for

DATA = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }"""
INFO = """
layer { name: "im_info" type: "Input" top: "im_info" input_param { shape { dim: 1 dim: 3 } } }"""
IMAGES = """
layer { name: "in" type: "Data" top: "data" top: "label" data_param { batch_size: 2 }
  transform_param { crop_size: 16 force_color: true } }"""


def layer(name: str, kind: str, bottoms: str = "", tops: str = "", text: str = "") -> str:
    """Return a layer; names of blobs are divided by blanks."""
    links = [f'bottom: "{bottom}"' for bottom in bottoms.split()]
    links += [f'top: "{top}"' for top in tops.split()]
    return f'\nlayer {{ name: "{name}" type: "{kind}" {" ".join(links)} {text} }}'


def conv(name: str, bottom: str, outputs: int, size: int = 3) -> str:
    pad = size // 2
    text = f"convolution_param {{ num_output: {outputs} kernel_size: {size} pad: {pad} }}"
    return layer(name, "Convolution", bottom, name, text)


def connected(name: str, bottom: str, outputs: int) -> str:
    text = f"inner_product_param {{ num_output: {outputs} }}"
    return layer(name, "InnerProduct", bottom, name, text)


def pool(name: str, bottoms: str) -> str:
    text = "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 }"
    return layer(name, "ROIPooling", bottoms, name, text)


TRUNK = DATA + conv("c1", "data", 8) + conv("c2", "c1", 8)


def load(
    folder: Path,
    text: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    opaque: Sequence[str] = (),
    further: Mapping[str, Sequence[np.ndarray]] | None = None,
    phase: str = "TEST",
) -> secateur.Network:
    """Write a net with random weights and read it."""
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(text)
    settings: dict[str, Any] = {
        "input_shapes": dict(shapes or {}), "opaque": tuple(opaque), "phase": phase,
    }  # fmt: skip
    paths[1].write_bytes(caffemodel_for(text.encode(), further=further, **settings))
    return secateur.load(*paths, **settings)


def reasons(network: secateur.Network) -> dict[str, str]:
    """Return why each group cannot be pruned; "" where it can."""
    return {g.name: str(g.reason or "") for g in find_groups(network).groups}


def refusal(folder: Path, text: str, **options: Any) -> str:
    """Return the message with which a net is refused; its weights are of no matter."""
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(caffemodel_for(TRUNK.encode()))
    with pytest.raises(secateur.UnsupportedError) as caught:
        secateur.load(folder / "net.prototxt", folder / "net.caffemodel", **options)
    (line,) = str(caught.value).splitlines()
    return line


def test_only_tops_that_weights_need_are_inputs(tmp_path: Path) -> None:
    program = 'python_param { module: "m" layer: "L" param_str: "{\'x\': 1}" }'
    text = TRUNK + layer("py", "Python", "c2", "map list scores", program)
    text += conv("d", "map", 4) + layer("s", "Softmax", "scores", "p")
    network = load(tmp_path, text, {"map": (6, 5, 5)})
    assert network.inputs == {"data": ("N", 3, 16, 16), "map": ("N", 6, 5, 5)}
    assert list(network.outputs) == ["c2", "d"]
    (border,) = network.borders
    assert (border.subject, border.outputs, border.inputs) == ("'py' (Python)", ("c2",), ("map",))
    assert reasons(network)["c2"] == "read by 'py' (Python), which cannot be computed"
    assert reasons(network)["c1"] == ""
    assert (
        Caution("layer 'py' (Python) is not computed: 'c2' is an output, 'map' is an input")
        in network.notes
    )
    assert "layer 's' (Softmax) is left out: it reads what layer 'py' makes" in network.notes
    # A shape that the user gives is an order.
    named = load(tmp_path, text, {"map": (6, 5, 5), "scores": (7,)})
    assert list(named.inputs) == ["data", "map", "scores"]
    assert named.outputs["p"] == ("N", 7)


def test_a_shape_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    text = TRUNK + layer("py", "Python", "c1", "map") + conv("d", "map", 4)
    line = refusal(tmp_path, text)
    assert "layer 'py' (Python): 'map', which layer 'd' (Convolution) reads" in line
    assert line.endswith("(hint: --input-shape map=C,H,W)")


def test_what_meets_a_computed_blob_is_needed(tmp_path: Path) -> None:
    text = TRUNK + layer("py", "Python", "c1", "gate") + layer("sum", "Eltwise", "c2 gate", "sum")
    assert "'gate', which layer 'sum' (Eltwise) reads" in refusal(tmp_path, text)
    network = load(tmp_path, text, {"gate": (8, 16, 16)})
    assert list(network.outputs) == ["c1", "sum"]


def test_an_in_place_border_keeps_its_shape(tmp_path: Path) -> None:
    text = TRUNK + layer("r", "ReLU", "c2", "c2") + layer("py", "Python", "c2", "c2")
    network = load(tmp_path, text + connected("f", "c2", 5))
    assert network.inputs["c2"] == ("N", 8, 16, 16)
    assert list(network.outputs) == ["c2_out", "f"]
    data = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    found = secateur.Session(network).run({"data": data, "c2": np.ones((2, 8, 16, 16))})
    assert found["c2_out"].min() == 0  # it is what the program reads: the blob behind ReLU
    assert reasons(network)["c2"].startswith("read by 'py'")


def test_a_border_in_place_on_the_data_takes_its_place(tmp_path: Path) -> None:
    text = DATA + layer("py", "Python", "data", "data") + conv("c1", "data", 8)
    network = load(tmp_path, text + connected("f", "c1", 3))
    assert network.inputs == {"data": ("N", 3, 16, 16)}
    assert list(network.outputs) == ["f"]


def test_a_blob_is_an_output_as_the_border_reads_it(tmp_path: Path) -> None:
    """A later in-place layer makes another value of the same name."""
    text = TRUNK + layer("py", "Python", "c2", "list") + layer("r", "ReLU", "c2", "c2")
    network = load(tmp_path, text)
    assert list(network.outputs) == ["c2_out", "c2"]
    data = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    found = secateur.Session(network).run({"data": data})
    assert found["c2_out"].min() < 0 == found["c2"].min()


def test_a_private_type_with_weights_stays_as_it_is(tmp_path: Path) -> None:
    text = TRUNK + layer("mine", "MyLayer", "c2", "m", "my_param { order: 3 }")
    text += connected("f", "m", 6) + connected("g", "f", 3)
    blobs = {"mine": [np.arange(64, dtype=np.float32).reshape(8, 8), np.ones(8, np.float32)]}
    network = load(tmp_path, text, {"m": (8, 16, 16)}, ["MyLayer"], blobs)
    assert reasons(network)["c2"] == "read by 'mine' (MyLayer), which cannot be computed"
    saved = secateur.save(secateur.prune(network, rate=0.3), tmp_path / "out")
    assert saved.difference <= 1e-4
    written = open_caffemodel(tmp_path / "out" / "net.caffemodel")
    (entry,) = (stored for stored in written.layers if stored.name == "mine")
    for place, array in zip(entry.blobs, blobs["mine"], strict=True):
        assert place.fits(array.shape)
        np.testing.assert_array_equal(written.values(place), array.reshape(-1))
    line = layer("mine", "MyLayer", "c2", "m", "my_param { order: 3 }")
    assert line in (tmp_path / "out" / "net.prototxt").read_text()
    assert secateur.load(*saved.paths, input_shapes={"m": (8, 16, 16)}, opaque=["MyLayer"])


def test_an_unknown_type_is_refused_with_the_way_out(tmp_path: Path) -> None:
    text = TRUNK + layer("mine", "MyLayer", "c1", "m") + connected("f", "m", 3)
    line = refusal(tmp_path, text)
    assert "unsupported layer type 'MyLayer'" in line
    assert "--opaque MyLayer keeps it as a border" in line


def test_a_known_type_can_be_opaque_too(tmp_path: Path) -> None:
    text = TRUNK.replace('name: "c2"', 'name: "bn" type: "BatchNorm" bottom: "c1" top: "c1" }\n'
                         'layer { name: "c2"')  # fmt: skip
    blobs = {"bn": [np.ones(8, np.float32), np.ones(8, np.float32), np.ones(1, np.float32)]}
    network = load(tmp_path, text + connected("f", "c2", 3), None, ["BatchNorm"], blobs)
    assert list(network.inputs) == ["data", "c1"]
    assert reasons(network)["c1"] == "read by 'bn' (BatchNorm), which cannot be computed"
    assert reasons(network)["c2"] == ""


def test_a_type_that_no_layer_has_is_told(tmp_path: Path) -> None:
    network = load(tmp_path, TRUNK, None, ["MyLayr"])
    assert Caution("--opaque MyLayr: no layer that is read has this type") in network.notes
    assert not network.borders


def test_parameters_shared_with_a_border_are_kept(tmp_path: Path) -> None:
    shared = 'param { name: "w" }'
    text = TRUNK.replace('top: "c1"', f'top: "c1" {shared}', 1)
    text += layer("mine", "MyLayer", "c2", "m", shared)
    text += conv("c3", "c2", 8) + connected("f", "c3", 3)
    network = load(tmp_path, text, None, ["MyLayer"])
    told = "read by 'mine' (MyLayer), which cannot be computed"
    assert reasons(network) == {"c1": told, "c2": told, "c3": "", "f": "feeds output 'f'"}


TRAIN = (
    layer("input", "Python", "", "data im_info gt_boxes", 'python_param { module: "m" layer: "L" }')
    + conv("c1", "data", 8)
    + conv("score", "c1", 6, 1)
    + conv("box", "c1", 12, 1)
    + layer("targets", "AnchorTarget", "score gt_boxes im_info data", "labels aim inside outside")
    + layer("score_loss", "SoftmaxWithLoss", "score labels", "score_loss")
    + layer("box_loss", "SmoothL1Loss", "box aim inside outside", "box_loss")
    + layer("prop", "Proposal", "score box im_info", "rois")
    + layer("rois", "ProposalTarget", "rois gt_boxes", "own classes aims in out")
    + pool("pool", "c1 own")
    + connected("fc", "pool", 12)
    + connected("cls", "fc", 3)
    + connected("boxes", "fc", 12)
    + layer("ohem", "BoxAnnotatorOHEM", "own cls boxes classes aims in", "hard_classes hard")
    + layer("loss", "SoftmaxWithLoss", "cls hard_classes", "loss")
    + layer("loss2", "SmoothL1LossOHEM", "boxes aims hard out", "loss2")
)
"""Faster R-CNN as it is trained end to end."""


def test_a_detector_in_training_needs_images_and_regions(tmp_path: Path) -> None:
    network = load(tmp_path, TRAIN, {"data": (3, 16, 16)}, phase="TRAIN")
    assert network.inputs == {"data": (1, 3, 16, 16), "own": (1, 5)}
    assert {"score", "box", "cls", "boxes"} <= {
        name for border in network.borders for name in border.outputs
    }
    kept = reasons(network)
    assert kept["c1"] == kept["fc"] == ""
    assert kept["score"] == "read by 'prop' (Proposal), which cannot be computed"
    pruned = secateur.prune(network, rate=0.3)
    saved = secateur.save(pruned, tmp_path / "out")
    assert saved.difference <= 1e-4
    assert "shape of 'data' stands in the data" in refusal(tmp_path, TRAIN, phase="TRAIN")


def test_nothing_is_fed_for_regions_that_only_borders_read(tmp_path: Path) -> None:
    """R-FCN: no weights stand behind the pooling, so that images alone serve."""
    windows = "psroi_pooling_param { spatial_scale: 1 output_dim: 3 group_size: 2 }"
    text = DATA + INFO + conv("c1", "data", 8) + conv("score", "c1", 6, 1)
    text += layer("prop", "Proposal", "score im_info", "rois") + conv("maps", "c1", 12, 1)
    text += layer("ps", "PSROIPooling", "maps rois", "ps", windows)
    text += layer("ave", "Pooling", "ps", "ave", "pooling_param { pool: AVE kernel_size: 2 }")
    text += layer("prob", "Softmax", "ave", "prob")
    network = load(tmp_path, text)
    assert network.inputs == {"data": ("N", 3, 16, 16)}
    assert list(network.outputs) == ["score", "maps"]
    assert reasons(network)["maps"] == "read by 'ps' (PSROIPooling), which cannot be computed"
    # Behind weights, the shape of the windows follows from the layer.
    text += connected("f", "ps", 3)
    network = load(tmp_path, text)
    assert network.inputs["ps"] == ("N", 3, 2, 2)
    assert operations(network, "f") == 3 * (2 * 12 + 1)


def operations(network: secateur.Network, name: str) -> int:
    """Return the operations of a layer for one image."""
    (row,) = (row for row in secateur.describe(network).layers if row.name == name)
    return row.operations


@pytest.mark.parametrize("stated", [7, None], ids=["stated", "open"])
@pytest.mark.parametrize("kind", ["PSROIPooling", "ROIAlign"])
def test_windows_are_as_many_as_regions(kind: str, stated: int | None, tmp_path: Path) -> None:
    text = DATA + INFO + conv("c1", "data", 12) + conv("score", "c1", 6, 1)
    most = f"proposal_param {{ post_nms_topn: {stated} }}" if stated else ""
    text += layer("prop", "Proposal", "score im_info", "rois", most)
    own = {
        "PSROIPooling": "psroi_pooling_param { spatial_scale: 1 output_dim: 3 group_size: 2 }",
        "ROIAlign": "roi_align_param { spatial_scale: 1 pooled_h: 2 pooled_w: 2 }",
    }[kind]
    text += layer("win", kind, "c1 rois", "win", own) + connected("f", "win", 5)
    network = load(tmp_path, text)
    channels = 3 if kind == "PSROIPooling" else 12
    assert network.inputs["win"] == (stated or "N", channels, 2, 2)
    assert operations(network, "f") == (stated or 1) * 5 * (2 * 4 * channels + 1)
    assert reasons(network)["c1"] == f"read by 'win' ({kind}), which cannot be computed"
    if stated:
        assert network.inputs["data"] == (1, 3, 16, 16)
        assert load(tmp_path, text, {"rois": (2, 5)}).inputs["win"][0] == 2


def test_the_number_of_regions_is_that_of_the_file(tmp_path: Path) -> None:
    text = DATA + INFO + conv("c1", "data", 8) + conv("score", "c1", 6, 1)
    text += layer(
        "prop", "Proposal", "score im_info", "rois", "proposal_param { post_nms_topn: 7 }"
    )
    text += layer("two", "Split", "rois", "a b") + pool("p", "c1 a") + pool("q", "c1 b")
    text += layer("cat", "Concat", "p q", "cat") + connected("f", "cat", 5)
    network = load(tmp_path, text)
    assert network.inputs == {"data": (1, 3, 16, 16), "rois": (7, 5)}
    assert not any("how many regions" in note for note in network.notes)
    assert load(tmp_path, text, {"rois": (2, 5)}).inputs["rois"] == (2, 5)


def test_regions_stand_behind_the_images(tmp_path: Path) -> None:
    """The first input has a row a sample, whatever the file's order."""
    rois = (
        'layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 6 dim: 5 } } }'
    )
    network = load(tmp_path, rois + DATA + conv("c1", "data", 8) + pool("p", "c1 rois"))
    assert network.inputs == {"data": (1, 3, 16, 16), "rois": (6, 5)}


def test_labels_can_be_fed_where_a_shape_is_given(tmp_path: Path) -> None:
    text = IMAGES + conv("c1", "data", 8) + connected("own", "label", 4)
    with pytest.raises(secateur.UnsupportedError, match="--input-shape label=C,H,W makes it an"):
        load(tmp_path, text)
    network = load(tmp_path, text, {"label": (5,)})
    assert network.inputs == {"data": ("N", 3, 16, 16), "label": ("N", 5)}


def test_a_private_data_layer_tells_its_crop(tmp_path: Path) -> None:
    crop = "transform_param { crop_size: 12 mean_value: 1 mean_value: 2 mean_value: 3 }"
    text = layer("in", "MyData", "", "data label", crop) + conv("c1", "data", 8)
    text += connected("f", "c1", 4) + layer("loss", "SoftmaxWithLoss", "f label", "loss")
    network = load(tmp_path, text, None, ["MyData"])
    assert network.inputs == {"data": ("N", 3, 12, 12)}
    assert network.outputs == {"loss": ("N", 4)}
    assert network.preprocess.mean == (1, 2, 3)
    assert network.preprocess.crop


def test_an_unknown_loss_with_weights_keeps_what_it_reads(tmp_path: Path) -> None:
    text = IMAGES + conv("c1", "data", 8) + connected("f", "c1", 6) + connected("g", "f", 3)
    text += layer("loss", "SoftmaxWithLoss", "g label", "loss")
    text += layer("centre", "CenterLoss", "f label", "centre")
    free = load(tmp_path, text)
    assert reasons(free)["f"] == ""
    network = load(tmp_path, text, further={"centre": [np.ones((3, 6), np.float32)]})
    assert reasons(network)["f"] == "read by 'centre' (CenterLoss), which cannot be computed"
    assert reasons(network)["c1"] == ""


def test_an_unknown_layer_behind_a_border_is_named_where_it_matters(tmp_path: Path) -> None:
    text = DATA + conv("c1", "data", 8) + layer("prop", "Python", "c1", "rois")
    text += layer("mine", "MyPool", "c1 rois", "mine") + connected("f", "mine", 6)
    line = refusal(tmp_path, text)
    assert "layer 'f' (InnerProduct): it has weights, and reads 'mine'" in line
    assert "--opaque MyPool keeps that layer as a border" in line


def test_a_layer_of_another_phase_is_no_border(tmp_path: Path) -> None:
    text = TRUNK + layer("py", "Python", "c2", "x", "include { phase: TRAIN }")
    text += connected("f", "c2", 4)
    assert not load(tmp_path, text).borders
    assert load(tmp_path, text, phase="TRAIN").borders
    assert reasons(load(tmp_path, text))["c2"] == ""


def test_a_net_of_programs_alone_computes_nothing(tmp_path: Path) -> None:
    line = refusal(tmp_path, DATA + layer("py", "Python", "data", "x"))
    assert "layer 'py' (Python): nothing is computed before this layer" in line
