"""What pruning cost and what it saved, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cost.latency import latency
from ..cost.network_cost import measure_cost
from ..coupling import find_groups
from ..data import Dataset, SyntheticDataset
from ..engine.padding import for_speed
from ..ir.network import Network
from ..progress import Progress, silent
from .evaluate import evaluate
from .fidelity import fidelity

__all__ = ["PADDED", "SummaryRow", "summarize", "with_sizes"]

PADDED = "Latency, padded"
"""The item of a row with latencies of both networks with channels filled up (:mod:`.padding`)."""

PAYS = 0.9
"""That row is there where the pruned network then takes at most this share of its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One line of the summary: an item before and after.

    Args:
        item: what is measured.
        baseline: its value for the original network.
        compressed: its value for the pruned network.
        unit: "", "%", "ms", "B" for bytes or "Op" for operations.
        relative: whether the change is told as a part of the baseline (or as a difference).
    """

    item: str
    baseline: float
    compressed: float
    unit: str = ""
    relative: bool = True

    @property
    def padded(self) -> bool:
        """Whether it tells the latency with channels filled up."""
        return self.item == PADDED

    @property
    def delta(self) -> float:
        """The change, as a fraction of the baseline or in units."""
        change = self.compressed - self.baseline
        if not self.relative:
            return change
        return change / self.baseline if self.baseline else 0.0


def summarize(
    baseline: Network,
    compressed: Network,
    *,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Sequence[SummaryRow]:
    """Measure both networks.

    Args:
        baseline: the original network.
        compressed: the pruned network.
        data: with labels, the metric they call for is measured on it; without, how far the outputs
            agree; noise where there is no data.
        progress: told how far the work is.

    Raises:
        DataError: the data does not fit the networks.
    """
    rows: list[SummaryRow] = []
    rows.extend(_quality(baseline, compressed, data or SyntheticDataset(baseline), progress))
    before, after = (
        measure_cost(network, find_groups(network)) for network in (baseline, compressed)
    )
    rows.append(
        SummaryRow(item="Parameters", baseline=before.parameters, compressed=after.parameters)
    )
    rows.append(
        SummaryRow(
            item="Operations", baseline=before.operations, compressed=after.operations, unit="Op"
        )
    )
    rows.extend(_latencies(baseline, compressed, progress))
    return rows


def with_sizes(rows: Sequence[SummaryRow], before: int, after: int) -> Sequence[SummaryRow]:
    """Return rows with one more behind those on weights and operations: bytes of the files."""
    place = 1 + next(k for k, row in enumerate(rows) if row.unit == "Op")
    size = SummaryRow(item="File size", baseline=before, compressed=after, unit="B")
    return [*rows[:place], size, *rows[place:]]


def _latencies(baseline: Network, compressed: Network, progress: Progress) -> Sequence[SummaryRow]:
    """Return the latency, and that with channels filled up where this gains something."""
    networks = [baseline, compressed]
    filled = [for_speed(network) for network in networks]
    if filled[1] is compressed:
        filled = []
    times = latency([*networks, *filled], progress=progress)
    rows = [SummaryRow(item="Latency", baseline=times[0], compressed=times[1], unit="ms")]
    if filled and times[3] < PAYS * times[1]:
        rows.append(SummaryRow(item=PADDED, baseline=times[2], compressed=times[3], unit="ms"))
    return rows


def _quality(
    baseline: Network, compressed: Network, data: Dataset, progress: Progress
) -> Sequence[SummaryRow]:
    if data.labelled:
        before = evaluate(baseline, data, progress=progress)
        after = evaluate(compressed, data, progress=progress)
        return [_points(before.metric, 100 * before.value, 100 * after.value)]
    found = fidelity(baseline, compressed, data, boxes=False, progress=progress)
    inputs = " (noise)" if isinstance(data, SyntheticDataset) else ""
    rows = []
    if found.agreement is not None:
        agreed = 100 * found.agreement
        rows.append(_points(f"Top-1 agreement{inputs}", 100.0, agreed))
    rows.append(
        SummaryRow(
            item=f"Output cosine{inputs}", baseline=1.0, compressed=found.cosine, relative=False
        )
    )
    return rows


def _points(item: str, before: float, after: float) -> SummaryRow:
    return SummaryRow(item=item, baseline=before, compressed=after, unit="%", relative=False)
