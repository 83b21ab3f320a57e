"""What an analysis found out: a curve of loss over removed channels for every group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ..brief import brief
from ..errors import DataError, located
from ..files import json_bytes, write_whole
from ..markup import Table, notebook
from ..words import four_digits

__all__ = [
    "ANALYSIS_FILE",
    "Analysis",
    "GroupAnalysis",
    "Point",
    "curves_table",
    "load_analysis",
    "save_analysis",
    "spread_rates",
]

ANALYSIS_FILE = "analysis.json"
"""Name of the result in the folder of an analysis."""

VERSION = 1

SHOWN_RATES = 9
"""Rates that a notebook shows at most."""

ORIGINAL_KEY = "baseline"
"""Name of the original's figure in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One measurement.

    Args:
        rate: share of the group's channels that was asked for, over 0 and below 1.
        removed: channels that left: the most whole steps that do not exceed the rate.
        loss: by how much the measured figure is worse than the original's, in its own unit
            (0.01 of accuracy is one point of a hundred); negative for a gain.
        at_least: whether the measurement ended early, since the loss could only be larger.
    """

    rate: float
    removed: int
    loss: float
    at_least: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupAnalysis:
    """The curve of one group.

    Args:
        name: of the group.
        layers: names of the layers that make its channels.
        channels: how many it has.
        order: positions of its removable channels, those that leave first in front.
        points: by rising rate. Rates too small for one whole step have 0 removed and no loss.
    """

    name: str
    layers: tuple[str, ...]
    channels: int
    order: tuple[int, ...]
    points: tuple[Point, ...]

    @property
    def losses(self) -> Mapping[float, float]:
        """Rate → loss."""
        return {point.rate: point.loss for point in self.points}

    def last_within(self, loss: float) -> Point | None:
        """Return the last point before the first one whose loss is over `loss`."""
        within = list(takewhile(lambda point: point.loss <= loss, self.points))
        return within[-1] if within else None

    def loss_at(self, removed: int) -> float:
        """Return the loss with so many channels gone: between points, the curve is straight."""
        known = {0: 0.0, **{p.removed: p.loss for p in self.points if p.removed}}
        counts = sorted(known)
        if removed > counts[-1]:
            return math.inf
        return float(np.interp(removed, counts, [known[count] for count in counts]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Curves of all groups that can be pruned, and what they were measured on.

    Args:
        model: name of the network.
        model_digest: SHA-256 of the network (:func:`~..ir.digest.digest`).
        digest: SHA-256 of network, data and settings: equal ones give equal points.
        data: name of the data.
        samples: how many samples.
        metric: name of the measured figure.
        original_value: the figure of the unchanged network; None for distances from it.
        criterion: what ordered the channels.
        threshold: the loss that curves were followed up to; None where they are complete.
        groups: in the order of the network.
        notes: what users should know of this run; files do not keep them.
    """

    model: str
    model_digest: str
    digest: str
    data: str
    samples: int
    metric: str
    original_value: float | None
    criterion: str
    threshold: float | None
    groups: tuple[GroupAnalysis, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            repr(self.model),
            f"{len(self.groups)} groups",
            self.metric,
            f"{self.samples} samples of {self.data}",
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        figure = "" if self.original_value is None else f" {self.original_value:.4g}"
        about = (
            f"{self.metric}{figure} of '{self.model}' on {self.samples:,} samples of {self.data}"
        )
        caption = "Loss where one group alone loses a share of its channels"
        return notebook(curves_table(self, spread_rates(self, SHOWN_RATES), caption), about=about)

    def by_name(self, name: str) -> GroupAnalysis | None:
        """Return the curve of a group."""
        return next((group for group in self.groups if group.name == name), None)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON, which has no infinity: an infinite loss is null."""
        named = {ORIGINAL_KEY if k == "original_value" else k: v for k, v in asdict(self).items()}
        del named["notes"]
        data: dict[str, Any] = {"version": VERSION, **named}
        for group in data["groups"]:
            for point in group["points"]:
                point["loss"] = point["loss"] if math.isfinite(point["loss"]) else None
        return data

    @classmethod
    def from_data(cls, data: Any) -> Analysis:
        """Return the analysis of plain values.

        Raises:
            DataError: a field is missing or of another kind.
        """
        if not isinstance(data, Mapping) or data.get("version") != VERSION:
            raise DataError(f"not an analysis of version {VERSION}")
        fields = {name: value for name, value in data.items() if name != "version"}
        try:
            groups = tuple(
                GroupAnalysis(
                    name=str(entry["name"]),
                    layers=tuple(entry["layers"]),
                    channels=int(entry["channels"]),
                    order=tuple(int(place) for place in entry["order"]),
                    points=tuple(_point(point) for point in entry["points"]),
                )
                for entry in fields.pop("groups")
            )
            return cls(original_value=fields.pop(ORIGINAL_KEY), **fields, groups=groups)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"broken: {type(error).__name__} {error}") from error


def spread_rates(analysis: Analysis, most: int) -> Sequence[float]:
    """Return rates that were measured, so many at most, evenly spread, with first and last."""
    rates = sorted({point.rate for group in analysis.groups for point in group.points})
    if len(rates) <= most:
        return rates
    return [rates[place * (len(rates) - 1) // (most - 1)] for place in range(most)]


def curves_table(
    analysis: Analysis,
    rates: Sequence[float],
    caption: str,
    figure: Callable[[float], str] = four_digits,
) -> Table:
    """Return the losses of all groups.

    Args:
        analysis: the curves.
        rates: the columns.
        caption: of the table.
        figure: how a loss is written.
    """

    def row(group: GroupAnalysis) -> tuple[str, ...]:
        losses = group.losses
        told = [figure(losses[rate]) if rate in losses else "" for rate in rates]
        return (group.name, f"{group.channels}", *told)

    return Table(
        caption=caption,
        columns=("Group", "Channels", *(f"{rate:g}" for rate in rates)),
        rows=[row(group) for group in analysis.groups],
        numeric=tuple(range(1, len(rates) + 2)),
    )


def _point(data: Mapping[str, Any]) -> Point:
    loss = math.inf if data["loss"] is None else float(data["loss"])
    return Point(**{**data, "loss": loss})


def save_analysis(analysis: Analysis, path: str | Path) -> None:
    """Write an analysis as JSON; the file is whole or not there.

    Raises:
        DataError: it cannot be written.
    """
    write_whole(Path(path), json_bytes(analysis.to_data()))


def load_analysis(path: str | Path) -> Analysis:
    """Read an analysis.

    Args:
        path: the JSON file, or the folder that `ana` wrote it in.

    Raises:
        DataError: there is none, or it is broken.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ANALYSIS_FILE
    with located(file=str(path)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            hint = "`secateur ana` writes it when it is done; run it again to resume"
            raise DataError(f"cannot be read ({type(error).__name__})", hint=hint) from error
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            with located(line=error.lineno):
                raise DataError("not valid JSON") from error
        return Analysis.from_data(data)
