"""Merging: exact for multiples, nearest for others, through sums, joins, groups and depthwise."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.engine.session import Session
from secateur.core.ir.rebuild import rebuild
from secateur.core.plan.state import PruningState
from secateur.core.pruning.prune import prune
from secateur.core.repair import find_repairs, repaired
from secateur.core.repair.merge import merge
from support.graphs import Graph
from support.normed import Normed
from support.rich import Rich, rich


def outputs(network, seed=0):
    random = np.random.default_rng(seed)
    feeds = {name: random.normal(size=(3, *shape[1:])).astype(np.float32)
             for name, shape in network.inputs.items()}  # fmt: skip
    return Session(network).run(feeds)


def merged(network, removed_places):
    """Return the original's outputs, and those without channels of groups, merged and not."""
    groups = find_groups(network)
    units = [groups.by_name(name).units[place] for name, place in removed_places]
    state = PruningState.start(network, groups).after(groups.mask(units))
    dense = state.dense()
    return outputs(network), outputs(merge(state, dense)), outputs(dense)


def with_tensors(network, change):
    """Return the network with arrays changed in place by `change(arrays)`."""
    arrays = {
        name: value.const_value.numpy().copy()
        for name, value in network.graph.initializers.items()
        if value.const_value is not None
    }
    before = {name: array.copy() for name, array in arrays.items()}
    change(arrays)
    return rebuild(
        network,
        tensors={n: a for n, a in arrays.items() if not np.array_equal(a, before[n])},
    )


def difference(one, other):
    return max(np.abs(one[name] - other[name]).max() / np.abs(one[name]).max() for name in one)


def multiple_of(network, layers):
    """Return the network in which channel 1 of each layer is a multiple of channel 0."""

    def change(arrays):
        for name, times in layers.items():
            for parameter, array in arrays.items():
                if parameter.startswith(f"{name}/") and len(array) > 1:
                    array[1] = times * array[0]

    return with_tensors(network, change)


def test_a_multiple_leaves_without_a_trace():
    g = Graph(channels=2, size=5)
    a = g.op("act", "Relu", g.conv("a", g.data, 4))
    network = multiple_of(g.network(y=g.conv("out", a, 3)), {"a": 2.0})
    before, after, without = merged(network, [("a", 1)])
    assert difference(before, after) < 1e-5
    assert difference(before, without) > 1e-2


def coupled():
    """A sum, two groups that read it, a depthwise layer behind it, and a join of all."""
    g = Rich(channels=2, size=6)
    a = g.op("act", "Relu", g.conv("a", g.data, 4))
    b = g.conv("b", a, 4)
    total = g.op("after", "LeakyRelu", g.op("sum", "Add", a, b))
    d = g.op("bent", "Relu", g.conv("d", total, 4, group=4))
    e = g.conv("e", d, 3)
    both = g.op("both", "Concat", d, total, axis=1)
    flat = g.op(
        "flat", "Flatten", g.op("pool", "MaxPool", both, kernel_shape=[3, 3], strides=[3, 3])
    )
    return g.network(y=g.gemm("fc", flat, 3), z=e, u=g.up("up", total, 4, 2))


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_sums_joins_and_depthwise_layers_are_followed(times):
    # Channel 1 of the sum is twice channel 0, and behind the depthwise layer 2 · times it; that
    # layer's bias goes with the product.
    def change(arrays):
        for name in ("a", "b"):
            for parameter, array in arrays.items():
                if parameter.startswith(f"{name}/"):
                    array[1] = 2.0 * array[0]
        for parameter, array in arrays.items():
            if parameter.startswith("d/"):
                array[1] = (times if array.ndim > 1 else 2.0 * times) * array[0]

    network = with_tensors(coupled(), change)
    before, after, without = merged(network, [("a", 1)])
    assert difference(before, after) < 1e-5
    assert difference(before, without) > 1e-2


