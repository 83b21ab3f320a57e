"""A digest that names a network: equal graphs and weights have one, from whatever file."""

from __future__ import annotations

import hashlib

import numpy as np

from .network import Network

__all__ = ["digest"]


def digest(network: Network) -> str:
    """Return the SHA-256 of the graph's operators, connections and weights, in hexadecimal."""
    state = hashlib.sha256()
    for value in network.graph.inputs:
        state.update(f"input {value.name} {value.shape}\n".encode())
    for name, value in network.graph.initializers.items():
        assert value.const_value is not None
        array = np.ascontiguousarray(value.const_value.numpy())
        state.update(f"tensor {name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.data)
    for node in network.graph:
        inputs = [value.name if value is not None else "" for value in node.inputs]
        outputs = [value.name for value in node.outputs]
        attributes = sorted(f"{name}={attr.value}" for name, attr in node.attributes.items())
        state.update(f"{node.op_type} {inputs} {outputs} {attributes}\n".encode())
    return state.hexdigest()
