"""Pruning: groups → plan → dense network, verified against the masked one → repair.

Where residual blocks are dropped, they leave first; channels are pruned in what is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..cost.budgets import LATENCY
from ..cost.measured_steps import measured_times
from ..coupling import Groups, find_groups
from ..data import Dataset
from ..data.arrays import AnyData, as_dataset
from ..engine.threads import within_cores
from ..evaluation.fitted import fit_data
from ..ir.digest import digest
from ..ir.network import Caution, Network
from ..options import options_of
from ..plan.plan import make_plan
from ..plan.steps import SLACK
from ..progress import Progress, inside, silent
from .apply import apply_plan, check_sparse, with_stage
from .choose import choose, recorded
from .dropping import chosen_blocks, drop_blocks, of_what_is_left
from .latency import choose_for_latency
from .options import PruneOptions
from .result import PruneResult

__all__ = ["prune"]


@within_cores()
def prune(
    network: Network,
    options: PruneOptions | None = None,
    *,
    groups: Groups | None = None,
    data: AnyData | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> PruneResult:
    """Remove whole channels, and residual blocks: a fraction of operations, or those of a plan.

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
    data = as_dataset(data, network)
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
    if options.drop_blocks is not None:
        dropped = _with_blocks(network, options, data, progress)
        return replace(dropped, notes=(*notes, *dropped.notes))
    groups = groups or find_groups(network)
    chosen = choose if options.target_latency is None else choose_for_latency
    choosing = inside(progress, "choosing channels")
    choice = chosen(network, groups, options, data=data, progress=choosing)
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
    return replace(result, notes=(*notes, *choice.missed, *choice.notes, *result.notes))


def _with_blocks(
    network: Network, options: PruneOptions, data: Dataset | None, progress: Progress
) -> PruneResult:
    """Drop blocks, then prune the channels of what is left as far as the rate wants it.

    Raises:
        PlanError: options do not fit the network, or the rate is out of reach.
    """
    if options.budget == LATENCY and options.latencies is None:
        options = replace(options, latencies=measured_times(network, progress=progress))
    choosing = inside(progress, "choosing blocks")
    chosen = chosen_blocks(network, options, data=data, progress=choosing)
    stage = drop_blocks(network, chosen.blocks, data=data, repair=options.repair, progress=choosing)
    groups = find_groups(stage.network)
    rate = 0.0
    if options.rate is not None and chosen.saved < 1.0:
        rate = max(0.0, 1.0 - (1.0 - options.rate) / (1.0 - chosen.saved))
    if rate > SLACK:
        left = of_what_is_left(network, options, stage, rate)
        channels = prune(stage.network, left, groups=groups, data=data, progress=progress)
        gone = channels.plan.provenance["rate"]["achieved"]
    else:
        plan = make_plan(groups, groups.mask(()), {"model": network.name})
        channels = apply_plan(
            stage.network, plan, groups=groups, data=data, sparse=options.sparse, progress=progress
        )
        gone = 0.0
    provenance = {
        **channels.plan.provenance,
        "model": network.name,
        "digest": f"sha256:{digest(network)}",
        "rate": {
            **({"asked": float(options.rate)} if options.rate is not None else {}),
            "achieved": round(1.0 - (1.0 - chosen.saved) * (1.0 - gone), 6),
        },
        "blocks": chosen.to_data(),
        **{name: value for name, value in recorded(options, data).items() if name != "threshold"},
    }
    return with_stage(channels, stage, provenance, chosen.notes)
