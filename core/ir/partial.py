"""Parts of a network: between some values, behind one value, or taken apart at some values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import onnx_ir as ir

from .assemble import NONE, Assembly, Tensors
from .network import Network, shape_of
from .subgraphs import captured

__all__ = ["between", "given", "known", "nodes_between", "severed", "suffix"]

_GIVEN = "/given"


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

    Its inputs are the known values that it reads. Wanted values that are known already are not
    among its outputs.

    Args:
        network: the whole network.
        known: names of values whose arrays the caller has.
        wanted: names of values, which become the outputs in this order.
        tensors: initializer → array of the same shape that replaces it.
    """
    nodes = nodes_between(network, known, wanted)
    return _assembled(network, nodes, [name for name in wanted if name not in known], tensors)


def suffix(network: Network, value: str) -> Network:
    """Return the part of a network that depends on one inner value.

    Its inputs are the value and every other value that the part reads. Its outputs are the outputs
    of the network that depend on the value.
    """
    inside = {value}
    following: list[ir.Node] = []
    for node in network.graph:
        if any(name in inside for name in _read(node)):
            following.append(node)
            inside.update(str(v.name) for v in node.outputs)
    outputs = [str(v.name) for v in network.graph.outputs if v.name in inside and v.name != value]
    return _assembled(network, following, outputs)


def given(name: str) -> str:
    """Return the name of the input of a severed network that stands for a value."""
    return name + _GIVEN


def known(name: str) -> str:
    """Return the name of the value that an input of a severed network stands for."""
    return name.removesuffix(_GIVEN)


def severed(network: Network, cuts: Collection[str], wanted: Sequence[str]) -> Network:
    """Return a network taken apart: the nodes that read some values read inputs instead.

    The values are computed all the same, where they are wanted. So every part between cuts runs on
    what it is given, and its own result is seen.

    Args:
        network: the whole network.
        cuts: names of values that nodes make and no subgraph reads. Each that is read becomes an
            input, called as :func:`given` says.
        wanted: names of values that nodes make, which become the outputs in this order.
    """
    cuts, missing = frozenset(cuts), set(wanted)
    needed: list[ir.Node] = []
    for node in reversed(list(network.graph)):
        if any(value.name in missing for value in node.outputs):
            needed.append(node)
            missing.update(name for name in _read(node) if name not in cuts)
    part = Assembly(network)
    replaced: dict[str, ir.Value] = {}
    for node in reversed(needed):
        for value in node.inputs:
            if value is not None and value.name in cuts and value.name not in replaced:
                name = str(value.name)
                replaced[name] = part.input(given(name), shape_of(value), value)
        part.take_read(node, without=cuts)
        part.add(node, {n: replaced[n] for n in _read(node) if n in replaced})
    return replace(part.network(wanted), source=None, heads=())


def _read(node: ir.Node) -> list[str]:
    """Return the names of the values that a node reads, in its subgraphs, too."""
    return [str(value.name) for value in node.inputs if value is not None] + captured(node)


def _assembled(
    network: Network, nodes: Sequence[ir.Node], outputs: Sequence[str], tensors: Tensors = NONE
) -> Network:
    """Return a network of some nodes; values that none of them makes become inputs."""
    part = Assembly(network, tensors)
    for node in nodes:
        part.take_read(node)
        part.add(node)
    return replace(part.network(outputs), source=None, heads=())
