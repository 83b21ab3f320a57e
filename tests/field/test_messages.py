"""Wrong and unsupported files from the field: one line that says what it is and what to do.

Files that worked at once (fc_bn, feature_fusion, siamese_cls, tree_path) stay working.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from support.darknet import with_random_weights
from support.random_weights import caffemodel, caffemodel_for

REFUSED = {
    "html/net.prototxt html/net.caffemodel": [
        "html/net.prototxt: this is a web page, not a .prototxt file", "download the file itself"],
    "html/ok.prototxt html/bad.caffemodel": [
        "html/bad.caffemodel: this is a web page, not a .caffemodel file"],
    "html/ok.prototxt html/lfs.caffemodel": [
        "html/lfs.caffemodel: this is a Git LFS pointer", "git lfs pull"],
    "tree_path/cfg/net.cfg html/lfs.weights": [
        "html/lfs.weights: this is a Git LFS pointer, not a .weights file", "git lfs pull"],
    "lower_type/net.prototxt html/net.caffemodel": [
        "lower_type/net.prototxt:6: layer 'data' (data)", "unsupported layer type 'data'",
        "did you mean Data? Caffe tells capitals from small letters"],
    "mixed_layer_layers/net.prototxt mixed_layer_layers/net.caffemodel": [
        "net.prototxt:3: both 'layer' and 'layers' are there", 'layer { type: "…" }'],
    "matmul/net.prototxt matmul/net.caffemodel": [
        "net.prototxt:4: layer 'mm' (MatMul): ", "(hint: cut the prototxt before this layer"],
    "renamed/net.prototxt renamed/net.caffemodel": [
        "layer 'my_head' (Convolution): no weights: weight of 3×6×1×1 is not in the file",
        "the caffemodel has 'fc1000' of 1000×6×1×1 in its place"],
    "html/ok.prototxt html/net.caffemodel": [
        "'my_head'", "no weights: ", "give the caffemodel that was trained with this prototxt"],
    "yolo_mask_num/net.cfg yolo_mask_num/net.weights": [
        "net.cfg:19: layer 2 [yolo]: mask names anchor 2, but num=2", "4 are listed"],
    **{
        f"fixed_neuron/{text}.prototxt fixed_neuron/{weights}.caffemodel": [
            f"{text}.prototxt:3: layer 'q0' (FixedNeuron)",
            "layers of type 'FixedNeuron' belong to a quantised network",
            "prune the network before it is quantised"]
        for text in ("net", "nophase") for weights in ("net", "noblob")
    },
}  # fmt: skip
"""Files → what the one line holds."""


@pytest.mark.parametrize("names", REFUSED)
def test_wrong_files_are_told_in_one_line(names: str, field: Path) -> None:
    files = [field / name for name in names.split()]
    with pytest.raises(secateur.SecateurError) as caught:
        secateur.load(*files)
    line = str(caught.value)
    for part in REFUSED[names]:
        assert part in line
    assert "\n" not in line
    guesses = line.count("did you mean")
    assert guesses == sum(part.count("did you mean") for part in REFUSED[names])


def written(folder: Path, text: str, weights: bytes | None = None) -> tuple[Path, Path]:
    """Write a net, with random weights if none are given."""
    files = folder / "net.prototxt", folder / "net.caffemodel"
    files[0].write_text(text)
    files[1].write_bytes(caffemodel_for(text.encode()) if weights is None else weights)
    return files


INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'  # noqa: E501
CONV = 'layer {{ name: "{0}" type: "{1}" bottom: "{2}" top: "{0}" convolution_param {{ num_output: 3 kernel_size: 1 }} {3} }}\n'  # noqa: E501
SOME = caffemodel([("c", "Convolution", [np.zeros((3, 3, 1, 1)), np.zeros(3)])])


@pytest.mark.parametrize(
    "kind",
    ["ConvolutionRistretto", "FcRistretto", "Quantize", "QuantizedConvolution", "Dequantization",
     "FakeQuantize", "Int8Convolution", "FixedPoint"],
)  # fmt: skip
def test_types_of_quantised_networks_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    files = written(tmp_path, INPUT + CONV.format("c", kind, "data", ""), SOME)
    with pytest.raises(secateur.UnsupportedError) as caught:
        secateur.load(*files)
    assert f"layers of type '{kind}' belong to a quantised network" in str(caught.value)
    assert "prune the network before it is quantised" in str(caught.value)


def test_a_usual_layer_with_scales_of_integers_is_refused(tmp_path: Path) -> None:
    scales = "quantization_param { bw_params: 8 scale_params: 1.5 }"
    files = written(tmp_path, INPUT + CONV.format("c", "Convolution", "data", scales), SOME)
    with pytest.raises(secateur.UnsupportedError, match=r"net\.prototxt:2: .*quantization_param"):
        secateur.load(*files)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("convolution", "did you mean Convolution? Caffe tells capitals"),
        ("CONVOLUTION", "did you mean Convolution? Caffe tells capitals"),
        ("conv", "did you mean Convolution? 'conv' is its name in an old version"),
        ("SOFTMAX_LOSS", "did you mean SoftmaxWithLoss?"),
        ("Convolutoin", "did you mean Convolution?"),
    ],
)
def test_misspelt_types(kind: str, hint: str, tmp_path: Path) -> None:
    files = written(tmp_path, INPUT + CONV.format("c", kind, "data", ""), SOME)
    with pytest.raises(secateur.UnsupportedError) as caught:
        secateur.load(*files)
    assert f"unsupported layer type '{kind}'" in str(caught.value)
    assert hint in str(caught.value)


def test_a_near_type_with_other_fields_is_not_suggested(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "s" type: "Softmox" bottom: "data" top: "s" lrn_param { } }'
    with pytest.raises(secateur.UnsupportedError) as caught:
        secateur.load(*written(tmp_path, text, SOME))
    assert "did you mean" not in str(caught.value)
    with pytest.raises(secateur.UnsupportedError, match="did you mean Softmax"):
        secateur.load(*written(tmp_path, text.replace("lrn_param { }", ""), SOME))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ('"Convolution"', "in a block 'layers' it is type: CONVOLUTION"),
        ("CONVOLUTIN", "did you mean CONVOLUTION?"),
        ("BATCH_NORM", 'newer types need blocks layer { type: "…" }'),
    ],
)
def test_types_in_old_blocks(kind: str, hint: str, tmp_path: Path) -> None:
    text = f'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\nlayers {{ name: "c" type: {kind} bottom: "data" top: "c" }}'  # noqa: E501
    with pytest.raises(secateur.UnsupportedError) as caught:
        secateur.load(*written(tmp_path, text, SOME))
    assert "net.prototxt:2: layer 'c', field type: unsupported old layer type" in str(caught.value)
    assert hint in str(caught.value)


def test_a_renamed_layer_is_found_by_its_sizes(tmp_path: Path) -> None:
    def net(name: str) -> str:
        return INPUT + CONV.format("a", "Convolution", "data", "") + CONV.format(
            name, "Convolution", "a", "")  # fmt: skip

    _, stored = written(tmp_path, net("before"))
    text = tmp_path / "other.prototxt"
    text.write_text(net("after"))
    with pytest.raises(secateur.FormatError) as caught:
        secateur.load(text, stored)
    message = str(caught.value)
    assert "layer 'after' (Convolution): no weights: weight of 3×3×1×1 is not in the" in message
    assert "was the layer renamed? 'before' of the caffemodel has the same sizes" in message


def test_weights_of_another_net_are_told(tmp_path: Path) -> None:
    text = INPUT + CONV.format("a", "Convolution", "data", "")
    weights = caffemodel([("other", "Convolution", [np.zeros((3, 3, 1, 1)), np.zeros(3)])])
    with pytest.raises(secateur.FormatError, match="do these belong together"):
        secateur.load(*written(tmp_path, text, weights))


@pytest.mark.parametrize("name", ["fc_bn", "feature_fusion"])
def test_caffe_nets_that_worked_stay_working(name: str, field: Path, tmp_path: Path) -> None:
    network = secateur.load(*written(tmp_path, (field / name / "net.prototxt").read_text()))
    result = secateur.prune(network, rate=0.2, repair=False)
    saved = secateur.save(result, tmp_path / "out")
    assert saved.difference < 1e-4
    before, after = (secateur.measure_cost(n, secateur.find_groups(n)).operations
                     for n in (network, result.network))  # fmt: skip
    assert after < 0.9 * before


def test_a_darknet_net_that_worked_stays_working(field: Path, tmp_path: Path) -> None:
    files = with_random_weights(tmp_path, (field / "siamese_cls" / "net.cfg").read_bytes())
    result = secateur.prune(secateur.load(*files), rate=0.2, repair=False)
    assert secateur.save(result, tmp_path / "out").difference < 1e-4


def test_a_tree_in_a_folder_beside_the_cfg_is_found(field: Path, tmp_path: Path) -> None:
    folder = field / "tree_path"
    network = secateur.load(folder / "cfg" / "net.cfg", folder / "net.weights")
    result = secateur.prune(network, rate=0.2, repair=False)
    assert secateur.save(result, tmp_path / "out").difference < 1e-4


def test_a_mask_within_the_list_is_read(field: Path, tmp_path: Path) -> None:
    text = (field / "yolo_mask_num" / "net.cfg").read_text().replace("num=2", "num=4")
    cfg = tmp_path / "net.cfg"
    cfg.write_text(text)
    network = secateur.load(cfg, field / "yolo_mask_num" / "net.weights")
    assert network.heads[0].mask == (2, 3)
