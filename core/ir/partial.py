"""Parts of a network: what leads to some values, or what follows from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from .network import Network
from .rebuild import copied_node, copied_value

__all__ = ["prefix", "suffix"]


def prefix(network: Network, values: Sequence[str]) -> Network:
    """Return the part of a network that computes some inner values, which become its outputs.

    A value that is an input of the network comes out of an Identity called `shown:<name>`.

    Args:
        network: the whole network.
        values: names of values, in the order of the outputs.
    """
    wanted = set(values)
    needed: list[ir.Node] = []
    for node in reversed(list(network.graph)):
        if any(value.name in wanted for value in node.outputs):
            needed.append(node)
            wanted.update(str(value.name) for value in node.inputs if value is not None)
    copies = _initial(network)
    nodes = [copied_node(node, copies) for node in reversed(needed)]
    outputs = []
    for name in values:
        value = copies[name]
        if value.is_graph_input():
            show = ir.node("Identity", [value], name=f"shown:{name}:node")
            show.outputs[0].name = f"shown:{name}"
            show.outputs[0].shape, show.outputs[0].type = value.shape, value.type
            nodes.append(show)
            value = show.outputs[0]
        outputs.append(value)
    inputs = [copies[str(value.name)] for value in network.graph.inputs]
    return _network(network, inputs, outputs, nodes, copies)


def suffix(network: Network, value: str) -> Network:
    """Return the part of a network that follows from one inner value.

    Its inputs are that value and every other value that the part reads; its outputs are those
    outputs of the network that depend on the value.
    """
    inside = {value}
    following: list[ir.Node] = []
    for node in network.graph:
        if any(v is not None and v.name in inside for v in node.inputs):
            following.append(node)
            inside.update(str(v.name) for v in node.outputs)
    made = {str(v.name) for node in following for v in node.outputs}
    copies = _initial(network)
    inputs: dict[str, ir.Value] = {}
    for node in following:
        for read in node.inputs:
            if read is None or read.name in made or read.const_value is not None:
                continue
            name = str(read.name)
            if name not in inputs:
                inputs[name] = ir.Value(name=name, shape=read.shape, type=read.type)
            copies[name] = inputs[name]
    nodes = [copied_node(node, copies) for node in following]
    outputs = [copies[str(v.name)] for v in network.graph.outputs if v.name in made]
    return _network(network, list(inputs.values()), outputs, nodes, copies)


def _initial(network: Network) -> dict[str, ir.Value]:
    graph = network.graph
    return {
        str(value.name): copied_value(value)
        for value in (*graph.inputs, *graph.initializers.values())
    }


def _network(
    network: Network,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Sequence[ir.Node],
    copies: dict[str, ir.Value],
) -> Network:
    read = {id(value) for node in nodes for value in node.inputs if value is not None}
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=nodes,
        initializers=[v for v in copies.values() if v.const_value is not None and id(v) in read],
        opset_imports=dict(network.graph.opset_imports),
        name=network.graph.name,
    )
    model = ir.Model(graph, ir_version=network.model.ir_version)
    return replace(network, model=model, source=None, heads=())
