"""Files for training in Caffe: the text, the solver, the weights, and one step with them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError, UnsupportedError
from secateur.formats.caffe.document import parse
from secateur.formats.caffe.solver import read_solver
from secateur.formats.caffe.upgrade import net_of
from support.random_weights import caffemodel_for
from support.training_step import begin, step

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
FIXTURE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]

HEAD = """name: "small"
input: "data"
input_shape { dim: 1 dim: 3 dim: 12 dim: 12 }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
"""
VECTOR = """
layer { name: "fc" type: "InnerProduct" bottom: "c1" top: "fc"
  inner_product_param { num_output: 5 } }
"""
MAP = """
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 4 kernel_size: 1 } }
"""
SOFTMAX = 'layer { name: "p" type: "Softmax" bottom: "BLOB" top: "p" }\n'
SSD = """
layer { name: "loc" type: "Convolution" bottom: "c1" top: "loc"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "loc_p" type: "Permute" bottom: "loc" top: "loc_p"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_f" type: "Flatten" bottom: "loc_p" top: "loc_f" }
layer { name: "conf" type: "Convolution" bottom: "c1" top: "conf"
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "conf_p" type: "Permute" bottom: "conf" top: "conf_p"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_f" type: "Flatten" bottom: "conf_p" top: "conf_f" }
layer { name: "prior" type: "PriorBox" bottom: "c1" bottom: "data" top: "prior"
  prior_box_param { min_size: 4 variance: 0.1 } }
"""
SSD_SOFTMAX = """
layer { name: "conf_r" type: "Reshape" bottom: "conf_f" top: "conf_r"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "conf_s" type: "Softmax" bottom: "conf_r" top: "conf_s" softmax_param { axis: 2 } }
layer { name: "conf_o" type: "Flatten" bottom: "conf_s" top: "conf_o" }
"""
SSD_SIGMOID = 'layer { name: "conf_s" type: "Sigmoid" bottom: "conf_f" top: "conf_o" }\n'
SSD_OUT = """
layer { name: "out" type: "DetectionOutput" bottom: "loc_f" bottom: "conf_o" bottom: "prior"
  top: "out" detection_output_param { num_classes: 3 code_type: CENTER_SIZE
  nms_param { nms_threshold: 0.45 } } }
"""
NAMED = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mean_file: "mean.binaryproto" }
  data_param { source: "lists/train_lmdb" batch_size: 2 backend: LMDB } }
layer { name: "data" type: "ImageData" top: "data" top: "label" include { phase: TEST }
  image_data_param { source: "test.txt" root_folder: "images/" batch_size: 2
    new_height: 12 new_width: 12 } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'


def written(folder: Path, text: str, *, name: str = "net") -> secateur.Network:
    """Return a net with random weights."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.prototxt").write_text(text)
    (folder / f"{name}.caffemodel").write_bytes(caffemodel_for(text.encode()))
    return secateur.load(folder / f"{name}.prototxt", folder / f"{name}.caffemodel")


def layers(path: Path, phase: str) -> dict[str, str]:
    """Return name → type of the layers that a phase has."""
    net = net_of(parse(path.read_bytes(), path))
    return {text.name: text.type for text in net.active(phase, (), 0)[0]}


ENDS = {
    "classes": (VECTOR + SOFTMAX.replace("BLOB", "fc"), "SoftmaxWithLoss", "Data", "fc"),
    "named classes": (VECTOR + 'layer { name: "a" type: "ArgMax" bottom: "fc" top: "a" }',
                      "SoftmaxWithLoss", "Data", "fc"),
    "maps": (MAP + SOFTMAX.replace("BLOB", "c2"), "SoftmaxWithLoss", "HDF5Data", "c2"),
    "raw maps": (MAP, "SoftmaxWithLoss", "HDF5Data", "c2"),
    "probabilities": (VECTOR + 'layer { name: "s" type: "Sigmoid" bottom: "fc" top: "s" }',
                      "SigmoidCrossEntropyLoss", "HDF5Data", "fc"),
    "values": (VECTOR, "EuclideanLoss", "HDF5Data", "fc"),
    "reshaped": (VECTOR + SOFTMAX.replace("BLOB", "fc")
                 + 'layer { name: "f" type: "Flatten" bottom: "p" top: "f" }',
                 "SoftmaxWithLoss", "Data", "fc"),
    "boxes": (SSD + SSD_SOFTMAX + SSD_OUT, "MultiBoxLoss", "AnnotatedData", "loc_f"),
    "boxes by sigmoids": (SSD + SSD_SIGMOID + SSD_OUT, "MultiBoxLoss", "AnnotatedData", "loc_f"),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_the_loss_follows_from_what_a_net_makes(end: str, tmp_path: Path) -> None:
    tail, loss, data, scores = ENDS[end]
    network = written(tmp_path / "net", HEAD + tail)
    pruned = secateur.prune(network, rate=0.3, criterion="l1", repair="none")
    files = secateur.emit_training(pruned, tmp_path / "train")
    text = tmp_path / "train" / "train_val.prototxt"
    training, testing = layers(text, "TRAIN"), layers(text, "TEST")
    assert training["data"] == testing["data"] == data
    assert loss in training.values()
    gone = {"Softmax", "ArgMax", "Sigmoid", "DetectionOutput"}
    assert not gone & {*training.values()}, "Caffe would print what they make at each step"
    assert ("DetectionOutput" in testing.values()) == (loss == "MultiBoxLoss")
    net = net_of(parse(text.read_bytes(), text))
    (layer,) = (one for one in net.layers if one.type == loss)
    assert layer.bottoms[0].text == scores
    start = begin(files, input_shapes={"data": (3, 12, 12)})
    losses, trained = step(start, 2)
    assert np.isfinite(losses).all()
    assert losses[0] > 0
    kept = {name: start.network.array(name) for name in start.network.graph.initializers}
    moved = [not np.array_equal(kept[name], trained.array(name)) for name in kept]
    assert sum(moved) >= 4, "weights and biases of both layers learn"


def test_boxes_by_sigmoids_have_a_logistic_loss(tmp_path: Path) -> None:
    network = written(tmp_path, HEAD + SSD + SSD_SIGMOID + SSD_OUT)
    secateur.emit_training(network, tmp_path / "train")
    text = (tmp_path / "train" / "train_val.prototxt").read_text()
    assert "conf_loss_type: LOGISTIC" in text
    assert "code_type: CENTER_SIZE" in text
    assert re.search(r'bottom: "conf_f"\n  bottom: "prior"', text)


def test_the_text_keeps_everything_else(tmp_path: Path) -> None:
    """Only inputs leave, only data, loss and measurements come: comments and blanks stay."""
    comment = "# mine\n\n"
    network = written(tmp_path, HEAD + comment + VECTOR + "\n" + SOFTMAX.replace("BLOB", "fc"))
    secateur.emit_training(network, tmp_path / "train")
    text = (tmp_path / "train" / "train_val.prototxt").read_text()
    middle = HEAD.partition("input_shape")[2].partition("\n")[2] + comment + VECTOR
    assert middle in text
    assert "input" not in text.replace("inner_product", "")
    assert text.startswith('name: "small"\nlayer {\n  name: "data"')


def test_stated_preprocessing_stands_in_the_data_layers(tmp_path: Path) -> None:
    network = written(tmp_path, HEAD + VECTOR + SOFTMAX.replace("BLOB", "fc"))
    network = secateur.with_preprocess(network, mean=(104, 117, 123), scale=0.017)
    files = secateur.emit_training(network, tmp_path / "train")
    again = secateur.load(*files.model.values())
    assert again.preprocess.mean == (104, 117, 123)
    assert again.preprocess.scale == pytest.approx(0.017)
    assert again.preprocess.crop
    assert not [line for line in files.fill_in if "mean_value" in line]


def test_windows_line_ends_stay(tmp_path: Path) -> None:
    text = (HEAD + VECTOR + SOFTMAX.replace("BLOB", "fc")).replace("\n", "\r\n")
    (tmp_path / "net.prototxt").write_bytes(text.encode())
    (tmp_path / "net.caffemodel").write_bytes(caffemodel_for(text.encode()))
    network = secateur.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    secateur.emit_training(network, tmp_path / "train")
    data = (tmp_path / "train" / "train_val.prototxt").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")


def test_old_blocks_get_old_losses(tmp_path: Path) -> None:
    """`layers` and `layer` cannot stand in one file."""
    text = (HEAD + VECTOR + SOFTMAX.replace("BLOB", "fc")).replace("layer {", "layers {")
    for new, old in (
        ("Convolution", "CONVOLUTION"), ("ReLU", "RELU"), ("InnerProduct", "INNER_PRODUCT"),
        ("Softmax", "SOFTMAX"),
    ):  # fmt: skip
        text = text.replace(f'type: "{new}"', f"type: {old}")
    network = written(tmp_path, text)
    files = secateur.emit_training(network, tmp_path / "train")
    content = (tmp_path / "train" / "train_val.prototxt").read_text()
    assert "layer {" not in content
    assert "type: SOFTMAX_LOSS" in content
    assert np.isfinite(step(begin(files))[0]).all()


REFUSED = {
    "two ends": (VECTOR + MAP, "the net ends in 2 layers ('fc', 'c2')"),
    "a softmax in place": (
        VECTOR + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "fc" }', "works in place",
    ),
    "boxes that Caffe does not train": (
        MAP + 'layer { name: "o" type: "YoloDetectionOutput" bottom: "c2" top: "o" '
        "yolo_detection_output_param { num_classes: 1 num_box: 1 confidence_threshold: 0.1 "
        "biases: 4 biases: 4 } }", "no loss can be derived",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_no_loss_is_made_up(kind: str, tmp_path: Path) -> None:
    tail, words = REFUSED[kind]
    try:
        network = written(tmp_path, HEAD + tail)
    except secateur.SecateurError as error:
        pytest.fail(f"the net itself is refused: {error}")
    with pytest.raises(UnsupportedError, match="no loss can be derived") as caught:
        secateur.check_training(network, tmp_path / "train")
    assert words in str(caught.value)
    assert not (tmp_path / "train").exists()


def own(folder: Path) -> secateur.Network:
    """Return a deploy net with the text of its training as a companion, and files it names."""
    body = HEAD.partition("12 }\n")[2] + VECTOR
    (folder / "train_test.prototxt").write_text(NAMED + body + LOSS)
    (folder / "mean.binaryproto").write_bytes(b"\x08\x01mean")
    (folder / "test.txt").write_text("a.png 0\n")
    deploy = HEAD + VECTOR + SOFTMAX.replace("BLOB", "fc")
    written(folder, deploy)
    return secateur.load(
        folder / "net.prototxt", folder / "net.caffemodel",
        companions=[folder / "train_test.prototxt"],
    )  # fmt: skip


def test_the_users_own_text_is_taken_and_its_paths_lead_to_the_same_files(tmp_path: Path) -> None:
    network = own(tmp_path)
    pruned = secateur.prune(network, rate=0.4, criterion="l1", repair="none")
    files = secateur.emit_training(pruned, tmp_path / "train")
    text = (tmp_path / "train" / "train_val.prototxt").read_text()
    assert files.loss == "as train_test.prototxt says"
    (channels,) = {len(pruned.network.array(name)) for name in ("c1/weight", "c1/bias")}
    assert channels < 8
    assert f"num_output: {channels} " in text
    assert (tmp_path / "train" / "mean.binaryproto").read_bytes() == b"\x08\x01mean"
    assert 'mean_file: "mean.binaryproto"' in text
    assert f'source: "{(tmp_path / "test.txt").resolve()}"' in text
    missing = [line for line in files.fill_in if "is not there" in line]
    assert [re.findall(r'"(.*?)"', line)[0] for line in missing] == ["lists/train_lmdb", "images/"]
    number = int(re.findall(r"line (\d+)", missing[0])[0])
    assert "lists/train_lmdb" in text.splitlines()[number - 1]
    assert np.isfinite(step(begin(files, input_shapes={"data": (3, 12, 12)}))[0]).all()


SOLVER = """# mine
net: "examples/train_test.prototxt"   # the net
base_lr: 0.02
lr_policy: "step" gamma: 0.1 stepsize: 10
momentum: 0.9
max_iter: 77
snapshot_prefix: "examples/snapshots/first"
type: "Nesterov"
"""


def test_the_users_solver_keeps_all_but_paths(tmp_path: Path) -> None:
    network = written(tmp_path, HEAD + VECTOR + SOFTMAX.replace("BLOB", "fc"))
    (tmp_path / "mine.prototxt").write_text(SOLVER)
    files = secateur.emit_training(network, tmp_path / "train", solver=tmp_path / "mine.prototxt")
    expected = SOLVER.replace("examples/train_test", "train_val").replace(
        "examples/snapshots/first", "snapshots/first"
    )
    assert files.solver is not None
    assert files.solver.read_text() == expected
    assert "snapshots/first_iter_77.caffemodel" in files.back
    assert step(begin(files))[0][0] > 0


def test_a_solver_with_two_nets_gets_both(tmp_path: Path) -> None:
    network = own(tmp_path)
    solver = SOLVER.replace(
        'net: "examples/train_test.prototxt"', 'train_net: "train_test.prototxt" test_net: "x.txt"'
    )
    (tmp_path / "mine.prototxt").write_text(solver)
    files = secateur.emit_training(network, tmp_path / "train", solver=tmp_path / "mine.prototxt")
    assert files.solver is not None
    found = read_solver(files.solver)
    assert (found.train_net, found.test_nets) == ("train_test.prototxt", ("train_test.prototxt",))
    assert (tmp_path / "train" / "train_test.prototxt").is_file()


def test_the_solver_without_one_is_read_and_ends_low(tmp_path: Path) -> None:
    files = secateur.emit_training(secateur.load(*FIXTURE), tmp_path / "train")
    assert files.solver is not None
    file = read_solver(files.solver)
    settings = file.settings()
    assert file.net == "train_val.prototxt"
    assert file.snapshot_prefix == "snapshots/shapes"
    assert settings.schedule.rate(0) == pytest.approx(1e-3)
    assert settings.schedule.rate(file.max_iter) == pytest.approx(0, abs=1e-9)


def test_a_broken_solver_is_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine.prototxt").write_text('net: "a"\nlr_policy: "stepp" max_iter: 5')
    with pytest.raises(UnsupportedError, match="unknown lr_policy 'stepp'") as caught:
        secateur.check_training(
            secateur.load(*FIXTURE), tmp_path / "train", solver=tmp_path / "mine.prototxt"
        )
    assert caught.value.where.file == str(tmp_path / "mine.prototxt")
    assert not (tmp_path / "train").exists()


def test_files_in_the_folder_are_never_overwritten(tmp_path: Path) -> None:
    network = secateur.load(*FIXTURE)
    secateur.emit_training(network, tmp_path / "train")
    for call in (secateur.check_training, secateur.emit_training):
        with pytest.raises(FormatError, match="the folder for training is not empty"):
            call(network, tmp_path / "train")
    (tmp_path / "empty").mkdir()
    assert secateur.emit_training(network, tmp_path / "empty").paths[0].is_file()


def test_nothing_stays_behind_where_the_files_cannot_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise FormatError("no")

    monkeypatch.setattr("secateur.workflows.emitting._read_again", broken)
    with pytest.raises(FormatError, match="no"):
        secateur.emit_training(secateur.load(*FIXTURE), tmp_path / "a" / "train")
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_files_of_a_framework_is_refused(tmp_path: Path) -> None:
    (path,) = secateur.save(secateur.load(*FIXTURE), tmp_path / "net.onnx").paths
    with pytest.raises(UnsupportedError, match="onnx files hold no losses"):
        secateur.emit_training(secateur.load(path), tmp_path / "train")
