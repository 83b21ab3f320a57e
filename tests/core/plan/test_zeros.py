"""Plans from zeros: a sparse network says itself what left."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.errors import PlanError
from secateur.core.ir.network import Network
from secateur.core.ir.rebuild import rebuild
from secateur.core.plan.zeros import plan_of_zeros
from support.graphs import Graph


def residual() -> Network:
    """A sum of two convolutions, a depthwise convolution behind it, and a head."""
    g = Graph()
    a, b = g.conv("a", g.data, 8), g.conv("b", g.data, 8)
    sum_ = g.op("sum", "Add", a, b)
    inner = g.conv("inner", g.conv("deep", g.op("relu", "Relu", sum_), 8, group=8), 6)
    return g.network(out=g.conv("head", inner, 3))


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_zeros_say_what_the_plan_said(rate: float) -> None:
    network = residual()
    sparse = secateur.prune(network, rate=rate, criterion="l1", repair="none", sparse=True)
    found = plan_of_zeros(sparse.network, secateur.find_groups(sparse.network))
    assert found.groups == sparse.plan.groups
    assert found.removes
    dense = secateur.densify(sparse.network, found, repair="none").network
    assert secateur.compare(sparse.network, dense).worst.relative < 1e-4


def zeroed(network: Network, *names: str, channels: slice = slice(None)) -> Network:
    """Return the network with some channels of convolutions zero."""
    tensors = {}
    for node in network.graph:
        if node.op_type == "Conv" and node.inputs[1].name.split("/")[0].split(".")[0] in names:
            name = node.inputs[1].name
            array = np.array(network.array(name))
            array[channels] = 0
            tensors[name] = array
    assert len(tensors) == len(names)
    return rebuild(network, tensors=tensors)


def test_a_sum_leaves_where_all_that_it_adds_is_zero() -> None:
    network = residual()
    groups = secateur.find_groups(network)
    for names in (("a",), ("a", "b")):
        with pytest.raises(PlanError, match="no channel of 'net' is zero"):
            plan_of_zeros(zeroed(network, *names, channels=slice(2)), groups)
    whole = zeroed(network, "a", "b", "deep", channels=slice(2))
    assert [g.removed for g in plan_of_zeros(whole, groups).groups] == [(0, 1), ()]


def test_a_layer_that_is_zero_as_a_whole() -> None:
    network = zeroed(residual(), "inner")
    with pytest.raises(PlanError, match="all channels of group 'inner' are zero"):
        plan_of_zeros(network, secateur.find_groups(network))
