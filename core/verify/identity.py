"""Comparison of two networks without running them: the same graph with the same weights?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ..ir.network import Network

__all__ = ["same"]

CHUNK = 1 << 24
"""Number of bytes that are compared at once."""


def same(a: Network, b: Network, release: Callable[[], None] = lambda: None) -> bool:
    """Return whether two graphs have equal nodes, inputs and outputs, and weights of equal bits.

    If so, they compute the same: running them cannot show a difference.

    Args:
        a: a network.
        b: another network.
        release: called after each chunk of a large tensor; it releases the memory of mapped files.
    """
    if (a.inputs, list(a.outputs)) != (b.inputs, list(b.outputs)):
        return False
    ours, theirs = a.graph.initializers, b.graph.initializers
    if set(ours) != set(theirs) or not _same_nodes(list(a.graph), list(b.graph)):
        return False
    return all(
        _same_tensor(value.const_value, theirs[name].const_value, release)
        for name, value in ours.items()
    )


def _same_nodes(ours: list[ir.Node], theirs: list[ir.Node]) -> bool:
    return len(ours) == len(theirs) and all(
        (x.domain, x.op_type) == (y.domain, y.op_type)
        and [v and v.name for v in x.inputs] == [v and v.name for v in y.inputs]
        and [v.name for v in x.outputs] == [v.name for v in y.outputs]
        and _attributes(x) == _attributes(y)
        for x, y in zip(ours, theirs, strict=True)
    )


def _attributes(node: ir.Node) -> dict[str, bytes]:
    return {
        name: ir.serde.serialize_attribute(attribute).SerializeToString(deterministic=True)
        for name, attribute in node.attributes.items()
    }


def _same_tensor(
    ours: ir.TensorProtocol | None,
    theirs: ir.TensorProtocol | None,
    release: Callable[[], None],
) -> bool:
    if ours is None or theirs is None or ours.dtype != theirs.dtype:
        return False
    a, b = (np.ascontiguousarray(tensor.numpy()) for tensor in (ours, theirs))
    if a.shape != b.shape:
        return False
    x, y = (array.reshape(-1).view(np.uint8) for array in (a, b))
    for start in range(0, x.size, CHUNK):
        if not np.array_equal(x[start : start + CHUNK], y[start : start + CHUNK]):
            return False
        if x.size > CHUNK:
            release()
    return True
