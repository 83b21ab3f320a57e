"""The families of a study as curves: the metric over the operations that are left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ..study.result import Study, StudyMean
from .charts import INK, SERIES, WIDE, whole_picture

__all__ = ["curves", "few_images", "middle_rate", "plotted"]

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


def _family(mean: StudyMean, study: Study) -> str:
    """Return what a curve is called: what tells it from the others of the study."""
    few = "" if mean.point.images is None else f", {mean.point.images} a class"
    return f"{_maker(mean, study)}{few}"


def _maker(mean: StudyMean, study: Study) -> str:
    """Return the method, and its repair where there are several."""
    several = len({row.point.repair for row in study.rows}) > 1
    return f"{mean.point.method}, repair {mean.point.repair}" if several else mean.point.method


def curves(study: Study, width: int) -> Mapping[str, Any]:
    """Return the specification of the curves.

    Bars are intervals over samples (95 %) where a family has one seed, and else a standard
    deviation over seeds to each side.

    Args:
        study: the study.
        width: pixels.
    """
    values = [
        {**_value(mean, study), "family": _family(mean, study),
         "x": 100.0 * mean.operations / max(1, study.operations)}
        for mean in study.means() if _drawn(mean)
    ]  # fmt: skip
    x = {"field": "x", "type": "quantitative", "title": "Operations left, in %",
         "scale": {"zero": False}}  # fmt: skip
    return _lines(study, values, x, width)


def middle_rate(study: Study) -> float:
    """Return the rate in the middle of those of a study."""
    rates = sorted({row.point.rate for row in study.rows})
    return rates[len(rates) // 2]


def few_images(study: Study, width: int) -> Mapping[str, Any]:
    """Return the specification of the metric over images of each class, at the middle rate.

    Args:
        study: one with few images.
        width: pixels.
    """
    rate = middle_rate(study)
    values = [
        {**_value(mean, study), "family": _maker(mean, study),
         "x": "all" if mean.point.images is None else f"{mean.point.images}"}
        for mean in study.means() if _drawn(mean) and mean.point.rate == rate
    ]  # fmt: skip
    order = [*(f"{count}" for count in study.options["low_data"]), "all"]
    x = {"field": "x", "type": "ordinal", "sort": order, "title": "Images of each class",
         "axis": {"labelAngle": 0}}  # fmt: skip
    return _lines(study, values, x, width)


def _lines(
    study: Study, values: Sequence[Mapping[str, Any]], x: Mapping[str, Any], width: int
) -> Mapping[str, Any]:
    """Return the specification of a line for each family, with bars, and one for the original."""
    percent = study.unit == "%"
    names = list(dict.fromkeys(value["family"] for value in values))
    unit = " in %" if percent else f" in {study.unit}" if study.unit else ""
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
            "data": {"values": [{"value": _factor(study) * study.original_value}]},
            "mark": {"type": "rule", "color": INK, "strokeDash": [2, 4]}, "encoding": {"y": y},
        })  # fmt: skip
    return {"data": {"values": values}, "height": HEIGHT, "layer": layers}


def _dash(number: int) -> Sequence[int]:
    return DASHES[number // len(SERIES) % len(DASHES)]


def _factor(study: Study) -> float:
    return 100.0 if study.unit == "%" else 1.0


def _drawn(mean: StudyMean) -> bool:
    """Whether there is a number to draw."""
    return bool(mean.made) and math.isfinite(mean.value)


def _value(mean: StudyMean, study: Study) -> dict[str, float]:
    """Return the metric of a mean and the ends of its bar."""
    low, high = mean.interval or (mean.value, mean.value)
    if mean.spread is not None:
        low, high = mean.value - mean.spread, mean.value + mean.spread
    ends = (end if math.isfinite(end) else mean.value for end in (low, high))
    scaled = [_factor(study) * number for number in (mean.value, *ends)]
    return dict(zip(("value", "low", "high"), scaled, strict=True))
