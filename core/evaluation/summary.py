"""What pruning cost and what it saved, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cost.budget import target_cost
from ..cost.latency import Timing, change, timings
from ..cost.network_cost import measure_cost
from ..cost.target import Target
from ..coupling import find_groups
from ..data import Dataset
from ..data.arrays import AnyData, as_dataset
from ..engine.padding import for_speed
from ..ir.dims import shape_text
from ..ir.footprint import multiply_adds
from ..ir.network import Network
from ..ir.windows import restored
from ..progress import Progress, silent
from ..verify.small_input import within_memory
from ..words import count_text, percent_text, size_text
from .fidelity import fidelity
from .fitted import fit_data
from .loss import LossMeter
from .task import Task

__all__ = ["PADDED", "SummaryRow", "summarize", "with_sizes"]

PADDED = "Latency, padded"
"""The item of a row with latencies of both networks with channels filled up (:mod:`.padding`)."""

PAYS = 0.9
"""That row is there where the pruned network then takes at most this share of its time."""


LARGEST_TWICE = 1_000_000_000
"""Multiplications a sample. Networks with more are run in one session each, for time and memory."""

LARGEST_FILLED = 5_000_000_000
"""Multiplications a sample. Of networks with more, that row is left out: each run takes long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One line of the summary: an item before and after.

    Args:
        item: what is measured.
        original: its value for the original network.
        compressed: its value for the pruned network.
        unit: "", "%", "ms", "B" for bytes or "Op" for operations.
        relative: whether the change is a fraction of the original's value (or a difference).
        interval: of what was measured with noise, between which changes the true one lies (95 %).
    """

    item: str
    original: float
    compressed: float
    unit: str = ""
    relative: bool = True
    interval: tuple[float, float] | None = None

    @property
    def unchanged(self) -> bool:
        """Whether no change could be measured: the interval covers 0."""
        return self.interval is not None and self.interval[0] <= 0.0 <= self.interval[1]

    @property
    def padded(self) -> bool:
        """Whether it tells the latency with channels filled up."""
        return self.item.startswith(PADDED)

    @property
    def delta(self) -> float:
        """The change, as a fraction of the original's value or in units."""
        change = self.compressed - self.original
        if not self.relative:
            return change
        return change / self.original if self.original else 0.0

    def text(self, value: float) -> str:
        """Return a value of this item as people read it."""
        if self.unit == "B":
            return size_text(value)
        if self.unit == "ms":
            return f"{value:.2f} ms"
        if self.unit == "%":
            return f"{value:.2f} %"
        return count_text(value) + self.unit if self.relative else f"{value:.4f}"

    @property
    def delta_text(self) -> str:
        """The change as people read it."""
        if self.unchanged:
            return "no measurable change"
        if self.relative:
            return percent_text(self.delta)
        return f"{self.delta:+.2f}" if self.unit == "%" else f"{self.delta:+.4f}"


def with_sizes(rows: Sequence[SummaryRow], before: int, after: int) -> list[SummaryRow]:
    """Return rows with one more, behind those on weights and operations: bytes of the files.

    Args:
        rows: what :func:`summarize` found.
        before: bytes of the files of the original.
        after: those of the smaller network.
    """
    place = 1 + max(k for k, row in enumerate(rows) if row.unit == "Op")
    size = SummaryRow(item="File size", original=before, compressed=after, unit="B")
    return [*rows[:place], size, *rows[place:]]


