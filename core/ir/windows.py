"""Sums over neighbouring channels: exact, where they fix every channel, or free, where they do not.

Local response normalisation divides each channel by a sum over its neighbours. Where a channel
leaves, others become neighbours, and the outputs of those that stay change. A user may accept that:
:func:`loosened` writes such sums as products with a matrix over channels, the *window*. With fewer
channels it is the leading block of the whole window, as in a network that never had the others.

Source: onnx.ai, operator LRN: y = x / (bias + alpha / size · Σ x²)^beta, the sum over the channels
from c − ⌊(size − 1) / 2⌋ to c + ⌈(size − 1) / 2⌉.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .assemble import Assembly
from .network import Network

__all__ = ["WINDOW", "Window", "loosened", "neighbours", "restored", "window_of", "windows"]

WINDOW = "window"
"""Key in the `meta` of a constant that is a matrix over channels: its :class:`Window`."""

LRN = "lrn"
"""Key in the `meta` of the last node of a loosened LRN: the attributes that it had."""

PART = "part of lrn"
"""Key in the `meta` of the other nodes of a loosened LRN."""

SMALLEST_RANK = 2
"""Axes of the input of LRN at least: samples and channels."""


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """How often each channel counts in the sum of each channel.

    Args:
        matrix: for all channels, [sums, channels]. That for fewer channels is its leading block.
        least: channels for which it is defined at least.
        free: whether channels may leave, though the outputs of others change.
    """

    matrix: npt.NDArray[Any]
    least: int = 1
    free: bool = False

    def block(self, count: int) -> npt.NDArray[Any]:
        """Return the matrix for a number of channels."""
        return self.matrix[:count, :count]

    def among(self, kept: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return the matrix at full size, zero for the channels that are not kept.

        Args:
            kept: mask over the channels, [channels].
        """
        full = np.zeros((len(kept), len(kept)), self.matrix.dtype)
        full[np.ix_(kept, kept)] = self.block(int(kept.sum()))
        return full


def neighbours(channels: int, size: int, weight: float) -> npt.NDArray[np.float64]:
    """Return the window of LRN: `weight` for each of `size` neighbouring channels."""
    row, column = np.indices((channels, channels), sparse=True)
    low, high = row - (size - 1) // 2, row + size // 2
    return np.where((column >= low) & (column <= high), weight, 0.0)


def window_of(value: ir.Value | None) -> Window | None:
    """Return the window that a value is; None where it is none."""
    found = value.meta.get(WINDOW) if value is not None else None
    return found if isinstance(found, Window) else None


def windows(network: Network) -> Iterator[tuple[ir.Node, str, Window]]:
    """Yield every node that multiplies channels by a window, the window's name and the window."""
    for node in network.graph:
        found = window_of(node.inputs[0]) if node.op_type == "MatMul" else None
        if found is not None:
            assert node.inputs[0] is not None
            yield node, str(node.inputs[0].name), found


def loosened(network: Network) -> Network:
    """Return the network with free windows, through which channels can be removed.

    Its outputs are the same up to the order of sums. A network without sums over neighbouring
    channels, and one whose windows are free already, is returned itself. Its companions have free
    windows likewise.
    """
    companions = tuple(map(loosened, network.companions))
    found = _loosened(network)
    same = all(a is b for a, b in zip(companions, network.companions, strict=True))
    return network if found is network and same else replace(found, companions=companions)


def _loosened(network: Network) -> Network:
    replaced = {id(node) for node in network.graph if _replaceable(node)}
    if not replaced and all(window.free for _, _, window in windows(network)):
        return network
    copy = Assembly(network)
    for value in (*network.graph.inputs, *network.graph.initializers.values()):
        copy.take(value)
    for node in network.graph:
        if id(node) in replaced:
            _add_product(copy, node)
        else:
            copy.add(node)
    for value in copy.values.values():
        window = window_of(value)
        if window is not None:
            value.meta[WINDOW] = replace(window, free=True)
    return copy.network(list(network.outputs))


