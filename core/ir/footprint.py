"""How much memory the values of a network take, in bytes a sample."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .network import Network

__all__ = ["peak_bytes", "total_bytes", "value_bytes"]

FLOAT_BYTES = 4.0
"""Bytes of one number: values of other types are taken for float32, too."""


def peak_bytes(network: Network) -> int:
    """Return about how many bytes a sample a run holds at most.

    A value is held from the node that makes it to the last one that reads it. onnxruntime reuses
    and rounds up memory in ways of its own.
    """
    sizes = {name: int(value_bytes(value)) for name, value in network.values().items()}
    last_reader: dict[str, int] = {}
    for number, node in enumerate(network.graph):
        last_reader.update((str(v.name), number) for v in node.inputs if v is not None)
    held: dict[str, int] = {str(v.name): sizes[str(v.name)] for v in network.graph.inputs}
    peak = sum(held.values())
    for number, node in enumerate(network.graph):
        held.update((str(v.name), sizes[str(v.name)]) for v in node.outputs)
        peak = max(peak, sum(held.values()))
        held = {name: size for name, size in held.items() if last_reader.get(name, -1) > number}
    return peak


def total_bytes(network: Network) -> int:
    """Return the bytes a sample of all values that the nodes of a network make."""
    return int(sum(value_bytes(value) for node in network.graph for value in node.outputs))


def value_bytes(value: ir.Value) -> float:
    """Return the bytes a sample of one value; 0 for parameters and values of unknown shape.

    Symbolic dimensions count as 1. Where the batch is a number, its samples share the bytes.
    """
    if value.const_value is not None or value.shape is None:
        return 0.0
    sizes = [dim if isinstance(dim, int) else 1 for dim in value.shape]
    batch = sizes[0] if value.shape and isinstance(value.shape[0], int) else 1
    return FLOAT_BYTES * float(np.prod(sizes)) / max(1, batch)
