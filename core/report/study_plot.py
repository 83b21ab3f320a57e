"""The families of a study as curves: the metric over the operations that are left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ..study.result import Study, StudyMean
from .charts import INK, SERIES, WIDE, whole_picture

__all__ = ["curves", "family", "plotted"]

HEIGHT = 360
"""Pixels."""

DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
"""Strokes of families beyond as many as there are colours."""


def plotted(study: Study) -> str | None:
    """Return the curves as an SVG file; None without what draws them, or without any model."""
    if find_spec("vl_convert") is None or not study.made:
        return None
    about = f"{study.metric} of '{study.model}' over the operations that are left, by method"
    return whole_picture(curves(study, WIDE), about, WIDE)


def family(mean: StudyMean, study: Study) -> str:
    """Return what a curve is called: what tells it from the others of the study."""
    point = mean.point
    parts = [point.method]
    if len({row.point.repair for row in study.rows}) > 1:
        parts.append(f"repair {point.repair}")
    if point.images is not None:
        parts.append(f"{point.images} a class")
    return ", ".join(parts)


def curves(study: Study, width: int) -> Mapping[str, Any]:
    """Return the specification of the curves.

    Bars are intervals over samples (95 %) where a family has one seed, and else a standard
    deviation over seeds to each side.

    Args:
        study: the study.
        width: pixels.
    """
    percent = study.unit == "%"
    factor = 100.0 if percent else 1.0
    values = list(_values(study, factor))
    names = list(dict.fromkeys(value["family"] for value in values))
    unit = " in %" if percent else f" in {study.unit}" if study.unit else ""
    x = {"field": "left", "type": "quantitative", "title": "Operations left, in %",
         "scale": {"zero": False}}  # fmt: skip
    scale: Mapping[str, Any] = {"zero": False}
    colour = {
        "field": "family", "type": "nominal", "title": None,
        "scale": {"domain": names, "range": [SERIES[k % len(SERIES)] for k in range(len(names))]},
        "legend": {"orient": "right" if width == WIDE else "top",
                   "columns": 1 if width == WIDE else 2},
    }  # fmt: skip
    dash = {
        "field": "family", "type": "nominal", "legend": None,
        "scale": {"domain": names, "range": [list(_dash(k)) for k in range(len(names))]},
    }  # fmt: skip
    y = {"field": "value", "type": "quantitative", "title": f"{study.metric}{unit}", "scale": scale}
    layers: list[Mapping[str, Any]] = [
        {"mark": {"type": "rule"}, "encoding": {
            "x": x, "y": {"field": "low", "type": "quantitative", "scale": scale},
            "y2": {"field": "high"}, "color": colour}},
        {"mark": {"type": "line", "point": True}, "encoding": {
            "x": x, "y": y, "color": colour, "strokeDash": dash}},
    ]  # fmt: skip
    if study.original_value is not None:
        layers.append({
            "data": {"values": [{"value": factor * study.original_value}]},
            "mark": {"type": "rule", "color": INK, "strokeDash": [2, 4]}, "encoding": {"y": y},
        })  # fmt: skip
    return {"data": {"values": values}, "height": HEIGHT, "layer": layers}


def _dash(number: int) -> Sequence[int]:
    return DASHES[number // len(SERIES) % len(DASHES)]


def _values(study: Study, factor: float) -> list[dict[str, Any]]:
    """Return a point for each mean that is a number."""
    found = []
    for mean in study.means():
        if not mean.made or not math.isfinite(mean.value):
            continue
        low, high = mean.interval or (mean.value, mean.value)
        if mean.spread is not None:
            low, high = mean.value - mean.spread, mean.value + mean.spread
        found.append(
            {
                "family": family(mean, study),
                "left": 100.0 * mean.operations / max(1, study.operations),
                "value": factor * mean.value,
                "low": factor * low if math.isfinite(low) else factor * mean.value,
                "high": factor * high if math.isfinite(high) else factor * mean.value,
            }
        )
    return found
