"""Sparse and dense: full-size networks, plans carried out later, and limits on what may leave."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import carried
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.ir.rebuild import rebuild
from secateur.core.plan.limits import Limits
from secateur.core.plan.plan import removed_units
from secateur.core.pruning.densify import densify
from secateur.core.pruning.prune import prune
from secateur.core.verify.compare import compare
from support.graphs import Graph, weights


def network(seed: int = 0):
    g = Graph(seed=seed)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 12))
    d = g.conv("d", a, 12, group=12)
    b = g.op("sum", "Add", a, g.conv("b", d, 12, kernel=1))
    c = g.op("relu2", "Relu", g.conv("c", b, 8, group=2))
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", c), 4))


@pytest.mark.parametrize("repair", [False, True])
def test_sparse_is_full_size_and_computes_what_dense_computes(repair):
    net = network()
    data = SyntheticDataset(net, samples=64)
    dense = prune(net, rate=0.4, data=data, repair=repair)
    sparse = prune(net, rate=0.4, data=data, repair=repair, sparse=True)
    assert weights(sparse.network) == weights(net)
    assert compare(dense.network, sparse.network, data).within(1e-4)
    again = densify(sparse.network, sparse.plan).network
    assert weights(again) == weights(dense.network)
    assert compare(dense.network, again, data).within(1e-4)


def test_removed_channels_of_a_sparse_network_carry_nothing():
    net = network()
    sparse = prune(net, rate=0.4, sparse=True)
    groups = find_groups(net)
    removed = removed_units(sparse.plan, groups)
    assert set(carried(sparse.network, groups, removed).values()) <= {0.0}
    assert max(carried(net, groups, removed).values()) > 0.1


def test_the_original_becomes_dense_by_its_plan():
    net = network()
    pruned = prune(net, rate=0.4, criterion="l1")
    dense = densify(net, pruned.plan)
    assert compare(pruned.network, dense.network, SyntheticDataset(net)).within(1e-6)


def test_channels_that_carry_weight_again_are_not_thrown_away_in_silence():
    net = network()
    sparse = prune(net, rate=0.4, sparse=True)
    weight = sparse.network.graph.initializers["a/weight"].const_value.numpy()
    random = np.random.default_rng(0)
    moved = weight + random.normal(0, 0.1, weight.shape).astype("f4")
    trained = rebuild(sparse.network, tensors={"a/weight": moved})
    with pytest.raises(PlanError, match=r"carry weight in 1 groups: 'a' \d"):
        densify(trained, sparse.plan)
    forced = densify(trained, sparse.plan, force=True)
    assert "carry weight" in forced.notes[-1]
    assert weights(forced.network) == weights(densify(sparse.network, sparse.plan).network)


def test_a_network_trained_within_the_mask_is_taken():
    net = network()
    sparse = prune(net, rate=0.4, sparse=True)
    weight = sparse.network.graph.initializers["a/weight"].const_value.numpy()
    trained = rebuild(sparse.network, tensors={"a/weight": weight * 1.5})
    dense = densify(trained, sparse.plan).network
    assert compare(trained, dense, SyntheticDataset(net)).within(1e-4)


@pytest.mark.parametrize("data", [None, 32], ids=["l1", "obs"])
@pytest.mark.parametrize("multiple", [2, 4])
def test_kept_channels_are_multiples(multiple, data):
    net = network()
    samples = SyntheticDataset(net, samples=data) if data else None
    plan = prune(
        net, rate=0.5, limits=Limits(round_to=multiple), data=samples, as_far_as_possible=True
    ).plan
    assert any(group.removed for group in plan.groups)
    for group in plan.groups:
        assert group.kept % multiple == 0 or not group.removed


@pytest.mark.parametrize("data", [None, 32], ids=["l1", "obs"])
def test_no_group_loses_more_than_its_share(data):
    net = network()
    samples = SyntheticDataset(net, samples=data) if data else None
    settings = {"limits": Limits(max_rate=0.25), "data": samples}
    with pytest.raises(
        PlanError, match=r"lose at most 25 % of them \(hint: .* a larger --max-rate"
    ):
        prune(net, rate=0.6, **settings)
    pruned = prune(net, rate=0.6, as_far_as_possible=True, **settings)
    assert all(len(group.removed) <= group.channels / 4 for group in pruned.plan.groups)
    assert "is out of reach" in pruned.notes[-1]


@pytest.mark.parametrize(("limits", "counts"), [
    (Limits(), [1, 2, 3, 4]),
    (Limits(round_to=2), [1, 3]),
    (Limits(round_to=4), [1]),
    (Limits(round_to=8), []),
    (Limits(max_rate=0.5), [1, 2]),
    (Limits(min_keep=0.5), [1, 2]),
    (Limits(min_keep=0.4), [1, 2, 3]),
    (Limits(min_keep=0.0), [1, 2, 3, 4]),
    (Limits(min_keep=0.9, round_to=2), []),
])  # fmt: skip
def test_counts_of_five_channels(limits, counts):
    assert limits.counts(5) == counts


@pytest.mark.parametrize(
    "values",
    [{"round_to": 0}, {"max_rate": 0.0}, {"max_rate": 1.5}, {"min_keep": -0.1}, {"min_keep": 1.0}],
)
def test_impossible_limits_are_refused(values):
    with pytest.raises(PlanError):
        Limits(**values)
