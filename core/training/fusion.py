"""Nodes that are computed together, and values that are overwritten: the same numbers in less time.

A factor and a summand of each channel behind a batch normalisation, often a layer of their own, can
be its own. An activation may write over what it reads where nothing else needs that, neither
another node nor a gradient.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from ..ir.network import shape_of
from .framework import functional, torch
from .operators.registry import Function

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Chain", "chains", "normalised", "operands", "overwriting", "readers_of"]

Chain = tuple[ir.Node, ...]
"""Nodes that are computed at once: each but the last is read by the next alone."""

FRESH = frozenset({"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm"})
"""Operators that make a new tensor which their own gradient does not need."""


def chains(nodes: Sequence[ir.Node], kept: Collection[str]) -> list[Chain]:
    """Return nodes in their order, each batch normalisation with what belongs into it.

    Args:
        nodes: all that are computed.
        kept: values that must be there by themselves: they are wanted, or have a gradient of their
            own.
    """
    readers = readers_of(nodes)
    found: list[Chain] = []
    taken: set[int] = set()
    for node in nodes:
        if id(node) in taken:
            continue
        chain = [node]
        while (follower := _follower(chain, readers, kept)) is not None:
            chain.append(follower)
        taken.update(map(id, chain))
        found.append(tuple(chain))
    return found


def readers_of(nodes: Iterable[ir.Node]) -> dict[str, list[ir.Node]]:
    """Return value → the nodes that read it, one that reads it twice two times."""
    found: dict[str, list[ir.Node]] = {}
    for node in nodes:
        for value in node.inputs:
            if value is not None:
                found.setdefault(str(value.name), []).append(node)
    return found


def _follower(
    chain: Sequence[ir.Node], readers: Mapping[str, Sequence[ir.Node]], kept: Collection[str]
) -> ir.Node | None:
    """Return the node that belongs into a chain, too; None where there is none."""
    first, last = chain[0], chain[-1]
    if first.op_type != "BatchNormalization" or len(last.outputs) != 1:
        return None
    value = last.outputs[0]
    own = readers.get(str(value.name), ())
    if str(value.name) in kept or len(own) != 1 or own[0].op_type not in ("Mul", "Add"):
        return None
    return own[0] if _by_channel(_other(own[0], value), first) else None


def operands(chain: Chain) -> list[ir.Value | None]:
    """Return what the nodes behind the first read beside the value before them."""
    return [_other(node, before.outputs[0]) for before, node in pairwise(chain)]


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """Return the other input of a node of two."""
    one, other = node.inputs
    return other if one is value else one


def _by_channel(value: ir.Value | None, norm: ir.Node) -> bool:
    """Whether a stored value has one number for each channel of a normalisation, in its place."""
    made, mean = norm.outputs[0], norm.inputs[3]
    if value is None or value.const_value is None or value.producer() is not None:
        return False
    if made.shape is None or mean is None or mean.shape is None or value.shape is None:
        return False
    rank, shape = len(made.shape), shape_of(value)
    behind = (1,) * (rank - 2)
    column = (*shape_of(mean), *behind)
    return shape in (column, (1, *column))


def normalised(norm: Function, chain: Chain, constants: Mapping[str, np.ndarray]) -> Function:
    """Return the function of a chain: it takes the inputs of the normalisation, then the operands.

    Args:
        norm: the function of the normalisation.
        chain: it and what follows.
        constants: initializer → its array, where that never changes.
    """
    factors = tuple(node.op_type == "Mul" for node in chain[1:])
    scale, bias = (constants.get(str(value.name)) for value in chain[0].inputs[1:3] if value)
    ones = scale is not None and bool((scale == 1).all())
    zeros = bias is not None and not bias.any()

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor,
            *operands: Tensor) -> Any:  # fmt: skip
        neutral, nothing = ones, zeros
        for is_factor, each in zip(factors, operands, strict=True):
            own = each.reshape(-1)
            if is_factor:
                scale = own if neutral else scale * own
                bias = bias if nothing else bias * own
                neutral = False
            else:
                bias = own if nothing else bias + own
                nothing = False
        return norm(x, scale, bias, mean, variance)

    return run


def overwriting(
    node: ir.Node, readers: Mapping[str, Sequence[ir.Node]], kept: Collection[str]
) -> Function | None:
    """Return the function of an activation that writes over what it reads; None where it must not.

    Args:
        node: any node.
        readers: value → the nodes that read it.
        kept: as for :func:`chains`.
    """
    value = node.inputs[0] if node.inputs else None
    producer = value.producer() if value is not None else None
    if value is None or producer is None or producer.op_type not in FRESH:
        return None
    if str(value.name) in kept or len(readers[str(value.name)]) != 1:
        return None
    if node.op_type == "Relu":
        return torch.relu_
    if node.op_type == "LeakyRelu":
        given = node.attributes.get("alpha")
        slope = 0.01 if given is None else float(given.value)
        if slope > 0:  # else the sign of the output does not tell that of the input
            return lambda x: functional.leaky_relu_(x, slope)
    return None
