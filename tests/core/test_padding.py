"""Channels added for speed: where they go, and that they change nothing."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.engine.padding import channel_block, for_speed, padded
from secateur.core.engine.session import Session
from secateur.core.errors import PlanError
from support.graphs import Graph


def filled(network, block=16):
    return padded(network, find_groups(network), block)[0]


def channels(network):
    """Return the number of channels of every value by its name."""
    return {name: value.shape[1] for name, value in network.values().items()
            if value.const_value is None}  # fmt: skip


def assert_same(network, other):
    random = np.random.default_rng(0)
    feeds = {
        name: random.random([d if isinstance(d, int) else 2 for d in shape], dtype=np.float32)
        for name, shape in network.inputs.items()
    }
    want, got = Session(network).run(feeds), Session(other).run(feeds)
    assert list(want) == list(got)
    for name, array in want.items():
        assert np.abs(got[name] - array).max() <= 1e-5 * np.abs(array).max()


def sizes(network, other):
    """Return name → channels before and after, of what has changed."""
    before, after = channels(network), channels(other)
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def test_groups_grow_to_the_next_multiple():
    g = Graph()
    a = g.op("ar", "LeakyRelu", g.conv("a", g.data, 6))
    d = g.conv("d", a, 6, group=6)
    s = g.op("s", "Sum", d, g.conv("b", a, 6, kernel=1))
    network = g.network(y=g.conv("y", g.op("c", "Concat", s, g.conv("e", s, 16), axis=1), 5))
    found = filled(network, 8)
    changed = sizes(network, found)
    assert set(changed.values()) == {(6, 8), (22, 24)}
    assert len(changed) == 6
    assert_same(network, found)


def test_zeros_follow_the_last_channel_wherever_it_is_read():
    g = Graph()
    a, b = g.conv("a", g.data, 3), g.conv("b", g.data, 5)
    network = g.network(y=g.conv("y", g.op("c", "Concat", a, b, axis=1), 2, kernel=1))
    found = filled(network, 4)
    (weight,) = (
        found.array(str(node.inputs[1].name)) for node in found.graph
        if node.outputs[0].name == found.graph.outputs[0].name
    )  # fmt: skip
    assert weight.shape == (2, 12, 1, 1)
    empty = np.flatnonzero(~weight.any(axis=(0, 2, 3)))
    assert empty.tolist() == [3, 9, 10, 11]
    assert_same(network, found)


def test_what_cannot_grow_stays():
    g = Graph()
    a = g.conv("a", g.data, 8)
    grouped = g.conv("grouped", a, 12, group=4)
    flat = g.op("flat", "Flatten", g.conv("last", grouped, 5))
    network = g.network(y=g.gemm("dense", flat, 7), z=g.conv("z", a, 3))
    assert filled(network, 16) is network


def test_multiples_stay_and_so_does_everything_without_blocks():
    g = Graph()
    network = g.network(y=g.conv("y", g.conv("a", g.data, 16), 3))
    assert filled(network, 16) is network
    assert filled(network, 1) is network


def test_padding_is_offered_to_users():
    g = Graph()
    network = g.network(y=g.conv("y", g.conv("a", g.data, 6), 3))
    found = secateur.pad_channels(network, 4)
    assert set(sizes(network, found).values()) == {(6, 8)}
    assert_same(network, found)
    with pytest.raises(PlanError, match="multiple of 1 or more, not 0"):
        secateur.pad_channels(network, 0)


def test_the_labels_of_values_grow_with_them():
    g = Graph()
    a = g.conv("a", g.data, 6)
    network = g.network(y=g.conv("y", g.op("r", "Relu", a), 2))
    groups = find_groups(network)
    found, labelled = padded(network, groups, 4)
    before, after = groups.values[str(a.name)], labelled.values[str(a.name)]
    assert after.vector.tolist() == [*before.vector, before.vector[-1], before.vector[-1]]
    assert after.shape == (1, 8, *before.shape[2:])
    assert found.values()[str(a.name)].shape[1] == 8


def test_the_block_is_one_of_those_that_processors_have():
    assert channel_block() in {1, 4, 8, 16}
    assert channel_block() is channel_block()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_real_detector_computes_the_same(shared, rate):
    folder = shared / "models/yolo_fastest_1.1_coco"
    network = secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    if rate:
        network = secateur.prune(network, rate=rate).network
    found = filled(network, 16)
    read = {
        node.inputs[0].shape[1]
        for node in found.graph
        if node.op_type == "Conv" and node.attributes["group"].as_int() == 1
    }
    assert read == {3} | {size for size in read if size % 16 == 0}
    assert_same(network, found)
    assert_same(network, for_speed(network))
