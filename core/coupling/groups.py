"""Groups of channels that must be removed together, found by running the graph on labels.

Every channel that a node produces has a label. A *unit* is a set of labels that can only be removed
together. A *group* holds the units of the layers that share units or a balance rule; each of its
units is one *channel* of the group. `find_groups` is pure and returns frozen values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import BLOCK, FOLLOWERS, Network
from ..ir.repeats import repeats_of
from .indices import LabelMask, LabelVector, Position, Unit, UnitMask, UnitVector
from .labels import Labels, components
from .parameters import resolve
from .reasons import Kind, Reason
from .rules import RULES
from .rules.unknown import unknown
from .trace import FOLLOWER, Balance, CostTerm, Count, Producer, Trace, Use, static_shape

Share = tuple[Position, ...]
"""Positions in a group of channels that are interchangeable for every balance rule."""

Partition = tuple[Share, ...]
"""Shares that must lose equally many channels each."""

Signature = tuple[tuple[int, int], ...]
"""Balance rules that a unit occurs in, as pairs: number of the rule, number of the part."""

__all__ = ["Group", "Groups", "Partition", "Share", "find_groups", "trace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Channels that are chosen from together.

    Args:
        name: the layer that produces the first channel.
        layers: names of all layers that produce channels of the group.
        units: the unit of each channel (an index into the masks over units), in the order of the
            first producer.
        partitions: positions in `units` of the channels that may be removed. A partition is a set
            of shares that must lose equally many channels each. A group without balance rules is
            one partition of one share.
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

    @cached_property
    def unit_count(self) -> int:
        """Number of units."""
        return int(self.units.max()) + 1 if len(self.units) else 0

    @cached_property
    def kept_units(self) -> tuple[tuple[Unit, ...], ...]:
        """Sets of units of which at least one each must be kept, since a value would be empty."""
        return tuple({tuple(self.distinct_units(labels)) for labels in self.nonempty})

    @cached_property
    def group_of(self) -> dict[Unit, Group]:
        """Unit → the group that has it as a channel."""
        return {unit: group for group in self.groups for unit in group.units}

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


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures of all units.

    Args:
        number: unit → number of its signature, [units].
        entries: the signatures by their numbers.
    """

    number: npt.NDArray[np.int64]
    entries: tuple[Signature, ...]


