"""Single kernels: their order against a search through all chains of a graph written by hand."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.criteria.kernels import kernel_order
from secateur.core.engine.session import Session
from secateur.core.errors import FormatError, PlanError
from secateur.core.ir.network import BlobRef
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph
from support.periodic import periodic
from support.rich import rich

EPSILON = 1e-3


class Kernels(Graph):
    """A graph of convolutions with strides, groups and normalisations."""

    def parameter(self, *shape, spread=(-1.0, 1.0), kind="weight"):
        array = self.random.uniform(*spread, shape).astype(np.float32)
        blob = BlobRef(len(self.layers), self.random.integers(1 << 30), kind)
        return self.builder.parameter(array, blob)

    def conv(self, name, x, out, *, kernel=3, norm=False, transposed=False, **attributes):
        group = attributes.get("group", 1)
        read = int(x.shape[1])
        shape = (read, out // group) if transposed else (out, read // group)

        def emit():
            y = self.builder.op(
                "ConvTranspose" if transposed else "Conv",
                x, self.parameter(*shape, kernel, kernel),
                **{"pads": [kernel // 2] * 4, **attributes},
            )  # fmt: skip
            if not norm:
                return y
            vectors = [
                self.parameter(out, spread=spread, kind=kind)
                for kind, spread in {"scale": (-2, 2), "shift": (-1, 1), "mean": (-1, 1),
                                     "variance": (0.2, 2)}.items()
            ]  # fmt: skip
            return self.builder.op("BatchNormalization", y, *vectors, epsilon=EPSILON)

        return self.layer(name, "Conv", emit)


def network_by_hand():
    """Return a network with a stride, normalisations and a residual sum."""
    g = Kernels(channels=2, size=8, seed=5)
    a = g.op("act", "Relu", g.conv("a", g.data, 3, norm=True, strides=[2, 2]))
    b = g.conv("b", a, 3, norm=True)
    total = g.op("again", "Relu", g.op("sum", "Add", a, b))
    return g.network(y=g.conv("c", total, 2, kernel=5))


def norm_of(kernel, stride=1, size=16):
    """Return the largest singular value of a convolution on a periodic grid."""
    return np.linalg.svd(periodic(kernel, stride, size), compute_uv=False)[0]


def edges_by_hand(network):
    """Return (node, node) → length and the kernel, None for those that cannot leave."""
    array = network.array
    found = {}
    for layer, read, stride, norm in (("a", "data", 2, True), ("b", "a", 1, True),
                                      ("c", "sum", 1, False)):  # fmt: skip
        for out, own in enumerate(array(f"{layer}/weight")):
            factor = 1.0
            if norm:
                sigma = np.sqrt(array(f"{layer}/variance")[out] + EPSILON)
                factor = abs(array(f"{layer}/scale")[out]) / sigma
            for into, kernel in enumerate(own):
                length = norm_of(kernel.astype(np.float64), stride) * factor
                found[(read, into), (layer, out)] = length, (f"{layer}/weight", out, into)
    for channel in range(3):
        for side in ("a", "b"):
            found[(side, channel), ("sum", channel)] = 1.0, None
    return found


def longest(edges):
    """Return the longest chain of all, each a way through edges that begins anew below 1."""
    best = (1.0 + 1e-12, ())

    def onwards(node, product, path):
        nonlocal best
        if product > best[0]:
            best = product, path
        for (source, target), (length, _) in edges.items():
            if source == node and product * length > 1.0:
                onwards(target, product * length, (*path, (source, target)))

    for node in {source for source, _ in edges}:
        onwards(node, 1.0, ())
    return best[1]


def slow_order(edges):
    """Return the kernels in the order in which they are kept, by a search each time anew."""
    left, order = dict(edges), []
    while path := longest(left):
        kernels = [(step, left[step][1]) for step in path if left[step][1] is not None]
        if not kernels:
            break
        for step, kernel in kernels:
            del left[step]
            order.append(kernel)
    rest = [(length, kernel) for length, kernel in left.values() if kernel is not None]
    return order, [kernel for _, kernel in sorted(rest, reverse=True)]


def shown(kernels):
    """Return the kernels in the order in which they are kept."""
    return [(kernels.weights[weight], a, b) for weight, a, b in kernels.places[::-1].tolist()]


@pytest.mark.parametrize("factor", [1.0, 0.4, 0.15])
def test_kernels_stay_in_the_order_of_the_longest_chains(factor):
    network = network_by_hand()
    weights = [name for name in network.graph.initializers if name.endswith("/weight")]
    network = rebuild(
        network, tensors={name: network.array(name) * np.float32(factor) for name in weights}
    )
    edges = edges_by_hand(network)
    chained, rest = slow_order(edges)
    found = kernel_order(network)
    assert shown(found) == chained + rest
    assert found.chained == len(chained)
    alone = sorted(((length, kernel) for length, kernel in edges.values() if kernel), reverse=True)
    assert shown(kernel_order(network, "norm")) == [kernel for _, kernel in alone]
    assert chained
    assert rest, "chains end where they attenuate"
    assert (chained + rest != [kernel for _, kernel in alone]) == (factor > 0.15)
    assert shown(kernel_order(network, part=2 / len(alone)))[:2] == chained[:2]


def test_chains_pass_from_the_input_through_the_sum_to_the_output():
    network = network_by_hand()
    first = shown(kernel_order(network))[:2]
    assert [name for name, *_ in first] in (["a/weight", "b/weight"], ["a/weight", "c/weight"])


def test_groups_depthwise_joins_and_transposed_convolutions_are_followed():
    g = Kernels(channels=2, size=8, seed=1)
    a = g.conv("a", g.data, 4)
    depthwise = g.conv("depthwise", a, 4, group=4)
    grouped = g.conv("grouped", a, 6, group=2, kernel=1, pads=[0] * 4)
    joined = g.op("joined", "Concat", depthwise, grouped, a, axis=1)
    up = g.conv("up", joined, 4, transposed=True, group=2, kernel=2, strides=[2, 2], pads=[0] * 4)
    network = g.network(y=g.conv("out", up, 2))
    weight = {name: network.array(name) for name in network.graph.initializers}
    # Of each layer one kernel is large: together they are the longest chain.
    marks = [("a/weight", 3, 1), ("grouped/weight", 4, 1), ("up/weight", 8, 1),
             ("out/weight", 0, 3)]  # fmt: skip
    for name, first, second in marks:
        weight[name] = weight[name].copy()
        weight[name][first, second] *= 100
    order = shown(kernel_order(rebuild(network, tensors=weight)))
    assert order[:4] == marks
    other = [("a/weight", 2, 0), ("depthwise/weight", 2, 0), ("up/weight", 2, 0),
             ("out/weight", 1, 0)]  # fmt: skip
    for name, first, second in marks:
        weight[name][first, second] /= 100
    for name, first, second in other:
        weight[name] = weight[name].copy()
        weight[name][first, second] *= 100
    assert shown(kernel_order(rebuild(network, tensors=weight)))[:4] == other


def test_a_transposed_convolution_and_a_dilated_stride_have_their_operator_norms():
    g = Kernels(channels=1, size=8, seed=2)
    up = g.conv("up", g.data, 2, transposed=True, kernel=3, strides=[2, 2], pads=[1] * 4)
    down = g.conv("down", up, 2, strides=[3, 3], dilations=[2, 2])
    network = g.network(y=down)
    lengths = {}
    for name, stride, step in (("up/weight", 2, 1), ("down/weight", 3, 2)):
        for (first, second), _ in np.ndenumerate(network.array(name)[..., 0, 0]):
            kernel = network.array(name)[first, second].astype(np.float64)
            spread = np.zeros([(size - 1) * step + 1 for size in kernel.shape])
            spread[::step, ::step] = kernel
            size = -(-16 // stride) * stride
            lengths[name, first, second] = norm_of(spread, stride, size)
    expected = sorted(lengths, key=lengths.get, reverse=True)
    assert shown(kernel_order(network, "norm")) == expected


def test_every_kernel_of_a_network_with_all_structures_has_one_place():
    network = rich()
    places = shown(kernel_order(network))
    convolutions = {str(node.inputs[1].name) for node in network.graph
                    if node.op_type in ("Conv", "ConvTranspose")}  # fmt: skip
    expected = [
        (name, first, second)
        for name in sorted(convolutions & set(network.graph.initializers))
        for first, second in np.ndindex(*network.array(name).shape[:2])
    ]
    assert sorted(places) == expected


@pytest.mark.parametrize("method", ["lean", "norm"])
@pytest.mark.parametrize("kept", [0.5, 0.1])
def test_so_many_kernels_stay_as_they_were_and_the_others_are_zero(method, kept):
    network = rich()
    order = shown(kernel_order(network, method))
    count = round(kept * len(order))
    found = secateur.prune_kernels(network, kept, method)
    stay = set(order[:count])
    for name, first, second in order:
        before, after = (each.array(name)[first, second] for each in (network, found))
        np.testing.assert_array_equal(after, before if (name, first, second) in stay else 0)
    others = set(network.graph.initializers) - {name for name, *_ in order}
    for name in others:
        assert found.array(name) is network.array(name) or np.array_equal(
            found.array(name), network.array(name)
        )
    data = np.zeros((1, *next(iter(found.inputs.values()))[1:]), np.float32)
    assert all(np.isfinite(y).all() for y in Session(found).run({"data": data}).values())


def test_excluded_layers_keep_all_kernels_and_do_not_count():
    network = network_by_hand()
    found = secateur.prune_kernels(network, 0.2, exclude=["c"])
    np.testing.assert_array_equal(found.array("c/weight"), network.array("c/weight"))
    left = sum(int(found.array(f"{name}/weight").any(axis=(2, 3)).sum()) for name in "ab")
    assert left == round(0.2 * (3 * 2 + 3 * 3))


def test_all_kernels_stay_where_nothing_is_asked_for():
    network = network_by_hand()
    assert secateur.prune_kernels(network, 1.0) is network


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kept": 0.0}, "must be over 0 and up to 1, got 0"),
        ({"kept": 5}, "got 5 (hint: 0.05 for 5 %)"),
        ({"kept": float("nan")}, "got nan"),
        ({"method": "leen"}, "by lean or norm, not 'leen' (hint: did you mean lean?)"),
        ({"exclude": ["d"]}, "cannot exclude 'd'"),
        ({"exclude": ["a", "b", "c"]}, "no convolution whose kernels may leave"),
    ],
)
def test_what_cannot_be_is_refused(arguments, text):
    with pytest.raises(PlanError) as caught:
        secateur.prune_kernels(network_by_hand(), **arguments)
    assert text in str(caught.value)


def test_weights_that_are_no_numbers_are_refused():
    network = network_by_hand()
    weight = network.array("b/weight").copy()
    weight[0, 0, 0, 0] = np.nan
    with pytest.raises(FormatError, match="'b/weight' holds NaN"):
        secateur.prune_kernels(rebuild(network, tensors={"b/weight": weight}))


def test_a_network_without_convolutions_is_refused():
    g = Graph(channels=3, size=1)
    network = g.network(y=g.gemm("fc", g.op("flat", "Flatten", g.data), 2))
    with pytest.raises(PlanError, match="no convolution whose kernels may leave"):
        secateur.prune_kernels(network)
