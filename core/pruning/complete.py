"""Completing open plans: where people wrote only how many channels stay, these are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..allocation.complete import named_units, open_quotas
from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..data import Dataset
from ..data.calibration import Calibration
from ..ir.network import Network
from ..obs import Goal, remove_to_rate
from ..plan.limits import NO_LIMITS
from ..plan.plan import Plan, make_plan
from ..plan.quotas import asked_steps, check_quotas
from ..plan.state import PruningState, RemovedStep
from ..progress import Progress, silent
from .options import AUTOMATIC, ChoiceOptions
from .resolve import OBS, resolved_criterion, scores_of

__all__ = ["complete_plan"]


def complete_plan(
    network: Network,
    plan: Plan,
    groups: Groups,
    *,
    criterion: str = AUTOMATIC,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> tuple[Plan, PruningState]:
    """Choose the channels that a plan leaves open; those that it names stay named.

    Args:
        network: the network that the plan was made for.
        plan: a plan with groups for which it gives only a number of channels, or a rate.
        groups: groups of the network.
        criterion: chooses; "auto" for the criterion that the plan was made with.
        data: samples for criteria that need some.
        progress: told how far the work is.

    Returns:
        the whole plan, and the removal with weights that already compensate where OBS chose.

    Raises:
        PlanError: the plan does not fit the network, or the criterion needs data.
    """
    if criterion == AUTOMATIC:
        criterion = str(plan.provenance.get("criterion", AUTOMATIC))
    criterion = resolved_criterion(criterion, None, data)
    named, quotas = named_units(plan, groups), open_quotas(plan, groups)
    costs = Costs(network, groups)
    state = PruningState.start(network, groups, Calibration(data) if data is not None else None)
    first = tuple(map(Unit, np.flatnonzero(named).tolist()))
    if criterion == OBS:
        state = remove_to_rate(state, Goal(rate=0.0, costs=costs, quotas=quotas, first=first),
                               progress)  # fmt: skip
    else:
        scores = scores_of(network, groups, criterion, ChoiceOptions(), data, progress)
        steps = asked_steps(groups, scores, NO_LIMITS, quotas)
        chosen = groups.mask(unit for step in steps for unit in step.units)
        history = tuple(RemovedStep(units) for units in (first, *(s.units for s in steps)) if units)
        state = state.after(UnitMask(named | chosen), steps=history)
    check_quotas(groups, state.removed, quotas)
    achieved = 1.0 - costs.operations(state.removed) / max(costs.operations(), 1)
    provenance = {
        **plan.provenance,
        "criterion": criterion,
        "rate": {"achieved": round(achieved, 6)},
        "completed": list(plan.open),
    }
    made = make_plan(groups, state.removed, provenance)
    return replace(made, file=plan.file), state
