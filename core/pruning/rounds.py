"""What rounds of pruning came to: figures of each, and of all together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..brief import brief
from ..markup import Table, notebook
from ..words import count_text, four_digits, percent_text, time_text

__all__ = ["ROUNDS_FILE", "VERSION", "Iteration", "Round", "Trained", "folder_of", "rounds_table"]

VERSION = 1

ROUNDS_FILE = "rounds.json"
"""Name of the table of all rounds, where they are kept in a folder."""


def folder_of(number: int) -> str:
    """Return the name of the folder of a round."""
    return f"round-{number:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round came to.

    Args:
        number: from 1.
        rate: fraction of the original's budget that was to go.
        achieved: fraction of the original's operations that is gone.
        operations: of one sample.
        parameters: stored values.
        value: the metric (0…1 for accuracy, mean average precision …), or the divergence.
        loss: points of a hundred of the metric that are lost (negative for a gain), or the
            divergence.
        passed: whether the gate allows that loss.
        notes: what the user should know of its removal.
        pruned_value: the metric after pruning and repair; None where `value` is that, since nothing
            was fine-tuned.
        seconds: of pruning and fine-tuning; None where nothing was fine-tuned.
        training_notes: what the user should know of its fine-tuning.
    """

    number: int
    rate: float
    achieved: float
    operations: int
    parameters: int
    value: float
    loss: float
    passed: bool = True
    notes: tuple[str, ...] = ()
    pruned_value: float | None = None
    seconds: float | None = None
    training_notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Name of its folder, where rounds are kept in folders."""
        return folder_of(self.number)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What the fine-tuning of a round came to.

    Args:
        seconds: of training, those before interruptions included.
        notes: what the user should know.
    """

    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """All rounds, with what they are compared with.

    Args:
        model: name of the network.
        data: name of the data.
        samples: how many.
        validation: name of the data that rounds were measured on; "" for `data`.
        validation_samples: how many.
        metric: name of the figure: that of the labels, else "KL divergence" in nats (classifiers)
            or "Output error" (‖difference‖ / ‖output‖ of the worst output).
        original_value: the original's figure; None for distances from it.
        operations: of the original.
        parameters: of the original.
        rounds: in order; the last one may not have passed.
        notes: what users should know of this run; files do not keep them.
    """

    model: str
    data: str
    samples: int
    metric: str
    original_value: float | None
    operations: int
    parameters: int
    rounds: tuple[Round, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    validation: str = ""
    validation_samples: int = 0

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self, repr(self.model), f"{len(self.rounds)} rounds", self.metric,
            f"{self.samples} samples of {self.data}",
        )  # fmt: skip

    @property
    def best(self) -> Round | None:
        """The last round that passed."""
        return next((entry for entry in reversed(self.rounds) if entry.passed), None)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        best = self.best
        passed = f"the last one that passed is round {best.number}" if best else "none passed"
        about = f"{len(self.rounds)} rounds of '{self.model}': {passed}"
        return notebook(rounds_table(self, f"{self.metric} of the rounds"), about=about)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON; the original's figure keeps its key "baseline"."""
        best = self.best
        plain = asdict(self)
        del plain["notes"]
        return {
            "version": VERSION,
            **{"baseline" if key == "original_value" else key: plain[key] for key in plain},
            "rounds": [asdict(entry) for entry in self.rounds],
            "best": best.number if best is not None else None,
        }


def rounds_table(
    found: Iteration, caption: str, figure: Callable[[float], str] = four_digits
) -> Table:
    """Return the figures of all rounds.

    Args:
        found: the rounds.
        caption: of the table.
        figure: how a value of the metric is written.
    """

    def row(entry: Round) -> tuple[str, ...]:
        return (
            f"{entry.number}" + ("" if entry.passed else " (did not pass)"),
            f"{entry.rate:g}", count_text(entry.operations), percent_text(-entry.achieved),
            count_text(entry.parameters), figure(entry.value), f"{entry.loss:+.4g}",
            time_text(entry.seconds) if entry.seconds is not None else "",
        )  # fmt: skip

    first = figure(found.original_value) if found.original_value is not None else ""
    original = (
        "original", "", count_text(found.operations), "", count_text(found.parameters), first, "",
        "",
    )  # fmt: skip
    return Table(
        caption=caption,
        columns=("Round", "Rate", "Operations", "Change", "Parameters", found.metric, "Loss",
                 "Time"),
        rows=[original, *map(row, found.rounds)],
        numeric=(1, 2, 3, 4, 5, 6, 7),
    )  # fmt: skip
