"""Channel groups of every coupling structure, with the expected groups written out."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.cost.network_cost import Costs, measure_cost
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.ir.network import BLOCK
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from support.graphs import Graph, pooled, random_removal, scattered, shown


def chain():
    g = Graph()
    x = g.op("relu", "Relu", g.conv("a", g.data, 8))
    x = g.conv("b", g.op("pool", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 6)
    x = g.gemm("fc", g.op("flat", "Flatten", x), 10)
    return g.network(prob=g.op("prob", "Softmax", g.gemm("out", x, 4), axis=1)), {
        "a": (("a",), 8, [[8]]),
        "b": (("b",), 6, [[6]]),
        "fc": (("fc",), 10, [[10]]),
        "out": "mixed by 'prob' (Softmax)",
    }


def residual_of_three():
    g = Graph()
    a = g.conv("a", g.data, 8)
    b, c = g.conv("b", a, 8), g.conv("c", a, 8)
    total = g.op("sum", "Sum", a, b, c)
    return g.network(y=g.conv("out", total, 2)), {
        "a": (("a", "b", "c"), 8, [[8]]),
        "out": "feeds output 'y'",
    }


def residual_to_output():
    g = Graph()
    a = g.conv("a", g.data, 8)
    return g.network(y=g.op("sum", "Add", a, g.conv("b", a, 8))), {"a": "feeds output 'y'"}


def concatenation():
    g = Graph()
    a, b = g.conv("a", g.data, 4), g.conv("b", g.data, 6)
    both = g.op("cat", "Concat", a, b, axis=1)
    c = g.conv("c", both, 10)
    return g.network(y=g.conv("out", g.op("sum", "Add", both, c), 2)), {
        "a": (("a", "b", "c"), 10, [[10]]),
        "out": "feeds output 'y'",
    }


def the_same_twice():
    g = Graph()
    a = g.conv("a", g.data, 4)
    return g.network(y=g.conv("out", g.op("cat", "Concat", a, a, axis=1), 2)), {
        "a": (("a",), 4, [[4]]),
        "out": "feeds output 'y'",
    }


def depthwise():
    g = Graph()
    a = g.conv("a", g.data, 6, kernel=1)
    d = g.conv("d", a, 6, group=6)
    return g.network(y=g.conv("out", d, 2)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def depthwise_multiplier():
    g = Graph()
    d = g.conv("d", g.conv("a", g.data, 4), 12, group=4)
    return g.network(y=g.conv("out", d, 2)), {
        "a": (("a",), 4, [[4]]),
        "out": "feeds output 'y'",
    }


def depthwise_on_the_input():
    g = Graph()
    return g.network(y=g.conv("out", g.conv("d", g.data, 3, group=3), 2)), {
        "out": "feeds output 'y'"
    }


def grouped():
    g = Graph()
    b = g.conv("b", g.conv("a", g.data, 8), 12, group=2)
    return g.network(y=g.conv("out", b, 2)), {
        "a": (("a",), 8, [[4, 4]]),
        "b": (("b",), 12, [[6, 6]]),
        "out": "feeds output 'y'",
    }


def grouped_twice():
    g = Graph()
    b = g.conv("b", g.conv("a", g.data, 8, group=1), 8, group=2)
    return g.network(y=g.conv("out", g.conv("c", b, 8, group=4), 2)), {
        "a": (("a",), 8, [[4, 4]]),
        "b": (("b",), 8, [[2, 2, 2, 2]]),
        "c": (("c",), 8, [[2, 2, 2, 2]]),
        "out": "feeds output 'y'",
    }


def grouped_that_cannot():
    g = Graph()
    b = g.conv("b", g.conv("a", g.data, 8), 12, group=4)
    return g.network(y=g.conv("out", g.conv("c", b, 6, group=3), 2)), {
        "a": (("a",), 8, [[2, 2, 2, 2]]),
        "b": "cannot lose equally many channels from each share of 'b' (Conv)",
        "c": (("c",), 6, [[2, 2, 2]]),
        "out": "feeds output 'y'",
    }


def even_split():
    g = Graph()
    a = g.conv("a", g.data, 8)
    g.builder.layer, g.builder.scope = 0, "route"
    _, second = g.builder.ops("Split", a, count=2, axis=1, num_outputs=2)
    return g.network(y=g.conv("out", second, 2), z=g.conv("whole", a, 2)), {
        "a": (("a",), 8, [[4, 4]]),
        "out": "feeds output 'y'",
        "whole": "feeds output 'z'",
    }


def uneven_split():
    g = Graph()
    a = g.conv("a", g.data, 8)
    sizes = g.builder.constant([3, 5])
    first, second = g.builder.ops("Split", a, sizes, count=2, axis=1)
    return g.network(y=g.conv("one", first, 2), z=g.conv("two", second, 2)), {
        "a": (("a",), 8, [[8]]),
        "one": "feeds output 'y'",
        "two": "feeds output 'z'",
    }


def turned_round():
    g = Graph()
    a, k = g.conv("a", g.data, 8), g.builder.constant
    x = g.op("turn", "Slice", a, k([-1]), k([-(2**31)]), k([1]), k([-1]))
    return g.network(y=g.conv("out", g.op("sum", "Add", a, x), 2)), {
        "a": (("a",), 4, [[4]]),  # the first goes with the last
        "out": "feeds output 'y'",
    }


def slice_and_add():
    g = Graph()
    a, b = g.conv("a", g.data, 8), g.conv("b", g.data, 5)
    k = g.builder.constant
    head = g.op("head", "Slice", a, k([0]), k([5]), k([1]))
    tail = g.op("tail", "Slice", a, k([5]), k([2**31 - 1]), k([1]))
    x = g.op("cat", "Concat", g.op("add", "Add", head, b), tail, axis=1)
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a", "b"), 8, [[8]]),
        "out": "feeds output 'y'",
    }


def squeeze_and_excite():
    g = Graph()
    a = g.conv("a", g.data, 8)
    s = g.op("pool", "GlobalAveragePool", a)
    s = g.op("relu", "Relu", g.conv("squeeze", s, 4, kernel=1))
    s = g.op("gate", "Sigmoid", g.conv("excite", s, 8, kernel=1))
    return g.network(y=g.conv("out", g.op("scale", "Mul", a, s), 2)), {
        "a": (("a", "excite"), 8, [[8]]),
        "squeeze": (("squeeze",), 4, [[4]]),
        "out": "feeds output 'y'",
    }


def spatial_attention():
    g = Graph()
    a = g.conv("a", g.data, 8)
    gate = g.op("gate", "Sigmoid", g.conv("map", a, 1))
    return g.network(y=g.conv("out", g.op("scale", "Mul", a, gate), 2)), {
        "a": (("a",), 8, [[8]]),
        "map": "spread over all channels by 'scale' (Mul)",
        "out": "feeds output 'y'",
    }


def channel_shuffle():
    g = Graph()
    a = g.conv("a", g.data, 12)
    k = g.builder.constant
    x = g.op("cut", "Reshape", a, k([0, 3, 4, 8, 8]))
    x = g.op("swap", "Transpose", x, perm=[0, 2, 1, 3, 4])
    x = g.op("join", "Reshape", x, k([0, -1, 8, 8]))
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 4, [[4]]),  # three positions of `a` go together
        "out": "feeds output 'y'",
    }


def blocks():
    g = Graph()
    a = g.conv("a", g.data, 8)
    a.meta[BLOCK] = 4
    return g.network(y=g.conv("out", a, 2)), {
        "a": (("a",), 2, [[2]]),
        "out": "feeds output 'y'",
    }


def space_to_depth():
    g = Graph()
    a = g.conv("a", g.data, 6)
    x = g.op("reorg", "SpaceToDepth", a, blocksize=2)
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def depth_to_space():
    g = Graph()
    a = g.conv("a", g.data, 20)
    x = g.op("up", "DepthToSpace", a, blocksize=2)
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 5, [[5]]),
        "out": "feeds output 'y'",
    }


def transposed_convolution():
    g = Graph()
    a = g.conv("a", g.data, 6)
    up = g.layer(
        "up", "ConvTranspose",
        lambda: g.builder.op("ConvTranspose", a, g.parameter(6, 4, 2, 2), strides=[2, 2]),
    )  # fmt: skip
    each = g.layer(
        "each", "ConvTranspose",
        lambda: g.builder.op("ConvTranspose", up, g.parameter(4, 1, 2, 2), strides=[2, 2], group=4),
    )  # fmt: skip
    return g.network(y=g.conv("out", each, 2)), {
        "a": (("a",), 6, [[6]]),
        "up": (("up",), 4, [[4]]),
        "out": "feeds output 'y'",
    }


def one_map_for_all():
    """Copies of one map leave with the channels that they multiply, however they were made."""
    g = Graph()
    k = g.builder.constant
    a = g.conv("a", g.data, 8)
    tiled = g.op("tile", "Tile", g.conv("map", a, 1), k([1, 8, 1, 1]))
    b = g.conv("b", g.op("x", "Mul", a, tiled), 6)
    mean = g.op("mean", "ReduceMean", b, k([1, 2, 3]), keepdims=1)
    spread = g.op("spread", "Expand", mean, k([1, 6, 8, 8]))
    return g.network(y=g.conv("out", g.op("y", "Mul", g.conv("c", a, 6), spread), 2)), {
        "a": (("a",), 8, [[8]]),
        "map": "spread over all channels by 'tile' (Tile)",
        "b": "mixed by 'mean' (ReduceMean)",
        "c": (("c",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def parameters_as_maps():
    """Stored channels that the input only tells the number of images, as Darknet's [implicit]."""
    g = Graph()
    k = g.builder.constant
    one = g.op("one", "ReduceMean", g.data, k([1, 2, 3]), keepdims=1)
    zero = g.op("zero", "Mul", one, k(0, np.float32))
    stored = g.layer("implicit", "Add", lambda: g.builder.op("Add", g.parameter(1, 6, 1, 1), zero))
    x = g.op("scale", "Mul", g.conv("a", g.data, 6), stored)
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def own_weights_everywhere():
    """A product with a parameter on the left, as convolutions that share no weights have it."""
    g = Graph()
    a = g.conv("a", g.data, 6)
    x = g.op("columns", "Reshape", a, g.builder.constant([0, 6, 64, 1]))
    x = g.op("places", "Transpose", x, perm=[0, 2, 1, 3])
    x = g.layer("local", "MatMul", lambda: g.builder.op("MatMul", g.parameter(64, 5, 6), x))
    return g.network(y=g.conv("out", g.op("back", "Transpose", x, perm=[0, 2, 1, 3]), 2)), {
        "a": (("a",), 6, [[6]]),
        "local": (("local",), 5, [[5]]),
        "out": "feeds output 'y'",
    }


