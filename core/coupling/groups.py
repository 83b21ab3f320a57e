"""Groups of channels that must be removed together, found by running the graph on labels.

Every channel that a node produces has a label. A *unit* is a set of labels that can only be removed
together. A *group* holds the units of the layers that share units or a balance rule; each of its
units is one *channel* of the group. `find_groups` is pure and returns frozen values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from ..brief import brief
from ..ir.network import BLOCK, FOLLOWERS, Network
from ..ir.repeats import repeats_of
from ..markup import Table, notebook
from .indices import LabelMask, LabelVector, Position, Unit, UnitMask, UnitVector
from .labels import Labels, components
from .parameters import resolve
from .partitions import Partition, Share, Shares, UnitSets, find_shares
from .reasons import Kind, Reason
from .rules import RULES
from .rules.unknown import unknown
from .sharing import unite_shared
from .trace import FOLLOWER, Balance, CostTerm, Count, Producer, Trace, Use, static_shape

__all__ = ["Group", "Groups", "Partition", "Share", "find_groups", "trace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Channels that are chosen from together.

    Args:
        name: the layer that produces the first channel.
        layers: names of all layers that produce channels of the group.
        units: the unit of each channel (an index into the masks over units), in the order of the
            first producer.
        partitions: positions in `units` of the channels that may be removed, in shares, with the
            steps in which these lose channels. A group without balance rules is one partition of
            one share.
        reason: why no channel may be removed; None where some may.
    """

    name: str
    layers: tuple[str, ...]
    units: tuple[Unit, ...]
    partitions: tuple[Partition, ...]
    reason: Reason | None = None

    @property
    def prunable(self) -> bool:
        """Whether at least one channel may be removed."""
        return bool(self.partitions)

    @property
    def step(self) -> int:
        """The fewest channels that can leave; 0 where none can."""
        return min((sum(step) for each in self.partitions for step in each.steps), default=0)

    def members(self, share: Sequence[Position]) -> list[Unit]:
        """Return the units at some positions of the group."""
        return [self.units[place] for place in share]

    def removable(self) -> list[Unit]:
        """Return the units that may be removed."""
        return [self.units[place] for part in self.partitions for share in part for place in share]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The result of a trace, frozen.

    Args:
        groups: in the order of the network.
        units: label → its unit, [labels]; units are numbered from 0 in the order of their first
            label.
        producers: the nodes that produce channels, in order.
        uses: the parameters whose elements depend on labels.
        counts: the numbers in the graph that count channels.
        cost_terms: what each multiplying node costs.
        reasons: unit → why it cannot be removed, for units that cannot.
        values: name of a value → its labels.
        nonempty: sets of labels of which at least one must survive, since a value would be empty.
        companions: for each companion of the network, the same groups with the places in its graph
            (`producers`, `uses`, `counts`, `cost_terms`, `values`).
        crowds: sets of labels with the number that must survive, where that is more than one.
        widths: name of a group → channels that it had before earlier rounds of pruning; empty
            where there were none.
    """

    groups: tuple[Group, ...]
    units: UnitVector
    producers: tuple[Producer, ...]
    uses: tuple[Use, ...]
    counts: tuple[Count, ...]
    cost_terms: tuple[CostTerm, ...]
    reasons: dict[Unit, Reason]
    values: dict[str, Labels]
    nonempty: tuple[LabelVector, ...] = field(repr=False)
    companions: tuple[Groups, ...] = field(default=(), repr=False)
    crowds: tuple[tuple[LabelVector, int], ...] = field(default=(), repr=False)
    widths: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            f"{len(self.groups)} groups",
            f"{sum(g.prunable for g in self.groups)} of them prunable",
            f"{self.unit_count} units",
        )

    @cached_property
    def unit_count(self) -> int:
        """Number of units."""
        return int(self.units.max()) + 1 if len(self.units) else 0

    @cached_property
    def kept_units(self) -> tuple[tuple[Unit, ...], ...]:
        """Sets of units of which at least one each must be kept, since a value would be empty."""
        return tuple({tuple(self.distinct_units(labels)) for labels in self.nonempty})

    @cached_property
    def kept_crowds(self) -> tuple[tuple[tuple[Unit, ...], int], ...]:
        """Sets of units with the number that must be kept, where that is more than one."""
        return tuple((tuple(self.distinct_units(labels)), n) for labels, n in self.crowds)

    @cached_property
    def group_of(self) -> dict[Unit, Group]:
        """Unit → the group that has it as a channel."""
        return {unit: group for group in self.groups for unit in group.units}

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        free = sum(group.prunable for group in self.groups)
        about = f"{free} of {len(self.groups)} groups of channels can be pruned"
        return notebook(_groups_table(self.groups), about=about)

    def by_name(self, name: str) -> Group | None:
        """Return the group of a name."""
        return next((group for group in self.groups if group.name == name), None)

    def mask(self, units: Iterable[Unit]) -> UnitMask:
        """Return a mask over units [units] that is true at some of them."""
        found = np.zeros(self.unit_count, dtype=np.bool_)
        found[list(units)] = True
        return UnitMask(found)

    def units_of(self, labels: LabelVector) -> UnitVector:
        """Return the unit of each label, in the shape of `labels`."""
        return UnitVector(self.units[labels])

    def distinct_units(self, labels: LabelVector) -> list[Unit]:
        """Return the units of some labels, each once, in rising order."""
        return [Unit(unit) for unit in np.unique(self.units[labels]).tolist()]

    def surviving(self, removed: UnitMask) -> LabelMask:
        """Return which labels survive the removal of units, as a mask over labels [labels].

        Args:
            removed: mask over units, [units].
        """
        return LabelMask(~removed[self.units])


def _groups_table(groups: Sequence[Group]) -> Table:
    """Return the groups, and why channels cannot leave."""
    return Table(
        caption="Groups of channels",
        columns=("Group", "Layers", "Channels", "Can leave", "At a time", "Why fixed"),
        rows=[
            (group.name, ", ".join(group.layers), f"{len(group.units)}",
             f"{len(group.removable())}", f"{group.step}" if group.prunable else "",
             str(group.reason or ""))
            for group in groups
        ],
        numeric=(2, 3, 4),
    )  # fmt: skip


def trace(network: Network, before: Trace | None = None) -> Trace:
    """Run the graph of `network` on labels.

    Args:
        network: the network.
        before: a trace of another network whose labels are counted on, and united together.
    """
    state = Trace(network)
    if before is not None:
        state.unions, state.count = before.unions, before.count
    for value in network.graph.inputs:
        shape = static_shape(value)
        assert shape is not None
        label = state.anonymous(Reason(Kind.INPUT, str(value.name)))
        state.labels[str(value.name)] = Labels(shape, None, label)
    for node in network.graph:
        given = [value for value in node.inputs if value is not None]
        if given and all(state.is_parameter(value) for value in given):
            state.constants.update(str(value.name) for value in node.outputs)
            continue
        labels = _moved(state, node)
        for value, found in zip(node.outputs, labels, strict=False):
            state.labels[str(value.name)] = placed = _in_blocks(state, value, found)
            _follow(state, value, placed)
    for value in network.graph.outputs:
        if not state.is_parameter(value):
            found = state.labels[str(value.name)]
            state.fix(found.vector, Reason(Kind.OUTPUT, str(value.name)))
    _fix_borders(state)
    resolve(state)
    for name, reason in state.whole.items():
        for cut in state.uses[name].labels if name in state.uses else ():
            state.fix(cut, reason)
    return state


def _fix_borders(state: Trace) -> None:
    """Fix what layers read that the graph does not compute, and what they share."""
    for border in state.network.borders:
        reason = Reason(Kind.BORDER, border.subject)
        for name in border.outputs:
            if name in state.labels:
                state.fix(state.labels[name].vector, reason)
        for name in border.parameters:
            state.whole.setdefault(name, reason)


def _moved(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the outputs of a node, by the rule of its operator if that serves it."""
    inferred = all(value.shape is not None for value in node.outputs if value.name)
    rule = RULES.get(node.op_type) if inferred and node.domain == "" else None
    if rule is None or not (rule.any_operand or state.known(node, 0) is not None):
        return unknown(state, node)
    return rule.move(state, node)


