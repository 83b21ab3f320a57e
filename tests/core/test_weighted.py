"""What is affine behind a layer, against the engine; and what only looks like it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.folded import folded
from secateur.core.engine.session import Session
from secateur.core.ir.network import Network
from secateur.core.ir.rebuild import rebuild
from secateur.core.ir.weighted import affine_of, channel_axis
from secateur.core.repair.targets import follow
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph

ROWS, CHANNELS = 4, 6


def made(kind: str, g: Graph) -> ir.Value:
    """Emit a convolution [1, 6, 4, 4], or a product of rows [1, 4, 6]."""
    if kind == "conv":
        return g.conv("layer", g.data, CHANNELS)
    means = g.op("mean", "ReduceMean", g.data, g.builder.constant([2]), keepdims=0)
    rows = g.op("rows", "Transpose", means, perm=[0, 2, 1])
    weight = g.parameter(3, CHANNELS)
    return g.layer("layer", "MatMul", lambda: g.builder.op("MatMul", rows, weight))


def behind(kind: str, operator: str, sizes: tuple[int, ...], *, turned: bool = False) -> Network:
    """A layer, an operator with stored numbers of some sizes behind it, and a last layer."""
    g = Graph(channels=3, size=ROWS)
    y = made(kind, g)
    count = 4 if operator == "BatchNormalization" else 1
    stored = [g.parameter(*sizes) for _ in range(count)]
    operands = [*stored, y] if turned else [y, *stored]
    z = g.op("relu", "Relu", g.builder.op(operator, *operands))
    weight = g.parameter(CHANNELS, 2)
    last = (
        g.conv("last", z, 2)
        if kind == "conv"
        else g.layer("last", "MatMul", lambda: g.builder.op("MatMul", z, weight))
    )
    network = g.network(y=last)
    names = [str(value.name) for value in stored]
    positive = {name: np.abs(network.array(name)) + 0.5 for name in names}
    return rebuild(network, tensors=positive)


def layer_of(network: Network) -> ir.Node:
    return next(node for node in network.graph if node.op_type in ("Conv", "MatMul"))


def found(network: Network) -> tuple[np.ndarray, np.ndarray] | None:
    """Return factor and summand of the node behind the layer."""
    layer = layer_of(network)
    value = layer.outputs[0]
    (reader,) = value.consumers()
    return affine_of(reader, value, channel_axis(layer.op_type, len(value.shape or ())), CHANNELS)


AFFINE = [
    ("conv", "BatchNormalization", (CHANNELS,)), ("conv", "Mul", (1, CHANNELS, 1, 1)),
    ("conv", "Add", (CHANNELS, 1, 1)), ("conv", "Sub", (1, CHANNELS, 1, 1)),
    ("conv", "Div", (CHANNELS, 1, 1)), ("conv", "Mul", ()), ("conv", "Add", (1,)),
    ("rows", "Add", (CHANNELS,)), ("rows", "Mul", (1, 1, CHANNELS)), ("rows", "Sub", (1,)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "operator", "sizes"), AFFINE)
def test_factor_and_summand_give_what_the_engine_computes(kind, operator, sizes):
    network = behind(kind, operator, sizes)
    (reader,) = layer_of(network).outputs[0].consumers()
    names = [str(layer_of(network).outputs[0].name), str(reader.outputs[0].name)]
    x = np.random.default_rng(0).normal(size=(1, 3, ROWS, ROWS)).astype(np.float32)
    values = Session(network, fetch=names).run({"data": x})
    factor, summand = found(network)
    shape = (-1, 1, 1) if kind == "conv" else (-1,)
    expected = values[names[0]] * factor.reshape(shape) + summand.reshape(shape)
    np.testing.assert_allclose(values[names[1]], expected, rtol=1e-5, atol=1e-5)
    path = follow(network, find_operators(network)[0], CHANNELS)
    np.testing.assert_array_equal(path.scale, factor)
    np.testing.assert_array_equal(path.offset, summand)
    _, after = next(iter(folded(network).values()))
    np.testing.assert_array_equal(after.factor, factor)


@pytest.mark.parametrize("operator", ["Sub", "Div"])
def test_what_is_taken_from_stored_numbers_is_not_affine_in_this_sense(operator):
    assert found(behind("conv", operator, (CHANNELS, 1, 1), turned=True)) is None


@pytest.mark.parametrize(
    ("operator", "sizes"), [("BatchNormalization", (ROWS,)), ("Mul", (1, ROWS, 1))]
)
def test_numbers_along_rows_are_none_of_channels(operator, sizes):
    """Of rows [N, rows, channels], a normalisation has a number for each row, not channel."""
    network = behind("rows", operator, sizes)
    assert found(network) is None
    assert follow(network, find_operators(network)[0], CHANNELS).end.endswith("MatMul")
    groups = find_groups(network)
    scores = CRITERIA["similarity"].score(ScoreContext(network=network, groups=groups))
    assert scores.shape == (groups.unit_count,)


def test_as_many_rows_as_channels_are_still_rows():
    g = Graph(channels=3, size=CHANNELS)
    y = made("rows", g)
    z = g.op("relu", "Relu", g.builder.op("Mul", y, g.parameter(1, CHANNELS, 1)))
    assert found(g.network(y=z)) is None


def test_one_channel_that_becomes_several_is_not_one():
    g = Graph(channels=2, size=3)
    wide = g.builder.op("Mul", g.conv("layer", g.data, 1), g.parameter(1, 5, 1, 1))
    network = g.network(y=g.conv("last", g.op("relu", "Relu", wide), 2))
    assert next(iter(folded(network).values()))[1].factor.tolist() == [1.0]
