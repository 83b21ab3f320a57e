"""Writing back: pruned by hand, rendered, read again, loaded by OpenCV."""

from __future__ import annotations

import difflib

import cv2
import numpy as np
import pytest
from conftest import SHARED

from secateur.core.errors import FormatError, UnsupportedError
from secateur.core.ir.rebuild import rebuild
from secateur.core.pruning.prune import prune
from secateur.formats.caffe.reader import load
from secateur.proto.caffe import message_class
from support.caffe import GOLDEN, run

LENET = SHARED / "models/lenet_mnist"


def opened(folder, prototxt="model.prototxt", caffemodel="model.caffemodel", **settings):
    if not (folder / prototxt).is_file():
        pytest.skip("no reference data")
    return load(folder / prototxt, folder / caffemodel, **settings)


def written(network, folder):
    """Render, read again, and return the new network with the changed lines of the prototxt."""
    files = network.source.render(network)
    paths = {suffix: folder / f"pruned{suffix}" for suffix in files}
    for suffix, data in files.items():
        paths[suffix].write_bytes(data)
    before = network.source.document.data.decode().splitlines()
    after = files[".prototxt"].decode().splitlines()
    lines = [x for x in difflib.ndiff(before, after) if x[0] in "+-"]
    return network.source.reread(paths), lines


def taken(network, cuts):
    """Return initializers with only the given channels: name → (axis, channels)."""
    values = network.graph.initializers
    return {
        name: np.take(values[name].const_value.numpy(), kept, axis)
        for name, (axis, kept) in cuts.items()
    }


def same(one, other, feed):
    first, second = run(one.model, feed), run(other.model, feed)
    assert list(first) == list(second)
    for name, want in first.items():
        assert np.abs(second[name] - want).max() <= 1e-5 * np.abs(want).max(), name


def feed_of(network):
    random = np.random.default_rng(3)
    return {
        name: random.normal(size=[d if isinstance(d, int) else 2 for d in dims]).astype(np.float32)
        for name, dims in network.inputs.items()
    }


def test_one_convolution(tmp_path, shared):
    network = opened(LENET, "lenet.prototxt", "lenet_iter_10000.caffemodel")
    kept = np.arange(0, 20, 2)
    cuts = {"conv1/weight": (0, kept), "conv1/bias": (0, kept), "conv2/weight": (1, kept)}
    pruned = rebuild(network, tensors=taken(network, cuts))
    again, lines = written(pruned, tmp_path)
    assert lines == ["-     num_output: 20", "+     num_output: 10"]
    feed = feed_of(network)
    same(pruned, again, feed)
    other = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "pruned.prototxt"), str(tmp_path / "pruned.caffemodel")
    )
    other.setInput(feed["data"])
    assert np.abs(other.forward() - run(again.model, feed)["prob"]).max() < 1e-4
    net = message_class("NetParameter")()
    net.ParseFromString((tmp_path / "pruned.caffemodel").read_bytes())
    conv = next(layer for layer in [*net.layer, *net.layers] if layer.name == "conv1")
    assert conv.convolution_param.num_output == 10


def test_unchanged_layers_keep_their_bytes(tmp_path, shared):
    network = opened(LENET, "lenet.prototxt", "lenet_iter_10000.caffemodel")
    bias = network.graph.initializers["ip2/bias"].const_value.numpy()
    changed = rebuild(network, tensors={"ip2/bias": bias + 1})
    before = (LENET / "lenet_iter_10000.caffemodel").read_bytes()
    files = changed.source.render(changed)
    assert files[".prototxt"] == (LENET / "lenet.prototxt").read_bytes()
    assert len(files[".caffemodel"]) == len(before)
    assert files[".caffemodel"] != before
    pairs = zip(files[".caffemodel"], before, strict=True)
    assert sum(one != other for one, other in pairs) <= bias.nbytes


