"""Copying a network with other tensors or attributes: the only way a graph ever changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..errors import PlanError, nearest_hint
from .assemble import NONE, Assembly, Tensors
from .builder import Attribute
from .network import Network
from .subgraphs import subgraphs

__all__ = ["changed_tensors", "expose", "node_key", "rebuild"]

Attributes = Mapping[str, Mapping[str, Attribute]]
"""Node key (see :func:`node_key`) → attribute → value."""


def node_key(node: ir.Node) -> str:
    """Return what identifies a node in every copy of its graph: the name of its first output."""
    return str(node.outputs[0].name)


def changed_tensors(before: Network, after: Network) -> dict[str, np.ndarray]:
    """Return initializer → array in `after`, for the initializers that were replaced.

    An initializer counts as replaced if its tensor is another object, whatever it holds.

    Args:
        before: a network.
        after: a copy by :func:`rebuild`, or a copy of a copy.
    """
    return {
        name: value.const_value.numpy()
        for name, value in after.graph.initializers.items()
        if value.const_value is not None
        and value.const_value is not before.graph.initializers[name].const_value
    }


def rebuild(
    network: Network,
    *,
    tensors: Tensors = NONE,
    attributes: Attributes | None = None,
    extra_outputs: Mapping[str, str] | None = None,
) -> Network:
    """Return a copy of `network` with some initializers and attributes replaced.

    The other tensors are shared with the original. Shapes are inferred again where sizes changed;
    the copy then has no companions, which would not fit it.

    Args:
        network: the network to copy.
        tensors: initializer → its new array.
        attributes: node key → attribute → its new value.
        extra_outputs: name of a new output → name of the inner value that it repeats.

    Raises:
        FormatError: the new sizes do not fit together.
    """
    attributes, extra_outputs = attributes or {}, extra_outputs or {}
    graph = network.graph
    copy = Assembly(network, tensors)
    for value in (*graph.inputs, *graph.initializers.values()):
        copy.take(value)
    resized = bool(attributes) or any(
        array.shape != tuple(graph.initializers[name].shape or ())
        for name, array in tensors.items()
    )
    for node in graph:
        if resized and _resized(node, copy.values, attributes, tensors):
            copy.add_resized(node, attributes.get(node_key(node), {}))
        else:
            copy.add(node)
    for name, inner in extra_outputs.items():
        copy.op("Identity", [copy.values[inner]], name, like=copy.values[inner])
    found = copy.network([*network.outputs, *extra_outputs])
    return found if resized else replace(found, companions=network.companions)


def _resized(
    node: ir.Node, copies: Mapping[str, ir.Value], attributes: Attributes, tensors: Tensors
) -> bool:
    """Whether the outputs of a node may have other sizes than before.

    Operators of other domains and operators with subgraphs fix all channels they read, so nothing
    they touch is resized.
    """
    if node.domain != "" or subgraphs(node):
        return False
    if node_key(node) in attributes:
        return True
    return any(
        copies[str(value.name)].shape != value.shape
        or (str(value.name) in tensors and value.dtype == ir.DataType.INT64)
        for value in node.inputs
        if value is not None
    )


def expose(network: Network, layers: Sequence[str] | None = None) -> Network:
    """Return a copy with the first top of inner layers as further outputs `layer:<name>`.

    Args:
        network: the network to copy.
        layers: names of layers; None for all. If several layers have one name, the last is taken.

    Raises:
        PlanError: no layer has such a name.
    """
    by_name = {info.name: info.tops[0] for info in network.layers if info.tops}
    names = list(by_name) if layers is None else list(layers)
    for name in names:
        if name not in by_name:
            raise PlanError(
                f"the network has no layer '{name}' to expose",
                hint=nearest_hint(name, by_name, "`secateur inspect` lists them"),
            )
    return rebuild(network, extra_outputs={f"layer:{name}": by_name[name] for name in names})
