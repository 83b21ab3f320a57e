"""Isomorphic pruning: Fang, Ma, Mi, Wang, Isomorphic Pruning for Vision Models, ECCV 2024 (arXiv
2407.04616).

Scores of groups with different structures do not compare: a residual stage sums up more layers than
a single filter, a depthwise filter has nine weights. Groups whose sub-networks are isomorphic do.
So all groups are put into classes of the same structure. Within a class, the channels of all groups
are in one ranking of their scores as they are; every class loses the same share of its channels.

The sub-network of a group is made of the nodes that make or read its channels. Its nodes are
described by their operator, kernel and kind of groups, not by their number of channels, and by
which of their inputs and outputs hold channels of the group. Two sub-networks count as the same
where the refinement of Weisfeiler and Lehman (A reduction of a graph to a canonical form, 1968)
cannot tell them apart; it compares neighbourhoods of growing size until nothing changes.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..coupling.groups import Group, Groups
from ..ir.network import Network
from ..ir.rebuild import node_key
from ..plan.steps import Order, Step
from .ranking import ranked
from .registry import AllocationContext, allocation

__all__ = ["classes"]


@allocation(
    "isomorphic",
    summary="the same share of every class of groups with one structure; a ranking within each",
    source="Fang et al., ECCV 2024",
)
def isomorphic(context: AllocationContext) -> Order:
    """Return the steps by the share of their class that is gone, the lowest scores first."""
    assert context.network is not None, "the workflow gives the network"
    kind = classes(context.network, context.groups)
    members: dict[int, list[Step]] = defaultdict(list)
    for step in ranked(context.partition_steps(), context.scores):
        members[kind[step.group]].append(step)
    placed: list[tuple[float, int, int, Step]] = []
    for number, own in members.items():
        whole = sum(len(step.units) for step in own)
        gone = 0
        for place, step in enumerate(own):
            gone += len(step.units)
            placed.append((gone / whole, number, place, step))
    return [entry[-1] for entry in sorted(placed, key=lambda entry: entry[:3])]


def classes(network: Network, groups: Groups) -> list[int]:
    """Return the number of the class of each group, in the order of the groups."""
    numbers: dict[object, int] = {}
    return [
        numbers.setdefault(_structure(network, groups, group), len(numbers))
        for group in groups.groups
    ]


def _structure(network: Network, groups: Groups, group: Group) -> object:
    """Return what is equal for groups whose sub-networks are isomorphic."""
    own = np.zeros(groups.unit_count, dtype=np.bool_)
    own[list(group.units)] = True
    inside = {
        name for name, labels in groups.values.items() if own[groups.units[labels.vector]].any()
    }
    nodes = [node for node in network.graph if _names([*node.inputs, *node.outputs]) & inside]
    producers = {producer.node for producer in groups.producers}
    colours = {
        node_key(node): _digest((
            _described(network, node),
            bool(_names(node.inputs) & inside),
            bool(_names(node.outputs) & inside),
            node_key(node) in producers,
        ))
        for node in nodes
    }  # fmt: skip
    made = {str(value.name): node_key(node) for node in nodes for value in node.outputs}
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for value in node.inputs:
            name = str(value.name) if value is not None else ""
            if name in inside and name in made:
                before[node_key(node)].append(made[name])
                after[made[name]].append(node_key(node))
    known = len(set(colours.values()))
    while True:
        colours = {
            key: _digest((
                colour,
                sorted(colours[other] for other in before[key]),
                sorted(colours[other] for other in after[key]),
            ))
            for key, colour in colours.items()
        }  # fmt: skip
        found = len(set(colours.values()))
        if found == known:
            return tuple(sorted(Counter(colours.values()).items()))
        known = found


def _digest(described: object) -> str:
    """Return a short text that stands for a description; equal ones have equal texts."""
    return hashlib.sha256(repr(described).encode()).hexdigest()[:16]


def _names(values: Sequence[ir.Value | None]) -> set[str]:
    return {str(value.name) for value in values if value is not None}


def _described(network: Network, node: ir.Node) -> tuple[object, ...]:
    """Return operator, size of the kernel and kind of groups."""
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if weight is None or weight.name not in network.graph.initializers:
        return (node.op_type,)
    shape = network.array(str(weight.name)).shape
    if node.op_type not in ("Conv", "ConvTranspose"):
        return (node.op_type,)
    given = node.attributes.get("group")
    group = given.as_int() if given is not None else 1
    kind = "plain" if group == 1 else "depthwise" if 1 in shape[:2] else "grouped"
    return node.op_type, tuple(shape[2:]), kind
