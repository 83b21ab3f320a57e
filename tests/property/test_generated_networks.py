"""Properties of generated networks that mix every coupling structure."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from secateur.core.cost.network_cost import Costs, measure_cost
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.engine.padding import padded
from secateur.core.engine.session import Session
from secateur.core.plan.plan import Plan, make_plan, removed_units
from secateur.core.pruning.prune import prune
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from support.graphs import Graph, random_removal


def conv(g, name, x, random):
    return g.op(f"{name}r", "Relu", g.conv(name, x, int(random.integers(2, 5)) * 4, kernel=1))


def grouped(g, name, x, random):
    channels = int(x.shape[1])
    if channels % 4:
        return x
    return g.conv(name, x, channels + 4, group=int(random.choice([2, 4])))


def depthwise(g, name, x, random):
    return g.conv(name, x, int(x.shape[1]) * int(random.integers(1, 3)), group=int(x.shape[1]))


def residual(g, name, x, random):
    branches = [g.conv(f"{name}{k}", x, int(x.shape[1])) for k in range(random.integers(1, 4))]
    return g.op(name, "Sum", x, *branches)


def concat(g, name, x, random):
    branches = [g.conv(f"{name}{k}", x, 3, kernel=1) for k in range(random.integers(1, 4))]
    return g.op(name, "Concat", x, *branches, axis=1)


def dense(g, name, x, random):
    for step in range(int(random.integers(1, 4))):
        x = g.op(f"{name}c{step}", "Concat", x, g.conv(f"{name}{step}", x, 2), axis=1)
    return x


def route(g, name, x, random):
    channels = int(x.shape[1])
    if channels % 2:
        return x
    g.builder.scope = name
    half = g.builder.ops("Split", x, count=2, axis=1, num_outputs=2)[int(random.integers(2))]
    return g.op(name, "Concat", g.conv(f"{name}b", half, channels // 2), x, axis=1)


def parts(g, name, x, random):
    """Parts of different sizes; the first and the last are added to convolutions of the whole."""
    channels = int(x.shape[1])
    if channels < 4:
        return x
    cut = int(random.integers(1, channels - 1))
    g.builder.scope = name
    first, second = g.builder.ops(
        "Split", x, g.builder.constant([cut, channels - cut]), count=2, axis=1
    )
    first = g.op(f"{name}a", "Add", first, g.conv(f"{name}f", x, cut))
    return g.op(name, "Concat", second, first, axis=1)


def gate(g, name, x, random):
    pooled = g.op(f"{name}p", "GlobalAveragePool", x)
    if random.integers(2):
        weight = g.conv(f"{name}e", pooled, int(x.shape[1]), kernel=1)
    else:
        hidden = g.gemm(f"{name}d", g.op(f"{name}f", "Flatten", pooled), 4)
        weight = g.gemm(f"{name}e", hidden, int(x.shape[1]))
        weight = g.op(f"{name}u", "Unsqueeze", weight, g.builder.constant([2, 3]))
    return g.op(name, "Mul", x, g.op(f"{name}s", "Sigmoid", weight))


def spatial_gate(g, name, x, random):
    del random
    return g.op(name, "Mul", x, g.op(f"{name}s", "Sigmoid", g.conv(f"{name}m", x, 1, kernel=1)))


def shuffle(g, name, x, random):
    del random
    channels, size = int(x.shape[1]), int(x.shape[2])
    if channels % 2:
        return x
    k = g.builder.constant
    x = g.op(f"{name}c", "Reshape", x, k([0, 2, channels // 2, size, size]))
    x = g.op(f"{name}t", "Transpose", x, perm=[0, 2, 1, 3, 4])
    return g.op(name, "Reshape", x, k([0, -1, size, size]))


def norm(g, name, x, random):
    del random
    channels = int(x.shape[1])
    vectors = [g.parameter(channels) for _ in range(3)]
    variance = g.builder.parameter(np.full(channels, 2, np.float32))
    return g.op(name, "BatchNormalization", x, *vectors, variance)


def vectors(g, name, x, random):
    del random
    channels = int(x.shape[1])
    x = g.op(f"{name}p", "PRelu", x, g.parameter(channels, 1, 1))
    x = g.op(f"{name}m", "Mul", g.parameter(1, channels, 1, 1), x)
    return g.op(name, "Add", x, g.parameter(channels, 1, 1))


def pool(g, name, x, random):
    del random
    if int(x.shape[2]) <= 2:
        return x
    return g.op(name, "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def cut(g, name, x, random):
    del random
    channels, k = int(x.shape[1]), g.builder.constant
    if channels <= 3:
        return x
    return g.op(name, "Slice", x, k([1]), k([channels - 1]), k([1]))


def fold(g, name, x, random):
    if int(x.shape[2]) % 2 or int(x.shape[1]) > 24:
        return x
    x = g.op(f"{name}f", "SpaceToDepth", x, blocksize=2)
    return g.op(name, "DepthToSpace", x, blocksize=2) if random.integers(2) else x


def up(g, name, x, random):
    channels = int(x.shape[1])
    if int(x.shape[2]) > 8:
        return x
    each = bool(random.integers(2))
    weight = (channels, 1 if each else 5, 2, 2)
    return g.layer(
        name,
        "ConvTranspose",
        lambda: g.builder.op(
            "ConvTranspose", x, g.parameter(*weight), strides=[2, 2], group=channels if each else 1
        ),
    )


def shared(g, name, x, random):
    """One weight twice: on the value, and on a function of it."""
    del random
    weight = g.parameter(4, int(x.shape[1]), 1, 1)
    y = g.op(f"{name}h", "Tanh", x)
    both = [g.layer(f"{name}{k}", "Conv", lambda v=v: g.builder.op("Conv", v, weight))
            for k, v in enumerate((x, y))]  # fmt: skip
    return g.op(name, "Concat", *both, axis=1)


def mixed(g, name, x, random):
    """What cannot be traced, and what mixes channels, beside an untouched branch."""
    odd = g.op(f"{name}o", "Trilu", x) if random.integers(2) else g.op(f"{name}o", "LRN", x, size=3)
    side = g.conv(f"{name}s", odd, 3, kernel=1)
    return g.op(name, "Concat", side, g.conv(f"{name}b", x, 4, kernel=1), axis=1)


def attention(g, name, x, random):
    """A product of two activations, which fixes both; its sum with the value fixes that."""
    del random
    channels, size, k = int(x.shape[1]), int(x.shape[2]), g.builder.constant
    inner = g.conv(f"{name}q", x, channels, kernel=1)
    flat = g.op(f"{name}f", "Reshape", inner, k([0, channels, size * size]))
    turned = g.op(f"{name}t", "Transpose", flat, perm=[0, 2, 1])
    weights = g.op(f"{name}w", "Softmax", g.op(f"{name}m", "MatMul", flat, turned), axis=-1)
    mixed_values = g.op(f"{name}v", "MatMul", weights, flat)
    back = g.op(f"{name}b", "Reshape", mixed_values, k([0, channels, size, size]))
    return g.op(name, "Concat", back, g.conv(f"{name}r", x, 4, kernel=1), axis=1)


KINDS = (
    conv, grouped, depthwise, residual, concat, dense, route, parts, gate, spatial_gate, shuffle,
    norm, vectors, pool, cut, fold, up, shared, mixed, attention,
)  # fmt: skip


def grown(kinds, seed, heads):
    """Return a network that applies the kinds one after another, with fully connected ends."""
    g = Graph(seed=seed)
    random = np.random.default_rng(seed)
    x = g.conv("stem", g.data, 8)
    outputs = {}
    for number, kind in enumerate(kinds):
        x = kind(g, f"{kind.__name__}{number}", x, random)
        if number < heads:
            outputs[f"head{number}"] = g.conv(f"side{number}", x, 2, kernel=1)
    outputs["y"] = g.gemm("out", g.op("flat", "Flatten", x), 5)
    return g.network(**outputs)


networks = st.builds(
    grown,
    st.lists(st.sampled_from(KINDS), max_size=7),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2),
)
few = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@few
@given(networks, st.integers(0, 2**32 - 1))
def test_masked_equals_dense(network, seed):
    groups = find_groups(network)
    removed = random_removal(groups, np.random.default_rng(seed))
    dense = shrink(network, groups, removed)
    data = SyntheticDataset(network, samples=2)
    full, narrow = mask(network, groups, removed), narrowed(groups, removed)
    verify_equal("masked = dense", full, dense, data, narrow=narrow, tolerance=1e-3)
    counted = measure_cost(dense, find_groups(dense)).operations
    assert counted == Costs(network, groups).operations(removed)


@few
@given(networks, st.floats(0.0, 0.9))
def test_a_rate_is_never_overshot_and_its_plan_carries_it_out(network, rate):
    assume(any(group.prunable for group in find_groups(network).groups))
    pruned = prune(network, rate=rate, as_far_as_possible=True)
    before = measure_cost(network, find_groups(network)).operations
    after = measure_cost(pruned.network, find_groups(pruned.network)).operations
    assert 1 - after / before <= rate + 1e-9
    plan = Plan.from_yaml(pruned.plan.to_yaml())
    assert plan == pruned.plan
    groups = find_groups(network)
    removed = removed_units(plan, groups)
    assert make_plan(groups, removed, plan.provenance) == plan


@few
@given(networks)
def test_finding_groups_changes_nothing_and_repeats(network):
    first, second = find_groups(network), find_groups(network)
    assert first.groups == second.groups
    assert np.array_equal(first.units, second.units)


@few
@given(networks, st.sampled_from([2, 3, 5, 16]))
def test_channels_added_for_speed_change_nothing(network, block):
    groups = find_groups(network)
    found, labelled = padded(network, groups, block)
    data = SyntheticDataset(network, samples=2)
    full, back = Session(network), Session(found)
    for batch in data:
        want, got = full.run(batch.inputs), back.run(batch.inputs)
        for name, array in want.items():
            assert np.abs(got[name] - array).max() <= 1e-4 * np.abs(array).max()
    for name, value in found.values().items():
        if name in labelled.values and labelled.values[name].axis is not None:
            axis = labelled.values[name].axis
            assert len(labelled.values[name].vector) == value.shape[axis]
