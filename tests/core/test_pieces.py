"""Proofs where rounding decides: pieces between the nodes that amplify it are compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.errors import VerificationError
from secateur.core.ir.partial import given, severed
from secateur.core.ir.rebuild import rebuild
from secateur.core.verify.compare import compare
from secateur.core.verify.conditioning import KINDS, Kind, conditions, cuttable, hidden_values
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import compare_pieces, cut_values, narrowed
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
    assert "cut at 1 values" in proof.notes[0]


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
    narrow = narrowed(groups, removed)
    cuts = cut_values(full, dense, data, 0, narrow, limit=1e9)
    assert cuts == ["a/Conv"]  # only what the positions follow from
    found = compare_pieces(full, dense, data, narrow, cuts=cuts)
    assert [output.a for output in found.outputs] == ["y", "a/Conv"]
    assert found.within(1e-5)
    broken = rebuild(dense, tensors={"c/weight": dense.array("c/weight") * np.float32(1.01)})
    for taken in ((), cuts):
        assert not compare_pieces(full, broken, data, narrow, cuts=taken).within(1e-3)


def test_what_a_saturated_softmax_hides_is_seen():
    network, _ = twins("Softmax")
    data = SyntheticDataset(network, samples=4)
    weight = network.array(next(iter(network.graph.initializers))).copy()
    weight[1] *= np.float32(0.5)
    one_hot = rebuild(network, tensors={next(iter(network.graph.initializers)): weight})
    other = rebuild(one_hot, tensors={next(iter(network.graph.initializers)): weight * 1.01})
    assert compare(one_hot, other, data).within(1e-6)
    with pytest.raises(VerificationError, match=r"(Conv|Mul)' differs by 1\.0"):
        verify_equal("a = b", one_hot, other, data)


def single(kind: str, **attributes: object) -> Callable[[Graph, ir.Value], ir.Value]:
    return lambda g, x: g.builder.op(kind, x, **attributes)  # type: ignore[arg-type]


def number(g: Graph, value: float) -> ir.Value:
    return g.builder.constant(value, np.float32)


def squared_norm(g: Graph, x: ir.Value) -> ir.Value:
    b = g.builder
    return b.op("ReduceSum", b.op("Mul", x, x), b.constant([1]), keepdims=1)


def unit(g: Graph, x: ir.Value) -> ir.Value:
    """Numbers of at most 1."""
    largest = g.builder.op("ReduceMax", g.builder.op("Abs", x), keepdims=1)
    return g.builder.op("Div", x, largest)


FUNCTIONS: dict[str, Callable[[Graph, ir.Value], ir.Value]] = {
    "sigmoid": single("Sigmoid"),
    "tanh": single("Tanh"),
    "exp": lambda g, x: g.builder.op("Exp", g.builder.op("Neg", g.builder.op("Abs", x))),
    "large exp": lambda g, x: g.builder.op("Exp", g.builder.op("Mul", number(g, 60), unit(g, x))),
    "hard sigmoid": single("HardSigmoid", alpha=0.2, beta=0.5),
    "softmax": single("Softmax", axis=1),
    "log softmax": single("LogSoftmax", axis=1),
    "softsign": single("Softsign"),
    "erf": single("Erf"),
    "log": lambda g, x: g.builder.op("Log", g.builder.op("Abs", x)),
    "log of one more": lambda g, x: g.builder.op(
        "Log", g.builder.op("Add", g.builder.op("Abs", x), number(g, 1.0))
    ),
    "power": lambda g, x: g.builder.op("Pow", g.builder.op("Abs", x), number(g, 5.0)),
    "root": lambda g, x: g.builder.op("Sqrt", g.builder.op("Abs", x)),
    "reciprocal": lambda g, x: g.builder.op(
        "Reciprocal", g.builder.op("Add", g.builder.op("Abs", unit(g, x)), number(g, 0.01))
    ),
    "quotient": lambda g, x: g.builder.op("Div", x, g.builder.op("GlobalAveragePool", x)),
    "softplus": single("Softplus"),
    "relu6": lambda g, x: g.builder.op("Clip", x, number(g, 0), number(g, 6)),
    "swish": lambda g, x: g.builder.op("Mul", x, g.builder.op("Sigmoid", x)),
    "mish": lambda g, x: g.builder.op("Mul", x, g.builder.op("Tanh", g.builder.op("Softplus", x))),
    "gate": lambda g, x: g.builder.op(
        "Mul", x, g.builder.op("Sigmoid", g.builder.op("GlobalAveragePool", x))
    ),
    "l2": lambda g, x: g.builder.op("Div", x, g.builder.op("Sqrt", squared_norm(g, x))),
    "mvn": single("MeanVarianceNormalization", axes=[2, 3]),
    "lrn": single("LRN", size=5, alpha=1e-4, beta=0.75),
    "maximum": single("ArgMax", axis=1),
    "sign": single("Sign"),
    "floor": single("Floor"),
}


def behind(function: str, scale: float):
    """Two convolutions, the function, and where its result is no class, a convolution."""
    g = Graph(size=10, seed=3)
    x = g.op("active", "Relu", g.conv("a", g.data, 12))
    x = g.conv("b", x, 8)
    x = g.op("scaled", "Mul", x, number(g, scale))
    y = g.layer("f", function, lambda: FUNCTIONS[function](g, x))
    if function == "maximum":
        return g.network(y=g.op("y", "Cast", y, to=ir.DataType.FLOAT))
    return g.network(y=g.conv("c", y, 4), f=y)


SCALES = (1e-4, 10.0)
"""Noise of 0–255 makes values of about 5e4 times these: some functions saturate, some do not."""


def halves(network):
    """The network masked and dense, without a third of the channels of its first layer."""
    groups = find_groups(network)
    removed = groups.mask(())
    removed[[1, 4, 5, 11]] = True
    assert groups.groups[0].prunable
    assert groups.groups[0].layers[0] == "a"
    return (
        mask(network, groups, removed),
        shrink(network, groups, removed),
        narrowed(groups, removed),
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_false_alarm_and_no_fault_missed(function, scale):
    network = behind(function, scale)
    full, dense, narrow = halves(network)
    data = SyntheticDataset(network, samples=2)
    verify_equal("masked = dense", full, dense, data, narrow=narrow)
    faults = {"a/weight": "channel", "b/weight": "channel", "b/weight_1": "bias"}
    if function != "maximum":
        faults |= {"c/weight": "channel", "c/weight_1": "bias"}
    if function == "mvn":
        del faults["b/weight_1"]  # it takes the mean of a channel away: the bias is no fault
    for name, kind in faults.items():
        with pytest.raises(VerificationError):
            verify_equal(name, full, faulty(dense, name, kind, data), data, narrow=narrow)


def faulty(network, name: str, kind: str, data):
    """The network with two input channels exchanged, or a bias off by 1e-3 of its layer's peak."""
    array = network.array(name).copy()
    if kind == "channel":
        array[:, [0, 1]] = array[:, [1, 0]]
    else:
        (use,) = network.graph.initializers[name].uses()
        value = str(use.node.outputs[0].name)
        made = severed(network, (), [value])
        peak = compare(made, rebuild(made, tensors={name: array}), data).worst.peak
        array[1] += np.float32(1e-3 * peak)
    return rebuild(network, tensors={name: array})


