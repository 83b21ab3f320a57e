"""Layer by layer: channels, operations and times before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...cost.network_cost import LayerCost
from ...difference.pairing import pairs_of
from ...markup import Table
from ...words import count_text, percent_text
from ..blocks import Block, Folded, Panel, Paragraph
from ..charts import ACCENT, MUTED, WIDE, Spec, chart, distinct, ticks
from ..facts import ReportFacts
from ..latency import LayersTimed

__all__ = ["LayerChange", "changes", "panel"]

MOST = 40
"""So many layers are drawn; the table has all."""

SHOWN = 15
"""Longer tables are folded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerChange:
    """A layer before and after; one that left with a residual block has nothing left.

    Times are milliseconds of a sample; None where none was measured for the layer alone.
    """

    name: str
    type: str
    channels: int | None
    channels_after: int | None
    operations: int
    operations_after: int
    parameters: int
    parameters_after: int
    time: float | None = None
    time_after: float | None = None


def changes(facts: ReportFacts) -> Sequence[LayerChange]:
    """Return every layer before and after; where there is no model after, it is as before."""
    before, after = facts.described, facts.described_after
    partner = _partners(facts)
    times = facts.times or LayersTimed()
    found = []
    for place, row in enumerate(before.layers):
        mine, channels = before.cost.layers[place], _channels(row.shape)
        its, left = mine, channels
        late: float | None = None
        if after is not None:
            other = partner.get(place)
            its = after.cost.layers[other] if other is not None else LayerCost()
            gone = None if channels is None else 0
            left = _channels(after.layers[other].shape) if other is not None else gone
            late = times.after.get(after.layers[other].name) if other is not None else None
        found.append(
            LayerChange(
                name=row.name, type=row.type, channels=channels, channels_after=left,
                operations=mine.operations, operations_after=its.operations,
                parameters=mine.parameters, parameters_after=its.parameters,
                time=times.before.get(row.name), time_after=late,
            )
        )  # fmt: skip
    return found


def _partners(facts: ReportFacts) -> Mapping[int, int]:
    """Return which layer after is which before.

    Where residual blocks left, the plan names their layers; all others stand in their order.
    """
    if facts.after is None:
        return {}
    mine, its = facts.network.layers, facts.after.layers
    dropped = facts.removal.dropped if facts.removal is not None else None
    blocks = dropped.blocks if dropped is not None else ()
    gone = {name for block in blocks for name in (block.name, *block.layers)}
    left = [place for place, info in enumerate(mine) if info.name not in gone]
    if [mine[place].type for place in left] == [info.type for info in its]:
        return dict(zip(left, range(len(its)), strict=True))
    return {a: b for a, b in pairs_of(mine, its) if a is not None and b is not None}


def _channels(shape: tuple[int | str, ...] | None) -> int | None:
    size = shape[1] if shape is not None and len(shape) > 1 else None
    return size if isinstance(size, int) else None


def panel(facts: ReportFacts) -> Panel | None:
    """Return the table of layers and the charts of their operations and times."""
    found = [c for c in changes(facts) if c.operations or c.parameters or c.time or _narrower(c)]
    if not found:
        return None
    pruned = facts.after is not None
    blocks: list[Block] = []
    both = ", before and after" if pruned else ""
    heavy = _heaviest(found, lambda change: change.operations)
    if heavy:
        if sum(change.operations > 0 for change in found) > MOST:
            blocks.append(Paragraph(f"The chart shows the {MOST} layers with most operations."))
        bars = [(change.operations, change.operations_after) for change in heavy]
        caption = f"Operations of the layers{both}"
        blocks.append(
            chart(caption, _spec(heavy, bars, "Operations", "~s", pruned=pruned),
                  _table(heavy, caption, pruned=pruned))
        )  # fmt: skip
    blocks += _times(facts, found, pruned=pruned)
    if len(found) > len(heavy):
        table = _table(found, "All layers that compute or lose something", pruned=pruned)
        about = f"All {len(found)} layers that compute or lose something"
        blocks.append(table if len(found) <= SHOWN else Folded(summary=about, block=table))
    return Panel(name="layers", title="Layer by layer", blocks=blocks)


def _heaviest(
    found: Sequence[LayerChange], weight: Callable[[LayerChange], float]
) -> Sequence[LayerChange]:
    """Return the layers that weigh most, in the order of the network; none that weighs nothing."""
    heavy = sorted((c for c in found if weight(c) > 0), key=lambda c: -weight(c))[:MOST]
    return [change for change in found if change in heavy]


