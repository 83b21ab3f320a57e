"""What a study came to: a row for every model, the front, and means over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..brief import brief
from ..errors import PlanError, names_hint
from ..files import write_whole
from ..markup import Table, notebook
from ..words import count_text, four_digits, percent_text, size_text
from .front import front_of
from .make import StudyFigures
from .points import StudyPoint

__all__ = [
    "COSTS",
    "FRONT_TABLE",
    "STUDY_FILE",
    "STUDY_TABLE",
    "Study",
    "StudyMean",
    "StudyRow",
    "front_table",
]

STUDY_FILE = "study.json"
STUDY_TABLE = "study.csv"
FRONT_TABLE = "pareto.csv"
"""Names of the result, of the table of all points, and of that of the front."""

VERSION = 1

SHOWN_RATES = 9
"""Rates that a table shows at most."""

COSTS = ("operations", "parameters", "size", "latency")
"""What a front may be by."""

COLUMNS = (
    "method", "repair", "rate", "images", "seed", "samples", "achieved", "operations",
    "parameters", "size", "value", "value_low", "value_high", "loss", "loss_low", "loss_high",
    "pruned_value", "front", "reason",
)  # fmt: skip
"""Columns of the table of all points."""

TIMED = ("latency", "latency_low", "latency_high", "model")
"""Columns of the table of the front beside these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRow:
    """A point of a study, and what came of it.

    Args:
        point: the point.
        measured: what its model came to; None where none could be made.
        reason: why none could be made; "" where one was.
        front: whether no other model beats it in operations and metric at once.
        model: folder of the model among the best ones; "" where it is not kept.
        latency: milliseconds of one sample; None where it was not measured.
        latency_interval: between which changes of the original's latency the true one lies (95 %),
            as fractions.
    """

    point: StudyPoint
    measured: StudyFigures | None = None
    reason: str = ""
    front: bool = False
    model: str = ""
    latency: float | None = None
    latency_interval: tuple[float, float] | None = None

    def cost(self, name: str) -> float:
        """Return one of :data:`COSTS`; NaN where it was not measured."""
        if self.measured is None:
            return math.nan
        if name == "latency":
            return math.nan if self.latency is None else self.latency
        return float(getattr(self.measured, name))

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON, which has no infinity: that is null."""
        return {
            **asdict(self.point),
            "measured": _plain(self.measured.to_data()) if self.measured is not None else None,
            "reason": self.reason,
            "front": self.front,
            "model": self.model,
            "latency": self.latency,
            "latency_interval": self.latency_interval,
        }

    def cells(self) -> dict[str, str]:
        """Return the texts of a table by :data:`COLUMNS` and :data:`TIMED`."""
        point, found, latency = self.point, self.measured, self.latency_interval
        cells = {
            "method": point.method,
            "repair": point.repair,
            "rate": f"{point.rate:g}",
            "images": "all" if point.images is None else f"{point.images}",
            "seed": f"{point.seed}",
            "front": "yes" if self.front else "no",
            "reason": self.reason,
            "model": self.model,
        }
        if found is not None:
            cells |= {
                "samples": f"{found.samples}",
                "achieved": f"{found.achieved:.6g}",
                "operations": f"{found.operations}",
                "parameters": f"{found.parameters}",
                "size": f"{found.size}",
                "value": f"{found.value:.9g}",
                "value_low": f"{found.value_interval[0]:.9g}",
                "value_high": f"{found.value_interval[1]:.9g}",
                "loss": f"{found.loss:.9g}",
                "loss_low": f"{found.loss_interval[0]:.9g}",
                "loss_high": f"{found.loss_interval[1]:.9g}",
                "pruned_value": "" if found.pruned_value is None else f"{found.pruned_value:.9g}",
            }
        if self.latency is not None and latency is not None:
            cells |= {
                "latency": f"{self.latency:.6g}",
                "latency_low": f"{latency[0]:.4g}",
                "latency_high": f"{latency[1]:.4g}",
            }
        return cells


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyMean:
    """Points that differ in their seed alone.

    Args:
        point: the first of them.
        made: how many models could be made.
        failed: how many could not.
        value: mean of the metric; NaN where no model was made.
        spread: standard deviation of the metric over seeds (n − 1); None below two models.
        loss: mean of the loss; NaN where no model was made.
        operations: mean of the operations; likewise.
        interval: of the metric over samples, where there is one model (95 %).
    """

    point: StudyPoint
    made: int
    failed: int
    value: float
    spread: float | None
    loss: float
    operations: float
    interval: tuple[float, float] | None

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = asdict(self)
        point = plain.pop("point")
        del point["seed"]
        return {**point, **_plain(plain)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """All points of a study.

    Args:
        model: name of the network.
        model_digest: SHA-256 of the network.
        data: name of the calibration data.
        samples: how many.
        validation: name of the data that models were measured on.
        validation_samples: how many.
        metric: name of the measured figure.
        unit: "%" for shares of 1, which are printed in percent; else a unit, or nothing.
        higher_is_better: whether larger figures are better.
        original_value: the original's figure; None for distances from it.
        operations: of the original.
        parameters: of the original.
        size: bytes of the files of the original.
        latency: milliseconds of the original; None where it was not measured.
        options: what was asked for, as plain values.
        rows: every point, in order.
        notes: what users should know of this run; files do not keep them.
    """

    model: str
    model_digest: str
    data: str
    samples: int
    validation: str
    validation_samples: int
    metric: str
    unit: str
    higher_is_better: bool
    original_value: float | None
    operations: int
    parameters: int
    size: int
    latency: float | None
    options: Mapping[str, Any]
    rows: tuple[StudyRow, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self, repr(self.model), f"{len(self.rows)} points", f"{len(self.failed)} failed",
            self.metric, f"{self.validation_samples} samples of {self.validation}",
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        figure = "" if self.original_value is None else f" {self.figure(self.original_value)}"
        about = (
            f"{self.metric}{figure} of '{self.model}' on {self.validation_samples:,} samples of "
            f"{self.validation}; {len(self.rows)} points, {len(self.failed)} could not be made"
        )
        return notebook(self.means_table(), front_table(self), about=about)

    @property
    def made(self) -> tuple[StudyRow, ...]:
        """The points whose model could be made."""
        return tuple(row for row in self.rows if row.measured is not None)

    @property
    def failed(self) -> tuple[StudyRow, ...]:
        """The points whose model could not be made."""
        return tuple(row for row in self.rows if row.measured is None)

    def figure(self, value: float) -> str:
        """Return a value of the metric as people read it."""
        return f"{100 * value:.2f} %" if self.unit == "%" else four_digits(value)

    def pareto(self, cost: str = "operations") -> tuple[StudyRow, ...]:
        """Return the models that no other one beats in a cost and the metric at once.

        Of two that are alike, the first one stands for both.

        Args:
            cost: one of operations, parameters, size, latency. Latency is known of the models alone
                that are best by operations.

        Returns:
            by rising cost.

        Raises:
            PlanError: there is no such cost.
        """
        if cost not in COSTS:
            raise PlanError(f"a front is not by '{cost}'", hint=names_hint(cost, list(COSTS)))
        figures = [
            (row.cost(cost), row.measured.loss if row.measured is not None else math.nan)
            for row in self.rows
        ]
        return tuple(self.rows[place] for place in front_of(figures))

    def means(self) -> tuple[StudyMean, ...]:
        """Return means and spreads over seeds, in the order of the points."""
        found: dict[tuple[Any, ...], list[StudyRow]] = {}
        for row in self.rows:
            point = row.point
            key = (point.method, point.repair, point.images, point.rate)
            found.setdefault(key, []).append(row)
        return tuple(_mean(rows) for rows in found.values())

    def means_table(self) -> Table:
        """Return the metric of each family by the rate: the mean, with its spread over seeds."""
        found: dict[tuple[str, str, str], dict[float, StudyMean]] = {}
        for mean in self.means():
            family = (mean.point.method, mean.point.repair, _images(mean.point))
            found.setdefault(family, {})[mean.point.rate] = mean
        rates = _spread_out(sorted({row.point.rate for row in self.rows}))

        def cell(mean: StudyMean | None) -> str:
            if mean is None or not mean.made:
                return "-"
            text = self.figure(mean.value)
            if mean.spread is None:
                return text
            return f"{text.removesuffix(' %')} ± {self.figure(mean.spread)}"

        return Table(
            caption=f"{self.metric} by the rate",
            columns=("Method", "Repair", "Images", *(f"{rate:g}" for rate in rates)),
            rows=[
                (*family, *(cell(own.get(rate)) for rate in rates)) for family, own in found.items()
            ],
            numeric=tuple(range(3, len(rates) + 3)),
        )

    def between(self, interval: tuple[float, float]) -> str:
        """Return an interval of the metric as people read it."""
        low, high = map(self.figure, interval)
        return f"{low.removesuffix(' %')} to {high}"

    def failures(self) -> Mapping[str, int]:
        """Return why models could not be made → how many."""
        return Counter(row.reason for row in self.failed)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the table of all points as CSV, and write it to a file where one is given.

        Raises:
            DataError: the file cannot be written.
        """
        text = _csv(COLUMNS, self.rows)
        if path is not None:
            write_whole(Path(path), text.encode())
        return text

    def pareto_csv(self) -> str:
        """Return the table of the front by operations as CSV, with latencies."""
        return _csv((*COLUMNS[:-2], *TIMED), self.pareto())

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON; docs/workflows/study.md describes them."""
        own = ("model", "model_digest", "data", "samples", "validation", "validation_samples",
               "metric", "unit", "higher_is_better")  # fmt: skip
        return {
            "version": VERSION,
            **{name: getattr(self, name) for name in own},
            "original": {
                "value": _finite(self.original_value), "operations": self.operations,
                "parameters": self.parameters, "size": self.size, "latency": self.latency,
            },
            "options": dict(self.options),
            "points": [row.to_data() for row in self.rows],
            "means": [mean.to_data() for mean in self.means()],
            "fronts": {
                cost: [self.rows.index(row) for row in self.pareto(cost)] for cost in COSTS
            },
        }  # fmt: skip


def _mean(rows: Sequence[StudyRow]) -> StudyMean:
    made = [row.measured for row in rows if row.measured is not None]
    values = [one.value for one in made]
    finite = all(map(math.isfinite, values))
    return StudyMean(
        point=rows[0].point,
        made=len(made),
        failed=len(rows) - len(made),
        value=fmean(values) if values else math.nan,
        spread=stdev(values) if len(values) > 1 and finite else None,
        loss=fmean([one.loss for one in made]) if made else math.nan,
        operations=fmean([one.operations for one in made]) if made else math.nan,
        interval=made[0].value_interval if len(made) == 1 else None,
    )


def _csv(columns: Sequence[str], rows: Sequence[StudyRow]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.cells() for row in rows)
    return file.getvalue()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for JSON, which has no infinity and no NaN: they are null."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return _finite(value) if isinstance(value, float) else value

    return {name: plain(value) for name, value in data.items()}


def _images(point: StudyPoint) -> str:
    return "all" if point.images is None else f"{point.images} a class"


def _spread_out(rates: Sequence[float]) -> Sequence[float]:
    """Return :data:`SHOWN_RATES` of some rates at most, evenly spread, with both ends."""
    if len(rates) <= SHOWN_RATES:
        return rates
    return [rates[k * (len(rates) - 1) // (SHOWN_RATES - 1)] for k in range(SHOWN_RATES)]


def front_table(study: Study) -> Table:
    """Return the models that no other one beats, with costs and intervals."""

    def row(found: StudyRow) -> tuple[str, ...]:
        own, point = found.measured, found.point
        assert own is not None, "models of the front were made"
        return (
            f"{point.rate:g}", point.text, count_text(own.operations),
            percent_text(own.operations / max(1, study.operations) - 1),
            count_text(own.parameters), size_text(own.size),
            "-" if found.latency is None else f"{found.latency:.2f} ms",
            study.figure(own.value), study.between(own.value_interval),
            study.figure(own.loss), study.between(own.loss_interval),
        )  # fmt: skip

    return Table(
        caption="Models that no other one beats in operations and quality at once",
        columns=("Rate", "Method", "Operations", "Change", "Parameters", "Size", "Latency",
                 study.metric, "95 %", "Loss", "95 %"),
        rows=list(map(row, study.pareto())),
        numeric=(0, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    )  # fmt: skip
