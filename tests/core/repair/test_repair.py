"""Repairs: what each promises, measured by hand, and what the sequence of them must never do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import shrink
from secateur.core.data import NpzDataset, SyntheticDataset
from secateur.core.data.hold_out import split
from secateur.core.engine.session import Session
from secateur.core.errors import PlanError
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.ir.rebuild import rebuild
from secateur.core.progress import silent
from secateur.core.pruning.apply import apply_plan
from secateur.core.pruning.densify import densify
from secateur.core.pruning.prune import prune
from secateur.core.repair import REPAIRS, Repair, find_repairs, repaired
from secateur.core.repair.constant import constant_channels
from secateur.core.repair.registry import AUTOMATIC
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph
from support.normed import Normed, inner, removal, state_of


def outputs(network, samples=5, seed=3):
    (batch,) = list(SyntheticDataset(network, samples=samples, seed=seed))
    return Session(network).run(batch.inputs)["y"]


@pytest.mark.parametrize("by", ["zero scale", "zero weights"])
@pytest.mark.parametrize("caffe", [False, True])
def test_constant_channels_leave_without_a_trace_and_without_data(by, caffe):
    g = Normed(seed=4)
    a = g.normed("a", g.data, 8, still=(1, 5), by=by, caffe=caffe)
    b = g.normed("b", g.valid("v", a, 6, 3), 6, still=(0,), by=by, caffe=caffe)
    fc = g.gemm("fc", g.op("flat", "Flatten", g.op("pool", "MaxPool", b, kernel_shape=[2, 2])), 4)
    net = g.network(y=fc)
    groups = find_groups(net)
    removed = removal(groups, a=(1, 5), b=(0,))
    dense = shrink(net, groups, removed)
    absorbed = REPAIRS["absorb"].apply(state_of(net, groups, removed), dense, silent)
    want = outputs(net)
    assert np.abs(outputs(dense) - want).max() > 1e-3 * np.abs(want).max()
    assert np.allclose(outputs(absorbed), want, atol=1e-5 * np.abs(want).max())


def test_constants_are_followed_through_sums_joins_and_depthwise_layers():
    g = Normed(seed=5)
    a = g.normed("a", g.data, 6, still=(2,))
    b = g.normed("b", a, 6, still=(2, 3))
    total = g.op("sum", "Add", a, b)
    depthwise = g.layer(
        "d",
        "Conv",
        lambda: g.builder.op("Conv", total, g.parameter(6, 1, 1, 1), g.parameter(6), group=6),
    )
    joined = g.op("join", "Concat", depthwise, g.normed("c", g.data, 3, still=(0,)), axis=1)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", joined), 4))
    groups = find_groups(net)
    found = constant_channels(net, groups)
    names = {info.name: info.tops[0] for info in net.layers}
    assert np.flatnonzero(found[names["b"]]).tolist() == [2, 3]
    assert np.flatnonzero(found[names["sum"]]).tolist() == [2]
    assert np.flatnonzero(found[names["join"]]).tolist() == [2, 6]
    removed = removal(groups, a=(2,), c=(0,))
    dense = shrink(net, groups, removed)
    absorbed = REPAIRS["absorb"].apply(state_of(net, groups, removed), dense, silent)
    want = outputs(net)
    assert np.allclose(outputs(absorbed), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("seed", range(6))
def test_a_channel_reported_constant_is(seed):
    g = Normed(seed=seed)
    a = g.normed("a", g.data, 8, still=g.random.choice(8, 3), by="zero weights")
    b = g.normed("b", a, 8, still=g.random.choice(8, 2), caffe=True)
    s = g.op("s", "Mul", a, g.op("gate", "Sigmoid", b))
    c = g.normed("c", g.op("t", "Concat", s, a, axis=1), 6, still=(1,))
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", c), 4))
    groups = find_groups(net)
    data = SyntheticDataset(net, samples=6, seed=seed)
    reported = 0
    for name, mask in constant_channels(net, groups).items():
        labels = groups.values[name]
        if name in net.inputs or labels.axis is None or not mask.any():
            continue
        x = np.moveaxis(inner(net, name, data), labels.axis, 0)[mask].reshape(mask.sum(), -1)
        assert np.ptp(x, axis=1).max() == 0
        reported += 1
    assert reported > 5


def test_a_border_gets_the_mean_over_the_positions():
    g = Normed(seed=6)
    net = g.network(y=g.conv("out", g.normed("a", g.data, 6, still=(4,)), 3, kernel=3))
    groups = find_groups(net)
    removed = removal(groups, a=(4,))
    dense = shrink(net, groups, removed)
    absorbed = REPAIRS["absorb"].apply(state_of(net, groups, removed), dense, silent)
    lost, left = outputs(net) - outputs(dense), outputs(net) - outputs(absorbed)
    assert np.abs(lost.mean(axis=(0, 2, 3))).min() > 1e-2
    assert np.abs(left.mean(axis=(0, 2, 3))).max() < 1e-3
    assert np.ptp(left[:, :, 1:-1, 1:-1], axis=(0, 2, 3)).max() < 1e-3


def test_with_data_the_mean_of_every_removed_channel_is_absorbed():
    g = Normed(seed=7)
    net = g.network(y=g.conv("out", g.normed("a", g.data, 6), 3, kernel=1))
    groups = find_groups(net)
    removed = removal(groups, a=(0, 3))
    data = SyntheticDataset(net, samples=40)
    dense = shrink(net, groups, removed)
    assert REPAIRS["absorb"].apply(state_of(net, groups, removed), dense, silent) is dense
    absorbed = REPAIRS["absorb"].apply(state_of(net, groups, removed, data), dense, silent)
    means = [
        inner(one, find_operators(one)[-1].y, data).mean(axis=(0, 2, 3))
        for one in (net, dense, absorbed)
    ]
    assert np.abs(means[0] - means[1]).max() > 1e-2
    assert np.allclose(means[0], means[2], atol=1e-4)


def test_what_obs_made_up_for_is_not_absorbed_again():
    g = Normed(seed=8)
    x = g.normed("b", g.normed("a", g.data, 8), 8)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    data = SyntheticDataset(net, samples=64)
    pruned = prune(net, rate=0.3, data=data, repair="absorb")
    assert "repair" not in pruned.plan.provenance


@pytest.mark.parametrize("caffe", [False, True])
def test_recalibrated_channels_have_the_statistics_that_numpy_finds_in_the_original(caffe):
    g = Normed(seed=9)
    a = g.normed("a", g.data, 8, caffe=caffe)
    x = g.normed("c", g.normed("b", a, 8, caffe=caffe), 6, caffe=caffe)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    groups = find_groups(net)
    removed = removal(groups, a=(1, 2), b=(5,))
    data = SyntheticDataset(net, samples=30)
    dense = shrink(net, groups, removed)
    nodes = [node for node in dense.graph if node.op_type == "BatchNormalization"]
    mean = nodes[1].inputs[3].name
    moved = rebuild(dense, tensors={mean: dense.array(mean) - 3})  # as OBS might have
    done = REPAIRS["recalibrate"].apply(state_of(net, groups, removed, data), moved, silent)
    assert len(nodes) == 3
    kept = [[0, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 6, 7], list(range(6))]
    for number, (node, channels) in enumerate(zip(nodes, kept, strict=True)):
        if number == 0:  # reads what it always read
            for value in node.inputs[3:5]:
                assert np.array_equal(done.array(value.name), dense.array(value.name))
            continue
        want, got = (
            inner(one, node.outputs[0].name, data).astype(np.float64) for one in (net, done)
        )
        want = want[:, channels]
        assert np.allclose(got.mean(axis=(0, 2, 3)), want.mean(axis=(0, 2, 3)), atol=1e-3)
        assert np.allclose(got.var(axis=(0, 2, 3)), want.var(axis=(0, 2, 3)), rtol=1e-3)


def test_on_data_like_that_of_training_the_statistics_are_those_of_the_input():
    g = Normed(seed=9)
    x = g.normed("b", g.normed("a", g.data, 8), 6)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    data = SyntheticDataset(net, samples=30)
    for node in [node for node in net.graph if node.op_type == "BatchNormalization"]:
        x = inner(net, node.inputs[0].name, data).astype(np.float64)
        statistics = {
            node.inputs[3].name: x.mean(axis=(0, 2, 3)).astype(np.float32),
            node.inputs[4].name: x.var(axis=(0, 2, 3)).astype(np.float32),
        }
        net = rebuild(net, tensors=statistics)
    groups = find_groups(net)
    removed = removal(groups, a=(1, 2))
    dense = shrink(net, groups, removed)
    done = REPAIRS["recalibrate"].apply(state_of(net, groups, removed, data), dense, silent)
    node = [node for node in done.graph if node.op_type == "BatchNormalization"][1]
    x = inner(done, node.inputs[0].name, data).astype(np.float64)
    mean, variance = (done.array(value.name) for value in node.inputs[3:5])
    assert np.allclose(mean, x.mean(axis=(0, 2, 3)), rtol=1e-3)
    assert np.allclose(variance, x.var(axis=(0, 2, 3)), rtol=1e-3)
    assert not np.allclose(variance, dense.array(node.inputs[4].name), rtol=1e-2)


def test_a_channel_that_the_data_does_not_excite_keeps_its_variance():
    g = Normed(seed=10)
    a = g.normed("a", g.data, 6)
    b = g.normed("b", a, 4, still=(2,), by="zero weights")
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", b), 4))
    groups = find_groups(net)
    removed = removal(groups, a=(0, 1, 2))
    dense = shrink(net, groups, removed)
    data = SyntheticDataset(net, samples=9)
    done = REPAIRS["recalibrate"].apply(state_of(net, groups, removed, data), dense, silent)
    node = [node for node in done.graph if node.op_type == "BatchNormalization"][1]
    old, new = (one.array(node.inputs[4].name) for one in (dense, done))
    assert new[2] == pytest.approx(old[2])
    assert (np.abs(new[[0, 1, 3]] / old[[0, 1, 3]] - 1) > 1e-3).all()


def plain_network(seed=11, *, deep=False):
    g = Graph(seed=seed)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 10))
    d = g.conv("d", a, 10, group=10)
    b = g.op("relu2", "Relu", g.op("sum", "Add", a, g.conv("b", d, 10, kernel=1)))
    if deep:
        b = g.conv("e", b, 10, group=10)
    c = g.op("relu3", "Relu", g.conv("c", b, 8))
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", c), 4))


@pytest.mark.parametrize("batch", [7, 16])
def test_bias_correction_restores_the_mean_of_every_channel(batch):
    net = plain_network(deep=True)
    groups = find_groups(net)
    removed = removal(groups, a=(1, 4, 5), c=(0,))
    data = SyntheticDataset(net, samples=32, batch=batch)
    dense = shrink(net, groups, removed)
    done = REPAIRS["bias"].apply(state_of(net, groups, removed, data), dense, silent)
    kept = {
        cost_term.node: groups.surviving(removed)[cost_term.out] for cost_term in groups.cost_terms
    }
    for operator in find_operators(net):
        means = [inner(one, operator.y, data) for one in (net, dense, done)]
        axes = (0, 2, 3) if operator.op_type == "Conv" else (0,)
        before, broken, after = (value.mean(axis=axes, dtype=np.float64) for value in means)
        before = before[kept[operator.key]]
        assert np.allclose(after, before, atol=1e-3 * np.abs(before).max())
        if operator.key.startswith(("b/", "c/", "e/", "out")):
            assert not np.allclose(broken, before, atol=1e-2 * np.abs(before).max())


def test_a_parameter_that_two_layers_share_is_left_alone():
    g = Graph(seed=12)
    a = g.op("relu", "Relu", g.conv("a", g.data, 6))
    weight, bias = g.parameter(4, 6, 1, 1), g.parameter(4)
    one = g.layer("one", "Conv", lambda: g.builder.op("Conv", a, weight, bias))
    half = g.op("pool", "MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    two = g.layer("two", "Conv", lambda: g.builder.op("Conv", half, weight, bias))
    net = g.network(y=g.op("first", "Flatten", one), z=g.op("second", "Flatten", two))
    groups = find_groups(net)
    removed = removal(groups, a=(2,))
    dense = shrink(net, groups, removed)
    data = SyntheticDataset(net, samples=8)
    for entry in REPAIRS.values():
        done = entry.apply(state_of(net, groups, removed, data), dense, silent)
        for name in (weight.name, bias.name):
            assert np.array_equal(done.array(name), dense.array(name))


@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "recalibrate"])
def test_each_repair_helps_a_network_that_lost_channels_by_their_norm(name):
    net = plain_network()
    data, other = SyntheticDataset(net, samples=200), SyntheticDataset(net, samples=50, seed=5)
    plain = prune(net, rate=0.3, criterion="l1", data=data, repair="none").network
    better = prune(net, rate=0.3, criterion="l1", data=data, repair=name)
    (record,) = better.plan.provenance["repair"]
    assert record == better.repairs[0].to_data()
    assert record["method"] == name
    assert record["kept"]
    assert record["judged_on"] == "40 samples held back"
    assert fidelity(net, better.network, other).error < 0.9 * fidelity(net, plain, other).error


def test_automatic_tries_all_in_order_and_records_them():
    g = Normed(seed=13)
    x = g.normed("c", g.normed("b", g.normed("a", g.data, 8), 8), 6)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    data = SyntheticDataset(net, samples=64)
    pruned = prune(net, rate=0.4, criterion="l1", data=data)
    records = pruned.plan.provenance["repair"]
    assert [record["method"] for record in records] == ["absorb", "refit", "recalibrate"]
    assert records[1]["kept"]  # so that there is nothing left for "bias"
    for record, following in pairwise(records):
        left = record["output_error_after" if record["kept"] else "output_error_before"]
        assert following["output_error_before"] == left
        assert record["kept"] == (record["output_error_after"] < record["output_error_before"])
    same = prune(net, rate=0.4, criterion="l1", data=data)
    for name in pruned.network.graph.initializers:
        assert np.array_equal(pruned.network.array(name), same.network.array(name))


def test_a_repair_that_does_harm_is_not_kept():
    net = plain_network()
    groups = find_groups(net)
    removed = removal(groups, a=(1,))
    dense = shrink(net, groups, removed)

    def spoil(state, network, progress):
        return rebuild(network, tensors={n: 9 * network.array(n) for n in ("out/weight",)})

    data = SyntheticDataset(net, samples=8)
    spoiler = Repair("spoil", "", "", spoil)
    kept, (record,) = repaired(state_of(net, groups, removed, data), dense, [spoiler])
    assert kept is dense
    assert not record.kept
    assert record.error_after > record.error_before


def test_without_data_only_constants_are_repaired():
    net = plain_network()
    assert "repair" not in prune(net, rate=0.3).plan.provenance
    g = Normed(seed=14)
    x = g.normed("a", g.data, 8, still=(1, 2, 6))
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    pruned = prune(net, rate=0.3, criterion="bn_scale")
    (record,) = pruned.plan.provenance["repair"]
    assert record["method"] == "absorb"
    assert record["kept"]
    assert np.allclose(outputs(pruned.network), outputs(net), rtol=1e-4, atol=1e-4)


def test_densifying_keeps_what_training_put_into_the_shift_of_a_removed_channel():
    g = Normed(seed=15)
    x = g.normed("b", g.normed("a", g.data, 8), 6)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    pruned = prune(net, rate=0.3, sparse=True)
    sparse, plan = pruned.network, pruned.plan
    (lost,) = {entry.removed for entry in plan.groups if entry.name == "a"}
    shifts = [n.inputs[2].name for n in sparse.graph if n.op_type == "BatchNormalization"]
    readers = [n.inputs[1].name for n in sparse.graph if n.op_type == "Conv"]
    shift, weight = sparse.array(shifts[0]).copy(), sparse.array(readers[1]).copy()
    assert not shift[list(lost)].any()
    shift[list(lost)] = 70
    weight[np.ix_(weight.any(axis=(1, 2, 3)), list(lost))] = 0.5
    tuned = rebuild(sparse, tensors={shifts[0]: shift, readers[1]: weight})
    dense = densify(tuned, plan).network
    assert np.allclose(outputs(dense), outputs(tuned), rtol=1e-4, atol=1e-4)
    bare = densify(tuned, plan, repair="none").network
    assert not np.allclose(outputs(bare), outputs(tuned), rtol=1e-2, atol=1e-2)


def test_every_fifth_sample_is_held_back_where_there_are_enough(tmp_path):
    net = plain_network()
    path = tmp_path / "x.npz"
    x = np.arange(60, dtype=np.float32).reshape(60, 1, 1, 1) * np.ones((1, 3, 8, 8), np.float32)
    np.savez(path, x=x, y=np.zeros(60, np.int64))
    fitting, judging = split(NpzDataset(path, net, batch=16), net)
    (name,) = net.inputs
    seen = [
        np.concatenate([batch.inputs[name][:, 0, 0, 0] for batch in part])
        for part in (fitting, judging)
    ]
    assert (fitting.samples, judging.samples) == (48, 12) == tuple(map(len, seen))
    assert seen[1].tolist() == list(range(4, 60, 5))
    assert sorted(np.concatenate(seen).tolist()) == list(range(60))
    assert not fitting.labelled
    few = SyntheticDataset(net, samples=49)
    assert split(few, net) == (few, few)
    assert split(None, net) == (None, None)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("auto", AUTOMATIC),
        (True, AUTOMATIC),
        (False, ()),
        ("none", ()),
        ((), ()),
        ("refit", ("refit",)),
        ("bias, absorb", ("bias", "absorb")),
        (["recalibrate", "refit"], ("recalibrate", "refit")),
    ],
)
def test_names_of_repairs(names, found):
    assert tuple(entry.name for entry in find_repairs(names, data=True)) == tuple(found)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("refitt", "unknown repair 'refitt' .* did you mean refit"),
        ("auto,refit", "repair 'auto' cannot be combined with others"),
        ("", "unknown repair ''.*known are absorb, auto, bias"),
        ("refit,refit", "named twice"),
    ],
)
def test_wrong_names_of_repairs_are_told(names, message):
    with pytest.raises(PlanError, match=message):
        find_repairs(names, data=True)


def test_a_repair_that_needs_data_says_so():
    net = plain_network()
    with pytest.raises(PlanError, match="repair 'refit' needs data"):
        prune(net, rate=0.3, repair="refit")
    plan = prune(net, rate=0.3).plan
    with pytest.raises(PlanError, match="repair 'bias' needs data"):
        apply_plan(net, plan, repair=["absorb", "bias"])
    assert [entry.name for entry in find_repairs("auto", data=False)] == ["absorb"]


def test_bias_correction_keeps_the_mean_that_a_normalisation_lets_through():
    g = Normed(seed=18)
    x = g.normed("b", g.normed("a", g.data, 8), 6)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    groups = find_groups(net)
    removed = removal(groups, a=(1, 2, 6), b=(3,))
    data = SyntheticDataset(net, samples=24)
    dense = shrink(net, groups, removed)
    nodes = [node for node in dense.graph if node.op_type == "BatchNormalization"]
    mean = nodes[1].inputs[3].name
    moved = rebuild(dense, tensors={mean: dense.array(mean) - 3})  # as OBS might have
    done = REPAIRS["bias"].apply(state_of(net, groups, removed, data), moved, silent)
    normed = nodes[1].outputs[0].name
    want = inner(net, normed, data).mean(axis=(0, 2, 3))[[0, 1, 2, 4, 5]]
    got = inner(done, normed, data).mean(axis=(0, 2, 3))
    assert np.allclose(got, want, atol=1e-4 * np.abs(want).max() + 1e-5)
    assert not np.allclose(inner(moved, normed, data).mean(axis=(0, 2, 3)), want, atol=0.1)


def test_where_obs_saw_all_samples_none_are_held_back():
    net = plain_network()
    data = SyntheticDataset(net, samples=64)
    for criterion, judged in (("l1", "12 samples held back"), ("obs", "64 samples")):
        pruned = prune(net, rate=0.3, criterion=criterion, data=data, repair="refit")
        (record,) = pruned.plan.provenance["repair"]
        assert record["judged_on"] == judged


def test_what_is_kept_is_fitted_to_all_samples():
    net = plain_network()
    groups = find_groups(net)
    removed = removal(groups, a=(1, 4, 5), c=(0,))
    data = SyntheticDataset(net, samples=64)
    dense = shrink(net, groups, removed)
    state = state_of(net, groups, removed, data)
    done, (record,) = repaired(state, dense, find_repairs("refit", data=True))
    assert record.measured_on == "12 samples held back"
    on_all = REPAIRS["refit"].apply(state, dense, silent)
    on_some = REPAIRS["refit"].apply(replace(state, data=split(data, net)[0]), dense, silent)
    weight = find_operators(net)[-1].weight
    assert np.array_equal(done.array(weight), on_all.array(weight))
    assert not np.array_equal(done.array(weight), on_some.array(weight))
