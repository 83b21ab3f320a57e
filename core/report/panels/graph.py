"""The graph of the layers: one row a layer, lines for what it reads, bars for what it lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ...ir.network import Network
from ..blocks import Drawing, Panel, Paragraph
from ..facts import ReportFacts
from .layers import LayerChange, changes

__all__ = ["Line", "lanes", "panel"]

ROW, LANE, LETTER, BAR = 22, 12, 7, 110
"""Pixels: height of a row, distance of lines, width of a letter, width of a whole bar."""

LONGEST = 26
"""Letters of a name at most."""

MOST = 1500
"""Layers of networks that are drawn; the page would be too large with more."""

Line = tuple[int, int]
"""The layer that makes a value, and one that reads it, by their rows."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the drawing; None where there is nothing to draw, or too much."""
    found = changes(facts)
    if not 1 < len(found) <= MOST:
        return None
    lines = _lines(facts.network)
    svg, width = _drawn(found, lines, pruned=facts.after is not None)
    about = (
        "One row a layer, from the input to the output. Lines lead from a layer to those that "
        "read it."
    )
    if facts.after is not None:
        about += " Bars are as long as the share of a layer's channels that is left."
    drawing = Drawing(name="graph", caption="The layers of the model", svg=svg, width=width)
    return Panel(name="graph", title="The graph", blocks=[Paragraph(about), drawing])


def _lines(network: Network) -> Sequence[Line]:
    """Return which layer reads what another one makes."""
    maker: dict[str, int] = {}
    found: dict[Line, None] = {}
    for place, info in enumerate(network.layers):
        for bottom in info.bottoms:
            if bottom in maker:
                found[maker[bottom], place] = None
        maker.update(dict.fromkeys(info.tops, place))
    return list(found)


def lanes(lines: Sequence[Line]) -> tuple[dict[Line, int], int]:
    """Return beside which other lines each long line runs, and how many do at most.

    Lines between neighbouring rows run straight. Each other one gets the first lane that is free
    all the way.
    """
    taken: list[int] = []  # lane → the row up to which it is taken
    found: dict[Line, int] = {}
    for start, end in sorted(line for line in lines if line[1] - line[0] > 1):
        lane = next((k for k, until in enumerate(taken) if until <= start), len(taken))
        if lane == len(taken):
            taken.append(end)
        taken[lane] = end
        found[start, end] = lane
    return found, len(taken)


def _drawn(found: Sequence[LayerChange], lines: Sequence[Line], *, pruned: bool) -> tuple[str, int]:
    """Return the drawing and its width."""
    lane, count = lanes(lines)
    left = 16 + LANE * (count + 1)
    names, kinds = ([_short(text) for text in texts] for texts in zip(*_texts(found), strict=True))
    kind_at = left + 24 + LETTER * max(map(len, names))
    bar_at = kind_at + 10 + LETTER * max(map(len, kinds))
    width = bar_at + (BAR + 100 if pruned else 60)
    height = ROW * len(found) + 8
    parts = [
        f'<svg role="img" aria-label="The layers of the model; the table of layers tells the same" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" class="graph">'
    ]
    parts += [_path(line, lane.get(line), left) for line in lines]
    for place, change in enumerate(found):
        y = _y(place)
        parts += [
            f'<circle class="{"lost" if _lost(change) else "kept"}" cx="{left}" cy="{y}" r="4.5"/>',
            f'<text x="{left + 14}" y="{y + 4}">{escape(names[place])}</text>',
            f'<text class="quiet" x="{kind_at}" y="{y + 4}">{escape(kinds[place])}</text>',
            *_bar(change, bar_at, y, pruned=pruned),
        ]
    return "\n".join([*parts, "</svg>"]), width


def _y(row: int) -> int:
    return 4 + ROW * row + ROW // 2


def _path(line: Line, lane: int | None, x: int) -> str:
    start, end = _y(line[0]), _y(line[1])
    if lane is None:
        return f'<path class="edge" d="M{x} {start}V{end}"/>'
    side = x - LANE * (lane + 1)
    top, bottom = start + ROW // 2 + 2, end - ROW // 2 - 2
    return (
        f'<path class="edge" d="M{x} {start}C{side} {start + 4} {side} {start + 6} {side} '
        f'{top}V{bottom}C{side} {end - 6} {side} {end - 4} {x} {end}"/>'
    )


def _texts(found: Sequence[LayerChange]) -> Iterator[tuple[str, str]]:
    return ((change.name, change.type) for change in found)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _lost(change: LayerChange) -> bool:
    before, after = change.channels, change.channels_after
    return before is not None and after is not None and after < before


def _bar(change: LayerChange, x: int, y: int, *, pruned: bool) -> Iterator[str]:
    """Yield the channels of a layer; of a pruned model, what is left of them as a bar."""
    before, after = change.channels, change.channels_after
    if before is None:
        return
    if not pruned:
        yield f'<text class="quiet" x="{x}" y="{y + 4}">{before}</text>'
        return
    lost = _lost(change)
    share = (after if after is not None else before) / before if before else 1.0
    yield f'<rect class="whole" x="{x}" y="{y - 5}" width="{BAR}" height="10"/>'
    yield (
        f'<rect class="{"left" if lost else "same"}" x="{x}" y="{y - 5}" '
        f'width="{BAR * share:.1f}" height="10"/>'
    )
    text = f"{before} → {after}" if lost else f"{before}"
    yield f'<text class="quiet" x="{x + BAR + 8}" y="{y + 4}">{text}</text>'
