"""LEAN: operator norms against singular values, chains against a search through all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.lean import chains, operator_norms
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph
from support.normed import Normed
from support.periodic import periodic
from support.rich import rich


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_norm_is_the_largest_singular_value_on_a_periodic_grid(size, stride):
    kernels = np.random.default_rng(size).normal(size=(2, 3, size, size))
    found = operator_norms(kernels, (stride, stride))
    for place in np.ndindex(2, 3):
        expected = np.linalg.svd(periodic(kernels[place], stride), compute_uv=False)[0]
        assert found[place] == pytest.approx(expected, rel=1e-9)


def test_a_stride_that_skips_taps_and_a_kernel_larger_than_the_grid():
    kernel = np.random.default_rng(0).normal(size=(1, 1, 17, 17))
    assert np.isfinite(operator_norms(kernel)).all()
    one = np.ones((1, 1, 1, 1))
    assert operator_norms(one, (3, 3)) == pytest.approx(1.0)


@pytest.mark.parametrize(("size", "stride", "grid"), [(16, 3, 18), (15, 5, 20), (17, 3, 33)])
def test_no_tap_is_lost_where_the_stride_does_not_divide_the_grid(size, stride, grid):
    kernel = np.zeros((1, 1, size, size))
    kernel[..., -1, -1] = 2.0  # the last tap, which a grid that is too small has no place for
    kernel[..., 0, 0] = 1.0
    expected = np.linalg.svd(periodic(kernel[0, 0], stride, grid), compute_uv=False)[0]
    assert operator_norms(kernel, (stride, stride)) == pytest.approx(expected, rel=1e-9)


def test_kernels_are_measured_in_blocks_of_bounded_memory(monkeypatch):
    kernels = np.random.default_rng(0).normal(size=(7, 5, 3, 3))
    whole, sizes = operator_norms(kernels, (2, 2)), []
    transform = np.fft.rfftn

    def counted(part, *arguments):
        found = transform(part, *arguments)
        sizes.append(found.nbytes)
        return found

    monkeypatch.setattr("secateur.core.criteria.lean.BLOCK_BYTES", 50_000)
    monkeypatch.setattr("secateur.core.criteria.lean.np.fft.rfftn", counted)
    np.testing.assert_allclose(operator_norms(kernels, (2, 2)), whole, rtol=1e-12)
    assert len(sizes) > 4
    assert max(sizes) <= 50_000
    sizes.clear()
    pointwise = kernels[..., :1, :1]
    np.testing.assert_array_equal(operator_norms(pointwise), np.abs(pointwise[..., 0, 0]))
    assert not sizes, "a kernel of one tap has its absolute value at every frequency"


def edges_of(network, groups):
    """Return the edges between (value, unit) pairs: {(from, to): [length, node]}, identity 1."""
    uses = {use.parameter: use for use in groups.uses if use.role == "weight"}
    found = {}
    for node in network.graph:
        made = str(node.outputs[0].name)
        reads = [str(v.name) for v in node.inputs if v is not None and v.name in groups.values]
        weight = next((str(v.name) for v in node.inputs if v is not None and v.name in uses), None)
        out = groups.units[groups.values[made].vector].tolist()
        if weight is None:
            for name in reads:
                inside = set(groups.units[groups.values[name].vector].tolist())
                for unit in set(out) & inside:
                    found[(name, unit), (made, unit)] = None
            continue
        kernels = network.array(weight).astype(np.float64)
        strides = node.attributes.get("strides")
        stride = strides.as_ints()[0] if strides is not None else 1
        labels = uses[weight].labels
        produced = np.broadcast_to(groups.units[labels[0]], kernels.shape)
        consumed = np.broadcast_to(groups.units[labels[-1]], kernels.shape)
        squares = {}
        for a, b in np.ndindex(*kernels.shape[:2]):
            place = (a, b, *(0,) * (kernels.ndim - 2))
            transposed = node.op_type == "ConvTranspose"
            length = (
                np.linalg.svd(periodic(kernels[a, b], 1 if transposed else stride),
                              compute_uv=False)[0]
                if kernels.ndim == 4 else abs(kernels[a, b])
            )  # fmt: skip
            key = ((reads[0], int(consumed[place])), (made, int(produced[place])))
            squares[key] = squares.get(key, 0.0) + length**2
        for key, square in squares.items():
            found[key] = np.sqrt(square)
    return found


def slow_chains(edges, wanted):
    """Return wanted units by a search through all chains, each time anew."""
    edges, order, left = dict(edges), [], set(wanted)
    while left:
        after = {}
        for (source, target), length in edges.items():
            after.setdefault(source, []).append((target, 1.0 if length is None else length))
        known = {}

        def longest(place, after=after, known=known):
            """Return the longest chain that begins at a place."""
            if place not in known:
                found = (1.0, (place,))
                for target, length in after.get(place, ()):
                    product, path = longest(target)
                    if length * product > found[0]:
                        found = (length * product, (place, *path))
                known[place] = found
            return known[place]

        product, path = max((longest(place) for place in list(after)), key=lambda one: one[0])
        if product <= 1.0 + 1e-12:
            return order
        for source, target in pairwise(path):
            if edges.get((source, target)) is not None:
                del edges[source, target]
        for _, unit in reversed(path):
            if unit in left:
                left.remove(unit)
                order.append(unit)
    return order


def scaled(network, factor):
    """Return the network with smaller weights, so that chains attenuate in places."""
    groups = find_groups(network)
    return rebuild(
        network,
        tensors={
            use.parameter: (network.array(use.parameter) * factor).astype(np.float32)
            for use in groups.uses if use.role == "weight"
        },
    )  # fmt: skip


def coupled():
    g = Graph(channels=2, size=4, seed=3)
    a = g.op("act", "Relu", g.conv("a", g.data, 3))
    total = g.op("sum", "Add", a, g.conv("b", a, 3))
    d = g.conv("d", total, 3, group=3)
    both = g.op("both", "Concat", d, total, axis=1)
    c = g.conv("c", both, 4, group=2, kernel=1)
    return g.network(y=g.gemm("fc", g.op("flat", "Flatten", c), 2))


@pytest.mark.parametrize("factor", [1.0, 0.15])
def test_chains_are_the_longest_of_all(factor):
    network = scaled(coupled(), factor)
    groups = find_groups(network)
    wanted = groups.mask(unit for group in groups.groups for unit in group.removable())
    order, rest = chains(network, groups, wanted)
    assert order == slow_chains(edges_of(network, groups), np.flatnonzero(wanted).tolist())
    assert sorted(order + rest) == np.flatnonzero(wanted).tolist()
    scores = CRITERIA["lean"].score(ScoreContext(network=network, groups=groups))
    assert np.argsort(-scores[order + rest], kind="stable").tolist() == list(
        range(len(order + rest))
    )
    assert scores.min() > 0
    assert scores.max() == 1.0


def test_normalisations_lengthen_the_edges_to_their_channel():
    g = Normed(channels=2, size=3)
    network = g.network(y=g.valid("out", g.normed("a", g.data, 5), 2, 1))
    groups = find_groups(network)
    name = next(u.parameter for u in groups.uses if u.role == "scale")
    scale = network.array(name).copy()
    scale[3] *= 1000
    units = groups.by_name("a").units
    found = CRITERIA["lean"].score(
        ScoreContext(network=rebuild(network, tensors={name: scale}), groups=groups)
    )
    assert int(np.argmax(found[list(units)])) == 3


def test_every_channel_of_a_network_with_all_structures_has_a_place_of_its_own():
    network = rich()
    groups = find_groups(network)
    scores = CRITERIA["lean"].score(ScoreContext(network=network, groups=groups))
    removable = [unit for group in groups.groups for unit in group.removable()]
    assert len(set(scores[removable])) == len(removable)
