"""Graphs inside nodes, and the values of the outer graph that they read."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["captured", "subgraphs"]

_GRAPH, _GRAPHS = ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs in the attributes of a node (the branches of an If, the body of a Loop)."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type is _GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type is _GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def captured(node: ir.Node) -> list[str]:
    """Return the names of the values of the outer graph that the subgraphs of a node read."""
    return [name for graph in subgraphs(node) for name in _free(graph)]


def _free(graph: ir.Graph) -> list[str]:
    made = {str(value.name) for value in (*graph.inputs, *graph.initializers.values())}
    made.update(str(value.name) for node in graph for value in node.outputs)
    read = [str(v.name) for node in graph for v in node.inputs if v is not None]
    read += [name for node in graph for name in captured(node)]
    read += [str(value.name) for value in graph.outputs]
    return [name for name in dict.fromkeys(read) if name not in made]
