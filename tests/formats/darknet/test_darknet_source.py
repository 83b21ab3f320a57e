"""Writing back: identity, and patches for a changed graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.core.ir.network import Network
from secateur.core.ir.rebuild import node_key, rebuild
from secateur.core.pruning.prune import prune
from secateur.formats.darknet.reader import load
from support.darknet import noise, read_document, run, with_random_weights

MODELS = [
    "mobilenetv2_yolo_fastest_voc", "tiny_darknet_imagenet", "yolo_fastest_1.1_coco",
    "yolo_lite_voc_nobn", "yoloface_500k_v2",
]  # fmt: skip


def files_of(shared: Path, model: str) -> tuple[Path, Path]:
    (cfg,) = (shared / "models" / model).glob("*.cfg")
    return cfg, cfg.with_suffix(".weights")


def written_again(network: Network, folder: Path) -> Network:
    assert network.source is not None
    paths = {}
    for suffix, data in network.source.render(network).items():
        paths[suffix] = folder / f"pruned{suffix}"
        paths[suffix].write_bytes(data)
    again = network.source.reread(paths)
    assert again.source is not None
    assert again.source.render(again) == {s: p.read_bytes() for s, p in paths.items()}
    return again


def tensor_of(network: Network, name: str) -> np.ndarray:
    value = network.graph.initializers[name].const_value
    assert value is not None
    return np.asarray(value.numpy())


@pytest.mark.parametrize("model", MODELS)
def test_real_models_are_written_back_unchanged(shared: Path, model: str) -> None:
    cfg, weights = files_of(shared, model)
    network = load(cfg, weights)
    assert network.source is not None
    assert network.source.format == "darknet"
    assert network.source.paths == {".cfg": cfg, ".weights": weights}
    for unchanged in (network, rebuild(network)):
        rendered = network.source.render(unchanged)
        assert rendered[".cfg"] == cfg.read_bytes()
        assert rendered[".weights"] == weights.read_bytes()
    assert sum(layer.stored for layer in network.layers) * 4 + 20 >= weights.stat().st_size
    assert not network.notes


CFG = """# a comment that stays
[net]
width=12
height=10
channels=3

[convolutional]
batch_normalize=1
filters = 8   # eight
size=3
stride=1
pad=1
activation=leaky

[convolutional]
batch_normalize=1
groups=8
filters=8
size=3
pad=1
activation=mish

[dropout]

[convolutional]
flipped=1
filters=5
size=1
activation=linear