def restored(network: Network) -> Network:
    """Return the network with LRN operators where :func:`loosened` wrote them as products."""
    last = {id(node) for node in network.graph if LRN in node.meta and _whole(node)}
    if not last:
        return network
    parts = {
        id(node) for node in network.graph
        if node.meta.get(PART) in {str(n.outputs[0].name) for n in network.graph if id(n) in last}
    }  # fmt: skip
    read = {
        str(value.name) for node in network.graph for value in node.inputs
        if value is not None and id(node) not in parts
    }  # fmt: skip
    copy = Assembly(network)
    for value in (*network.graph.inputs, *network.graph.initializers.values()):
        if value.const_value is None or value.name in read:
            copy.take(value)
    for node in network.graph:
        if id(node) in last:
            x, y = node.inputs[0], node.outputs[0]
            assert x is not None
            attributes = node.meta[LRN]
            made = copy.op("LRN", [copy.values[str(x.name)]], str(y.name), y, attributes)
            _belong(made, node)
        elif id(node) not in parts:
            copy.add(node)
    return copy.network(list(network.outputs))


def _replaceable(node: ir.Node) -> bool:
    """Whether a node is an LRN whose sizes are known."""
    if node.op_type != "LRN" or node.domain != "" or node.inputs[0] is None:
        return False
    x = node.inputs[0]
    if x.shape is None or x.dtype is None or len(x.shape) < SMALLEST_RANK:
        return False
    return all(isinstance(size, int) for size in list(x.shape)[1:])


def _add_product(copy: Assembly, node: ir.Node) -> None:
    """Add what an LRN computes: x · (bias + window · x²)^−beta."""
    source, y = node.inputs[0], node.outputs[0]
    assert source is not None
    assert source.shape is not None
    assert source.dtype is not None
    name, dtype = str(y.name), source.dtype.numpy()
    x = copy.values[str(source.name)]
    batch, channels, *sizes = list(source.shape)
    assert isinstance(channels, int)
    given = {key: attribute.value for key, attribute in node.attributes.items()}
    size = int(given["size"])
    alpha, beta, bias = given.get("alpha", 1e-4), given.get("beta", 0.75), given.get("bias", 1.0)
    matrix = neighbours(channels, size, alpha / size).astype(dtype)

    def constant(array: npt.NDArray[Any], what: str) -> ir.Value:
        tensor = ir.Tensor(array, name=f"{name}:{what}")
        value = ir.Value(
            name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )  # fmt: skip
        if what == WINDOW:
            value.meta[WINDOW] = Window(matrix, free=True)
        copy.take(value)
        return copy.values[f"{name}:{what}"]

    def op(kind: str, inputs: list[ir.Value], what: str, like: ir.Value) -> ir.Value:
        made = copy.op(kind, inputs, f"{name}:{what}" if what else name, like)
        _belong(made, node)
        producer = made.producer()
        assert producer is not None
        producer.meta.update({PART: name} if what else {LRN: given})
        return made

    positions = math.prod(int(size) for size in sizes if isinstance(size, int))
    flat = ir.Value(shape=ir.Shape([batch, channels, positions]), type=source.type)
    columns = constant(np.array([0, 0, -1], np.int64), "columns")
    shape = constant(np.array([0, 0, *sizes], np.int64), "shape")
    squares = op("Reshape", [op("Mul", [x, x], "squares", source), columns], "flat", flat)
    sums = op("MatMul", [constant(matrix, WINDOW), squares], "sums", flat)
    sums = op("Reshape", [sums, shape], "spread", source)
    sums = op("Add", [sums, constant(np.array(bias, dtype), "bias")], "norms", source)
    factor = op("Pow", [sums, constant(np.array(-beta, dtype), "beta")], "factors", source)
    op("Mul", [x, factor], "", y)


def _belong(value: ir.Value, node: ir.Node) -> None:
    """Count the node of a new value to the layer of another node."""
    producer = value.producer()
    assert producer is not None
    producer.meta["layer"] = node.meta.get("layer")


def _whole(node: ir.Node) -> bool:
    """Whether the window before the last node of a loosened LRN is that of an LRN."""
    value: ir.Value | None = node.inputs[1]
    while value is not None:
        producer = value.producer()
        if producer is None:
            return False
        if producer.op_type == "MatMul":
            window, given = window_of(producer.inputs[0]), producer.inputs[0]
            if window is None or given is None or given.const_value is None:
                return False
            array = given.const_value.numpy()
            return np.array_equal(array, window.block(len(array)))
        value = producer.inputs[0]
    return False
