"""Groups: what must be removed together, found by running the graph on labels.

`find_groups` is pure and returns frozen values. A *channel* of a group is one class of labels that
can only leave as a whole; a group holds the channels that share a producing layer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import BLOCK, Network
from .labels import Labels, LabelVector, components
from .parameters import resolve
from .reasons import Kind, Reason
from .rules import ANY_OPERAND, RULES, Rule
from .rules.unknown import unknown
from .trace import Balance, Count, Producer, Trace, Use, Weighing, static_shape

Bank = tuple[tuple[int, ...], ...]
Signature = tuple[tuple[int, int], ...]
"""Rules by number, with the share of each."""

__all__ = ["Bank", "Group", "Groups", "find_groups", "trace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Channels that are chosen from together.

    Args:
        name: the layer that produces the first channel.
        layers: names of all layers that produce channels of the group.
        channels: the class of each channel (an index into :attr:`Groups.classes`), in the order of
            the first producer.
        banks: positions in `channels` that may be removed. A bank is a set of cells that must lose
            equally many channels each; without balance rules a group is one bank of one cell.
        reason: why no channel may be removed, or None.
    """

    name: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    banks: tuple[Bank, ...]
    reason: Reason | None = None

    @property
    def prunable(self) -> bool:
        """Whether at least one channel may be removed."""
        return bool(self.banks)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Everything a trace found out, frozen.

    `classes[label]` is the class of a label; classes are numbered from 0 in order of their first
    label.
    """

    groups: tuple[Group, ...]
    classes: LabelVector
    producers: tuple[Producer, ...]
    uses: tuple[Use, ...]
    counts: tuple[Count, ...]
    bundles: tuple[LabelVector, ...]
    weighings: tuple[Weighing, ...]
    reasons: dict[int, Reason]
    """Class → why it is fixed."""
    values: dict[str, Labels]
    """Name of a value → its labels."""

    @cached_property
    def number(self) -> int:
        """Number of classes."""
        return int(self.classes.max()) + 1 if len(self.classes) else 0

    @cached_property
    def floors(self) -> tuple[tuple[int, ...], ...]:
        """Sets of classes of which at least one must stay, since no value may be empty."""
        return tuple({tuple(np.unique(self.classes[labels]).tolist()) for labels in self.bundles})

    @cached_property
    def group_of(self) -> dict[int, Group]:
        """Class → the group it is a channel of."""
        return {channel: group for group in self.groups for channel in group.channels}

    def by_name(self, name: str) -> Group | None:
        """Return the group of a name."""
        return next((group for group in self.groups if group.name == name), None)

    def surviving(self, removed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return for each label whether it survives the removal of classes."""
        kept: npt.NDArray[np.bool_] = ~removed[self.classes]
        return kept


@dataclass(frozen=True, slots=True)
class Signatures:
    """For each class the number of its signature, and what the numbers stand for."""

    number: LabelVector
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
        labels = _rule(state, node)(state, node)
        for value, found in zip(node.outputs, labels, strict=False):
            state.labels[str(value.name)] = _in_blocks(state, value, found)
    for value in network.graph.outputs:
        if not state.is_parameter(value):
            found = state.labels[str(value.name)]
            state.fix(found.vector, Reason(Kind.OUTPUT, str(value.name)))
    resolve(state)
    for name, reason in state.whole.items():
        for cut in state.uses[name].labels if name in state.uses else ():
            state.fix(cut, reason)
    return state


def _rule(state: Trace, node: ir.Node) -> Rule:
    """Return the rule that serves a node."""
    inferred = all(value.shape is not None for value in node.outputs if value.name)
    found = RULES.get(node.op_type) if inferred and node.domain == "" else None
    served = state.known(node, 0) is not None or node.op_type in ANY_OPERAND
    return found if found is not None and served else unknown


def _in_blocks(state: Trace, value: ir.Value, labels: Labels) -> Labels:
    """Unite channels that the source can only express in blocks of consecutive ones.

    What follows sees one label a block, so that it need not guess what belongs together.
    """
    size = value.meta.get(BLOCK)
    if size is None or labels.axis is None:
        return labels
    blocks = labels.vector.reshape(-1, size)
    state.unions.unite(blocks[:, :1], blocks)
    return Labels(labels.shape, labels.axis, blocks[:, 0].repeat(size))


def find_groups(network: Network) -> Groups:
    """Find which channels of a network must be removed together, and which cannot be removed.

    Returns:
        frozen groups; nothing is written on the network.
    """
    state = trace(network)
    roots = state.unions.roots(state.count)
    _, classes = np.unique(roots, return_inverse=True)
    classes = classes.astype(np.int64)
    reasons = _reasons(state, classes)
    balances = [Balance(classes[b.labels], b.subject) for b in state.balances]
    members = _members(state.producers, classes, balances)
    signatures = _signatures(balances, len(classes))
    fixed = np.zeros(len(classes), dtype=np.bool_)
    fixed[list(reasons)] = True
    groups = tuple(
        _group(producers, channels, signatures, fixed, balances, reasons)
        for producers, channels in members
    )
    return Groups(
        groups=_distinct(groups),
        classes=classes,
        producers=tuple(state.producers),
        uses=tuple(state.uses.values()),
        counts=tuple(state.counts),
        bundles=tuple(state.bundles),
        weighings=tuple(state.weighings),
        reasons=reasons,
        values=dict(state.labels),
    )


