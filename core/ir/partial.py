"""Parts of a network: what leads from some values to others, or what follows from one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from .network import Network
from .rebuild import copied_value, twin_node
from .subgraphs import captured, subgraphs

__all__ = ["NONE", "Tensors", "between", "nodes_between", "suffix"]

Tensors = Mapping[str, np.ndarray]
"""Initializer → array."""

NONE: Tensors = MappingProxyType({})


def nodes_between(
    network: Network, known: Collection[str], wanted: Collection[str]
) -> list[ir.Node]:
    """Return the nodes that compute `wanted` values from `known` ones, in order."""
    missing = set(wanted) - set(known)
    needed: list[ir.Node] = []
    for node in reversed(list(network.graph)):
        if any(value.name in missing for value in node.outputs):
            needed.append(node)
            missing.update(name for name in _read(node) if name not in known)
    return needed[::-1]


def between(
    network: Network, known: Collection[str], wanted: Sequence[str], tensors: Tensors = NONE
) -> Network:
    """Return the part of a network that computes `wanted` values from `known` ones.

    Its inputs are those known values that it reads; wanted values that are known are left out.

    Args:
        network: the whole network.
        known: names of values whose arrays are at hand.
        wanted: names of values, which become the outputs in this order.
        tensors: initializer → other values of the same shape.
    """
    nodes = nodes_between(network, known, wanted)
    return _assembled(network, nodes, [name for name in wanted if name not in known], tensors)


def suffix(network: Network, value: str) -> Network:
    """Return the part of a network that follows from one inner value.

    Its inputs are that value and every other value that the part reads; its outputs are those
    outputs of the network that depend on the value.
    """
    inside = {value}
    following: list[ir.Node] = []
    for node in network.graph:
        if any(name in inside for name in _read(node)):
            following.append(node)
            inside.update(str(v.name) for v in node.outputs)
    outputs = [str(v.name) for v in network.graph.outputs if v.name in inside and v.name != value]
    return _assembled(network, following, outputs)


def _read(node: ir.Node) -> list[str]:
    """Return the names of the values that a node reads, in its subgraphs, too."""
    return [str(value.name) for value in node.inputs if value is not None] + captured(node)


def _assembled(
    network: Network, nodes: Sequence[ir.Node], outputs: Sequence[str], tensors: Tensors = NONE
) -> Network:
    """Return a network of some nodes; what they read and do not make becomes input."""
    made = {str(value.name) for node in nodes for value in node.outputs}
    copies: dict[str, ir.Value] = {}
    inputs: list[ir.Value] = []
    initializers: list[ir.Value] = []
    values = network.values() if any(subgraphs(node) for node in nodes) else {}
    for node in nodes:
        read = [value for value in node.inputs if value is not None]
        read += [values[name] for name in captured(node)]
        for value in read:
            if value.name in made or value.name in copies:
                continue
            copy = copied_value(value, tensors.get(str(value.name)))
            copies[str(value.name)] = copy
            (inputs if value.const_value is None else initializers).append(copy)
    twins = [twin_node(node, copies) for node in nodes]
    graph = ir.Graph(
        inputs,
        [copies[name] for name in outputs],
        nodes=twins,
        initializers=initializers,
        opset_imports=dict(network.graph.opset_imports),
        name=network.graph.name,
    )
    model = ir.Model(graph, ir_version=network.model.ir_version)
    return replace(network, model=model, source=None, heads=())