def sums_by_a_matrix_that_is_not_stored():
    g = Graph()
    a = g.conv("a", g.data, 6)
    x = g.op("columns", "Reshape", a, g.builder.constant([0, 6, 64]))
    matrix = g.builder.constant(np.tri(6), np.float32)
    x = g.op("sums", "MatMul", matrix, x)
    kernel = g.builder.constant(np.ones((4, 3, 1, 1)), np.float32)
    b = g.op("all", "Conv", g.conv("b", g.data, 3), kernel)
    return g.network(y=x, z=g.conv("out", b, 2)), {
        "a": "mixed by 'sums' (MatMul)",
        "b": "mixed by 'all' (Conv)",
        "out": "feeds output 'z'",
    }


def regions():
    g = Graph()
    a = g.conv("a", g.data, 6)
    where = g.builder.constant([[0, 0, 0, 3, 3], [0, 2, 2, 7, 7]], np.float32)
    x = g.op("pool", "MaxRoiPool", a, where, pooled_shape=[2, 2])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 3)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def blocks_that_move_with_positions():
    """Darknet's reorg of few channels: what moves first looks like rows, not like blocks."""
    g = Graph()
    k = g.builder.constant
    a = g.conv("a", g.data, 8)
    a.meta[BLOCK] = 4
    x = g.op("cut", "Reshape", a, k([0, -1, 8, 2, 4, 2]))
    x = g.op("swap", "Transpose", x, perm=[0, 3, 5, 1, 2, 4])
    x = g.op("join", "Reshape", x, k([0, -1, 4, 4]))
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 2, [[2]]),
        "out": "feeds output 'y'",
    }