def summarize(
    original: Network,
    compressed: Network,
    *,
    data: AnyData | None = None,
    task: Task | str | None = None,
    target: Target | None = None,
    progress: Progress = silent,
) -> Sequence[SummaryRow]:
    """Measure both networks.

    Args:
        original: the network before pruning.
        compressed: the pruned network.
        data: with labels, the metric they call for is measured on it; without, how far the outputs
            agree. Where there is none, nothing is said of quality: networks that are far apart on
            images may agree on noise.
        task: another task than that of the data, as for :func:`~.task.find_task`.
        target: the engine that the network is for; its cost is a row of its own.
        progress: told how far the work is.

    Raises:
        DataError: the data does not fit the networks or the task.
    """
    data = as_dataset(data, original)
    original, compressed = restored(original), restored(compressed)  # as files have it
    rows: list[SummaryRow] = []
    first, second = within_memory(original, compressed)
    if data is not None:
        rows.extend(_quality(original, compressed, data, task, progress))
    before, after = (
        measure_cost(network, find_groups(network)) for network in (original, compressed)
    )
    rows.append(
        SummaryRow(item="Parameters", original=before.parameters, compressed=after.parameters)
    )
    rows.append(
        SummaryRow(
            item="Operations", original=before.operations, compressed=after.operations, unit="Op"
        )
    )
    if target is not None:
        costs = [target_cost(network, target) for network in (original, compressed)]
        rows.append(
            SummaryRow(
                item=f"Cost, {target.name}", original=costs[0], compressed=costs[1], unit="Op"
            )
        )
    at = "" if first is original else f" at {_size(first)}"
    rows.extend(_latencies(first, second, at, progress))
    return rows


def _size(network: Network) -> str:
    """Return the shapes of the inputs, for the name of a row."""
    return ", ".join(shape_text(shape) for shape in network.inputs.values())


def _latencies(
    original: Network, compressed: Network, at: str, progress: Progress
) -> Sequence[SummaryRow]:
    """Return the latency, and that with channels filled up where this gains something.

    Args:
        original: the network before pruning.
        compressed: the pruned network.
        at: the size of the input, for the names of the rows, where it is not that of the files.
        progress: told how far the work is.
    """
    networks = [original, compressed]
    filled: list[Network] = []
    if multiply_adds(original) <= LARGEST_FILLED:
        filled = [for_speed(network) for network in networks]
    if filled and filled[1] is compressed:
        filled = []
    sessions = 2 if multiply_adds(original) <= LARGEST_TWICE else 1
    times = timings([*networks, *filled], sessions=sessions, progress=progress)
    rows = [_timed(f"Latency{at}", times[0], times[1])]
    if filled and times[3].median < PAYS * times[1].median:
        rows.append(_timed(f"{PADDED}{at}", times[2], times[3]))
    return rows


def _timed(item: str, before: Timing, after: Timing) -> SummaryRow:
    return SummaryRow(
        item=item, original=before.median, compressed=after.median, unit="ms",
        interval=change(before, after),
    )  # fmt: skip


def _quality(
    original: Network,
    compressed: Network,
    data: Dataset,
    task: Task | str | None,
    progress: Progress,
) -> Sequence[SummaryRow]:
    fitting = fit_data(original, data, task)
    data, found = fitting.dataset, fitting.task
    if task is None and found.needs_original:
        return _agreement(original, compressed, data, progress)
    meter = LossMeter.of(original, data, found, progress=progress)
    before, after = meter.original_value or 0.0, meter.value(compressed, progress=progress)
    if found.points == 1.0:
        return [SummaryRow(item=found.metric, original=before, compressed=after, relative=False)]
    return [_points(found.metric, found.points * before, found.points * after)]


def _agreement(
    original: Network, compressed: Network, data: Dataset, progress: Progress
) -> Sequence[SummaryRow]:
    """Return how far outputs agree where there are no labels."""
    found = fidelity(original, compressed, data, boxes=False, progress=progress)
    rows = []
    if found.agreement is not None:
        agreed = 100 * found.agreement
        rows.append(_points("Top-1 agreement", 100.0, agreed))
    rows.append(
        SummaryRow(item="Output cosine", original=1.0, compressed=found.cosine, relative=False)
    )
    return rows


def _points(item: str, before: float, after: float) -> SummaryRow:
    return SummaryRow(item=item, original=before, compressed=after, unit="%", relative=False)