def _in_blocks(state: Trace, value: ir.Value, labels: Labels) -> Labels:
    """Unite channels that the source can only express in blocks of consecutive ones.

    All channels of a block get one label, so that later rules see which channels belong together.
    """
    size = value.meta.get(BLOCK)
    if size is None or labels.axis is None:
        return labels
    blocks = labels.vector.reshape(-1, size)
    state.unions.unite(blocks[:, :1], blocks)
    return Labels(labels.shape, labels.axis, blocks[:, 0].repeat(size))


def _follow(state: Trace, value: ir.Value, labels: Labels) -> None:
    """State that what is stored with the channels of a value, and read by no node, follows them.

    Networks that are parts of another hold only what their nodes read.
    """
    for name in value.meta.get(FOLLOWERS, ()) if labels.axis is not None else ():
        state.use(state.network.graph.initializers.get(name), FOLLOWER, labels.vector)


def find_groups(network: Network) -> Groups:
    """Find which channels of a network must be removed together, and which cannot be removed.

    Its companions are traced with it: stored parameters that they share unite their channels, and
    what fixes a channel in one of them fixes it. The channels that only companions make stay.

    Returns:
        the groups; the network is not changed.
    """
    traces = [state := trace(network)]
    for companion in network.companions:
        traces.append(trace(companion, traces[-1]))
    unite_shared(traces)
    roots = state.unions.roots(traces[-1].count)
    _, units = np.unique(roots, return_inverse=True)
    units = UnitVector(units.astype(np.int64))
    reasons = _reasons([fixed for each in traces for fixed in each.fixed], units)
    balances = [Balance(units[b.labels], b.subject) for each in traces for b in each.balances]
    sets = [labels for each in traces for labels in each.nonempty]
    crowds = [crowd for each in traces for crowd in each.crowds]
    nonempty = UnitSets.of(units, sets)
    for alone in nonempty.single():
        reasons.setdefault(Unit(alone), Reason(Kind.ALONE, ""))
    for labels, least in crowds:
        crowd = np.unique(units[labels]).tolist()
        for unit in crowd if len(crowd) <= least else ():
            reasons.setdefault(Unit(unit), Reason(Kind.WINDOW, ""))
    fixed = UnitMask(np.zeros(len(units), dtype=np.bool_))
    fixed[list(reasons)] = True
    members = _members(state.producers, units, balances)
    vectors = [UnitVector(np.array(own, dtype=np.int64)) for _, own in members]
    groups = tuple(
        _group(producers, own, shares, reasons)
        for (producers, own), shares in zip(
            members, find_shares(vectors, balances, fixed, nonempty), strict=True
        )
    )
    found = Groups(
        groups=_distinct(groups),
        units=units,
        nonempty=tuple(sets),
        crowds=tuple(crowds),
        reasons=reasons,
        **_places(state),
    )
    companions = tuple(replace(found, **_places(each)) for each in traces[1:])
    return replace(found, companions=companions)


