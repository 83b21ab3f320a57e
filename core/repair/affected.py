"""The values of a pruned network that a removal affects, and the layers that can be fitted.

A value is not affected if it only has fewer channels: the remaining channels are the same. The
first affected values are the outputs of its consumers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import Network, blob_refs
from ..ir.rebuild import node_key
from ..ir.weighted import WEIGHTED
from ..plan.state import PruningState
from ..statistics.operators import Array, Operator, find_operators

__all__ = ["Layer", "affected", "moved", "repairable", "shifts_alone", "stored_alone"]


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator whose weights may change.

    Args:
        operator: the operator in the pruned network.
        kept: mask over its output channels in the original.
        end: name of the value in the pruned network that it is fitted to make, where it has a goal.
        goal: name of the value of the original that this is to be like; None for its own.
    """

    operator: Operator
    kept: npt.NDArray[np.bool_]
    end: str = ""
    goal: str | None = None


def affected(original: Network, pruned: Network) -> set[str]:
    """Return the names of the values whose channels may differ from those of the original.

    Nodes that read another value than in the original (behind a block that left) change with it.
    """
    reads = {node_key(node): _read(node) for node in original.graph}
    same = {
        name
        for name, value in pruned.graph.initializers.items()
        if value.const_value is original.graph.initializers[name].const_value
    }
    whole = {str(value.name) for value in pruned.graph.inputs} | same
    changed: set[str] = set()
    mixing = {operator.key for operator in find_operators(pruned) if operator.group == 1}
    for node in pruned.graph:
        names = {str(value.name) for value in node.inputs if value is not None}
        made = [str(value.name) for value in node.outputs]
        if reads.get(node_key(node)) != _read(node):
            changed.update(made)
        elif names <= whole:
            whole.update(made)
        elif names & changed or (_mixes(node, mixing) and not _reads_whole(node, whole)):
            changed.update(made)
    return changed


def _read(node: ir.Node) -> list[str | None]:
    """Return the names of what a node reads."""
    return [value.name if value is not None else None for value in node.inputs]


def _mixes(node: ir.Node, mixing: set[str]) -> bool:
    """Whether an output channel of a node depends on several input channels."""
    per_channel = node.op_type == "Conv" and node_key(node) not in mixing
    if not per_channel:
        return node.op_type in WEIGHTED
    weight = node.inputs[1]
    shape = weight.shape if weight is not None else None
    return shape is None or shape[1] != 1


def _reads_whole(node: ir.Node, whole: set[str]) -> bool:
    return node.inputs[0] is not None and node.inputs[0].name in whole


def stored_alone(network: Network, name: str) -> bool:
    """Whether an initializer belongs to a blob of the file, and only one node reads it."""
    value = network.graph.initializers[name]
    return bool(blob_refs(value)) and len(list(value.uses())) == 1


def shifts_alone(network: Network, operator: Operator) -> bool:
    """Whether an operator has a shift that no other node reads."""
    return operator.shift is not None and stored_alone(network, operator.shift.parameter)


def moved(
    network: Network, operator: Operator, change: Array
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the shift of an operator that adds `change` [outputs] to its output."""
    assert operator.shift is not None
    old = network.array(operator.shift.parameter)
    new = old.astype(np.float64) + operator.shift.sign * change.reshape(old.shape)
    return {operator.shift.parameter: new.astype(old.dtype)}


def repairable(state: PruningState, dense: Network) -> list[Layer]:
    """Return the affected layers whose weights no other node reads.

    Args:
        state: the removal.
        dense: the dense network of the removal.
    """
    surviving = state.groups.surviving(state.removed)
    kept = {term.node: surviving[term.out] for term in state.groups.cost_terms}
    changed = affected(state.original, dense)
    return [
        Layer(operator, kept[operator.key])
        for operator in find_operators(dense)
        if operator.y in changed and operator.key in kept and stored_alone(dense, operator.weight)
    ]