@pytest.mark.parametrize("caffe", [False, True])
def test_normalisations_are_part_of_the_vector(caffe):
    g = Normed(channels=2, size=4)
    a = g.normed("a", g.data, 4, caffe=caffe)
    network = g.network(y=g.valid("out", a, 2, 1))
    groups = find_groups(network)

    def change(arrays):
        roles = {use.parameter: use.role for use in groups.uses}
        weight, scale, shift, mean, variance = (
            [n for n in arrays if n.startswith("a/") and roles.get(n) in role][-1]
            for role in (["weight"], ["scale"], ["shift", "bias"], ["mean"], ["variance"])
        )
        arrays[weight][1] = 5.0 * arrays[weight][0]
        arrays[mean][1], arrays[variance][1] = 5.0 * arrays[mean][0], 4.0 * arrays[variance][0]
        # 5 w x − 5 m over 2 deviations: 2.5 times; the scale brings it to 3 times, the shift too
        arrays[scale][1] = 1.2 * arrays[scale][0]
        arrays[shift][1] = 3.0 * arrays[shift][0]

    network = with_tensors(network, change)
    before, after, without = merged(network, [("a", 1)])
    assert difference(before, after) < 1e-4
    assert difference(before, without) > 1e-2


def test_of_all_kept_channels_the_most_similar_takes_the_removed_one():
    g = Graph(channels=3, size=3, seed=4)
    a = g.conv("a", g.data, 5, kernel=1)
    network = g.network(y=g.conv("out", a, 2, kernel=1))
    groups = find_groups(network)
    weights = {use.parameter: network.array(use.parameter) for use in groups.uses}
    v = np.concatenate([weights["a/weight"].reshape(5, 3), weights["a/weight_1"][:, None]], axis=1)
    out = weights["out/weight"].reshape(2, 5).astype(np.float64)
    expected = out.copy()
    for lost in (1, 3):
        cosines = [
            v[lost] @ v[kept] / np.linalg.norm(v[lost]) / np.linalg.norm(v[kept])
            if kept not in (1, 3) else -2.0
            for kept in range(5)
        ]  # fmt: skip
        best = int(np.argmax(cosines))
        if cosines[best] > 0:
            expected[:, best] += out[:, lost] * (v[lost] @ v[best]) / (v[best] @ v[best])
    units = [groups.by_name("a").units[place] for place in (1, 3)]
    state = PruningState.start(network, groups).after(groups.mask(units))
    found = merge(state, state.dense()).array("out/weight").reshape(2, 3)
    np.testing.assert_allclose(found, expected[:, [0, 2, 4]], rtol=1e-5)


def test_channels_are_merged_within_their_group_of_a_grouped_convolution():
    g = Rich(channels=2, size=4)
    a = g.op("act", "Relu", g.conv("a", g.data, 6))
    e = g.conv("e", a, 4, group=2)
    network = g.network(y=e)

    def change(arrays):
        for parameter, array in arrays.items():
            if parameter.startswith("a/"):
                array[1], array[5] = 2 * array[0], 0.5 * array[3]

    network = with_tensors(network, change)
    before, after, without = merged(network, [("a", 1), ("a", 5)])
    assert difference(before, after) < 1e-5
    assert difference(before, without) > 1e-2


def test_it_is_tried_without_data_and_kept_only_where_it_helps():
    network = rich()
    result = prune(network, rate=0.4, criterion="similarity", repair="merge")
    (record,) = result.repairs
    assert record.method == "merge"
    assert record.kept == (record.error_after < record.error_before)
    assert "noise" in record.measured_on


def test_it_adds_to_what_earlier_repairs_did():
    network = rich()
    groups = find_groups(network)
    units = [group.removable()[0] for group in groups.groups if group.prunable]
    units = [u for u, group in zip(units, [g for g in groups.groups if g.prunable], strict=True)
             if len(group.partitions) == 1 and len(group.partitions[0]) == 1]  # fmt: skip
    state = PruningState.start(network, groups).after(groups.mask(units))
    dense = state.dense()
    name = next(use.parameter for use in groups.uses if use.parameter.startswith("out/"))
    other = rebuild(dense, tensors={name: dense.array(name) + np.float32(1)})
    np.testing.assert_allclose(
        merge(state, other).array(name) - merge(state, dense).array(name), 1.0, atol=1e-5
    )
    assert repaired(state, dense, find_repairs("merge", data=False))[1]
