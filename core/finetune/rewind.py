"""Weights of another moment for a pruned network: those of an early one, or fresh ones.

A pruned network can be trained further with the weights that it has, with those that the same
channels had early in training (weight rewinding: Frankle et al., Linear Mode Connectivity and the
Lottery Ticket Hypothesis, ICML 2020; Renda et al., ICLR 2020), or from scratch, which tells what
the kept weights are worth (Liu et al., Rethinking the Value of Network Pruning, ICLR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from ..coupling import find_groups
from ..coupling.edit import mask, shrink
from ..errors import PlanError
from ..ir.network import Network, blob_refs
from ..ir.rebuild import rebuild
from ..plan.blocks import without_blocks
from ..plan.plan import Plan, removed_units

__all__ = ["reinitialized", "rewound"]

SLOPE = 0.25
"""First slope of PReLU. Source: He et al., 2015, arXiv 1502.01852."""


def rewound(network: Network, early: Network, plan: Plan | None) -> Network:
    """Return a pruned network with the weights that its channels had in an early one.

    Args:
        network: the pruned network: small, or of the early one's size with zeros.
        early: the network before pruning, at the moment to go back to.
        plan: what was removed; None where nothing was.

    Raises:
        PlanError: without a plan the sizes differ, or with it.
    """
    if plan is not None:
        early = without_blocks(early, plan)
        groups = find_groups(early)
        removed = removed_units(plan, groups)
        same = _sizes(network) == _sizes(early)
        early = (mask if same else shrink)(early, groups, removed)
    mine, theirs = _sizes(network), _sizes(early)
    for name, size in mine.items():
        if theirs.get(name) != size:
            raise PlanError(
                f"'{name}' is {size or 'a number'} here and {theirs.get(name, 'not there')} in the "
                "early model",
                hint="give the early model before pruning, and the plan by which this one was "
                "pruned",
            )
    return rebuild(network, tensors={name: early.array(name) for name in mine})


def reinitialized(
    network: Network, seed: int, plan: Plan | None, ones: Collection[str] = ()
) -> Network:
    """Return a network with fresh weights.

    Weights are normal with variance 2 / fan-in (He et al., 2015; filler msra); biases
    and shifts are 0, factors 1, statistics those of nothing seen, slopes of PReLU 0.25. Other
    stored values stay.

    Args:
        network: the network.
        seed: decides the numbers.
        plan: of a sparse network, whose zeros stay; None for none.
        ones: stored values that begin with 1: weights of what statistics have seen.
    """
    generator = np.random.default_rng(seed)
    stored = set(_sizes(network))
    tensors: dict[str, np.ndarray] = {}
    for node in network.graph:
        for place, value in enumerate(node.inputs):
            name = "" if value is None else str(value.name)
            if name in stored and name not in tensors:
                fresh = _fresh(node, place, network.array(name), generator)
                if fresh is not None:
                    tensors[name] = fresh
    for name in ones:
        tensors[name] = np.ones_like(network.array(name))
    found = rebuild(network, tensors=tensors)
    if plan is None:
        return found
    groups = find_groups(found)
    return mask(found, groups, removed_units(plan, groups))


def _fresh(
    node: ir.Node, place: int, old: np.ndarray, generator: np.random.Generator
) -> np.ndarray | None:
    """Return the first values of an input of a node; None for those it has."""
    fill: float | None
    match node.op_type:
        case "Conv" | "ConvTranspose" | "Gemm" | "MatMul":
            if place == 1:
                deviation = math.sqrt(2.0 / _fan_in(node, old.shape))
                return (deviation * generator.standard_normal(old.shape)).astype(old.dtype)
            fill = 0.0
        case "BatchNormalization":
            fill = (1.0, 0.0, 0.0, 1.0)[place - 1] if place else None
        case "PRelu":
            fill = SLOPE
        case "Mul":
            fill = 1.0
        case "Add":
            fill = 0.0
        case _:
            fill = None
    return None if fill is None else np.full_like(old, fill)


def _fan_in(node: ir.Node, shape: tuple[int, ...]) -> int:
    """Return how many inputs each output of a multiplying node sums."""
    if node.op_type == "Conv":
        return math.prod(shape[1:])
    if node.op_type == "ConvTranspose":
        strides = node.attributes["strides"].as_ints() if "strides" in node.attributes else (1,)
        return max(1, math.prod(shape[2:]) * shape[0] // math.prod(strides))
    transposed = node.attributes.get("transB")
    rows = node.op_type == "Gemm" and transposed is not None and transposed.as_int() == 1
    return shape[-1] if rows else shape[0]


def _sizes(network: Network) -> dict[str, tuple[int, ...]]:
    """Return stored value → its shape."""
    return {
        name: tuple(network.array(name).shape)
        for name, value in network.graph.initializers.items()
        if blob_refs(value)
    }
