"""What fine-tuning came to, and the measurements on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..brief import brief
from ..ir.network import Network
from ..markup import Table, notebook
from ..plan.plan import Plan
from ..words import four_digits, percent_text, time_text

if TYPE_CHECKING:
    from ..training.solvers.solver import Progress as SolverProgress

__all__ = ["FinetuneEntry", "FinetuneResult", "Tell", "history_csv", "history_table", "unheard"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneEntry:
    """One measurement during training.

    Args:
        step: updates so far.
        stage: what was trained.
        loss: mean training loss since the measurement before; None at the start of a stage.
        held_out: loss of the samples that are not trained on.
        value: the metric on the validation data; None without any.
        rate: learning rate of the last update.
        seconds: of training so far.
        best: whether it is better than all before. While channels leave, none is.
        removed: where channels leave during training: the part of the operations that is gone.
    """

    step: int
    stage: str
    loss: float | None
    held_out: float
    value: float | None
    rate: float
    seconds: float
    best: bool
    removed: float | None = None


Tell = Callable[[FinetuneEntry, Network], None]
"""What hears of a measurement, with the network that was measured."""


def unheard(entry: FinetuneEntry, network: Network) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """What fine-tuning came to.

    Args:
        network: the best of all measured networks.
        history: the measurements, in order.
        best: the one of `network`.
        metric: name of the figure on the validation data; "" without any.
        samples: so many samples were trained on.
        held_out: so many were not, to measure on.
        steps: updates that were made.
        batch: samples of an update.
        images: samples a second, from reading to update, measurements included.
        notes: what a user must know.
        solver: how far the user's solver had come at the best measurement, for a training that
            goes on from there; None without one, or where it trained only a part of the network.
        plan: where channels left during training: which. They are zero in `network`.
    """

    network: Network
    history: tuple[FinetuneEntry, ...]
    best: FinetuneEntry
    metric: str
    samples: int
    held_out: int
    steps: int
    batch: int
    images: float
    notes: tuple[str, ...] = ()
    solver: SolverProgress | None = None
    plan: Plan | None = None

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self, repr(self.network.name), f"{self.steps} steps",
            f"{len(self.history)} measurements",
        )  # fmt: skip

    @property
    def removed(self) -> float | None:
        """The part of the operations that left during training; None where none were to."""
        return self.best.removed

    @property
    def start(self) -> FinetuneEntry:
        """The measurement before the first update."""
        return self.history[0]

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        about = (
            f"Fine-tuned network '{self.network.name}': {self.steps:,} updates of {self.batch} "
            f"samples; the best measurement is that of step {self.best.step:,}"
        )
        return notebook(history_table(self, "Measurements during training"), about=about)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "metric": self.metric,
            "samples": self.samples,
            "held_out": self.held_out,
            "steps": self.steps,
            "batch": self.batch,
            "images_per_second": round(self.images, 1),
            **({"removed": self.removed} if self.plan is not None else {}),
            "best": asdict(self.best),
            "history": [asdict(entry) for entry in self.history],
            "notes": list(self.notes),
        }

    @classmethod
    def from_data(cls, content: Mapping[str, Any], network: Network) -> FinetuneResult:
        """Return a result that was kept, without solver and plan.

        Args:
            content: what :meth:`to_data` gave.
            network: as it was written.

        Raises:
            KeyError, TypeError, ValueError: the content is of another kind.
        """
        history = tuple(FinetuneEntry(**entry) for entry in content["history"])
        best = FinetuneEntry(**content["best"])
        return cls(
            network=network,
            history=history,
            best=next((entry for entry in history if entry == best), best),
            metric=content["metric"],
            samples=content["samples"],
            held_out=content["held_out"],
            steps=content["steps"],
            batch=content["batch"],
            images=content["images_per_second"],
            notes=tuple(content["notes"]),
        )


def history_csv(history: Sequence[FinetuneEntry]) -> str:
    """Return measurements as a table of comma-separated values with a head line."""
    text = io.StringIO()
    names = [field.name for field in fields(FinetuneEntry)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in history)
    return text.getvalue()


def history_table(
    result: FinetuneResult, caption: str, figure: Callable[[float], str] = four_digits
) -> Table:
    """Return the measurements of a training.

    Args:
        result: what it came to.
        caption: of the table.
        figure: how a value of the metric is written.
    """

    def row(entry: FinetuneEntry) -> tuple[str, ...]:
        return (
            f"{entry.step}" + (" (kept)" if entry is result.best else ""), entry.stage,
            f"{entry.loss:.4g}" if entry.loss is not None else "", f"{entry.held_out:.4g}",
            figure(entry.value) if entry.value is not None else "", f"{entry.rate:.2g}",
            percent_text(-entry.removed) if entry.removed is not None else "",
            time_text(entry.seconds),
        )  # fmt: skip

    return Table(
        caption=caption,
        columns=("Step", "Stage", "Training loss", "Held out", result.metric or "Metric",
                 "Learning rate", "Operations", "Time"),
        rows=[row(entry) for entry in result.history],
        numeric=(2, 3, 4, 5, 6, 7),
    )  # fmt: skip
