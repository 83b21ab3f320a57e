"""Finding the residual blocks that may leave as a whole.

A block is the branch of a sum y = x + branch(x). It may leave where

* x reaches the sum unchanged (same shape, no layer in between), so that y becomes x without it;
* nothing but the sum reads what the branch makes, and the branch reads nothing but x;
* the branch has weights that no other layer shares.

Source: Wang, Wu, Practical Network Acceleration with Tiny Sets (PRACTISE), CVPR 2023, for dropping
blocks as units. The rules here follow from the graph alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from ..ir.network import Network, blob_refs, layer_of
from ..ir.rebuild import node_key
from ..ir.subgraphs import captured
from ..ir.weighted import WEIGHTED

__all__ = ["Block", "find_blocks", "layer_names"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A residual block that may leave.

    Args:
        name: the layer that adds the branch to what it reads.
        layers: positions in :attr:`Network.layers` of the layers of the branch, in order.
        joint: position of the layer that adds.
        kept: name of the value x that the branch reads, and that the sum becomes.
        total: name of the value that the sum makes.
        nodes: keys of the nodes that leave: those of the branch, and the sum.
        stays: whether the layer that adds does something else as well (an activation), which
            stays.
    """

    name: str
    layers: tuple[int, ...]
    joint: int
    kept: str
    total: str
    nodes: frozenset[str]
    stays: bool = False


def find_blocks(network: Network) -> tuple[Block, ...]:
    """Return the blocks that may leave, in the order of their sums.

    A block may lie in the branch of another; only one of them can leave.
    """
    search = _Search(network)
    return tuple(block for node in network.graph if (block := search.block(node)) is not None)


def layer_names(network: Network, block: Block) -> tuple[str, ...]:
    """Return the names of the layers of a block's branch."""
    return tuple(network.layers[position].name for position in block.layers)


class _Search:
    """What all sums of a network are looked at with."""

    def __init__(self, network: Network):
        self._network = network
        self._order = {node_key(node): place for place, node in enumerate(network.graph)}
        self._by_layer: dict[int | None, list[ir.Node]] = defaultdict(list)
        for node in network.graph:
            self._by_layer[layer_of(node)].append(node)
        self._captured = {name for node in network.graph for name in captured(node)}

    def block(self, node: ir.Node) -> Block | None:
        """Return the block whose sum a node is; None where it is none that may leave."""
        joint = layer_of(node)
        if node.op_type != "Add" or node.domain != "" or joint is None or len(node.inputs) != 2:
            return None
        a, b = node.inputs
        for x, branch in ((a, b), (b, a)):
            if x is None or branch is None or not _alike(x, branch, node.outputs[0]):
                continue
            if x.producer() is None:  # an input of the network, which keeps its name
                continue
            inner = self._branch(x, branch, node)
            found = self._made(node, joint, x, inner) if inner else None
            if found is not None:
                return found
        return None

    def _branch(self, x: ir.Value, end: ir.Value, total: ir.Node) -> dict[str, ir.Node]:
        """Return the nodes from x to the end of the branch; none where it reads something else.

        No node before the one that makes x can read x, which bounds the walk.
        """
        producer = x.producer()
        assert producer is not None, "inputs of the network are left out"
        first = self._order[node_key(producer)]
        found: dict[str, ir.Node] = {}
        waiting, reads = [end], False
        while waiting:
            value = waiting.pop()
            node = value.producer()
            if node is None or self._order[node_key(node)] <= first or captured(node):
                return {}
            if node_key(node) in found:
                continue
            found[node_key(node)] = node
            for each in node.inputs:
                if each is x:
                    reads = True
                elif each is not None and each.const_value is None:
                    waiting.append(each)
        inside = {id(node) for node in (*found.values(), total)}
        closed = all(
            not value.is_graph_output()
            and value.name not in self._captured
            and all(id(reader) in inside for reader in value.consumers())
            for node in found.values()
            for value in node.outputs
        )
        return found if reads and closed else {}

    def _made(
        self, node: ir.Node, joint: int, x: ir.Value, inner: Mapping[str, ir.Node]
    ) -> Block | None:
        """Return the block of a sum and its branch; None where layers cannot leave whole."""
        total = node.outputs[0]
        positions = {layer_of(each) for each in inner.values()}
        if None in positions or joint in positions:
            return None
        if any(node_key(n) not in inner for place in positions for n in self._by_layer[place]):
            return None
        if not any(each.op_type in WEIGHTED for each in inner.values()):
            return None  # nothing to save
        if self._shares(inner, positions):
            return None
        beside = [each for each in self._by_layer[joint] if each is not node]
        own = {id(value) for each in self._by_layer[joint] for value in each.outputs}
        if any(
            value is not None and value.const_value is None and id(value) not in own
            for each in beside
            for value in each.inputs
        ):
            return None
        gone = [node]
        if len(beside) == 1 and _again(beside[0], total, x):
            gone, total, beside = [node, *beside], beside[0].outputs[0], []
        if total.is_graph_output() or total.name in self._captured:
            return None
        made = {str(value.name) for each in inner.values() for value in each.outputs}
        layers = {place for place in positions if place is not None} | self._passing(made)
        return Block(
            name=self._network.layers[joint].name,
            layers=tuple(sorted(layers)),
            joint=joint,
            kept=str(x.name),
            total=str(total.name),
            nodes=frozenset((*inner, *map(node_key, gone))),
            stays=bool(beside),
        )

    def _passing(self, made: set[str]) -> set[int]:
        """Return the layers without operators that only hand on what a branch makes."""
        return {place for place in self._idle if made.issuperset(self._network.layers[place].tops)}

    @cached_property
    def _idle(self) -> tuple[int, ...]:
        return tuple(
            place for place, info in enumerate(self._network.layers)
            if info.tops and place not in self._by_layer
        )  # fmt: skip

    def _shares(self, inner: Mapping[str, ir.Node], positions: set[int | None]) -> bool:
        """Whether a layer outside a branch uses parameters of it."""
        stored = {
            str(value.name): value
            for node in inner.values()
            for value in node.inputs
            if value is not None and value.const_value is not None and blob_refs(value)
        }
        for value in stored.values():
            if any(node_key(reader) not in inner for reader in value.consumers()):
                return True
            if any(ref.layer not in positions for ref in blob_refs(value)):
                return True
        return False


def _alike(x: ir.Value, branch: ir.Value, total: ir.Value) -> bool:
    """Whether two computed values are added without either being spread to the other's shape."""
    computed = x is not branch and x.const_value is None and branch.const_value is None
    return computed and x.shape is not None and x.shape == branch.shape == total.shape


def _again(node: ir.Node, total: ir.Value, x: ir.Value) -> bool:
    """Whether a node behind a sum would do to x what was done to it already.

    ReLU of what a ReLU made changes nothing.
    """
    producer = x.producer()
    return (
        node.op_type == "Relu"
        and node.inputs[0] is total
        and len(list(total.uses())) == 1
        and producer is not None
        and producer.op_type == "Relu"
    )
