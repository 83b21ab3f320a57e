"""Charts as SVG: drawn by Vega-Lite when the report is written, so that the page needs no program.

Colours are variables of the page's style sheet, which has them for light and for dark. Each chart
is drawn for wide and for narrow pages: shrunk, its texts could not be read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from zlib import crc32

from ..markup import Table
from .blocks import Chart
from .style import style

__all__ = [
    "ACCENT",
    "INK",
    "MUTED",
    "SERIES",
    "WIDE",
    "Spec",
    "chart",
    "distinct",
    "drawn",
    "ticks",
    "whole_picture",
]

WIDE, NARROW = 760, 340
"""Pixels of charts, legends and axes included."""

VEGA_LITE = "5.20"
"""The version of the language that specifications are written in."""

ACCENT, MUTED, INK, LINES = "var(--accent)", "var(--muted)", "var(--ink)", "var(--lines)"

SERIES = tuple(f"var(--series-{number})" for number in range(1, 9))
"""Colours of several lines."""

Spec = Callable[[int], Mapping[str, Any]]
"""Width in pixels → a specification of Vega-Lite, without width and style."""

_STYLE: Mapping[str, Any] = {
    "aria": False,  # a chart is one picture with a text; its figures stand in a table below it
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "gridColor": LINES, "domainColor": LINES,
        "tickColor": LINES, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "labelLimit": 150,
    },
    "legend": {
        "labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "labelLimit": 260,
    },
    "text": {"color": INK, "fontSize": 12},
    "bar": {"color": ACCENT},
    "line": {"color": ACCENT, "strokeWidth": 2},
    "point": {"color": ACCENT, "filled": True, "size": 50},
    "rule": {"color": LINES},
    "rect": {"color": ACCENT},
}  # fmt: skip

_COLOUR = re.compile(r"(--[\w-]+):\s*(#\w+);")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_NAMES = re.compile(r'(?<=\bid=")[^"]+(?=")')


def chart(caption: str, spec: Spec, table: Table) -> Chart:
    """Return a chart with its figures.

    Args:
        caption: what it shows.
        spec: what is drawn.
        table: the figures that are drawn.
    """
    wide, narrow = (drawn(spec(width), caption, width) for width in (WIDE, NARROW))
    return Chart(caption=caption, wide=wide, narrow=narrow, table=table)


def ticks(width: int) -> int:
    """Return how many marks an axis along a chart has, about."""
    return max(3, width // 95)


def distinct(names: Sequence[str]) -> Sequence[str]:
    """Return names of which no two are the same, since an axis has each once."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return found


def drawn(spec: Mapping[str, Any], caption: str, width: int) -> str:
    """Return a specification as SVG with a text alternative."""
    import vl_convert

    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "transparent",
        "width": width,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 4,
        **spec,
        "config": _STYLE,
    }
    return _embedded(vl_convert.vegalite_to_svg(whole, vl_version=VEGA_LITE), caption)


def whole_picture(spec: Mapping[str, Any], caption: str, width: int) -> str:
    """Return a specification as an SVG file of its own, in the light colours of pages."""
    light = dict(_COLOUR.findall(style().partition("}")[0]))
    svg = drawn({**spec, "background": light["--page"]}, caption, width)
    return _VARIABLE.sub(lambda found: light[found[1]], svg)


def _embedded(svg: str, caption: str) -> str:
    """Return an SVG as part of a page: with a text, and with names that no other one has."""
    text = escape(caption)
    number = f"{crc32(svg.encode()):08x}"
    for name in dict.fromkeys(_NAMES.findall(svg)):
        own = f"chart-{number}-{name}"
        svg = svg.replace(f'id="{name}"', f'id="{own}"').replace(f"url(#{name})", f"url(#{own})")
    return svg.replace(
        "<svg ", f'<svg role="img" aria-label="{text}" preserveAspectRatio="xMinYMin meet" ', 1
    )
