"""Costs in blocks: a plan names what the smaller network costs, and nothing leaves for free."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.cost.block_savings import BlockSavings
from secateur.core.cost.budget import make_costs, target_cost
from secateur.core.cost.budgets import TARGET
from secateur.core.cost.network_cost import measure_cost
from secateur.core.cost.target import Target
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.plan.limits import Limits
from secateur.core.plan.plan import removed_units
from secateur.core.pruning.choose import choose
from secateur.core.pruning.options import PruneOptions
from support.graphs import Graph

SAMPLED = 12
"""Removed channels of each group that are given back, one at a time."""

BLOCKS = [(4, 4), (8, 8), (3, 5), (16, 16)]


def target(blocks: tuple[int, int]) -> Target:
    return Target(name="chip", inputs=blocks[0], outputs=blocks[1])


def joined(seed: int, branches: int = 2):
    """A residual sum, a depthwise layer, a concatenation of branches, a grouped layer, a head."""
    chosen = np.random.default_rng(seed)
    width = int(chosen.integers(10, 40))
    g = Graph(seed=seed)
    a = g.op("relu1", "Relu", g.conv("a", g.data, width))
    d = g.conv("d", a, width, group=width)
    total = g.op("sum", "Add", a, g.conv("b", d, width, kernel=1))
    parts = [
        g.op(f"relu_{k}", "Relu", g.conv(f"part{k}", total, int(chosen.integers(6, 30)), kernel=1))
        for k in range(branches)
    ]
    x = g.op("concat", "Concat", *parts, axis=1)
    x = g.op("relu2", "Relu", g.conv("c", x, 24))
    x = g.op("relu3", "Relu", g.conv("e", x, 16, group=2))
    x = g.op("pool", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 5))


@pytest.fixture(scope="module")
def lenet(shared):
    folder = shared / "models/lenet_mnist"
    return secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")


@pytest.fixture(scope="module")
def detector(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    return secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")


def assert_no_waste(network, options: PruneOptions, data=None) -> float:
    """Choose; check that the cost named is that of the smaller network, and what one step gives."""
    groups = find_groups(network)
    choice = choose(network, groups, options, data=data)
    removed, named = choice.state.removed, choice.plan.provenance["rate"]["achieved"]
    before = target_cost(network, options.target)
    after = target_cost(choice.state.dense(), options.target)
    assert named == pytest.approx(1.0 - after / before, abs=1e-6)
    costs = make_costs(network, groups, TARGET, target=options.target)
    assert costs.total(removed) == pytest.approx(after)
    assert (removed == removed_units(choice.plan, groups)).all()
    chosen = np.random.default_rng(0)
    for group in groups.groups:
        for partition in group.partitions:
            if len(partition) > 1 or partition.steps != ((1,),):
                continue
            gone = [unit for unit in group.members(partition.shares[0]) if removed[unit]]
            for unit in chosen.permutation(gone)[:SAMPLED].tolist():
                fuller = removed.copy()
                fuller[unit] = False
                assert costs.total(fuller) > after, f"a channel of {group.name} is free"
    return named


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("seed", range(4))
def test_no_channel_of_a_generated_network_leaves_for_free(seed, blocks):
    network = joined(seed, branches=1 + seed % 3)
    for allocation in ("uniform", "global"):
        named = assert_no_waste(
            network,
            PruneOptions(rate=0.4, target=target(blocks), criterion="l1", allocation=allocation),
        )
        assert 0.0 < named <= 0.4 + 1e-9


def test_steps_of_several_shares_come_back_as_a_whole():
    network = joined(1)
    groups = find_groups(network)
    options = PruneOptions(rate=0.4, target=target((8, 8)), criterion="l1")
    removed = choose(network, groups, options).state.removed
    for group in groups.groups:
        for partition in group.partitions:
            lost = tuple(int(removed[group.members(share)].sum()) for share in partition)
            assert partition.obeys(lost)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_savings_along_a_path_are_those_of_the_whole_cost(blocks):
    network = joined(2)
    groups = find_groups(network)
    costs = make_costs(network, groups, TARGET, target=target(blocks))
    chosen = np.random.default_rng(0)
    units = [unit for group in groups.groups for unit in group.removable()]
    path = [[unit] for unit in chosen.permutation(units)[: len(units) // 2].tolist()]
    saved = BlockSavings(groups, costs).after(path)
    for end in range(len(path)):
        gone = groups.mask(unit for step in path[: end + 1] for unit in step)
        assert saved[end] == pytest.approx(costs.total() - costs.total(gone))


def test_a_target_without_blocks_counts_multiplications(lenet):
    groups = find_groups(lenet)
    macs = sum(layer.macs for layer in measure_cost(lenet, groups).layers.values())
    assert target_cost(lenet, target((1, 1))) == 2 * macs


def test_the_published_formula_of_a_dpu(lenet):
    """⌈C_in / ICP⌉ · ⌈C_out / OCP⌉ blocks of 16 × 16 a position and a place of the kernel."""
    layers = [(1, 20, 25, 576), (20, 50, 25, 64), (800, 500, 1, 1), (500, 10, 1, 1)]
    blocks = sum(-(-i // 16) * -(-o // 16) * k * p for i, o, k, p in layers)
    assert target_cost(lenet, secateur.find_target("dpu-b4096")) == 2 * 16 * 16 * blocks


def test_a_large_block_is_not_crowded_out_by_small_ones(lenet):
    options = PruneOptions(rate=0.5, target=secateur.find_target("dpu-b4096"))
    assert assert_no_waste(lenet, options) > 0.45


def test_obs_leaves_nothing_for_free(lenet):
    data = SyntheticDataset(lenet, samples=8)
    options = PruneOptions(rate=0.3, target=target((8, 8)))
    assert 0.2 < assert_no_waste(lenet, options, data) <= 0.3 + 1e-9


def test_obs_on_joined_branches_leaves_nothing_for_free():
    network = joined(3)
    data = SyntheticDataset(network, samples=16)
    assert assert_no_waste(network, PruneOptions(rate=0.4, target=target((8, 8))), data) > 0.2


def test_a_detector_saves_far_more_of_the_cost_than_without_its_target(detector):
    chip = secateur.find_target("onnxruntime")
    named = assert_no_waste(detector, PruneOptions(rate=0.5, target=chip))
    plain = choose(detector, find_groups(detector), PruneOptions(rate=0.5)).state.dense()
    assert named > 0.45
    assert 1.0 - target_cost(plain, chip) / target_cost(detector, chip) < named - 0.1


def test_what_a_user_asks_of_a_layer_does_not_come_back(lenet):
    options = PruneOptions(
        rate=0.2, target=target((16, 16)),
        overrides={"conv1": secateur.Override(rate=0.1)},
    )  # fmt: skip
    choice = choose(lenet, find_groups(lenet), options)
    assert next(one.kept for one in choice.plan.groups if one.name == "conv1") == 18


def test_multiples_hold_beside_blocks(lenet):
    options = PruneOptions(rate=0.4, target=target((4, 4)), limits=Limits(round_to=6))
    choice = choose(lenet, find_groups(lenet), options)
    for group in choice.plan.groups:
        assert group.kept == group.channels or group.kept % 6 == 0