def _times(facts: ReportFacts, found: Sequence[LayerChange], *, pruned: bool) -> Sequence[Block]:
    """Return the chart of times, with what is to be known of them; nothing without times."""
    slow = _heaviest(found, lambda change: max(change.time or 0.0, change.time_after or 0.0))
    if facts.times is None or not slow:
        return []
    about = (
        "Times are those of onnxruntime on this machine, one sample at a time. It computes "
        "activations and normalisations with the layer before them: their time stands there."
    )
    if facts.times.smaller:
        about += " They were taken at a smaller input: that of the files would fill the memory."
    if len(slow) == MOST:
        about += f" The chart shows the {MOST} layers that take longest."
    caption = "Latency of the layers" + (", before and after" if pruned else "")
    bars = [(change.time or 0.0, change.time_after or 0.0) for change in slow]
    spec = _spec(slow, bars, "Milliseconds", "~g", pruned=pruned)
    return [Paragraph(about), chart(caption, spec, _table(slow, caption, pruned=pruned))]


def _narrower(change: LayerChange) -> bool:
    return change.channels_after is not None and change.channels_after != change.channels


def _table(found: Sequence[LayerChange], caption: str, *, pruned: bool) -> Table:
    """Return all figures of some layers; times where there are any."""
    timed = any(change.time is not None or change.time_after is not None for change in found)
    last = ("Milliseconds",) if timed else ()
    if not pruned:
        return Table(
            caption=caption,
            columns=("Layer", "Type", "Channels", "Operations", "Parameters", *last),
            rows=[
                (c.name, c.type, _number(c.channels), count_text(c.operations),
                 count_text(c.parameters), *([_time(c.time)] if timed else []))
                for c in found
            ],
            numeric=(2, 3, 4, 5),
        )  # fmt: skip
    return Table(
        caption=caption,
        columns=("Layer", "Type", "Channels", "Operations", "Change", "Parameters", *last),
        rows=[
            (
                c.name, c.type, _pair(_number(c.channels), _number(c.channels_after)),
                _pair(count_text(c.operations), count_text(c.operations_after)),
                _change(c),
                _pair(count_text(c.parameters), count_text(c.parameters_after)),
                *([_pair(_time(c.time), _time(c.time_after))] if timed else []),
            )
            for c in found
        ],
        numeric=(2, 3, 4, 5, 6),
    )  # fmt: skip


def _change(change: LayerChange) -> str:
    """Return by how much the operations changed; "" where they did not."""
    if not change.operations or change.operations == change.operations_after:
        return ""
    return percent_text(change.operations_after / change.operations - 1)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value}"


def _time(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _pair(before: str, after: str) -> str:
    return f"{before} → {after}" if before != after and after else before


def _spec(
    found: Sequence[LayerChange],
    bars: Sequence[tuple[float, float]],
    title: str,
    form: str,
    *,
    pruned: bool,
) -> Spec:
    """Return a chart of bars.

    Args:
        found: the layers.
        bars: the lengths before and after, of each.
        title: of the axis.
        form: how its numbers are written.
        pruned: whether there is a model after.
    """
    names = distinct([change.name for change in found])
    values = [
        {"layer": name, "before": before, "after": after}
        for name, (before, after) in zip(names, bars, strict=True)
    ]

    def spec(width: int) -> Mapping[str, Any]:
        y = {
            "field": "layer", "type": "nominal", "sort": None, "title": None,
            "axis": {"labelLimit": 170 if width == WIDE else 100},
        }  # fmt: skip
        axis = {"format": form, "tickCount": ticks(width)}
        x = {"type": "quantitative", "title": title, "axis": axis}
        layers: list[Mapping[str, Any]] = [
            {"mark": {"type": "bar", "color": MUTED if pruned else ACCENT},
             "encoding": {"y": y, "x": {"field": "before", **x}}}
        ]  # fmt: skip
        if pruned:
            layers.append(
                {"mark": {"type": "bar", "color": ACCENT, "height": {"band": 0.5}},
                 "encoding": {"y": y, "x": {"field": "after", **x}}}
            )  # fmt: skip
        return {"data": {"values": values}, "height": {"step": 18}, "layer": layers}

    return spec
