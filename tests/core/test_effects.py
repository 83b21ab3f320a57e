"""What a change of the outputs amounts to: detections for detectors, logits for classifiers."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.ir.network import Head
from secateur.core.metrics.decode import box_heads
from secateur.core.session import Session
from secateur.core.surgery.effects import effect_on, watched
from support.graphs import Graph


@pytest.fixture(scope="module")
def detector(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    network = secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    data = secateur.open_dataset(shared / "data/coco/train2017/images", network, limit=6)
    inputs = [batch.inputs for batch in data]
    feeds = {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}
    return network, Session(network).run(feeds)


def changed(still, name, places, by):
    array = still[name].copy()
    array[places] += by
    return {name: array}


def test_only_what_is_found_counts_of_a_detector(detector):
    network, still = detector
    assert watched(network) is network
    effect = effect_on(network, box_heads(network), still)
    assert effect({}) == 0.0
    name = network.heads[0].output
    cells = still[name].reshape(len(still[name]), 3, 85, *still[name].shape[2:])
    objectness = cells[:, :, 4]
    best = np.unravel_index(objectness.argmax(), objectness.shape)
    worst = np.unravel_index(objectness.argmin(), objectness.shape)
    found = {}
    for label, (sample, anchor, row, column) in {"best": best, "worst": worst}.items():
        width, one_class = anchor * 85 + 2, anchor * 85 + 5
        found[label, "moved"] = effect(changed(still, name, (sample, width, row, column), 0.3))
        found[label, "class"] = effect(changed(still, name, (sample, one_class, row, column), 0.3))
    assert found["best", "moved"] > 100 * found["worst", "moved"] >= 0
    assert found["best", "class"] > 100 * found["worst", "class"] > 0


def test_a_box_without_bounds_counts_as_lost(detector):
    network, still = detector
    effect = effect_on(network, box_heads(network), still)
    name = network.heads[0].output
    wild = {name: np.where(np.arange(255)[:, None, None] % 85 == 2, 1e4, still[name])}
    assert 0 < effect(wild) < np.inf


def test_a_head_that_cannot_be_decoded_counts_by_its_numbers():
    g = Graph(seed=1)
    net = g.network(y=g.conv("a", g.data, 5))
    still = Session(net).run({"data": np.random.default_rng(0).random((4, 3, 8, 8), np.float32)})
    strange = Head(output="y", kind="anchors", settings={"classes": 80})
    plain, headed = (effect_on(net, heads, still) for heads in ((), (strange,)))
    moved = {"y": still["y"] * 1.1}
    assert headed(moved) == plain(moved) > 0
    assert plain({}) == 0.0
