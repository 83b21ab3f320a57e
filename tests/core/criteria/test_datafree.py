"""Criteria from weights alone, each against a slow implementation of its formula."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.entropy import entropies
from secateur.core.criteria.lamp import adaptive
from secateur.core.criteria.similarity import similar_first
from secateur.core.data import SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph
from support.normed import Normed
from support.rich import Rich, rich


def scored(name, network, data=None):
    groups = find_groups(network)
    return groups, CRITERIA[name].score(ScoreContext(network=network, groups=groups, data=data))


def weight_of(network, layer):
    """Return the weight of a layer, the first of its parameters that is a matrix or more."""
    return next(
        network.array(name).astype(np.float64)
        for name in network.graph.initializers
        if name.startswith(f"{layer}/") and network.array(name).ndim > 1
    )


# -- lamp ------------------------------------------------------------------------------------


def test_lamp_is_the_square_over_all_squares_that_are_at_least_as_large():
    squares = np.array([4.0, 1.0, 9.0, 0.0])
    np.testing.assert_allclose(adaptive(squares), [4 / 13, 1 / 14, 1.0, 0.0])
    assert np.array_equal(adaptive(np.zeros(3)), np.zeros(3))


def test_lamp_of_a_whole_network():
    network = rich()
    groups, found = scored("lamp", network)
    sums, counts = np.zeros(groups.unit_count), np.zeros(groups.unit_count)
    for use in groups.uses:
        if use.role != "weight":
            continue
        weights = network.array(use.parameter).astype(np.float64)
        units = np.broadcast_to(groups.units[use.labels[0]], weights.shape)
        squares = {}
        for unit, weight in zip(units.ravel().tolist(), weights.ravel().tolist(), strict=True):
            squares[unit] = squares.get(unit, 0.0) + weight**2
        for unit, square in squares.items():
            sums[unit] += square / sum(other for other in squares.values() if other >= square)
            counts[unit] += 1
    np.testing.assert_allclose(found, sums / np.maximum(counts, 1), rtol=1e-9)
    for group in groups.groups:
        if len(group.layers) == 1:
            assert found[list(group.units)].max() == pytest.approx(1.0)


# -- dfpc ------------------------------------------------------------------------------------


def matrix_of(network, known, wanted, shape):
    """Return the linear map from one value to another as a matrix, one column a position."""
    from secateur.core.ir.partial import between

    part = between(network, {known}, [wanted])
    session, count = Session(part), int(np.prod(shape))
    inputs = np.eye(count, dtype=np.float32).reshape(count, *shape)
    found = session.run({known: inputs})[wanted].reshape(count, -1).astype(np.float64)
    zero = session.run({known: np.zeros((1, *shape), np.float32)})[wanted].reshape(1, -1)
    return (found - zero).T


def test_dfpc_is_the_sum_over_pairs_of_producers_and_consumers():
    g = Rich(channels=2, size=6)
    a = g.conv("a", g.data, 4)
    b = g.conv("b", a, 4, kernel=1)
    total = g.op("sum", "Add", a, b)
    pool = g.op(
        "pool", "AveragePool", total, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0]
    )
    c = g.conv_with("c", pool, (4, 2, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    network = g.network(y=c)
    groups, found = scored("dfpc", network)
    names = {p.name: p.node for p in groups.producers}
    absolute = rebuild(network, tensors={
        use.parameter: np.abs(network.array(use.parameter)) for use in groups.uses
        if use.role == "weight"
    })  # fmt: skip
    into_a = matrix_of(absolute, "data", names["a"], (2, 6, 6))
    into_b = matrix_of(absolute, names["a"], names["b"], (4, 6, 6))
    by_b = into_b
    by_c = matrix_of(absolute, "sum/Add", names["c"], (4, 6, 6))
    for place, unit in enumerate(groups.by_name("a").units):
        rows = slice(place * 36, (place + 1) * 36)
        expected = sum(
            np.abs(reader[:, rows] @ maker[rows]).sum()
            for maker, reader in ((into_a, by_b), (into_a, by_c), (into_b, by_c))
        )
        assert found[unit] == pytest.approx(expected, rel=1e-6)


def test_dfpc_takes_in_normalisations():
    g = Normed(channels=2, size=3)
    network = g.network(y=g.valid("out", g.normed("a", g.data, 4), 3, 1))
    groups, found = scored("dfpc", network)
    roles = {use.role: network.array(use.parameter).astype(np.float64) for use in groups.uses
             if use.parameter.startswith("a/")}  # fmt: skip
    factor = np.abs(roles["scale"]) / np.sqrt(roles["variance"] + 1e-5)
    rows = np.abs(roles["weight"]).sum(axis=(1, 2, 3)) * factor
    columns = np.abs(weight_of(network, "out")).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(
        found[list(groups.by_name("a").units)], rows * columns * 9, rtol=1e-6
    )


# -- similarity ------------------------------------------------------------------------------


def slow_order(vectors):
    left, order = list(range(len(vectors))), []
    while len(left) > 1:
        pairs = [
            (a, b) for a in left for b in left if a < b
        ]  # fmt: skip
        best = max(
            pairs,
            key=lambda p: vectors[p[0]] @ vectors[p[1]]
            / np.linalg.norm(vectors[p[0]]) / np.linalg.norm(vectors[p[1]]),
        )  # fmt: skip
        gone = min(best, key=lambda k: np.linalg.norm(vectors[k]))
        order.append(gone)
        left.remove(gone)
    return [*order, *left]


@pytest.mark.parametrize("seed", range(4))
def test_the_smaller_of_the_two_most_similar_leaves_first(seed):
    vectors = np.random.default_rng(seed).normal(size=(9, 4))
    assert similar_first(vectors @ vectors.T).tolist() == slow_order(vectors)


def test_filters_of_zeros_leave_first():
    vectors = np.array([[1.0, 2], [0, 0], [2, 1], [0, 0]])
    assert similar_first(vectors @ vectors.T).tolist() == [1, 3, 2, 0]


def test_similarity_is_that_of_all_layers_of_a_group():
    g = Graph(channels=2, size=3, seed=2)
    a = g.conv("a", g.data, 5)
    d = g.conv("d", g.op("sum", "Add", a, g.conv("b", a, 5)), 5, group=5)
    network = g.network(y=g.conv("out", d, 2))
    groups, found = scored("similarity", network)
    rows = []
    for layer in "abd":
        names = [name for name in network.graph.initializers if name.startswith(f"{layer}/")]
        parts = [network.array(name).astype(np.float64).reshape(5, -1) for name in names]
        rows.append(np.concatenate(parts, axis=1))
    vectors = np.concatenate(rows, axis=1)
    units = list(groups.by_name("a").units)
    assert np.argsort(found[units]).tolist() == slow_order(vectors)


# -- entropy ---------------------------------------------------------------------------------


def test_entropy_of_a_histogram():
    means = np.array([[0.0, 5.0, 1.0], [0.0, 5.0, 2.0], [1.0, 5.0, 3.0], [1.0, 5.0, 4.0]])
    np.testing.assert_allclose(entropies(means), [np.log(2), 0, np.log(4)])
    np.testing.assert_allclose(entropies(means, bins=2), [np.log(2), 0, np.log(2)])


def test_entropy_of_a_network():
    g = Graph(channels=3, size=6)
    a = g.op("act", "Relu", g.conv("a", g.data, 5))
    pool = g.op("pool", "MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    network = g.network(y=g.conv("out", pool, 2))
    data = SyntheticDataset(network, samples=40)
    groups, found = scored("entropy", network, data)
    session = Session(network, fetch=["act/Relu"])
    values = np.concatenate([session.run(batch.inputs)["act/Relu"] for batch in data])
    for place, unit in enumerate(groups.by_name("a").units):
        means = values[:, place].astype(np.float64).mean(axis=(1, 2))
        counts, _ = np.histogram(means, bins=100)
        parts = counts[counts > 0] / len(means)
        assert found[unit] == pytest.approx(-(parts * np.log(parts)).sum(), abs=1e-6)