def test_every_kind_that_is_declared_is_right():
    """What levels off is flat at both ends; what decides jumps."""
    for kind, said in KINDS.items():
        if kind in ("GRU", "LSTM", "RNN", "NonMaxSuppression", "NonZero", "TopK", "Softmax"):
            continue
        if said is Kind.LEVELS_OFF:
            g = Graph(channels=1, size=1)
            network = g.network(y=g.op("f", kind, g.data))
            measured = conditions(network, {"data": np.float32([[[[1e4]]], [[[-1e4]]]])})
            assert measured["y"] < 0.01, kind  # what is left is rounding


def test_a_condition_is_what_calculus_says():
    g = Graph(channels=1, size=2)
    y = g.op("f", "Exp", g.data)
    x = np.full((1, 1, 2, 2), 40.0, np.float32)
    assert conditions(g.network(y=y), {"data": x})["y"] == pytest.approx(40, rel=0.5)
    g = Graph(channels=1, size=2)
    y = g.op("f", "Sub", g.data, number(g, 1e3))
    x = np.float32([[[[1e3, 1e3 + 1], [1e3 - 1, 1e3]]]])
    assert conditions(g.network(y=y), {"data": x})["y"] == pytest.approx(1e3, rel=0.5)


def test_positions_in_a_floating_type_stay_what_they_are():
    """The mask of a pooling is a float in Caffe; 2⁻¹⁶ of a large one is another position."""
    g, side = Graph(channels=1, size=512), 512
    x, places = pooled(g, g.conv("a", g.data, 1, kernel=1))
    mask = g.op("mask", "Cast", places, to=1)
    moved = g.op("moved", "Reshape", mask, g.builder.constant([0, 1, -1]))
    where = g.op("where", "Cast", moved, to=7)
    network = g.network(y=g.conv("b", scattered(g, x, where, side), 1, kernel=1))
    image = np.zeros((1, 1, side, side), np.float32)
    image[..., 1::2, 1::2] = np.sign(network.array("a/weight").item())  # the last of each window
    measured = conditions(network, {"data": image})
    assert measured["mask/Cast"] == measured["moved/Reshape"] == 0
    assert 0.1 < measured["up/Reshape"] < 10


def test_values_that_outputs_show_need_no_comparison():
    g = Graph()
    x = g.conv("a", g.data, 4)
    seen = g.network(y=g.op("y", "Mul", x, g.builder.op("Sigmoid", x)))
    assert hidden_values(seen) == []
    g = Graph()
    z = g.conv("a", g.data, 4)
    unseen = g.network(y=g.op("y", "Tanh", g.builder.op("Softplus", z)))
    assert hidden_values(unseen) == ["a/Softplus"]
    assert unseen.values()["a/Softplus"] is not None
    g = Graph()
    z = g.op("z", "Sigmoid", g.conv("a", g.data, 4))
    twice = g.network(y=g.op("y", "Sigmoid", z))
    assert hidden_values(twice) == ["a/Conv"]  # the rest follows from it without weights


def test_a_severed_network_computes_every_part_on_what_it_is_given():
    g = Graph()
    x = g.op("r", "Relu", g.conv("a", g.data, 4))
    network = g.network(y=g.conv("b", g.op("s", "Add", x, x), 2))
    apart = severed(network, ["r/Relu"], ["y", "r/Relu"])
    assert list(apart.inputs) == ["data", given("r/Relu")]
    assert list(apart.outputs) == ["y", "r/Relu"]
    assert "r/Relu" in cuttable(network)
