"""Networks without some of their residual blocks.

A network is dropped from in two steps. :func:`dropped` takes the nodes out of the graph; all other
values keep their names, so that they can be compared with those of the original, and weights can be
repaired. :meth:`Dropped.settled` then gives the network as its files will hold it: without the
layers, under the names and numbers that it is read with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ..errors import PlanError, VerificationError, nearest_hint
from ..ir.assemble import Assembly
from ..ir.network import (
    FOLLOWERS,
    BlobRef,
    Bypass,
    LayerInfo,
    Network,
    blob_refs,
    layer_of,
)
from ..ir.rebuild import node_key, rebuild
from ..ir.windows import loosened, windows
from .find import Block, find_blocks

__all__ = ["Dropped", "Settled", "disjoint", "dropped", "named_blocks"]

NAMED = 8
"""Blocks that a message names; it counts the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A network without blocks as its files hold it.

    Args:
        network: the network, with the weights that the original has.
        names: name of a value, with the blocks still there → its name in the network.
        layers: name of a layer of the original → its name in the network.
    """

    network: Network
    names: Mapping[str, str]
    layers: Mapping[str, str]

    def with_weights(self, state: Dropped) -> Network:
        """Return the network with the weights of one under the original's names."""
        before, after = state.original.graph.initializers, state.network.graph.initializers
        tensors = {
            self.names[name]: state.network.array(name)
            for name, value in after.items()
            if name in self.names and value.const_value is not before[name].const_value
        }
        return rebuild(self.network, tensors=tensors) if tensors else self.network


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A network without blocks, its values under the names that they had with them.

    Args:
        original: the network with them.
        blocks: what left.
        network: the network without them. Its weights may be others, its layers are still those
            of the original.
    """

    original: Network
    blocks: tuple[Block, ...]
    network: Network

    @property
    def becomes(self) -> dict[str, str]:
        """Sum that left → the value that is read in place of it."""
        first = {block.total: block.kept for block in self.blocks}
        return {total: _end(first, total) for total in first}

    @property
    def stands_for(self) -> dict[str, str]:
        """Value that is read in place of a sum → that sum in the original, the last of several.

        Values that other layers read as well are left out: they are to stay what they are.
        """
        becomes = self.becomes
        gone = frozenset().union(*(block.nodes for block in self.blocks))
        values = self.original.values()
        found: dict[str, str] = {}
        shared: set[str] = set()
        for block in self.blocks:
            kept, first = values[block.kept], becomes[block.total]
            readers = {node_key(node) for node in kept.consumers()}
            if kept.is_graph_output() or not readers <= gone:
                shared.add(first)
            found[first] = block.total
        return {name: total for name, total in found.items() if name not in shared}

    def settled(self) -> Settled:
        """Return the network as its files hold it, with the weights of the original.

        Raises:
            UnsupportedError: its files cannot say what is left.
        """
        original, source = self.original, self.original.source
        found = None
        if source is not None:
            bypasses = [
                Bypass(layers=b.layers, joint=b.joint, kept=b.kept, stays=b.stays)
                for b in self.blocks
            ]
            found = source.without(original, bypasses)
        if found is None:
            plain = dropped(original, self.blocks).network
            found = _compact(plain, self.blocks)
            names = {name: name for name in found.values()}
            return Settled(network=found, names=names, layers=_layers(plain, found))
        if any(window.free for _, _, window in windows(original)):
            found = loosened(found)
        names = _paired(self.network, found)
        found = replace(  # a copy, since no file that the user has holds this very graph
            rebuild(found), name=original.name, preprocess=original.preprocess,
            notes=original.notes, regions=original.regions,
        )  # fmt: skip
        return Settled(network=found, names=names, layers=_layers(self.network, found))


def named_blocks(network: Network, names: Sequence[str]) -> tuple[Block, ...]:
    """Return blocks by the names of the layers that add them, in the order of the network.

    Raises:
        PlanError: a layer is not there or adds no block that may leave, or of two blocks one lies
            in the other.
    """
    known = find_blocks(network)
    by_name = {block.name: block for block in known}
    there = {info.name for info in network.layers}
    for name in names:
        if name in by_name:
            continue
        shown = ", ".join(list(by_name)[:NAMED])
        shown += f" and {len(by_name) - NAMED} more" if len(by_name) > NAMED else ""
        blocks = f"those that may leave: {shown}" if known else "this network has none"
        if name not in there:
            raise PlanError(
                f"cannot drop '{name}': the network has no such layer",
                hint=nearest_hint(name, by_name, blocks), option="drop_blocks",
            )  # fmt: skip
        raise PlanError(
            f"cannot drop '{name}': no residual block that may leave ends at this layer",
            hint=blocks, option="drop_blocks",
        )  # fmt: skip
    wanted = set(names)
    found = tuple(block for block in known if block.name in wanted)
    for one, other in combinations(found, 2):
        if not disjoint(one, other):
            raise PlanError(
                f"cannot drop '{one.name}' and '{other.name}': one lies in the other",
                hint="drop the outer one alone", option="drop_blocks",
            )  # fmt: skip
    return found


def disjoint(one: Block, other: Block) -> bool:
    """Whether two blocks have no layer in common, so that both can leave."""
    return one.nodes.isdisjoint(other.nodes)


def dropped(network: Network, blocks: Sequence[Block]) -> Dropped:
    """Return a network without some blocks; the sums behind them become what they read.

    Args:
        network: the network that the blocks were found in.
        blocks: blocks of which none lies in another.
    """
    gone = frozenset().union(*(block.nodes for block in blocks))
    becomes = {block.total: block.kept for block in blocks}
    copy = Assembly(network)
    unread = _without_readers(network, gone)
    for value in (*network.graph.inputs, *network.graph.initializers.values()):
        if value.name not in unread:
            copy.take(value)
    for node in network.graph:
        if node_key(node) in gone:
            continue
        reads = {
            str(value.name): copy.values[_end(becomes, str(value.name))]
            for value in node.inputs
            if value is not None and value.name in becomes
        }
        copy.add(node, reads)
    return Dropped(
        original=network, blocks=tuple(blocks), network=copy.network(list(network.outputs))
    )


def _end(becomes: Mapping[str, str], name: str) -> str:
    """Return what a value becomes in the end: of blocks in a row, all may leave."""
    while name in becomes:
        name = becomes[name]
    return name


def _without_readers(network: Network, gone: frozenset[str]) -> set[str]:
    """Return the initializers that only nodes which leave read, or follow the channels of."""
    read: set[str] = set()
    left: set[str] = set()
    for node in network.graph:
        own = {str(v.name) for v in node.inputs if v is not None and v.const_value is not None}
        own |= {name for value in node.outputs for name in value.meta.get(FOLLOWERS, ())}
        if node_key(node) in gone:
            left |= own
        else:
            read |= own
    return left - read


def _layers(one: Network, other: Network) -> dict[str, str]:
    """Return name of a layer → its name in the same network under other names."""
    found = {}
    for mine, its in zip(one.graph, other.graph, strict=True):
        first, second = layer_of(mine), layer_of(its)
        if first is not None and second is not None:
            found[one.layers[first].name] = other.layers[second].name
    return found


def _paired(one: Network, other: Network) -> dict[str, str]:
    """Return the names of the values of a network → those of the same one, as it was read.

    Raises:
        VerificationError: it is not the same.
    """
    ours, theirs = list(one.graph), list(other.graph)
    if [n.op_type for n in ours] != [n.op_type for n in theirs] or len(one.inputs) != len(
        other.inputs
    ):
        raise VerificationError(
            "files without the blocks do not hold what is left of the network",
            hint="this is a bug in secateur; nothing was written",
        )
    found = dict(zip(one.inputs, other.inputs, strict=True))
    for mine, its in zip(ours, theirs, strict=True):
        for values in (zip(mine.inputs, its.inputs, strict=True),
                       zip(mine.outputs, its.outputs, strict=True)):  # fmt: skip
            for a, b in values:
                if a is not None and b is not None:
                    found[str(a.name)] = str(b.name)
        for a, b in zip(mine.outputs, its.outputs, strict=True):
            pairs = zip(a.meta.get(FOLLOWERS, ()), b.meta.get(FOLLOWERS, ()), strict=False)
            found.update(pairs)
    return found


def _compact(network: Network, blocks: Sequence[Block]) -> Network:
    """Return a network whose list of layers has lost those of blocks, too."""
    gone = {place for block in blocks for place in block.layers}
    gone |= {block.joint for block in blocks if not block.stays}
    left = [place for place in range(len(network.layers)) if place not in gone]
    now = {place: number for number, place in enumerate(left)}
    becomes = {block.total: block.kept for block in blocks}
    found = rebuild(network)  # a copy of its own, whose marks may change
    for node in found.graph:
        layer = layer_of(node)
        if layer is not None:
            node.meta["layer"] = now[layer]
    for value in found.graph.initializers.values():
        if refs := blob_refs(value):
            value.meta["blobs"] = tuple(
                BlobRef(now[ref.layer], ref.index, ref.name) for ref in refs if ref.layer in now
            )

    def rewired(info: LayerInfo) -> LayerInfo:
        return replace(info, bottoms=tuple(_end(becomes, name) for name in info.bottoms))

    return replace(
        found,
        layers=tuple(rewired(network.layers[place]) for place in left),
        borders=tuple(replace(border, layer=now[border.layer]) for border in network.borders),
        companions=(),
    )
