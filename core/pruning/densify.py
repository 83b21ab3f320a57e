"""Making a fine-tuned sparse network dense: a plan decides, what it loses is checked first."""

from __future__ import annotations

from dataclasses import replace

from ..coupling import find_groups
from ..coupling.edit import carried
from ..data import Dataset
from ..errors import PlanError
from ..ir.digest import digest
from ..ir.network import Network
from ..plan.plan import Plan, removed_units
from ..progress import Progress, silent
from ..repair import Repairs
from .prune import apply_plan

__all__ = ["CARRIED", "transform"]

CARRIED = 1e-3
"""Share of a weight's norm that removed channels may carry before that counts as a loss."""


def transform(
    network: Network,
    plan: Plan,
    *,
    force: bool = False,
    repair: Repairs = "absorb",
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Network:
    """Take the channels of a plan out of the original network or of a fine-tuned sparse one.

    Args:
        network: the network the plan was made for, or one of the same sizes with other weights, in
            which the channels that the plan removes are zero.
        plan: what to remove.
        force: remove channels that carry weight again, and note what is lost.
        repair: as for :func:`.prune.prune`. By default what removed channels still give, such as a
            bias that training moved, goes into the shifts of their readers.
        data: inputs for the proof and the repair; the proof runs on noise where there is none.
        progress: told how far the work is.

    Raises:
        PlanError: the plan does not fit, or removed channels carry weight again.
        VerificationError: the dense network does not equal the masked one.
    """
    groups = find_groups(network)
    removed = removed_units(plan, groups)
    notes: tuple[str, ...] = ()
    if plan.provenance.get("digest") != f"sha256:{digest(network)}":
        heavy = {
            name: share
            for name, share in carried(network, groups, removed).items()
            if share > CARRIED
        }
        if heavy:
            worst = sorted(heavy, key=lambda name: -heavy[name])[:3]
            shown = ", ".join(f"'{name}' {heavy[name]:.1%}" for name in worst)
            lost = f"channels that the plan removes carry weight in {len(heavy)} groups: {shown}"
            if not force:
                raise PlanError(lost, hint="train with these channels held at zero, or force it")
            notes = (lost,)
    dense = apply_plan(network, plan, groups=groups, data=data, repair=repair, progress=progress)
    return replace(dense, notes=(*dense.notes, *notes))