def _reasons(state: Trace, classes: LabelVector) -> dict[int, Reason]:
    """Return why each class that is fixed is so: the smallest of its reasons."""
    found: dict[int, Reason] = {}
    for labels, reason in sorted(state.fixed, key=lambda fixed: fixed[1], reverse=True):
        found.update(dict.fromkeys(classes[labels].tolist(), reason))
    return found


def _members(
    producers: Sequence[Producer], classes: LabelVector, balances: Sequence[Balance]
) -> list[tuple[list[Producer], list[int]]]:
    """Return the producers of each group with its classes in order of first appearance.

    Producers belong together where they share a class or a balance rule spans them.
    """
    owned = [classes[producer.labels] for producer in producers]
    if not owned:
        return []
    maker = np.repeat(np.arange(len(owned)), [len(channels) for channels in owned])
    found, place, back = np.unique(np.concatenate(owned), return_index=True, return_inverse=True)
    first = np.full(len(classes), -1, dtype=np.int64)
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
        group, channels_seen = collected[int(roots[index])]
        group.append(producer)
        channels_seen.update(dict.fromkeys(owned[index].tolist()))
    return [(group, list(seen)) for group, seen in collected.values()]


def _group(
    producers: Sequence[Producer],
    channels: Sequence[int],
    signatures: Signatures,
    fixed: npt.NDArray[np.bool_],
    balances: Sequence[Balance],
    reasons: Mapping[int, Reason],
) -> Group:
    members = np.array(channels, dtype=np.int64)
    banks, refused = _banks(members, signatures, fixed, balances)
    reason = None
    if not banks:
        own = [reasons[channel] for channel in members[fixed[members]].tolist()]
        # Most channels share one object, and comparing objects takes long.
        reason = min([*refused, *{id(each): each for each in own}.values()])
    if len(channels) == 1 and reason is None:
        banks, reason = [], Reason(Kind.ALONE, "")
    names = tuple(dict.fromkeys(producer.name for producer in producers))
    return Group(
        name=names[0], layers=names, channels=tuple(channels), banks=tuple(banks), reason=reason
    )


def _banks(
    members: LabelVector,
    signatures: Signatures,
    fixed: npt.NDArray[np.bool_],
    balances: Sequence[Balance],
) -> tuple[list[Bank], list[Reason]]:
    """Return the banks of a group, and why what is no bank is none.

    The signature of a channel says in which shares of which rules it occurs. Channels of one
    signature form a cell, cells that a rule connects form a bank. Taking equally many from every
    cell of a bank keeps every rule, provided that the cells lie evenly over the shares; where they
    do not, or one of them is fixed altogether, nothing may go.
    """
    own = signatures.number[members]
    numbers, first, counts = np.unique(own, return_index=True, return_counts=True)
    order, ends = np.argsort(own, kind="stable"), np.cumsum(counts)
    stays = fixed[members][order]
    cells = {
        signatures.entries[numbers[k]]: tuple(
            order[part := slice(ends[k] - counts[k], ends[k])][~stays[part]].tolist()
        )
        for k in np.argsort(first).tolist()
    }
    banks: list[Bank] = []
    refused: list[Reason] = []
    for bank in _connected(list(cells)):
        free = [cells[signature] for signature in bank]
        uneven = _uneven(bank, balances)
        if uneven is not None:
            refused.append(Reason(Kind.BALANCE, uneven.subject))
        elif all(free):
            banks.append(tuple(free))
        elif any(free):
            rule = balances[bank[0][0][0]]
            refused.append(Reason(Kind.BALANCE, rule.subject))
    return banks, refused


def _signatures(balances: Sequence[Balance], count: int) -> Signatures:
    """Return for each of `count` classes the shares of rules that it lies in, in order."""
    number = np.zeros(count, dtype=np.int64)
    entries: list[Signature] = [()]
    for index, rule in enumerate(balances):
        shares = len(rule.labels)
        classes = rule.labels.reshape(-1)
        share = np.repeat(np.arange(shares), rule.labels.shape[1])
        while len(classes):
            # A class that occurs several times in a rule has its turn in as many rounds.
            _, first = np.unique(classes, return_index=True)
            found, back = np.unique(
                number[classes[first]] * shares + share[first], return_inverse=True
            )
            number[classes[first]] = len(entries) + back.reshape(-1)
            entries.extend(
                (*entries[code // shares], (index, code % shares)) for code in found.tolist()
            )
            rest = np.ones(len(classes), dtype=np.bool_)
            rest[first] = False
            classes, share = classes[rest], share[rest]
    return Signatures(number, tuple(entries))


def _connected(signatures: Sequence[Signature]) -> list[list[Signature]]:
    """Return the signatures in sets that have rules in common."""
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


def _uneven(bank: Sequence[Signature], balances: Sequence[Balance]) -> Balance | None:
    """Return a rule over whose shares the cells of a bank do not lie evenly."""
    hits = Counter(entry for signature in bank for entry in signature)
    for number in sorted({number for number, _ in hits}):
        if len({hits[number, share] for share in range(len(balances[number].labels))}) > 1:
            return balances[number]
    return None


def _distinct(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return the groups with names that differ, so that a plan can speak of them."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        seen[group.name] += 1
        count = seen[group.name]
        named.append(group if count == 1 else replace(group, name=f"{group.name}#{count}"))
    return tuple(named)
