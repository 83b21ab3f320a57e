"""Reading attributes and constant inputs of nodes."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["constant_input", "given_sizes", "int_attribute", "ints_attribute", "output_shape"]


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute or its default."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def ints_attribute(node: ir.Node, name: str) -> tuple[int, ...] | None:
    """Return a list attribute, or None where it is not set."""
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else None


def constant_input(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """Return an integer constant input as a tuple, or None where it is absent or computed."""
    if index >= len(node.inputs):
        return None
    value = node.inputs[index]
    if value is None or value.const_value is None:
        return None
    return tuple(int(entry) for entry in value.const_value.numpy().ravel())


def given_sizes(node: ir.Node, index: int, name: str) -> tuple[int, ...] | None:
    """Return sizes that are an input, in earlier opsets an attribute; None if they are computed."""
    return ints_attribute(node, name) or constant_input(node, index)


def output_shape(node: ir.Node, index: int = 0) -> tuple[int, ...]:
    """Return the shape of an output with symbolic sizes as 1."""
    shape = node.outputs[index].shape
    assert shape is not None, f"{node.op_type} has an output of unknown shape"
    return tuple(dim if isinstance(dim, int) else 1 for dim in shape)
