"""Densifying: a plan takes its channels out of a fine-tuned sparse network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..coupling import find_groups
from ..coupling.edit import carried
from ..coupling.groups import Groups
from ..data.arrays import AnyData, as_dataset
from ..errors import FormatError, PlanError
from ..evaluation.fitted import fit_data
from ..ir.digest import digest
from ..ir.network import Caution, Network
from ..options import options_of
from ..plan.blocks import blocks_left
from ..plan.plan import Plan, removed_units
from ..progress import Progress, silent
from .apply import apply_plan, planned
from .options import DensifyOptions
from .result import PruneResult

__all__ = ["CARRIED_WEIGHT", "carried_out", "check_finite", "densify"]

CARRIED_WEIGHT = 1e-3
"""Largest part of a weight's norm that removed channels may carry without counting as a loss."""


def densify(
    network: Network,
    plan: Plan,
    options: DensifyOptions | None = None,
    *,
    data: AnyData | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> PruneResult:
    """Remove the channels of a plan from the original network, or from a fine-tuned sparse one.

    Args:
        network: the network that the plan was made for, or one of the same sizes with other
            weights, in which the channels that the plan removes are zero.
        plan: what to remove.
        options: whether to remove channels that carry weight again, and what makes up for them.
        data: inputs for verification and repair; verification runs on noise where there are none.
        progress: told how far the work is.
        settings: fields of :class:`DensifyOptions`, instead of `options`.

    Raises:
        DataError: the data does not fit the network.
        PlanError: the plan does not fit, or removed channels carry weight again.
        VerificationError: the dense network does not equal the masked one.
    """
    data = as_dataset(data, network)
    options = options_of(DensifyOptions, options, settings)
    plan.check_removes()
    notes: tuple[str, ...] = ()
    if data is not None:
        fitting = fit_data(network, data)
        data = fitting.dataset
        notes = tuple(note for note in fitting.notes if isinstance(note, Caution))
    left, _ = planned(network, plan)
    # A plan knows the original as it was pruned: with its blocks, and with LRN as it was taken.
    own = plan.provenance.get("digest") in {f"sha256:{digest(one)}" for one in (network, left)}
    groups = find_groups(left)
    lost = "" if own else _carried_weight(left, groups, plan)
    if lost and not options.force:
        raise PlanError(lost, hint="train with these channels held at zero, or force it")
    if left is not network and not blocks_left(network, plan):
        network = left
    known = groups if network is left else None
    result = apply_plan(
        network, plan, groups=known, data=data, repair=options.repair, progress=progress
    )
    return replace(result, notes=(*notes, *((lost,) if lost else ()), *result.notes))


def carried_out(network: Network, plan: Plan) -> bool:
    """Whether a network has lost the channels of a plan already.

    Each of its groups then has as many channels as the plan keeps, and one has fewer than before.

    Args:
        network: any network.
        plan: a plan that says which channels leave.
    """
    if blocks_left(network, plan):
        return False
    network, _ = planned(network, plan)
    groups = find_groups(network)
    left = [groups.by_name(entry.name) for entry in plan.groups]
    same = all(
        group is not None and len(group.units) == entry.kept
        for group, entry in zip(left, plan.groups, strict=True)
    )
    return same and plan.removes


def check_finite(network: Network) -> None:
    """Raise where a weight is no number: a training that went astray leaves such files.

    Args:
        network: a network with trained weights.

    Raises:
        FormatError: names the parameter.
    """
    for name in network.graph.initializers:
        array = network.array(name)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FormatError(
                f"'{name}' holds NaN or infinite values: the training diverged",
                hint="take an earlier snapshot, and train with a lower rate",
            )


def _carried_weight(network: Network, groups: Groups, plan: Plan) -> str:
    """Return which groups would lose weight, in words; "" where none would."""
    removed = removed_units(plan, groups)
    shares = carried(network, groups, removed)
    heavy = {name: share for name, share in shares.items() if share > CARRIED_WEIGHT}
    if not heavy:
        return ""
    worst = sorted(heavy, key=lambda name: -heavy[name])[:3]
    shown = ", ".join(f"'{name}' {heavy[name]:.1%}" for name in worst)
    return f"channels that the plan removes carry weight in {len(heavy)} groups: {shown}"
