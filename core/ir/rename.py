"""The same network under other names of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import onnx_ir as ir

from .assemble import Assembly
from .network import FOLLOWERS, Network

__all__ = ["renamed"]


def renamed(network: Network, names: Mapping[str, str]) -> Network:
    """Return a copy of a network whose values bear other names; it has no companions.

    A value that is not named, but whose name is given to another, gets a name of its own.

    Args:
        network: the network.
        names: name of a value → its new name; new names are different ones.
    """
    taken = set(names.values())
    full = dict(names)
    for name in network.values():
        if name not in names:
            new = name
            while new in taken:
                new += "'"
            taken.add(new)
            full[name] = new
    copy = Assembly(network)
    for value in (*network.graph.inputs, *network.graph.initializers.values()):
        copy.take(value)
    for node in network.graph:
        copy.add(node)
    found = copy.network(list(network.outputs))
    _rename(found.graph, full)
    return replace(
        found,
        layers=tuple(
            replace(
                info,
                bottoms=tuple(full.get(name, name) for name in info.bottoms),
                tops=tuple(full.get(name, name) for name in info.tops),
            )
            for info in network.layers
        ),
        heads=tuple(_with_names(head, full) for head in network.heads),
        borders=tuple(
            replace(
                border,
                inputs=tuple(full.get(name, name) for name in border.inputs),
                outputs=tuple(full.get(name, name) for name in border.outputs),
                parameters=tuple(full.get(name, name) for name in border.parameters),
            )
            for border in network.borders
        ),
    )


def _rename(graph: ir.Graph, names: Mapping[str, str]) -> None:
    """Rename the values of a graph that nobody else has; tensors may have other owners."""
    stored = list(graph.initializers.values())
    for value in stored:
        del graph.initializers[str(value.name)]
    for value in stored:
        tensor = value.const_value
        name = names[str(value.name)]
        if tensor is not None and name != value.name:
            value.const_value = ir.Tensor(tensor.numpy(), name=name)
        value.name = name
        graph.initializers[name] = value
    made = [value for node in graph for value in node.outputs]
    for value in (*graph.inputs, *made):
        value.name = names[str(value.name)]
    for value in (*graph.inputs, *stored, *made):
        if FOLLOWERS in value.meta:
            value.meta[FOLLOWERS] = tuple(names[name] for name in value.meta[FOLLOWERS])


def _with_names(head: Any, names: Mapping[str, str]) -> Any:
    """Return a head that names its outputs anew."""
    texts = {
        field.name: names[text]
        for field in fields(head)
        if isinstance(text := getattr(head, field.name), str) and text in names
    }
    return replace(head, **texts)
