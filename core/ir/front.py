"""How much memory the values of a network take."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .network import Network

__all__ = ["all_values", "largest_front", "value_bytes"]


def largest_front(network: Network) -> int:
    """Return the bytes a sample that a run holds at most, node by node, about."""
    sizes = {name: int(value_bytes(value)) for name, value in network.values().items()}
    last: dict[str, int] = {}
    for number, node in enumerate(network.graph):
        last.update((str(v.name), number) for v in node.inputs if v is not None)
    alive: dict[str, int] = {str(v.name): sizes[str(v.name)] for v in network.graph.inputs}
    largest = sum(alive.values())
    for number, node in enumerate(network.graph):
        alive.update((str(v.name), sizes[str(v.name)]) for v in node.outputs)
        largest = max(largest, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > number}
    return largest


def all_values(network: Network) -> int:
    """Return the bytes of all values that one sample makes."""
    return int(sum(value_bytes(value) for node in network.graph for value in node.outputs))


def value_bytes(value: ir.Value) -> float:
    """Return the bytes of a value a sample, 0 for parameters; a fixed batch is shared out."""
    if value.const_value is not None or value.shape is None:
        return 0.0
    sizes = [dim if isinstance(dim, int) else 1 for dim in value.shape]
    batch = sizes[0] if value.shape and isinstance(value.shape[0], int) else 1
    return 4.0 * float(np.prod(sizes)) / max(1, batch)