def test_batch_norm_and_scale_follow_their_convolution(tmp_path, shared):
    network = opened(GOLDEN / "cases/bn_scale_bias_relu")
    values = network.graph.initializers
    count = values["conv/weight"].shape[0]
    kept = np.arange(1, count)
    pruned = rebuild(
        network,
        tensors=taken(
            network,
            {
                name: (0, kept)
                for name, value in values.items()
                if value.const_value.size % count == 0 and value.shape[0] == count
            },
        ),
    )
    again, lines = written(pruned, tmp_path)
    assert len(lines) == 2
    same(pruned, again, feed_of(network))
    source = again.source
    entry = next(e for e in source.weights.layers if len(e.blobs) == 3)
    assert source.weights.values(entry.blobs[2]).tolist() == [1]


@pytest.mark.parametrize("case", ["v1_weights_too", "v0_weights_too", "weights_legacy_shapes"])
def test_old_formats_are_patched_in_place(tmp_path, case, shared):
    network = opened(GOLDEN / "cases" / case)
    values = network.graph.initializers
    weight = next(name for name in values if name.startswith(("fc/weight", "f/weight")))
    bias = weight.replace("weight", "bias")
    kept = np.arange(values[weight].shape[0] - 1)
    pruned = rebuild(network, tensors=taken(network, {weight: (0, kept), bias: (0, kept)}))
    again, lines = written(pruned, tmp_path)
    assert len([line for line in lines if line[0] == "+"]) == 1
    same(pruned, again, feed_of(network))
    net = message_class("NetParameter")()
    net.ParseFromString((tmp_path / "pruned.caffemodel").read_bytes())
    legacy = [
        b for e in [*net.layer, *net.layers] for b in [*e.blobs, *getattr(e, "layer", e).blobs]
    ]
    assert all(not blob.HasField("shape") for blob in legacy)


PRUNED = [
    "net_alexnet", "net_densenet", "net_googlenet", "net_lenet", "net_mobilenet",
    "net_resnet_bottleneck", "net_se_block", "net_shufflenet", "net_squeezenet", "net_unet",
    "v0_weights_too", "weights_double", "weights_legacy_shapes",
    "weights_names_only", "weights_unpacked", "train_val",
]  # fmt: skip


@pytest.mark.parametrize("case", PRUNED)
def test_every_kind_of_net_is_written_as_pruned(tmp_path, case, shared):
    network = opened(GOLDEN / "cases" / case)
    pruned = prune(network, rate=0.4, criterion="l1", as_far_as_possible=True).network
    again, lines = written(pruned, tmp_path)
    assert lines
    feed = feed_of(pruned)
    if "label" in feed:
        feed["label"][:] = 1
    same(pruned, again, feed)


def test_shared_parameters_are_written_for_every_layer(tmp_path, shared):
    network = opened(GOLDEN / "cases/shared_params")
    values = network.graph.initializers
    cuts = {name: (0, [0, 2, 3]) for name in values if values[name].shape.rank()}
    pruned = rebuild(network, tensors=taken(network, cuts))
    again, lines = written(pruned, tmp_path)
    assert sum(line.startswith("+") for line in lines) == 2
    same(pruned, again, feed_of(network))


def test_an_uneven_slice_gets_its_points(tmp_path, shared):
    network = opened(GOLDEN / "cases/unused_input_and_top")
    values = network.graph.initializers
    split = next(node for node in network.graph if node.op_type == "Split")
    sizes = str(split.inputs[1].name)
    weight = next(name for name in values if name.endswith("weight"))
    bias = weight.replace("weight", "bias")
    tensors = {
        weight: np.repeat(values[weight].const_value.numpy(), [2, 1], axis=0),
        bias: np.repeat(values[bias].const_value.numpy(), [2, 1], axis=0),
        sizes: np.array([2, 1]),
    }
    grown = rebuild(network, tensors=tensors)
    again, lines = written(grown, tmp_path)
    assert any("slice_param { slice_point: 2 }" in line for line in lines), lines
    same(grown, again, feed_of(network))


DEPTHWISE = """input: "data" input_shape { dim: 1 dim: 2 dim: 5 dim: 5 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "b" type: "%s" bottom: "a" top: "b"
  convolution_param { num_output: 4 kernel_size: 3 group: 4 bias_term: false } }
layer { name: "c" type: "InnerProduct" bottom: "b" top: "c"
  inner_product_param { num_output: 3 } }
"""


