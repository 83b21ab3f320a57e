"""Proofs where rounding decides: pieces between the nodes that amplify it are compared."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.errors import VerificationError
from secateur.core.ir.rebuild import rebuild
from secateur.core.verify.compare import compare
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import compare_pieces, narrowed, steep_nodes
from support.graphs import Graph, pooled, random_removal, scattered


def twins(kind: str):
    """Two channels that are equal, so that the least rounding decides which is larger."""
    g = Graph(channels=1)
    weight = g.builder.parameter(np.full((2, 1, 1, 1), 0.7, np.float32))
    x = g.op("a", "Conv", g.data, weight)
    if kind == "Softmax":
        x = g.op("large", "Mul", x, g.builder.constant(1e5, np.float32))
        y = g.op("y", "Softmax", x, axis=1)
    else:
        y = g.op("y", kind, x, axis=1)
    return g.network(y=y), str(weight.name)


def nudged(network, name: str, factor: float):
    weight = network.array(name).copy()
    weight[1] *= np.float32(factor)
    return rebuild(network, tensors={name: weight})


@pytest.mark.parametrize("kind", ["ArgMax", "Softmax"])
def test_rounding_that_decides_is_no_difference(kind):
    network, weight = twins(kind)
    data = SyntheticDataset(network, samples=4)
    other = nudged(network, weight, 1 + 1e-6)
    assert not compare(network, other, data).within(1e-2)
    proof = verify_equal("a = b", network, other, data)
    assert 0 < proof.worst.relative < 2e-6
    assert "cut at 1 nodes" in proof.notes[0]


@pytest.mark.parametrize("kind", ["ArgMax", "Softmax"])
def test_a_real_difference_is_found_in_its_piece(kind):
    network, weight = twins(kind)
    data = SyntheticDataset(network, samples=4)
    with pytest.raises(VerificationError, match=r"(Conv|Mul)' differs by 1\.0\de-03"):
        verify_equal("a = b", network, nudged(network, weight, 1.001), data)


def unpooled():
    """Pooling with positions that put other pixels where the largest ones were."""
    g = Graph()
    y, where = pooled(g, g.conv("a", g.data, 6))
    inside = g.op("inside", "Mod", where, g.builder.constant(64))
    c = g.conv("c", g.conv("b", y, 5), 6)
    return g.network(y=g.conv("out", scattered(g, c, inside, 8), 2))


def test_pieces_of_networks_of_different_width():
    network = unpooled()
    groups = find_groups(network)
    data = SyntheticDataset(network, samples=2)
    removed = random_removal(groups, np.random.default_rng(0))
    assert removed.any()
    full, dense = mask(network, groups, removed), shrink(network, groups, removed)
    assert [node.op_type for node in steep_nodes(full)] == ["MaxPool"]
    found = compare_pieces(full, dense, data, narrowed(groups, removed), given=True)
    assert [output.a for output in found.outputs] == ["y", "a/Conv"]
    assert found.within(1e-5)
    broken = rebuild(dense, tensors={"c/weight": dense.array("c/weight") * np.float32(1.01)})
    for given in (False, True):
        found = compare_pieces(full, broken, data, narrowed(groups, removed), given=given)
        assert not found.within(1e-3)


def test_what_a_saturated_softmax_hides_is_seen():
    network, _ = twins("Softmax")
    data = SyntheticDataset(network, samples=4)
    weight = network.array(next(iter(network.graph.initializers))).copy()
    weight[1] *= np.float32(0.5)
    one_hot = rebuild(network, tensors={next(iter(network.graph.initializers)): weight})
    other = rebuild(one_hot, tensors={next(iter(network.graph.initializers)): weight * 1.01})
    assert compare(one_hot, other, data).within(1e-6)
    with pytest.raises(VerificationError, match=r"Mul' differs by 1\.0"):
        verify_equal("a = b", one_hot, other, data)
