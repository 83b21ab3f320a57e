"""Pruning: groups → plan → dense network, verified against the masked one → repair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..coupling import Groups, find_groups
from ..data import Dataset
from ..engine.threads import within_cores
from ..evaluation.fitted import fit_data
from ..ir.network import Caution, Network
from ..options import options_of
from ..progress import Progress, silent
from .apply import apply_plan, check_sparse
from .choose import choose
from .options import PruneOptions
from .result import PruneResult

__all__ = ["prune"]


@within_cores()
def prune(
    network: Network,
    options: PruneOptions | None = None,
    *,
    groups: Groups | None = None,
    data: Dataset | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> PruneResult:
    """Remove whole channels: a fraction of a network's operations, or those of a plan.

    Args:
        network: the network, unchanged by this.
        options: how much to remove, which channels, and what makes up for them.
        groups: groups of the network where they are known already.
        data: inputs for calibration, verification and repair. Labels are read only to measure a
            threshold. Without data the verification runs on noise.
        progress: told how far the work is.
        settings: fields of :class:`PruneOptions`, instead of `options`: `prune(network, rate=0.3)`.

    Raises:
        PlanError: options are out of range, contradict each other or do not fit the network,
            no channel can be removed, or the rate is out of reach.
        DataError: the data does not fit the network, or labels do not that the user named. Labels
            that nobody asked for are then left out; a note of the result says so.
        VerificationError: the dense network does not equal the masked one.
    """
    options = options_of(PruneOptions, options, settings)
    notes: tuple[str, ...] = ()
    if data is not None:
        fitting = fit_data(network, data, options.task)
        data = fitting.dataset
        notes = tuple(note for note in fitting.notes if isinstance(note, Caution))
    if options.plan is not None:
        options.plan.check_removes()
        applied = apply_plan(
            network,
            options.plan,
            groups=groups,
            data=data,
            criterion=options.criterion,
            repair=options.repair,
            sparse=options.sparse,
            progress=progress,
        )
        applied.plan.check_removes()
        return replace(applied, notes=(*notes, *applied.notes))
    if options.sparse:
        check_sparse(network)
    groups = groups or find_groups(network)
    choice = choose(network, groups, options, data=data, progress=progress)
    result = apply_plan(
        network,
        choice.plan,
        groups=groups,
        state=choice.state,
        data=data,
        repair=options.repair,
        sparse=options.sparse,
        progress=progress,
    )
    return replace(result, notes=(*notes, *choice.notes, *result.notes))