@pytest.mark.parametrize("kind", ["Convolution", "ConvolutionDepthwise", "Deconvolution"])
def test_groups_shrink_with_a_depthwise_convolution(tmp_path, kind):
    random = np.random.default_rng(0)
    net = message_class("NetParameter")()
    spatial = 49 if kind == "Deconvolution" else 9
    shapes = {"a": [(4, 2, 1, 1), (4,)], "b": [(4, 1, 3, 3)], "c": [(3, 4 * spatial), (3,)]}
    for name, dims in shapes.items():
        layer = net.layer.add(name=name)
        for shape in dims:
            layer.blobs.add(shape={"dim": shape}, data=random.normal(size=shape).ravel())
    (tmp_path / "model.prototxt").write_text(DEPTHWISE % kind)
    (tmp_path / "model.caffemodel").write_bytes(net.SerializeToString())
    pruned = prune(opened(tmp_path), rate=0.4, criterion="l1", as_far_as_possible=True).network
    again, lines = written(pruned, tmp_path)
    left = pruned.graph.initializers["b/weight"].shape[0]
    assert left < 4
    assert any(f"num_output: {left} kernel_size: 3 group: {left}" in line for line in lines), lines
    same(pruned, again, feed_of(pruned))


def test_twins_of_other_phases_are_patched_alike(tmp_path):
    text = """
input: "data" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" include { phase: TRAIN }
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" include { phase: TEST }
  convolution_param { num_output: 3 # three
    kernel_size: 1 } }
"""
    net = message_class("NetParameter")()
    layer = net.layer.add(name="c")
    layer.blobs.add(shape={"dim": [3, 2, 1, 1]}, data=range(6))
    layer.blobs.add(shape={"dim": [3]}, data=range(3))
    (tmp_path / "model.prototxt").write_text(text)
    (tmp_path / "model.caffemodel").write_bytes(net.SerializeToString())
    network = opened(tmp_path)
    pruned = rebuild(
        network, tensors=taken(network, {"c/weight": (0, [1, 2]), "c/bias": (0, [1, 2])})
    )
    again, lines = written(pruned, tmp_path)
    assert sum("num_output: 2" in line for line in lines) == 2
    assert any("# three" in line for line in lines if line.startswith("+"))
    same(pruned, again, feed_of(network))


BATCH_STATISTICS = """input: "data" input_shape { dim: 2 dim: 2 dim: 5 dim: 5 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "b" type: "BatchNorm" bottom: "a" top: "b"
  batch_norm_param { use_global_stats: false } }
"""


def test_a_change_that_leaves_a_blob_behind_is_refused(tmp_path):
    net = message_class("NetParameter")()
    for name, dims in {"a": [(4, 2, 1, 1), (4,)], "b": [(4,), (4,), (1,)]}.items():
        layer = net.layer.add(name=name)
        for shape in dims:
            layer.blobs.add(shape={"dim": shape}, data=np.ones(shape).ravel())
    (tmp_path / "model.prototxt").write_text(BATCH_STATISTICS)
    (tmp_path / "model.caffemodel").write_bytes(net.SerializeToString())
    network = opened(tmp_path)
    cuts = {"a/weight": (0, [0, 1]), "a/bias": (0, [0, 1])}
    pruned = rebuild(network, tensors=taken(network, cuts))
    with pytest.raises(FormatError, match="mean has 4 values, the net needs 2"):
        pruned.source.render(pruned)


def test_a_change_that_the_file_cannot_say_is_refused(shared):
    folder = GOLDEN / "cases/v0_basic"
    oldest = opened(folder)
    node = next(n for n in oldest.graph if n.op_type == "Conv" and n.attributes["group"].value == 1)
    weight = str(node.inputs[1].name)
    values = oldest.graph.initializers[weight].const_value.numpy()
    key = str(node.outputs[0].name)
    grouped = rebuild(
        oldest, tensors={weight: values[:, :1]}, attributes={key: {"group": 3}}
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="no place to write"):
        grouped.source.render(grouped)
