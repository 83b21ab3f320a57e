"""Channels that hold the same number whatever the input, known from the parameters alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.groups import Groups
from ..coupling.labels import Labels
from ..coupling.rules import RULES
from ..ir.network import Network
from ..ir.rebuild import node_key
from ..statistics.operators import Operator, find_operators

__all__ = ["constant_channels"]

Mask = npt.NDArray[np.bool_]


def constant_channels(network: Network, groups: Groups) -> dict[str, Mask]:
    """Return for every computed value which of its channels do not depend on the input.

    A filter of zeros yields its bias, a normalisation with a scale of zero its shift. Channels
    computed from such channels alone are constant, too. Borders are ignored: after a depthwise
    convolution with padding, a constant channel has another value at the border. Every reported
    channel is constant, but not every constant channel is reported.

    Args:
        network: the network that `groups` was found in, with any weights.
        groups: its groups.

    Returns:
        value name → mask over its channels, in the order of its labels.
    """
    operators = {operator.key: operator for operator in find_operators(network)}
    producers = {producer.node for producer in groups.producers}
    moving: dict[str, Mask] = {
        name: np.ones(len(groups.values[name].vector), dtype=np.bool_) for name in network.inputs
    }
    for node in network.graph:
        for value in node.outputs:
            if str(value.name) not in groups.values:
                continue  # computed from parameters alone, so that it does not move
            labels = groups.values[str(value.name)]
            operator, rule = operators.get(node_key(node)), RULES.get(node.op_type)
            if labels.axis is None:
                found = np.ones(len(labels.vector), dtype=np.bool_)
            elif operator is not None:
                found = _multiplied(network, groups, operator, moving)
            elif node_key(node) in producers or rule is None:
                found = np.ones(len(labels.vector), dtype=np.bool_)
            elif rule.elementwise:
                found = _elementwise(network, groups, node, labels, moving)
            else:
                found = _moved(groups, node, labels, moving)
                if node.op_type in ("BatchNormalization", "InstanceNormalization"):
                    found &= network.array(str(node.inputs[1].name)) != 0  # type: ignore[union-attr]
            moving[str(value.name)] = found
    return {name: ~found for name, found in moving.items()}


def _multiplied(
    network: Network, groups: Groups, operator: Operator, moving: dict[str, Mask]
) -> Mask:
    """Return which outputs of a convolution or product read a moving channel at all."""
    matrix = operator.matrix(network.array(operator.weight)) != 0
    labels = groups.values[operator.x]
    channels = matrix.shape[2] // int(np.prod(operator.kernel, dtype=np.int64))
    axis = 1 if operator.op_type == "Conv" else len(labels.shape) - 1
    if labels.axis == axis:
        read = moving[operator.x].reshape(operator.group, 1, channels, 1)
    else:
        read = np.broadcast_to(moving[operator.x].any(), (operator.group, 1, channels, 1))
    weighed = matrix.reshape(*matrix.shape[:2], channels, -1)
    found: Mask = (weighed & read).any(axis=(2, 3)).ravel()
    return found


def _elementwise(
    network: Network, groups: Groups, node: ir.Node, labels: Labels, moving: dict[str, Mask]
) -> Mask:
    """Return which channels of an element-wise result have a moving operand."""
    assert labels.axis is not None
    axes_from_channels = len(labels.shape) - labels.axis
    found = np.zeros(len(labels.vector), dtype=np.bool_)
    silenced = np.zeros(len(labels.vector), dtype=np.bool_)
    for value in node.inputs:
        if value is None:
            continue
        name = str(value.name)
        if name in moving:
            own = groups.values[name]
            aligned = own.axis is not None and len(own.shape) - own.axis == axes_from_channels
            if aligned and len(own.vector) == len(found):
                found |= moving[name]
            else:
                found |= bool(moving[name].any())
        elif node.op_type == "Mul" and name in network.graph.initializers:
            factor = np.broadcast_to(network.array(name), labels.shape)
            others = tuple(axis for axis in range(factor.ndim) if axis != labels.axis)
            silenced |= ~factor.any(axis=others)
    return found & ~silenced


def _moved(groups: Groups, node: ir.Node, labels: Labels, moving: dict[str, Mask]) -> Mask:
    """Return which channels move, for a node that only moves channels or treats each alone."""
    still: set[int] = set()
    moved: set[int] = set()
    for value in node.inputs:
        if value is None or str(value.name) not in moving:
            continue
        mask = moving[str(value.name)]
        units = groups.units[groups.values[str(value.name)].vector]
        still.update(units[~mask].tolist())
        moved.update(units[mask].tolist())
    known = still - moved
    return np.array([c not in known for c in groups.units[labels.vector].tolist()], np.bool_)
