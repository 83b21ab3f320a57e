"""Trying repairs one after another: each is measured before and after, and kept where it helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..data import Dataset, SyntheticDataset
from ..data.hold_out import split
from ..ir.network import Network
from .output_error import output_error
from .registry import Job, Repair

__all__ = ["repaired"]

NOISE = 8
"""Samples of noise that judge where the user gave no data."""


def repaired(
    job: Job, network: Network, repairs: Sequence[Repair]
) -> tuple[Network, list[dict[str, Any]]]:
    """Return the repaired network, and a record of every repair that was tried.

    A repair is kept where the relative error of the outputs against the original's falls. Where
    there are enough samples, some are held back for this (see :func:`.held.split`), and what is
    kept is then fitted to all of them. None are held back where the network was already fitted to
    them: surgery has seen them all, so that its outputs there are better than elsewhere, and a
    repair that saw fewer would be judged too harshly.

    Args:
        job: what repairs know.
        network: the dense network that the removal left.
        repairs: what to try, in this order.

    Raises:
        DataError: the data does not fit the networks.
    """
    fitted = job.full is not job.original
    fitting, judging = (job.data, job.data) if fitted else split(job.data, job.original)
    again = fitting is not judging
    judges = judging or SyntheticDataset(job.original, samples=NOISE)
    where = " of noise" if judging is None else " held back" if judging is not fitting else ""
    records: list[dict[str, Any]] = []
    kept: set[str] = set()
    trial = network
    error: float | None = None
    for repair in repairs:
        if kept.intersection(repair.unless):
            continue
        tried = repair.apply(replace(job, data=fitting), trial)
        if tried is trial:
            continue
        if error is None:
            error = _error(job, trial, judges)
        after = _error(job, tried, judges)
        records.append(
            {
                "method": repair.name,
                "output_error_before": float(f"{error:.4g}"),
                "output_error_after": float(f"{after:.4g}"),
                "kept": bool(after < error),
                "judged_on": f"{judges.samples} samples{where}",
            }
        )
        if after < error:
            kept.add(repair.name)
            network = repair.apply(job, network) if again else tried
            trial, error = tried, after
    return network, records


def _error(job: Job, network: Network, judges: Dataset) -> float:
    return output_error(job.original, network, judges, progress=job.progress)