def _places(state: Trace) -> dict[str, Any]:
    """Return the fields of :class:`Groups` that name places in the graph of one network."""
    rows = repeats_of(state.network).rows
    return {
        "producers": tuple(state.producers),
        "uses": tuple(state.uses.values()),
        "counts": tuple(state.counts),
        "cost_terms": tuple(
            replace(term, rows=rows.get(term.node, term.rows)) for term in state.cost_terms
        ),
        "values": dict(state.labels),
    }


def _reasons(facts: Sequence[tuple[LabelVector, Reason]], units: UnitVector) -> dict[Unit, Reason]:
    """Return the reason why each fixed unit is fixed: the smallest of its reasons."""
    found: dict[Unit, Reason] = {}
    for labels, reason in sorted(facts, key=lambda fixed: fixed[1], reverse=True):
        found.update(dict.fromkeys(units[labels].tolist(), reason))
    return found


def _members(
    producers: Sequence[Producer], units: UnitVector, balances: Sequence[Balance]
) -> list[tuple[list[Producer], list[int]]]:
    """Return the producers of each group with its units in order of first appearance.

    Producers belong together where they share a unit or a balance rule spans them.
    """
    owned = [units[producer.labels] for producer in producers]
    if not owned:
        return []
    maker = np.repeat(np.arange(len(owned)), [len(own) for own in owned])
    found, place, back = np.unique(np.concatenate(owned), return_index=True, return_inverse=True)
    first = np.full(len(units), -1, dtype=np.int64)
    first[found] = maker[place]
    joined = [np.stack([maker[place][back.reshape(-1)], maker])]
    for rule in balances:
        makers = first[rule.labels.reshape(-1)]
        makers = makers[makers >= 0]
        joined.append(np.stack([makers[:1].repeat(len(makers)), makers]))
    pairs = np.concatenate(joined, axis=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    roots = components(len(producers), pairs)
    collected: dict[int, tuple[list[Producer], dict[int, None]]] = defaultdict(lambda: ([], {}))
    for index, producer in enumerate(producers):
        group, seen = collected[int(roots[index])]
        group.append(producer)
        seen.update(dict.fromkeys(owned[index].tolist()))
    return [(group, list(own)) for group, own in collected.values()]


def _group(
    producers: Sequence[Producer],
    units: Sequence[int],
    shares: Shares,
    reasons: dict[Unit, Reason],
) -> Group:
    """Return a group; channels that its balance rules fix get their reason."""
    for why, places in shares.refused:
        for place in places:
            reasons.setdefault(Unit(units[place]), why)
    reason = None
    if not shares.partitions:
        # Most units share one reason object, and comparing reasons takes long.
        own = [reasons[Unit(unit)] for unit in units]
        reason = min({id(each): each for each in own}.values())
    names = tuple(dict.fromkeys(producer.name for producer in producers))
    return Group(
        name=names[0],
        layers=names,
        units=tuple(map(Unit, units)),
        partitions=shares.partitions,
        reason=reason,
    )


def _distinct(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return the groups with unique names, by which a plan refers to them."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        seen[group.name] += 1
        count = seen[group.name]
        named.append(group if count == 1 else replace(group, name=f"{group.name}#{count}"))
    return tuple(named)
