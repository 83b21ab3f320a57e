"""Repairs in sequence: each is measured before and after, and kept if it lowers the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..data import SyntheticDataset
from ..data.hold_out import split
from ..data.synthetic import affordable
from ..ir.network import Network
from ..markup import Table
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..verify.small_input import within_memory
from .output_error import ErrorMeter, output_error
from .registry import Repair

__all__ = ["RepairRecord", "repaired", "repairs_table"]

NOISE_SAMPLES = 8
"""Largest number of samples of noise for the measurement of repairs without data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairRecord:
    """One repair that was tried.

    Args:
        method: name of the repair.
        error_before: relative output error against the original before the repair.
        error_after: the same after the repair.
        kept: whether the repaired weights were kept.
        measured_on: the samples of the measurement, in words.
    """

    method: str
    error_before: float
    error_after: float
    kept: bool
    measured_on: str

    def to_data(self) -> dict[str, Any]:
        """Return plain values, as a plan stores them."""
        return {
            "method": self.method,
            "output_error_before": self.error_before,
            "output_error_after": self.error_after,
            "kept": self.kept,
            "judged_on": self.measured_on,
        }

    @classmethod
    def from_data(cls, content: Mapping[str, Any]) -> RepairRecord:
        """Return the record that plain values tell of.

        Raises:
            KeyError, TypeError, ValueError: they are of another kind.
        """
        return cls(
            method=content["method"],
            error_before=float(content["output_error_before"]),
            error_after=float(content["output_error_after"]),
            kept=bool(content["kept"]),
            measured_on=content["judged_on"],
        )


def repairs_table(records: Sequence[RepairRecord]) -> Table:
    """Return what each repair came to."""
    return Table(
        caption="Repairs, in their order: the error of the outputs against the original",
        columns=("Repair", "Before", "After", "Kept", "Measured on"),
        rows=[
            (record.method, f"{record.error_before:.3g}", f"{record.error_after:.3g}",
             "yes" if record.kept else "no", record.measured_on)
            for record in records
        ],
        numeric=(1, 2),
    )  # fmt: skip


def repaired(
    state: PruningState,
    dense: Network,
    repairs: Sequence[Repair],
    *,
    progress: Progress = silent,
) -> tuple[Network, tuple[RepairRecord, ...]]:
    """Return the repaired network, and a record of every repair that was tried.

    A repair is kept if the relative error of the outputs against the original's falls. With enough
    samples, the error is measured on a hold-out (see :func:`~..data.hold_out.split`), and a repair
    that is kept is fitted again to all samples. There is no hold-out if the weights are compensated
    already: they were fitted to all samples, also to those of a hold-out, and a repair fitted to
    fewer samples would look worse than it is.

    Args:
        state: the removal.
        dense: the dense network of the removal.
        repairs: the repairs to try, in their order.
        progress: reports the steps of each repair and measurement.

    Raises:
        DataError: the data does not fit the networks.
    """
    fitting, measuring = (
        (state.data, state.data) if state.compensated else split(state.data, state.original)
    )
    held_out = fitting is not measuring
    small = within_memory(state.original)[0]
    noise = SyntheticDataset(small, samples=affordable(small, NOISE_SAMPLES))
    samples = noise if measuring is None else measuring
    where = " of noise" if measuring is None else " held back" if held_out else ""

    meter = ErrorMeter(state.original, samples)

    def error_of(network: Network) -> float:
        if measuring is None:
            first, second, *_ = within_memory(state.original, network)
            return output_error(first, second, samples, progress=progress)
        return meter.error(network, progress=progress)

    records: list[RepairRecord] = []
    kept: set[str] = set()
    trial, error = dense, None
    for repair in repairs:
        if kept.intersection(repair.unless):
            continue
        tried = repair.apply(replace(state, data=fitting), trial, progress)
        if tried is trial:
            continue
        if error is None:
            error = error_of(trial)
        after = error_of(tried)
        records.append(
            RepairRecord(
                method=repair.name,
                error_before=float(f"{error:.4g}"),
                error_after=float(f"{after:.4g}"),
                kept=bool(after < error),
                measured_on=f"{samples.samples} samples{where}",
            )
        )
        if after < error:
            kept.add(repair.name)
            dense = repair.apply(state, dense, progress) if held_out else tried
            trial, error = tried, after
    return dense, tuple(records)