def trace(network: Network) -> Trace:
    """Run the graph of `network` on labels."""
    state = Trace(network)
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

    Returns:
        the groups; the network is not changed.
    """
    state = trace(network)
    rows = repeats_of(network).rows
    roots = state.unions.roots(state.count)
    _, units = np.unique(roots, return_inverse=True)
    units = UnitVector(units.astype(np.int64))
    reasons = _reasons(state, units)
    balances = [Balance(units[b.labels], b.subject) for b in state.balances]
    members = _members(state.producers, units, balances)
    signatures = _signatures(balances, len(units))
    fixed = UnitMask(np.zeros(len(units), dtype=np.bool_))
    fixed[list(reasons)] = True
    groups = tuple(
        _group(producers, own, signatures, fixed, balances, reasons) for producers, own in members
    )
    return Groups(
        groups=_distinct(groups),
        units=units,
        producers=tuple(state.producers),
        uses=tuple(state.uses.values()),
        counts=tuple(state.counts),
        nonempty=tuple(state.nonempty),
        cost_terms=tuple(
            replace(term, rows=rows.get(term.node, term.rows)) for term in state.cost_terms
        ),
        reasons=reasons,
        values=dict(state.labels),
    )


def _reasons(state: Trace, units: UnitVector) -> dict[Unit, Reason]:
    """Return the reason why each fixed unit is fixed: the smallest of its reasons."""
    found: dict[Unit, Reason] = {}
    for labels, reason in sorted(state.fixed, key=lambda fixed: fixed[1], reverse=True):
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
    signatures: Signatures,
    fixed: UnitMask,
    balances: Sequence[Balance],
    reasons: Mapping[Unit, Reason],
) -> Group:
    members = UnitVector(np.array(units, dtype=np.int64))
    partitions, refused = _partitions(members, signatures, fixed, balances)
    reason = None
    if not partitions:
        own = [reasons[unit] for unit in members[fixed[members]].tolist()]
        # Most units share one reason object, and comparing reasons takes long.
        reason = min([*refused, *{id(each): each for each in own}.values()])
    if len(units) == 1 and reason is None:
        partitions, reason = [], Reason(Kind.ALONE, "")
    names = tuple(dict.fromkeys(producer.name for producer in producers))
    return Group(
        name=names[0],
        layers=names,
        units=tuple(members.tolist()),
        partitions=tuple(partitions),
        reason=reason,
    )


def _partitions(
    members: UnitVector,
    signatures: Signatures,
    fixed: UnitMask,
    balances: Sequence[Balance],
) -> tuple[list[Partition], list[Reason]]:
    """Return the partitions of a group, and the reasons why other channels form none.

    The signature of a channel names the parts of balance rules in which it occurs. Channels of one
    signature form a share; shares that a rule connects form a partition. Removing equally many
    channels from every share obeys every rule, if the shares lie evenly over the parts of each
    rule. If they do not, or if all channels of one share are fixed, none may be removed.
    """
    own = signatures.number[members]
    numbers, first, counts = np.unique(own, return_index=True, return_counts=True)
    order, ends = np.argsort(own, kind="stable"), np.cumsum(counts)
    kept = fixed[members][order]
    shares = {
        signatures.entries[numbers[k]]: tuple(
            order[part := slice(ends[k] - counts[k], ends[k])][~kept[part]].tolist()
        )
        for k in np.argsort(first).tolist()
    }
    partitions: list[Partition] = []
    refused: list[Reason] = []
    for partition in _connected(list(shares)):
        free = [shares[signature] for signature in partition]
        uneven = _uneven(partition, balances)
        if uneven is not None:
            refused.append(Reason(Kind.BALANCE, uneven.subject))
        elif all(free):
            partitions.append(tuple(free))
        elif any(free):
            rule = balances[partition[0][0][0]]
            refused.append(Reason(Kind.BALANCE, rule.subject))
    return partitions, refused


def _signatures(balances: Sequence[Balance], count: int) -> Signatures:
    """Return the signatures of `count` units, with rules in their order."""
    number = np.zeros(count, dtype=np.int64)
    entries: list[Signature] = [()]
    for index, rule in enumerate(balances):
        parts = len(rule.labels)
        units = rule.labels.reshape(-1)
        part = np.repeat(np.arange(parts), rule.labels.shape[1])
        while len(units):
            # Each round takes one occurrence of every unit: a unit may occur in a rule repeatedly.
            _, first = np.unique(units, return_index=True)
            found, back = np.unique(number[units[first]] * parts + part[first], return_inverse=True)
            number[units[first]] = len(entries) + back.reshape(-1)
            entries.extend(
                (*entries[code // parts], (index, code % parts)) for code in found.tolist()
            )
            rest = np.ones(len(units), dtype=np.bool_)
            rest[first] = False
            units, part = units[rest], part[rest]
    return Signatures(number, tuple(entries))


def _connected(signatures: Sequence[Signature]) -> list[list[Signature]]:
    """Return the signatures in sets: rules in common connect them."""
    rules: dict[int, int] = {}
    pairs = [
        (rules.setdefault(number, index), index)
        for index, signature in enumerate(signatures)
        for number, _ in signature
    ]
    roots = components(len(signatures), np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    sets: dict[int, list[Signature]] = defaultdict(list)
    for root, signature in zip(roots.tolist(), signatures, strict=True):
        sets[root].append(signature)
    return list(sets.values())


def _uneven(partition: Sequence[Signature], balances: Sequence[Balance]) -> Balance | None:
    """Return a rule whose parts hold unequal numbers of shares of a partition, None without one."""
    hits = Counter(entry for signature in partition for entry in signature)
    for number in sorted({number for number, _ in hits}):
        if len({hits[number, part] for part in range(len(balances[number].labels))}) > 1:
            return balances[number]
    return None


def _distinct(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return the groups with unique names, by which a plan refers to them."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        seen[group.name] += 1
        count = seen[group.name]
        named.append(group if count == 1 else replace(group, name=f"{group.name}#{count}"))
    return tuple(named)