def vectors():
    g = Graph()
    a = g.conv("a", g.data, 6, bias=False)
    bn = g.layer(
        "bn", "BatchNormalization",
        lambda: g.builder.op(
            "BatchNormalization", a, *(g.parameter(6) for _ in range(3)),
            g.builder.parameter(np.ones(6, np.float32)),
        ),
    )  # fmt: skip
    prelu = g.layer("prelu", "PRelu", lambda: g.builder.op("PRelu", bn, g.parameter(6, 1, 1)))
    x = g.layer("scale", "Mul", lambda: g.builder.op("Mul", prelu, g.parameter(6, 1, 1)))
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def shared_weights():
    g = Graph()
    weight, first, second = g.parameter(4, 3, 3, 3), None, None
    first = g.layer("one", "Conv", lambda: g.builder.op("Conv", g.data, weight))
    second = g.layer("two", "Conv", lambda: g.builder.op("Conv", g.data, weight))
    return g.network(y=g.conv("out", g.op("cat", "Concat", first, second, axis=1), 2)), {
        "one": (("one", "two"), 4, [[4]]),
        "out": "feeds output 'y'",
    }


def unpooled_by_positions():
    g = Graph()
    y, where = pooled(g, g.conv("a", g.data, 6))
    inside = g.op("inside", "Mod", where, g.builder.constant(64))
    c = g.conv("c", g.conv("b", y, 5), 6)
    return g.network(y=g.conv("out", scattered(g, c, inside, 8), 2)), {
        "a": (("a", "c"), 6, [[6]]),
        "b": (("b",), 5, [[5]]),
        "out": "feeds output 'y'",
    }


