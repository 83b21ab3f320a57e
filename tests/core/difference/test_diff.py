"""What differs between two networks as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.difference.pairing import pairs_of
from secateur.core.difference.statement import changed_lines
from secateur.core.difference.weights import statistics_of, weight_change
from secateur.core.ir.network import LayerInfo
from secateur.core.ir.rebuild import rebuild

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]


def layers(*names: str) -> list[LayerInfo]:
    """Return layers from "name:type"."""
    return [LayerInfo(name=name.split(":")[0], type=name.split(":")[1]) for name in names]


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_a_model_does_not_differ_from_itself(files):
    found = secateur.diff(secateur.load(*files), secateur.load(*files))
    assert found.same
    assert found.texts
    assert found.changed == ()
    assert all(layer.weights for layer in found.layers if layer.before.parameters)
    assert json.loads(json.dumps(found.to_data(), allow_nan=False))["same"]


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_what_pruning_changed(files, tmp_path):
    network = secateur.load(*files)
    result = secateur.prune(network, rate=0.4)
    saved = secateur.save(result, tmp_path)
    found = secateur.diff(network, secateur.load(*saved.paths))
    assert not found.same
    costs = [secateur.describe(n).cost for n in (network, result.network)]
    assert found.operations == tuple(cost.operations for cost in costs)
    removed = {group.name: group for group in result.plan.groups if group.removed}
    assert removed
    by_name = {layer.name: layer for layer in found.layers}
    for name, group in removed.items():
        layer = by_name[name]
        assert layer.before.shape[1] == group.channels
        assert layer.after.shape[1] == group.kept
        assert str(group.channels) in "".join(layer.gone)
        assert str(group.kept) in "".join(layer.new)
        weight = next(weight for weight in layer.weights if weight.name == "weight")
        assert weight.before.shape[0] == group.channels
        assert weight.after.shape[0] == group.kept
        assert weight.changed is None


def test_one_number_is_found():
    network = secateur.load(*CAFFE)
    weight = network.array("conv4/weight").copy()
    weight[3, 2, 1, 0] += 0.5
    found = secateur.diff(network, rebuild(network, tensors={"conv4/weight": weight}))
    (layer,) = found.changed
    assert layer.name == "conv4"
    (change,) = [weight for weight in layer.weights if not weight.same]
    assert change.changed == pytest.approx(1 / weight.size)
    assert change.absolute == pytest.approx(0.5, abs=1e-6)
    norm = np.linalg.norm(network.array("conv4/weight").astype(np.float64))
    assert change.relative == pytest.approx(0.5 / norm, rel=1e-5)


def test_a_changed_text_is_found(tmp_path):
    text = CAFFE[0].read_text()
    for name, content in (("a", text), ("b", text.replace("pool: MAX", "pool: AVE", 1))):
        (tmp_path / f"{name}.prototxt").write_text(content)
    a, b = (secateur.load(tmp_path / f"{n}.prototxt", CAFFE[1]) for n in "ab")
    (layer,) = secateur.diff(a, b).changed
    assert layer.before.type == "Pooling"
    assert "pool: MAX" in layer.gone[0]
    assert "pool: AVE" in layer.new[0]


def test_comments_say_nothing(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("# more\n\n" + DARKNET[0].read_text().replace("[maxpool]", "; so\n[maxpool]"))
    assert secateur.diff(secateur.load(*DARKNET), secateur.load(path, DARKNET[1])).same


def test_models_of_two_formats_have_no_text_in_common():
    found = secateur.diff(secateur.load(*CAFFE), secateur.load(*DARKNET))
    assert not found.texts
    assert found.gone == found.new == ()
    assert all(layer.gone == layer.new == () for layer in found.layers)


def test_attributes_of_graphs_are_compared(tmp_path):
    network = secateur.load(*CAFFE)
    secateur.save(network, tmp_path / "a.onnx")
    a, b = secateur.load(tmp_path / "a.onnx"), secateur.load(tmp_path / "a.onnx")
    assert secateur.diff(a, b).same
    assert not secateur.diff(a, b).texts
    assert not secateur.diff(network, a).same


def test_files_that_are_gone_are_no_error(tmp_path):
    for path in CAFFE:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    network = secateur.load(*(tmp_path / path.name for path in CAFFE))
    (tmp_path / CAFFE[0].name).unlink()
    found = secateur.diff(network, secateur.load(*CAFFE))
    assert not found.texts


def test_layers_are_paired():
    a = layers("data:Input", "conv1:Convolution", "relu1:ReLU", "prob:Softmax")
    assert pairs_of(a, a) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    more = layers("data:Input", "conv1:Convolution", "bn:BatchNorm", "relu1:ReLU", "prob:Softmax")
    assert pairs_of(a, more) == [(0, 0), (1, 1), (None, 2), (2, 3), (3, 4)]
    renamed = layers("data:Input", "first:Convolution", "relu1:ReLU", "prob:Softmax")
    assert pairs_of(a, renamed) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    other = layers("data:Input", "pool:Pooling", "relu1:ReLU", "prob:Softmax")
    assert pairs_of(a, other) == [(0, 0), (1, None), (None, 1), (2, 2), (3, 3)]


def test_numbered_layers_are_paired_by_type():
    a = layers("0:convolutional", "1:maxpool", "2:convolutional")
    b = layers("0:convolutional", "1:dropout", "2:maxpool", "3:convolutional")
    assert pairs_of(a, b) == [(0, 0), (None, 1), (1, 2), (2, 3)]


def test_lines():
    assert changed_lines(["a", "b", "c"], ["a", "c", "d"]) == (("b",), ("d",))
    assert changed_lines([], []) == ((), ())


def test_statistics_hold_for_large_numbers_and_parts(monkeypatch):
    monkeypatch.setattr("secateur.core.difference.weights.PART", 7)
    values = np.random.default_rng(0).standard_normal((5, 9)).astype(np.float32)
    values[0, :4] = 0
    values[1, 0], values[1, 1] = np.nan, np.inf
    found = statistics_of(values)
    finite = values[np.isfinite(values)].astype(np.float64)
    assert found.shape == (5, 9)
    assert found.infinite == 2
    assert found.zeros == pytest.approx(4 / 45)
    assert found.mean == pytest.approx(finite.mean())
    assert found.deviation == pytest.approx(finite.std())
    assert (found.least, found.largest) == (finite.min(), finite.max())
    far = statistics_of(1e8 + np.tile([0.0, 2.0], 10))
    assert far.deviation == pytest.approx(1.0)
    assert statistics_of(np.zeros(0, np.float32)).mean == 0
    assert statistics_of(np.array([np.nan])).infinite == 1


def test_what_is_not_finite_differs_without_end():
    a, b = np.array([1.0, np.nan, 2.0]), np.array([1.0, np.nan, np.inf])
    assert weight_change("w", a, a).same
    change = weight_change("w", a, b)
    assert change.changed == pytest.approx(1 / 3)
    assert change.absolute == np.inf
    assert weight_change("w", None, a).before is None
    assert not weight_change("w", None, a).same
