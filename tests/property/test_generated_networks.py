"""Properties of generated networks that mix every coupling structure."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from secateur.core.channels import find_groups
from secateur.core.cost import Costs, measure_cost
from secateur.core.data import SyntheticDataset
from secateur.core.plan import Plan, make_plan, removed_classes
from secateur.core.proofs import prove_equal
from secateur.core.prune import prune
from secateur.core.transform import mask, shrink
from support.graphs import Graph, random_removal

KINDS = ("conv", "grouped", "depthwise", "residual", "concat", "route", "gate", "shuffle", "norm",
         "pool", "cut")  # fmt: skip


def grown(kinds: list[str], seed: int):
    """Return a network that applies the kinds one after another, with a fully connected end."""
    g = Graph(seed=seed)
    random = np.random.default_rng(seed)
    x = g.conv("stem", g.data, 8)
    k = g.builder.constant
    for number, kind in enumerate(kinds):
        name = f"{kind}{number}"
        channels, size = int(x.shape[1]), int(x.shape[2])
        if kind == "conv":
            x = g.op(f"{name}r", "Relu", g.conv(name, x, int(random.integers(2, 5)) * 4, kernel=1))
        elif kind == "grouped" and channels % 4 == 0:
            x = g.conv(name, x, channels + 4, group=int(random.choice([2, 4])))
        elif kind == "depthwise":
            x = g.conv(name, x, channels, group=channels)
        elif kind == "residual":
            x = g.op(name, "Add", x, g.conv(f"{name}b", x, channels))
        elif kind == "concat":
            x = g.op(name, "Concat", x, g.conv(f"{name}b", x, 4, kernel=1), axis=1)
        elif kind == "route" and channels % 2 == 0:
            g.builder.scope = name
            _, half = g.builder.ops("Split", x, count=2, axis=1, num_outputs=2)
            x = g.op(name, "Concat", g.conv(f"{name}b", half, channels // 2), x, axis=1)
        elif kind == "gate":
            gate = g.op(f"{name}p", "GlobalAveragePool", x)
            x = g.op(
                name, "Mul", x, g.op(f"{name}s", "Sigmoid", g.conv(f"{name}e", gate, channels))
            )
        elif kind == "shuffle" and channels % 2 == 0:
            x = g.op(f"{name}c", "Reshape", x, k([0, 2, channels // 2, size, size]))
            x = g.op(f"{name}t", "Transpose", x, perm=[0, 2, 1, 3, 4])
            x = g.op(name, "Reshape", x, k([0, -1, size, size]))
        elif kind == "norm":
            vectors = [g.parameter(channels) for _ in range(3)]
            variance = g.builder.parameter(np.full(channels, 2, np.float32))
            x = g.op(name, "BatchNormalization", x, *vectors, variance)
        elif kind == "pool" and size > 2:
            x = g.op(name, "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        elif kind == "cut" and channels > 3:
            x = g.op(name, "Slice", x, k([1]), k([channels - 1]), k([1]))
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 5))


networks = st.builds(grown, st.lists(st.sampled_from(KINDS), max_size=7), st.integers(0, 2**32 - 1))
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
    prove_equal("masked = dense", mask(network, groups, removed), dense, data, tolerance=1e-3)
    counted = measure_cost(dense, find_groups(dense)).operations
    assert counted == Costs(network, groups).operations(removed)


@few
@given(networks, st.floats(0.0, 0.9))
def test_a_rate_is_never_overshot_and_its_plan_carries_it_out(network, rate):
    assume(any(group.prunable for group in find_groups(network).groups))
    pruned = prune(network, rate=rate)
    before = measure_cost(network, find_groups(network)).operations
    after = measure_cost(pruned, find_groups(pruned)).operations
    assert 1 - after / before <= rate + 1e-9
    plan = Plan.from_yaml(pruned.plan.to_yaml())
    assert plan == pruned.plan
    groups = find_groups(network)
    removed = removed_classes(plan, groups)
    assert make_plan(groups, removed, plan.provenance) == plan


@few
@given(networks)
def test_finding_groups_changes_nothing_and_repeats(network):
    first, second = find_groups(network), find_groups(network)
    assert first.groups == second.groups
    assert np.array_equal(first.classes, second.classes)
