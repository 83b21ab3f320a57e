"""Filters as vectors: the weights of each channel with the factor and the shift behind them.

Behind a layer y = W x + b usually stands a normalisation, a learned factor or a summand. Both are
affine in each channel, so that the channel is

    z_c = factor_c · (w_c · x) + shift_c

The vector of the channel is (factor_c · w_c, shift_c). Channels that read the same inputs and have
parallel vectors are multiples of each other, through ReLU as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.groups import Group, Groups
from ..ir.network import Network, shape_of
from ..ir.weighted import WEIGHTED, affine_of, channel_axis
from .weights import producing

__all__ = ["Folded", "Vectors", "folded", "gram", "vectors_of"]

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Folded:
    """What stands behind the product of a layer.

    Args:
        factor: of each channel.
        shift: of each channel.
    """

    factor: Matrix
    shift: Matrix


@dataclass(frozen=True, eq=False, slots=True)
class Vectors:
    """Channels of a layer that read the same inputs.

    Args:
        units: their units.
        rows: their vectors, [channels, elements]; the last element is the shift.
        own: whether each reads an input of its own (a depthwise convolution).
        key: the node (name of its first output).
    """

    units: npt.NDArray[np.int64]
    rows: Matrix
    own: bool
    key: str


def folded(network: Network) -> dict[str, tuple[str, Folded]]:
    """Return weight → node and what stands behind it, for weights that one node reads."""
    found: dict[str, tuple[str, Folded]] = {}
    for node in network.graph:
        name = _weight(network, node)
        if name is None or len(list(network.graph.initializers[name].uses())) != 1:
            continue
        made = node.outputs[0]
        if made.shape is None:
            continue
        sizes = shape_of(made)
        axis = channel_axis(node.op_type, len(sizes))
        channels = sizes[axis]
        if isinstance(channels, int):
            found[name] = str(made.name), _behind(network, node, axis, channels)
    return found


def _weight(network: Network, node: ir.Node) -> str | None:
    """Return the name of the stored weight on the right of a product."""
    if node.op_type not in WEIGHTED or len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    name = str(node.inputs[1].name)
    return name if name in network.graph.initializers else None


def _behind(network: Network, node: ir.Node, axis: int, channels: int) -> Folded:
    """Return factor and shift of each channel behind a node, up to the next activation."""
    factor, shift = np.ones(channels), np.zeros(channels)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and bias.name in network.graph.initializers:
        given = network.array(str(bias.name)).astype(np.float64)
        shift = np.broadcast_to(given.reshape(-1), channels).copy()
    value = node.outputs[0]
    while not value.is_graph_output() and len(uses := list(value.uses())) == 1:
        found = affine_of(uses[0].node, value, axis, channels)
        if found is None:
            break
        factor, shift = factor * found[0], shift * found[0] + found[1]
        value = uses[0].node.outputs[0]
    return Folded(factor, shift)


def vectors_of(network: Network, groups: Groups) -> Iterator[Vectors]:
    """Yield the channels of every layer with their vectors, split by what they read."""
    behind = folded(network)
    for use, weights in producing(network, groups):
        if use.parameter not in behind:
            continue
        key, after = behind[use.parameter]
        produced, *consumed = use.labels
        axes = [axis for axis in range(weights.ndim) if produced.shape[axis] > 1] or [0]
        if len(axes) > 1:
            continue  # a grouped transposed convolution: no two channels are compared
        (axis,) = axes
        labels = np.moveaxis(produced, axis, 0).reshape(-1)
        rows = np.moveaxis(weights, axis, 0).reshape(len(labels), -1)
        if len(labels) != len(after.factor):
            continue
        rows = np.concatenate([rows * after.factor[:, None], after.shift[:, None]], axis=1)
        units = groups.units[labels]
        if not consumed or consumed[0].shape[axis] == 1:
            yield Vectors(units, rows, own=not consumed, key=key)
            continue
        read = np.moveaxis(consumed[0], axis, 0).reshape(len(labels), -1)
        _, kinds = np.unique(read, axis=0, return_inverse=True)
        for kind in range(int(kinds.max()) + 1):
            places = np.flatnonzero(kinds.reshape(-1) == kind)
            yield Vectors(units[places], rows[places], own=False, key=key)


def gram(group: Group, vectors: Iterable[Vectors]) -> Matrix:
    """Return the inner products of the vectors of a group's channels, [units, units].

    The vectors of several layers are one vector. Channels that read different inputs have no inner
    product there.

    Args:
        group: the group.
        vectors: what its channels are made by.
    """
    place = {unit: number for number, unit in enumerate(group.units)}
    found = np.zeros((len(group.units), len(group.units)))
    for own in vectors:
        inside = [k for k, unit in enumerate(own.units.tolist()) if unit in place]
        places = np.array([place[unit] for unit in own.units[inside].tolist()], dtype=np.int64)
        rows = own.rows[inside]
        np.add.at(found, (places[:, None], places[None, :]), rows @ rows.T)
    return found
