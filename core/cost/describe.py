"""A network as a table: shape, cost and prunable channels of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..blocks import find_blocks, layer_names
from ..brief import brief
from ..coupling import Groups, find_groups
from ..coupling.groups import Group
from ..ir.network import LayerInfo, Network, shape_of
from ..ir.repeats import repeats_of
from ..ir.windows import loosened
from .network_cost import NetworkCost, measure_cost

__all__ = ["BlockRow", "Description", "LayerRow", "describe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One layer.

    Args:
        name: name of the layer in its file.
        type: type of the layer in its file.
        line: its line in the file; None if unknown.
        shape: shape of its first top, with the symbolic batch as a string; None without a top.
        parameters: number of stored values.
        operations: 2 · multiply-accumulates + bias additions for one sample.
        groups: names of the groups of its output channels.
        reason: why none of its output channels can be removed; None if some can.
    """

    name: str
    type: str
    line: int | None
    shape: tuple[int | str, ...] | None
    parameters: int
    operations: int
    groups: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRow:
    """A residual block that may be dropped.

    Args:
        name: name of the layer that adds it.
        layers: names of the layers that leave with it.
        operations: what it saves.
        parameters: likewise.
    """

    name: str
    layers: tuple[str, ...]
    operations: int
    parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """All layers of a network, with the total cost, the groups and the blocks.

    `freed` is the number of further groups that can be pruned where LRN need not be exact.
    """

    name: str
    format: str
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    layers: tuple[LayerRow, ...]
    groups: tuple[Group, ...]
    cost: NetworkCost
    regions: tuple[int, ...]
    """The numbers of regions of a sample that operations are counted for; empty without regions."""
    notes: tuple[str, ...]
    freed: int = 0
    blocks: tuple[BlockRow, ...] = ()

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            repr(self.name),
            self.format,
            f"{len(self.layers)} layers",
            f"{len(self.groups)} groups",
        )


def describe(network: Network) -> Description:
    """Return the layers, groups and costs of a network."""
    groups = find_groups(network)
    cost = measure_cost(network, groups)
    values = network.values()
    rows = []
    borders = {border.layer for border in network.borders}
    for index, info in enumerate(network.layers):
        top = values.get(info.tops[0]) if info.tops else None
        members, reason = _channels(info, groups)
        if top is None and (index in borders or not info.bottoms):
            reason = "cannot be computed" if index in borders else "read by no layer of the graph"
        rows.append(
            LayerRow(
                name=info.name,
                type=info.type,
                line=info.line,
                shape=shape_of(top) if top is not None and top.shape is not None else None,
                parameters=cost.layers[index].parameters,
                operations=cost.layers[index].operations,
                groups=members,
                reason=reason,
            )
        )
    return Description(
        name=network.name,
        format=network.source.format if network.source is not None else "onnx",
        inputs=network.inputs,
        outputs=network.outputs,
        layers=tuple(rows),
        groups=groups.groups,
        cost=cost,
        regions=repeats_of(network).counts,
        notes=network.notes,
        freed=_freed(network, groups),
        blocks=tuple(_blocks(network, cost)),
    )


def _blocks(network: Network, cost: NetworkCost) -> Iterator[BlockRow]:
    for block in find_blocks(network):
        own = [cost.layers[place] for place in (*block.layers, block.joint)]
        yield BlockRow(
            name=block.name,
            layers=layer_names(network, block),
            operations=sum(one.operations for one in own),
            parameters=sum(one.parameters for one in own),
        )


def _freed(network: Network, groups: Groups) -> int:
    loose = loosened(network)
    if loose is network:
        return 0
    counts = [sum(g.prunable for g in found.groups) for found in (groups, find_groups(loose))]
    return counts[1] - counts[0]


def _channels(info: LayerInfo, groups: Groups) -> tuple[tuple[str, ...], str | None]:
    """Return the groups of a layer's first top, and the reason if all its channels are fixed."""
    labels = groups.values.get(info.tops[0]) if info.tops else None
    if labels is None:
        return (), "computed without channels"
    units = groups.distinct_units(labels.vector)
    members = [groups.group_of[unit] for unit in units if unit in groups.group_of]
    prunable = tuple(dict.fromkeys(group.name for group in members if group.prunable))
    if prunable and not all(unit in groups.reasons for unit in units):
        return prunable, None
    reasons = [groups.reasons[unit] for unit in units if unit in groups.reasons]
    reasons += [group.reason for group in members if group.reason is not None]
    return (), str(min(reasons)) if reasons else None