def max_unpool():
    g = Graph()
    y, where = pooled(g, g.conv("a", g.data, 6))
    c = g.conv("c", y, 6)
    up = g.op("up", "MaxUnpool", c, where, kernel_shape=[2, 2], strides=[2, 2])
    return g.network(y=g.conv("out", up, 2)), {
        "a": (("a", "c"), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def positions_over_the_whole_tensor():
    g = Graph()
    y, where = pooled(g, g.conv("a", g.data, 6))
    number = g.op("number", "Cast", where, to=1)
    return g.network(y=g.conv("out", g.op("sum", "Add", y, number), 2)), {
        "a": "read by operator 'number' (Cast), which is not traced",
        "out": "feeds output 'y'",
    }


def picked_along_positions():
    g = Graph()
    flat = g.op("flat", "Reshape", g.conv("a", g.data, 6), g.builder.constant([0, 0, -1]))
    where = g.op("where", "ArgMax", flat, axis=2)
    x = g.op("pick", "GatherElements", flat, where, axis=2)
    return g.network(y=g.gemm("out", g.op("join", "Flatten", x), 2)), {
        "a": (("a",), 6, [[6]]),
        "out": "feeds output 'y'",
    }


def channels_picked_by_positions():
    g = Graph()
    x = g.conv("a", g.data, 6)
    x = g.op("pick", "GatherElements", x, g.op("where", "ArgMax", x, axis=1), axis=1)
    return g.network(y=g.conv("out", x, 2)), {
        "a": "mixed by 'where' (ArgMax)",
        "out": "feeds output 'y'",
    }


def shares_of_parameters():
    """Factors computed from one parameter, inputs × channels; the last has fewer channels."""
    g = Graph()
    k = g.builder.constant
    a, b, c = (g.conv(name, g.data, count) for name, count in (("a", 8), ("b", 8), ("c", 5)))
    factors = g.parameter(3, 8, 1, 1)
    powers = g.op("exp", "Exp", factors)
    shares = g.op("share", "Div", powers, g.op("sum", "ReduceSum", powers, k([0]), keepdims=1))
    own, second, third = g.builder.ops("Split", shares, count=3, num_outputs=3, axis=0)
    third = g.op("cut", "Slice", third, k([0]), k([5]), k([1]))
    total = g.op("add", "Add", g.op("x", "Mul", a, own), g.op("y", "Mul", b, second))
    head = g.op("head", "Slice", total, k([0]), k([5]), k([1]))
    tail = g.op("tail", "Slice", total, k([5]), k([8]), k([1]))
    head = g.op("addto", "Add", head, g.op("z", "Mul", c, third))
    x = g.op("cat", "Concat", head, tail, axis=1)
    return g.network(y=g.conv("out", x, 2)), {
        "a": (("a", "b", "c"), 8, [[8]]),
        "out": "feeds output 'y'",
    }


def computed_weights():
    """A weight that is scaled, one that is transposed, one cut out of a larger tensor."""
    g = Graph()
    k = g.builder.constant
    kernel, scale = g.parameter(6, 3, 3, 3), g.parameter(6)
    scale = g.op("column", "Reshape", scale, k([-1, 1, 1, 1]))
    a = g.op("a", "Conv", g.data, g.op("scaled", "Mul", kernel, scale))
    x = g.op("mean", "GlobalAveragePool", a)
    x = g.op("flat", "Flatten", x)
    x = g.op("fc", "MatMul", x, g.op("turned", "Transpose", g.parameter(5, 6), perm=[1, 0]))
    both = g.parameter(10, 5)
    weight = g.op("half", "Slice", both, k([5]), k([10]), k([0]))
    x = g.op("last", "Gemm", x, weight, g.parameter(1, 5), transB=1)
    return g.network(y=g.gemm("out", x, 2)), {
        "a": (("a",), 6, [[6]]),
        "fc": (("fc",), 5, [[5]]),
        "last": (("last",), 5, [[5]]),
        "out": "feeds output 'y'",
    }


def parameters_mixed_over_channels():
    g = Graph()
    factors = g.op("softmax", "Softmax", g.parameter(6, 1, 1), axis=0)
    x = g.op("x", "Mul", g.conv("a", g.data, 6), factors)
    exp = g.op("exp", "Exp", g.parameter(4, 3, 1, 1))
    return g.network(y=g.conv("out", x, 2), z=g.conv("end", g.op("b", "Conv", g.data, exp), 2)), {
        "a": "read by operator 'softmax' (Softmax), which is not traced",
        "b": "read by operator 'exp' (Exp), which is not traced",
        "out": "feeds output 'y'",
        "end": "feeds output 'z'",
    }


def parameters_that_are_shown():
    g = Graph()
    factors = g.op("relu", "Relu", g.parameter(6, 1, 1))
    x = g.op("x", "Mul", g.conv("a", g.data, 6), factors)
    return g.network(y=g.conv("out", x, 2), z=g.op("z", "Neg", factors)), {
        "a": "feeds output 'z'",
        "out": "feeds output 'y'",
    }


def unknown_operator():
    g = Graph()
    a = g.conv("a", g.data, 4)
    x = g.op("odd", "Trilu", a)
    return g.network(y=g.conv("out", x, 2)), {
        "a": "read by operator 'odd' (Trilu), which is not traced",
        "out": "feeds output 'y'",
    }


def across_channels():
    g = Graph()
    x = g.op("lrn", "LRN", g.conv("a", g.data, 4), size=3)
    return g.network(y=g.conv("out", x, 2)), {
        "a": "mixed by 'lrn' (LRN)",
        "out": "feeds output 'y'",
    }


STRUCTURES = [
    chain, residual_of_three, residual_to_output, concatenation, the_same_twice, depthwise,
    depthwise_multiplier, depthwise_on_the_input, grouped, grouped_twice, grouped_that_cannot,
    even_split, uneven_split, turned_round, slice_and_add, squeeze_and_excite, spatial_attention,
    channel_shuffle, blocks, space_to_depth, depth_to_space, transposed_convolution,
    one_map_for_all, parameters_as_maps, own_weights_everywhere, regions,
    sums_by_a_matrix_that_is_not_stored,
    blocks_that_move_with_positions, vectors,
    shared_weights, unpooled_by_positions, max_unpool, positions_over_the_whole_tensor,
    picked_along_positions, channels_picked_by_positions, shares_of_parameters, computed_weights,
    parameters_mixed_over_channels, parameters_that_are_shown, unknown_operator, across_channels,
]  # fmt: skip


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.__name__)
def test_groups_are_the_expected_ones(structure):
    network, expected = structure()
    assert shown(find_groups(network)) == expected


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.__name__)
def test_masked_equals_dense(structure):
    network, _ = structure()
    groups = find_groups(network)
    random = np.random.default_rng(1)
    data = SyntheticDataset(network, samples=4)
    shrunk = False
    for _ in range(4):
        removed = random_removal(groups, random)
        dense = shrink(network, groups, removed)
        verify_equal(
            "masked = dense", mask(network, groups, removed), dense, data,
            narrow=narrowed(groups, removed),
        )  # fmt: skip
        again = find_groups(dense)
        predicted = Costs(network, groups).operations(removed)
        assert measure_cost(dense, again).operations == predicted
        shrunk = shrunk or removed.any()
    assert shrunk or not any(group.prunable for group in groups.groups)


def test_nothing_removed_is_the_same_network():
    network, _ = chain()
    groups = find_groups(network)
    same = shrink(network, groups, np.zeros(groups.unit_count, dtype=bool))
    for name, value in network.graph.initializers.items():
        assert same.graph.initializers[name].const_value is value.const_value


def test_operations_are_two_macs_and_bias():
    network, _ = chain()
    cost = measure_cost(network, find_groups(network))
    conv_a = 2 * 64 * 8 * 27 + 64 * 8
    conv_b = 2 * 16 * 6 * 72 + 16 * 6
    linear = 2 * 96 * 10 + 10 + 2 * 10 * 4 + 4
    assert cost.operations == conv_a + conv_b + linear
    assert cost.convolution_operations == conv_a + conv_b
    assert cost.parameters == (8 * 27 + 8) + (6 * 72 + 6) + (960 + 10) + (40 + 4)
