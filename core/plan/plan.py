"""The plan: the channels to remove from each group. Users read, edit and keep it as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..brief import brief
from ..coupling.groups import Group, Groups, Partition
from ..coupling.indices import UnitMask
from ..coupling.partitions import Loss
from ..errors import PlanError, located, percent_hint
from ..markup import Table, notebook
from .schema import PLAN_KEYS, read_document

__all__ = [
    "Plan",
    "PlanBlock",
    "PlanBlocks",
    "PlanGroup",
    "make_plan",
    "plan_table",
    "removed_units",
]

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanGroup:
    """The channels to remove from one group.

    Args:
        name: name of the group.
        layers: names of the layers that make its channels.
        channels: number of its channels.
        removed: positions of the channels to remove, from 0.
        keep: number of channels to keep, if the plan leaves open which ones; else None.
        rate: fraction of the channels to remove, if the plan leaves open which ones; else None.
    """

    name: str
    layers: tuple[str, ...]
    channels: int
    removed: tuple[int, ...] = ()
    keep: int | None = None
    rate: float | None = None

    @property
    def open(self) -> bool:
        """Whether the plan leaves open which channels are removed."""
        return self.keep is not None or self.rate is not None

    @property
    def kept(self) -> int:
        """Number of channels to keep, if no rate is given."""
        return self.channels - len(self.removed) if self.keep is None else self.keep

    def to_data(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        found = {"name": self.name, "layers": list(self.layers), "channels": self.channels}
        if self.rate is not None:
            return {**found, "rate": self.rate}
        return {**found, "kept": self.kept, **({} if self.open else {"removed": [*self.removed]})}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanBlock:
    """A residual block that leaves as a whole.

    Args:
        name: name of the layer that adds it.
        layers: names of the layers of its branch.
    """

    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanBlocks:
    """The residual blocks that leave before any channel.

    Args:
        blocks: the blocks, under the names that they have in the original.
        before: number of layers with weights in the original.
        after: the same without the blocks. The two tell one network from the other, since layers
            without names of their own are numbered anew.
    """

    blocks: tuple[PlanBlock, ...]
    before: int
    after: int

    def to_data(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        return {
            "layers_with_weights": {"before": self.before, "after": self.after},
            "blocks": [{"name": one.name, "layers": list(one.layers)} for one in self.blocks],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The channels to remove from all groups, and the provenance of the choice.

    Args:
        groups: every group that can be pruned; where blocks leave, of the network without them.
        provenance: digest of the model, criterion, allocation, data, rates; plain values only.
        file: name of the file that it was read from, for messages.
        dropped: residual blocks that leave first; None where none do.
    """

    groups: tuple[PlanGroup, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = field(default=None, compare=False)
    dropped: PlanBlocks | None = None

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            *(
                f"{key} {self.provenance[key]}"
                for key in ("model", "criterion", "rate")
                if key in self.provenance
            ),
            f"{len(self.groups)} groups",
            f"{sum(len(group.removed) for group in self.groups)} channels leave",
        )

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the groups for which the plan leaves open which channels are removed."""
        return tuple(group.name for group in self.groups if group.open)

    @property
    def removes(self) -> bool:
        """Whether the plan removes a channel or a block at all."""
        return self.dropped is not None or any(group.removed for group in self.groups)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(plan_table(self))

    def check_removes(self) -> None:
        """Raise if the plan removes no channel.

        Raises:
            PlanError: it does not, nor does it leave open which channels leave.
        """
        if not self.removes and not self.open:
            with located(file=self.file):
                raise PlanError(
                    "the plan removes no channel",
                    hint="a group loses channels by removed, kept or rate",
                )

    def to_yaml(self) -> str:
        """Return the plan as YAML text; the same plan gives the same bytes."""
        document = {
            "version": VERSION,
            **dict(self.provenance),
            **({"dropped": self.dropped.to_data()} if self.dropped is not None else {}),
            "groups": [group.to_data() for group in self.groups],
        }
        unknown = document.keys() - set(PLAN_KEYS)
        assert not unknown, f"a plan with these keys could not be read again: {unknown}"
        text: str = yaml.dump(
            document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
        )
        return text

    @classmethod
    def from_yaml(cls, text: str, file: str | None = None) -> Plan:
        """Parse a plan.

        Args:
            text: the plan as YAML.
            file: name of the file, for messages.

        Raises:
            PlanError: the text is not YAML, a key is unknown, or a field is missing or contradicts
                another.
        """
        read = read_document(text)
        document = read.values
        if document.get("version") != VERSION:
            with located(line=read.lines.get("version")):
                raise PlanError(f"version must be {VERSION}, got {document.get('version')!r}")
        made = []
        for place, entry in enumerate(document["groups"]):
            with located(line=read.group_lines[place]):
                made.append(_group(entry, place))
        groups = tuple(made)
        names = [group.name for group in groups]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(f"group '{name}' stands twice in the plan")
        own = ("version", "groups", "dropped")
        provenance = {k: v for k, v in document.items() if k not in own}
        dropped = _dropped(document["dropped"]) if "dropped" in document else None
        return cls(groups=groups, provenance=provenance, file=file, dropped=dropped)


def plan_table(plan: Plan) -> Table:
    """Return how many channels each group keeps, and the residual blocks that leave."""

    def kept(group: PlanGroup) -> str:
        return f"rate {group.rate:g}" if group.rate is not None else f"{group.kept}"

    blocks = plan.dropped.blocks if plan.dropped is not None else ()
    return Table(
        caption="Plan",
        columns=("Group", "Layers", "Channels", "Kept", "Removed channels"),
        rows=[
            *((block.name, ", ".join(block.layers), "", "", "the whole block") for block in blocks),
            *(
                (group.name, ", ".join(group.layers), f"{group.channels}", kept(group),
                 "open" if group.open else ", ".join(map(str, group.removed)))
                for group in plan.groups
            ),
        ],
        numeric=(2, 3),
    )  # fmt: skip


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers and names on one line, and all other values as blocks."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        flat = all(not isinstance(entry, dict | list) for entry in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat or flow_style)


def _dropped(entry: Any) -> PlanBlocks:
    """Return the blocks of a plan.

    Raises:
        PlanError: a field is missing or of another kind.
    """
    with located(item="dropped"):
        counts = entry.get("layers_with_weights") if isinstance(entry, dict) else None
        blocks = entry.get("blocks") if isinstance(entry, dict) else None
        if not isinstance(counts, dict) or not isinstance(blocks, list) or not blocks:
            raise PlanError("it holds layers_with_weights (before, after) and a list of blocks")
        before, after = counts.get("before"), counts.get("after")
        if type(before) is not int or type(after) is not int or not 0 <= after <= before:
            raise PlanError("layers_with_weights are two numbers: before and after")
        found = []
        for place, block in enumerate(blocks):
            with located(item=f"block number {place + 1}"):
                name, layers = (
                    (block.get("name"), block.get("layers")) if isinstance(block, dict)
                    else (None, None)
                )  # fmt: skip
                if name is None or not isinstance(layers, list) or not layers:
                    raise PlanError("a block has a name and a list of layers")
                found.append(PlanBlock(name=str(name), layers=tuple(map(str, layers))))
        return PlanBlocks(blocks=tuple(found), before=before, after=after)


def _group(entry: Any, place: int) -> PlanGroup:
    """Return the group of an entry, which has the position `place` in the plan.

    Raises:
        PlanError: a field is missing or contradicts another.
    """
    name = entry.get("name") if isinstance(entry, dict) else None
    with located(item=f"group {name!r}" if name else f"group number {place + 1}"):
        if not isinstance(entry, dict) or not isinstance(name, str):
            raise PlanError("a group needs a name")
        channels, removed = entry.get("channels"), entry.get("removed", [])
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise PlanError("channels must be a positive number")
        if not isinstance(removed, list) or not all(type(k) is int for k in removed):
            raise PlanError("removed must be a list of channel numbers")
        if len(set(removed)) != len(removed) or not all(0 <= k < channels for k in removed):
            raise PlanError(f"removed must name channels from 0 to {channels - 1}, each once")
        layers = entry.get("layers", [])
        if not isinstance(layers, list):
            raise PlanError("layers must be a list of names")
        keep, rate = _number(entry, channels)
        if keep is not None or rate is not None:
            return PlanGroup(
                name=name,
                layers=tuple(str(layer) for layer in layers),
                channels=channels,
                keep=keep,
                rate=rate,
            )
        kept = entry.get("kept", channels - len(removed))
        if kept != channels - len(removed):
            raise PlanError(
                f"kept says {kept}, but {channels} channels less {len(removed)} removed leave "
                f"{channels - len(removed)}",
                hint="delete removed to have others chosen",
            )
        return PlanGroup(
            name=name,
            layers=tuple(str(layer) for layer in layers),
            channels=channels,
            removed=tuple(sorted(removed)),
        )


def _number(entry: Mapping[str, Any], channels: int) -> tuple[int | None, float | None]:
    """Return `keep` and `rate` of an entry, if it leaves open which channels are removed.

    Raises:
        PlanError: fields contradict each other, or a number is out of range.
    """
    kept, rate = entry.get("kept"), entry.get("rate")
    if rate is not None:
        if "removed" in entry or kept is not None:
            raise PlanError("give one of removed, kept, rate", hint="delete the others")
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
            number = isinstance(rate, int | float) and not isinstance(rate, bool)
            raise PlanError(
                f"rate must be from 0 to below 1, got {rate!r}",
                hint=percent_hint(rate) if number else None,
            )
        return None, float(rate)
    if "removed" in entry or kept is None:
        return None, None
    if not isinstance(kept, int) or isinstance(kept, bool) or not 1 <= kept <= channels:
        raise PlanError(f"kept must be a number from 1 to {channels}, got {kept!r}")
    return (None if kept == channels else kept), None


def make_plan(groups: Groups, removed: UnitMask, provenance: Mapping[str, Any]) -> Plan:
    """Return the plan that removes units (a mask over the units of `groups`)."""
    return Plan(
        groups=tuple(
            PlanGroup(
                name=group.name,
                layers=group.layers,
                channels=len(group.units),
                removed=tuple(place for place, unit in enumerate(group.units) if removed[unit]),
            )
            for group in groups.groups
            if group.prunable
        ),
        provenance=provenance,
    )


def removed_units(plan: Plan, groups: Groups) -> UnitMask:
    """Return the mask over units that a plan removes.

    Raises:
        PlanError: a group is unknown or has another size, a channel is fixed, the shares of a
            partition lose different numbers of channels, or a layer would keep no channel.
    """
    removed = groups.mask(())
    for entry in plan.groups:
        group = groups.by_name(entry.name)
        with located(file=plan.file, item=f"group {entry.name!r}"):
            if group is None:
                raise PlanError("the network has no such group", hint="was it made for this model?")
            if len(group.units) != entry.channels:
                raise PlanError(
                    f"the plan counts {entry.channels} channels, the network {len(group.units)}"
                )
            if entry.open:
                raise PlanError(
                    "it is open which channels leave",
                    hint="secateur prune --keep chooses them and writes the whole plan",
                )
            _check_partitions(group, set(entry.removed), groups)
            removed[[group.units[place] for place in entry.removed]] = True
    for kept in groups.kept_units:
        if removed[list(kept)].all():
            owner = groups.group_of[kept[0]]
            with located(file=plan.file, item=f"group {owner.name!r}"):
                raise PlanError("at least one channel of each layer must stay")
    for crowd, least in groups.kept_crowds:
        if (~removed[list(crowd)]).sum() < min(least, len(crowd)):
            with located(file=plan.file, item=f"group {groups.group_of[crowd[0]].name!r}"):
                raise PlanError(f"at least {least} channels must stay, as many as a window has")
    return removed


def _check_partitions(group: Group, removed: set[int], groups: Groups) -> None:
    """Raise if the partitions of a group do not allow a removal (positions of channels).

    Raises:
        PlanError: a channel is fixed, or shares lose different numbers of channels.
    """
    free = {place for partition in group.partitions for share in partition for place in share}
    for place in sorted(removed - free):
        reason = groups.reasons.get(group.units[place], group.reason)
        hint = reason.remedy if reason is not None else None
        raise PlanError(f"channel {place} cannot be removed: it {reason}", hint=hint)
    for partition in group.partitions:
        loss = tuple(len(removed.intersection(share)) for share in partition)
        if not partition.obeys(loss):
            raise PlanError(_unbalanced(partition, loss))


def _unbalanced(partition: Partition, loss: Loss) -> str:
    """Return in words why a loss does not obey the balance rules."""
    if all(set(step) == {1} for step in partition.steps):
        return f"shares must lose equally many channels, but they lose {sorted(set(loss))}"
    steps = " or ".join(map(str, map(list, partition.steps[:3])))
    return f"shares must lose channels in steps of {steps}, but they lose {list(loss)}"
