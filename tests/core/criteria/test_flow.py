"""Flow through absolute weights, against automatic differentiation of the same network."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.core.cost.budget import make_costs
from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.flow import Flow
from secateur.core.criteria.synflow import removal_order
from secateur.core.errors import PlanError
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph, pooled
from support.rich import rich
from support.training import need_torch


def absolute(network, groups):
    """Return the network of absolute weights as a graph: no shift, every slope one."""
    tensors = {}
    for use in groups.uses:
        array = network.array(use.parameter)
        if use.role in ("weight", "scale", "divisor"):
            tensors[use.parameter] = np.abs(array)
        elif use.role in ("bias", "shift", "mean"):
            tensors[use.parameter] = np.zeros_like(array)
    return rebuild(network, tensors=tensors)


def by_differentiation(network, groups):
    """Return Σ |w · ∂R/∂w| of every unit over the weights that produce it, in float64."""
    torch = need_torch()
    from secateur.core.training.module import TrainingModule

    module = TrainingModule(absolute(network, groups)).double().eval()
    feeds = {
        name: torch.ones([1 if isinstance(n, str) else n for n in shape], dtype=torch.float64)
        for name, shape in network.inputs.items()
    }
    sum(y.sum() for y in module(feeds).values()).backward()
    scores = np.zeros(groups.unit_count)
    for use in groups.uses:
        if use.role != "weight":
            continue
        tensor = module.tensor(use.parameter)
        product = (tensor * tensor.grad).abs().detach().numpy()
        units = np.broadcast_to(groups.units[use.labels[0]], product.shape)
        for unit, each in zip(units.ravel().tolist(), product.ravel().tolist(), strict=True):
            scores[unit] += each
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_a_flow_is_the_derivative_of_the_network_of_absolute_weights(seed):
    network = rich(seed)
    groups = find_groups(network)
    expected = by_differentiation(network, groups)
    found = Flow(network, groups).scores()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    removable = [unit for group in groups.groups for unit in group.removable()]
    assert len(removable) > 20
    assert (found[removable] > 0).all()


def test_a_flow_without_some_units_is_that_of_the_masked_network():
    network = rich()
    groups = find_groups(network)
    kept = np.ones(groups.unit_count, dtype=bool)
    for group in groups.groups:
        kept[list(group.removable())[::3]] = False
    tensors = {}
    for use in groups.uses:  # what a removed unit makes is zero, and so is its slope
        if use.role == "weight":
            array = network.array(use.parameter)
            tensors[use.parameter] = np.where(kept[groups.units[use.labels[0]]], array, 0)
    expected = by_differentiation(rebuild(network, tensors=tensors), groups)
    np.testing.assert_allclose(Flow(network, groups).scores(kept), expected, rtol=1e-6)


def test_every_layer_passes_on_the_whole_flow():
    g = Graph(channels=2, size=5)
    a = g.op("act", "Relu", g.conv("a", g.data, 5, bias=False))
    b = g.op("pool", "MaxPool", g.conv("b", a, 3), kernel_shape=[2, 2], strides=[2, 2])
    network = g.network(y=g.conv("c", b, 2))
    groups = find_groups(network)
    flow = Flow(network, groups).scores()
    sums = [flow[list(group.units)].sum() for group in groups.groups]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-12)


def test_gates_pass_on_half_from_each_side_and_swish_all_of_it():
    g = Graph(channels=2, size=4)
    a = g.conv("a", g.data, 4, kernel=1)
    swish = g.op("swish", "Mul", a, g.op("sigmoid", "Sigmoid", a))
    mean = g.op("mean", "GlobalAveragePool", swish)
    gate = g.op("gate", "Sigmoid", g.conv("s", mean, 4, kernel=1))
    gated = g.op("gated", "Mul", swish, gate)
    network = g.network(y=g.conv("c", gated, 2, kernel=1))
    groups = find_groups(network)
    flow = Flow(network, groups).scores()
    own = {p.name: flow[groups.units[p.labels]].sum() for p in groups.producers}
    assert own["c"] > 0
    # The group of 'a' and 's' holds the flow of both: the whole of 'c', and the half through 's'.
    assert own["a"] == pytest.approx(1.5 * own["c"])


def test_an_operator_that_is_not_known_ends_the_flow_and_another_begins_behind_it():
    """What ArgMax reads counts as an output; what it makes is one everywhere."""
    g = Graph(channels=2, size=4)
    values, _ = pooled(g, g.conv("a", g.data, 4, kernel=1))
    order = g.op("order", "ArgMax", values, axis=1, keepdims=1)
    cast = g.op("cast", "Cast", order, to=1)
    network = g.network(y=g.conv("c", cast, 2, kernel=1), z=g.conv("d", values, 2, kernel=1))
    groups = find_groups(network)
    flow = Flow(network, groups).scores()
    a, c, d = (np.abs(network.array(f"{name}/weight")[..., 0, 0].astype(float)) for name in "acd")
    positions = 2 * 2
    expected = {
        "a": positions * a.sum(axis=1) * (1 + d.sum(axis=0)),
        "c": positions * c[:, 0],
        "d": positions * d @ a.sum(axis=1),
    }
    found = {producer.name: flow[groups.units[producer.labels]] for producer in groups.producers}
    assert found.keys() == expected.keys()
    for name, own in expected.items():
        np.testing.assert_allclose(found[name], own, rtol=1e-12, err_msg=name)


def deep(layers, size):
    """Return layers of which each multiplies the flow."""
    g = Graph(channels=4, size=1)
    x = g.data
    for number in range(layers):
        x = g.conv(f"l{number}", x, 4, kernel=1, bias=False)
    network = g.network(y=x)
    names = [use.parameter for use in find_groups(network).uses]
    return rebuild(
        network,
        tensors={name: (network.array(name) * size).astype(np.float32) for name in names},
    )


def test_products_beyond_a_float_do_not_overflow():
    small = deep(12, 1.0)
    large = deep(12, 2.0**100)  # 2^1200 in all, beyond 2^1024
    one, other = (Flow(net, find_groups(net)).scores() for net in (small, large))
    np.testing.assert_allclose(one / one.max(), other / other.max(), rtol=1e-6)
    huge = deep(30, 2.0**100)
    with pytest.raises(PlanError, match="more than numbers can hold"):
        Flow(huge, find_groups(huge)).scores()


def test_values_that_would_fill_the_memory_are_looked_at_on_a_smaller_input(monkeypatch):
    g = Graph(channels=2, size=128)
    a = g.op("pool", "MaxPool", g.conv("a", g.data, 5), kernel_shape=[2, 2], strides=[2, 2])
    network = g.network(y=g.conv("b", a, 2))
    groups = find_groups(network)
    whole = Flow(network, groups).scores()
    monkeypatch.setattr("secateur.core.criteria.flow.network.MEMORY", 1)
    small = Flow(network, groups).scores()
    assert small.max() < whole.max() / 10
    units = list(groups.by_name("a").units)  # only borders weigh more than before
    np.testing.assert_allclose(small[units] / small.max(), whole[units] / whole.max(), rtol=0.1)


# -- the order of removal ----------------------------------------------------------------------


def uneven():
    """A deep network with one layer far wider than the others: single shots empty it first."""
    g = Graph(channels=3, size=4, seed=1)
    x = g.data
    for number, width in enumerate((8, 8, 200, 8, 8)):
        x = g.op(f"act{number}", "Relu", g.conv(f"l{number}", x, width, kernel=1, bias=False))
    return g.network(y=g.conv("out", x, 4, kernel=1))


def left_of(groups, order, costs, fraction):
    """Return a mask over units at the first place of an order with so few parameters left."""
    removed = groups.mask(())
    for unit in order:
        if costs.total(removed) <= fraction * costs.total():
            break
        removed[unit] = True
    return removed


def emptied(groups, removed):
    return [group.name for group in groups.groups if group.prunable
            and removed[list(group.units)].all()]  # fmt: skip


def test_steps_keep_every_layer_down_to_a_hundredth_of_the_parameters_and_a_single_shot_does_not():
    network = uneven()
    groups = find_groups(network)
    costs, flow = make_costs(network, groups, "parameters"), Flow(network, groups)
    iterated = left_of(groups, removal_order(flow, groups), costs, 0.01)
    assert costs.total(iterated) <= 0.01 * costs.total()
    single = left_of(groups, removal_order(flow, groups, steps=1), costs, 0.01)
    assert not emptied(groups, iterated)
    assert emptied(groups, single) == ["l2"]


def test_the_order_is_that_of_flows_computed_again_after_every_step():
    network = rich()
    groups = find_groups(network)
    left = sorted(unit for group in groups.groups for unit in group.removable())
    whole, order = len(left), []
    for step in range(1, 101):
        stay = int(whole * 0.01 ** (step / 100))
        lost = {name: network.array(name).copy() for name in {u.parameter for u in groups.uses}}
        for use in groups.uses:
            if use.role == "weight":
                gone = np.isin(groups.units[use.labels[0]], order)
                lost[use.parameter] = np.where(gone, 0, lost[use.parameter])
        if len(left) > stay:
            flows = by_differentiation(rebuild(network, tensors=lost), groups)
            sizes = {unit: round(math.log(max(flows[unit], 1e-300)), 9) for unit in left}
            first = sorted(left, key=lambda unit: (sizes[unit], unit))
            first = first[: len(left) - stay]
            order += first
            left = [unit for unit in left if unit not in first]
    scores = CRITERIA["synflow"].score(ScoreContext(network=network, groups=groups))
    assert np.argsort(scores[order], kind="stable").tolist() == list(range(len(order)))
    assert scores[order[0]] == pytest.approx(1 / whole)