[connected]
output=4
activation=linear
[connected]
output=3
batch_normalize=1
activation=linear
"""


def gather(network: Network, keep: list[int], last: list[int]) -> Network:
    """Take channels out of the layers 0 and 1, and outputs out of layer 4, by hand."""
    tensors = {}
    for name in network.graph.initializers:
        array = tensor_of(network, name)
        layer, _, blob = name.partition("/")
        if layer in ("layer_0", "layer_1") and "constant" not in blob:
            tensors[name] = array[keep]
        elif name == "layer_3/weight":
            tensors[name] = array[:, keep]
        elif layer == "layer_4" and "constant" not in blob:
            tensors[name] = array[last]
        elif name == "layer_5/weight":
            tensors[name] = array[:, last]
    depthwise = next(
        node for node in network.graph if node.meta["layer"] == 1 and node.op_type == "Conv"
    )
    return rebuild(network, tensors=tensors, attributes={node_key(depthwise): {"group": len(keep)}})


@pytest.mark.parametrize("flavour", ["alexeyab", "pjreddie"])
def test_pruned_by_hand(tmp_path: Path, flavour: str) -> None:
    cfg, weights = with_random_weights(tmp_path, CFG, flavour=flavour)
    network = load(cfg, weights, flavour=flavour)
    pruned = gather(network, [0, 2, 3, 7], [1, 2, 3])
    assert network.source is not None
    text = network.source.render(pruned)[".cfg"].decode()
    assert text == (
        CFG.replace("filters = 8   # eight", "filters = 4   # eight")
        .replace("groups=8\nfilters=8", "groups=4\nfilters=4")
        .replace("output=4", "output=3")
    )
    again = written_again(pruned, tmp_path)
    data = noise(network)
    for name, value in run(pruned, data).items():
        assert np.abs(value - run(again, data)[name]).max() < 1e-6
    assert again.outputs == pruned.outputs


def test_untouched_blobs_keep_their_bytes(shared: Path, tmp_path: Path) -> None:
    cfg, weights = files_of(shared, "yolo_fastest_1.1_coco")
    network = load(cfg, weights)
    name = "layer_0/bias"
    changed = rebuild(network, tensors={name: tensor_of(network, name) + 1})
    again = written_again(changed, tmp_path)
    before = np.frombuffer(weights.read_bytes()[20:], "<f4")
    after = np.frombuffer((tmp_path / "pruned.weights").read_bytes()[20:], "<f4")
    assert np.array_equal(after[:8], before[:8] + 1)
    assert after[8:].tobytes() == before[8:].tobytes()
    assert (tmp_path / "pruned.cfg").read_bytes() == cfg.read_bytes()
    assert again.outputs == network.outputs


def test_absent_keys_are_added(tmp_path: Path) -> None:
    cfg = "[net]\r\nwidth=4\r\nheight=4\r\nchannels=2\r\n[conv]\r\nfilters=4\r\n[conv]\r\n"
    network = load(*with_random_weights(tmp_path, cfg))
    name = "layer_1/weight"
    grown = np.concatenate([tensor_of(network, name)] * 2)
    bias = np.concatenate([tensor_of(network, "layer_1/bias")] * 2)
    changed = rebuild(network, tensors={name: grown, "layer_1/bias": bias})
    again = written_again(changed, tmp_path)
    document = read_document(tmp_path / "pruned.cfg")
    assert document.data.endswith(b"[conv]\r\nfilters=2\r\n")
    assert again.outputs == {"layer_1": ("N", 2, 4, 4)}


def test_shared_weights_change_every_section(tmp_path: Path) -> None:
    conv = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    cfg = "[net]\nwidth=6\nheight=6\nchannels=3\n" + 2 * conv + conv + "share_index=-1\n"
    cfg += "[convolutional]\nfilters=2\nactivation=linear\n"
    network = load(*with_random_weights(tmp_path, cfg))
    keep = [0, 3]
    tensors = {
        name: array[keep][:, keep] if name == "layer_1/weight" else array[keep]
        for name in network.graph.initializers
        if name.startswith(("layer_0", "layer_1"))
        for array in [tensor_of(network, name)]
    }
    tensors["layer_3/weight"] = tensor_of(network, "layer_3/weight")[:, keep]
    pruned = rebuild(network, tensors=tensors)
    again = written_again(pruned, tmp_path)
    blocks = read_document(tmp_path / "pruned.cfg").sections[1:4]
    assert [block.options["filters"].value for block in blocks] == ["2", "2", "2"]
    data = noise(network)
    assert np.allclose(run(pruned, data)["layer_3"], run(again, data)["layer_3"], atol=1e-6)


PRUNED = [
    "net_darknet19", "net_resnet_pjreddie", "net_yolov2_tiny_alexeyab", "net_yolov2_tiny_pjreddie",
    "net_yolov3_spp", "net_yolov4_tiny", "net_yolov4_mish_pan", "net_fastest_depthwise",
    "net_efficientnet_se", "net_densenet", "net_enet_sam", "conn_legacy_100100_pjreddie",
    "conv_flipped", "deconv_bn", "implicit_scale", "route_groups_multi", "shortcut_from_less",
    "shortcut_from_more", "upsample_negative", "bn_section_pjreddie", "reorg3d_2",
]  # fmt: skip


@pytest.mark.parametrize("name", PRUNED)
def test_pruned_networks_are_read_as_they_were_written(
    shared: Path, tmp_path: Path, name: str
) -> None:
    folder = shared / "golden/darknet" / name
    flavour = "pjreddie" if "pjreddie" in name or name.startswith("deconv") else "alexeyab"
    network = load(folder / "model.cfg", folder / "model.weights", flavour=flavour)
    pruned = prune(network, rate=0.3).network
    again = written_again(pruned, tmp_path)
    size = (tmp_path / "pruned.weights").stat().st_size
    assert size < (folder / "model.weights").stat().st_size
    data = noise(network)
    values = run(again, data)
    for output, value in run(pruned, data).items():
        assert np.abs(value - values[output]).max() <= 1e-5 * max(1, np.abs(value).max())
