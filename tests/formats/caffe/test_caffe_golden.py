"""What Caffe itself computed, and what OpenCV computes, against the graph."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from secateur.core.errors import SecateurError
from secateur.core.ir.rebuild import expose
from secateur.formats.caffe.reader import load
from support.caffe import GOLDEN, cases, difference, models, run

REFUSED = {"alias_reshape_inplace"}
"""Quirks that are refused with a clear message; every other case is computed."""

SHAPES = {
    "lenet_train_test": {"data": (1, 28, 28)},
    "cifar10_quick_train_test": {"data": (3, 32, 32)},
    "cifar10_full_train_test": {"data": (3, 32, 32)},
    "res20_cifar_train_test": {"Data1": (3, 32, 32)},
}
NOT_OPENCV = {
    *SHAPES,
    "train_val",  # OpenCV does not know phases: two data layers make one blob
    "yoloface-500k-v2",  # OpenCV has no Upsample
    "enet_deploy_final",  # OpenCV cannot parse its bn_param
}


@pytest.fixture(scope="module")
def counts():
    found: Counter[str] = Counter()
    yield found
    print(f"\nGolden cases of Caffe: {dict(found)}")


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["case"])
def test_golden_case(case, counts):
    folder = GOLDEN / "cases" / case["case"]
    files = (folder / "model.prototxt", folder / "model.caffemodel")
    if case["case"] in REFUSED:
        with pytest.raises(SecateurError, match="memory"):
            load(*files)
        assert "quirk" in case
        counts["refused"] += 1
        return
    network = load(*files, stages=case["stages"], level=case["level"])
    io = dict(np.load(folder / "io.npz"))
    got = run(
        expose(network).model, {k[3:]: v for k, v in io.items() if k.startswith("in:")}
    )  # fmt: skip
    assert sorted(network.outputs) == case["outputs"]
    assert set(case["inputs"]) <= set(network.inputs)
    assert sum(layer.stored for layer in network.layers) == case["parameters"]
    for key, want in io.items():
        kind, name = key.split(":", 1)
        if kind != "in":
            shown = name if kind == "out" else f"layer:{name}"
            assert not difference(got[shown], want, case["tolerance"]), key
            counts[f"{kind} compared"] += 1
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered == {path.suffix: path.read_bytes() for path in files}
    counts["passed"] += 1


@pytest.mark.parametrize(("prototxt", "caffemodel"), models(), ids=lambda path: path.stem)
def test_real_model(prototxt, caffemodel):
    network = load(prototxt, caffemodel, input_shapes=SHAPES.get(prototxt.stem))
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered[".prototxt"] == prototxt.read_bytes()
    assert rendered[".caffemodel"] == caffemodel.read_bytes()
    (name, shape), *_ = network.inputs.items()
    random = np.random.default_rng(0)
    x = random.normal(size=[d if isinstance(d, int) else 1 for d in shape]).astype(np.float32)
    outputs = run(network.model, {name: x})
    assert outputs
    if prototxt.stem in NOT_OPENCV:
        return
    other = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    other.setInput(x)
    for (key, got), want in zip(outputs.items(), other.forward(list(outputs)), strict=True):
        off = np.abs(got.reshape(-1) - want.reshape(-1)).max()
        assert off <= 1e-4 * np.abs(want).max(), key
