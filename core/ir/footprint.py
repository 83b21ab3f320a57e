"""How much memory the values of a network take, in bytes a sample."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .network import Network
from .weighted import WEIGHTED

__all__ = ["largest_bytes", "multiply_adds", "peak_bytes", "total_bytes", "value_bytes"]

LARGEST_VALUE = 1 << 28
"""Bytes of the largest value that a batch size in a file may lead to before a smaller one is taken.
What is known of real networks with a fixed batch stays below."""

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


def largest_bytes(network: Network) -> int:
    """Return the bytes of the largest value of a run, with all samples of a fixed batch."""
    return max((_whole_bytes(value) for value in network.values().values()), default=0)


def _whole_bytes(value: ir.Value) -> int:
    if value.const_value is not None or value.shape is None:
        return 0
    return int(FLOAT_BYTES) * math.prod(dim for dim in value.shape if isinstance(dim, int))


def multiply_adds(network: Network) -> int:
    """Return about how many numbers a run multiplies a sample: of convolutions and matrices."""
    return sum(map(_multiply_adds, network.graph))


def _multiply_adds(node: ir.Node) -> int:
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if node.op_type not in WEIGHTED or weight is None or weight.shape is None:
        return 0
    # Each output of a convolution reads a row of the weight; each input of the transposed one does.
    positions = node.inputs[0] if node.op_type == "ConvTranspose" else node.outputs[0]
    sizes = [dim for dim in weight.shape if isinstance(dim, int)]
    shared = sizes[-1:] if node.op_type == "MatMul" else sizes[:1]
    if node.op_type == "Gemm" and not _flag(node, "transB"):
        shared = sizes[-1:]
    row = math.prod(sizes) // max(1, math.prod(shared))
    return int((value_bytes(positions) if positions is not None else 0) / FLOAT_BYTES) * row


def _flag(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and bool(attribute.as_int())


def value_bytes(value: ir.Value) -> float:
    """Return the bytes a sample of one value; 0 for parameters and values of unknown shape.

    Symbolic dimensions count as 1. Where the batch is a number, its samples share the bytes.
    """
    if value.const_value is not None or value.shape is None:
        return 0.0
    sizes = [dim if isinstance(dim, int) else 1 for dim in value.shape]
    batch = sizes[0] if value.shape and isinstance(value.shape[0], int) else 1
    return FLOAT_BYTES * float(np.prod(sizes)) / max(1, batch)
