"""Choosing: from a rate or a threshold to the channels that are removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..allocation.overrides import missed_rates
from ..allocation.registry import AllocationContext
from ..allocation.sensitivity import check_reach
from ..cost.budgets import LATENCY
from ..cost.latency_steps import fitted_steps
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..data import Dataset
from ..data.calibration import Calibration
from ..data.stated import remembered
from ..engine.threads import within_cores
from ..evaluation.loss import LossMeter
from ..ir.digest import digest
from ..ir.network import Network
from ..obs import Goal, remove_to_loss, remove_to_rate, remove_units
from ..plan.channel_blocks import choose_blocks, give_back
from ..plan.plan import Plan, make_plan
from ..plan.quotas import check_quotas, quotas_of
from ..plan.reach import Reach
from ..plan.state import PruningState, RemovedStep
from ..plan.steps import SLACK, Step, check_first, cut, legal_steps
from ..progress import Progress, silent, tracked
from .demand import Demand
from .options import PruneOptions, rising_rates

__all__ = ["Choice", "choose", "followed", "in_steps", "obs_path", "recorded", "without_waste"]

NOTED_MISS = 0.01
"""A rate missed by more than this is explained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which channels are removed, and the weights that already compensate.

    Args:
        plan: the channels.
        state: the removal at full size, with compensated weights where the method compensates.
        missed: why the rate is not met, for users who asked for one; empty where it is.
        notes: what else the user should know.
    """

    plan: Plan
    state: PruningState
    missed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@within_cores()
def choose(
    network: Network,
    groups: Groups,
    options: PruneOptions,
    *,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Choice:
    """Choose the channels to remove.

    Args:
        network: the network.
        groups: its groups.
        options: how much to remove, and by which method.
        data: samples for methods that need some; labels are read to measure a threshold.
        progress: told how far the work is.

    Raises:
        PlanError: options do not fit the network or each other, nothing can be removed, or the rate
            is out of reach.
        DataError: the data does not fit the network.
    """
    demand = Demand.of(network, groups, options, data=data, progress=progress)
    demand.check()
    options, method = demand.options, demand.method
    start = PruningState.start(
        network, demand.open, Calibration(data) if data is not None else None
    )
    if method.obs_allocates:
        state = _by_obs(start, demand, data, progress)
    else:
        state = _by_order(start, demand, data, progress)
    state = _without_waste(state, demand, progress)
    check_quotas(demand.open, state.removed, demand.quotas)
    achieved = demand.achieved(state.removed)
    provenance = {
        "model": network.name,
        "digest": f"sha256:{digest(network)}",
        **({"companions": [c.name for c in network.companions]} if network.companions else {}),
        "criterion": method.criterion,
        "allocation": method.allocation.name,
        "rate": {
            **({"asked": float(options.rate)} if options.rate is not None else {}),
            "achieved": round(achieved, 6),
        },
        **recorded(options, data),
        **_steps_found(demand),
    }
    return Choice(
        plan=make_plan(groups, state.removed, provenance),
        state=replace(state, groups=groups),
        missed=_missed(demand, state.removed, achieved),
        notes=(
            *_unmoved(demand, state.removed),
            *missed_rates(demand.open, options.overrides, demand.quotas),
        ),
    )


def _steps_found(demand: Demand) -> dict[str, str]:
    """Return in which blocks the measured times of layers rise, for plans; nothing without."""
    if demand.options.budget != LATENCY or not demand.costs.in_blocks:
        return {}
    assert demand.options.latencies is not None, "a latency budget needs a table"
    model = fitted_steps(demand.network, demand.open, demand.options.latencies)
    return {"engine_steps": model.text()}


def _by_obs(
    start: PruningState, demand: Demand, data: Dataset | None, progress: Progress
) -> PruningState:
    """Return what structured OBS removes to meet the rate, or within the threshold."""
    options = demand.options
    goal = Goal(
        rate=options.rate or 0.0,
        costs=demand.costs,
        limits=options.limits,
        quotas=demand.quotas,
        floors=demand.floors,
    )
    if options.rate is not None:
        state = remove_to_rate(start, goal, progress)
        check_first(demand.achieved(state.removed), options.rate)
        return state
    assert options.threshold is not None, "there is a rate or a threshold"
    assert data is not None, "OBS is chosen where there is data"
    meter = LossMeter.of(start.original, data, options.task, progress=progress)
    return remove_to_loss(start, goal, options.threshold, meter, progress)


def obs_path(
    demand: Demand, data: Dataset | None, progress: Progress = silent
) -> tuple[tuple[Unit, ...], ...]:
    """Return the units that structured OBS removes on its way to a rate, step by step.

    Args:
        demand: what is asked, with a rate, by a method that lets OBS allocate.
        data: samples.
        progress: told how far the work is.
    """
    assert data is not None, "OBS is chosen where there is data"
    start = PruningState.start(demand.network, demand.open, Calibration(data))
    return tuple(step.units for step in _by_obs(start, demand, data, progress).history)


def without_waste(demand: Demand, removed: UnitMask, order: Sequence[Sequence[Unit]]) -> UnitMask:
    """Return a removal without what saves nothing, where channels cost in blocks.

    Args:
        demand: what is asked.
        removed: a mask over units.
        order: in which units leave.
    """
    return _filled(demand, removed, order) if demand.costs.in_blocks else removed


def _by_order(
    start: PruningState, demand: Demand, data: Dataset | None, progress: Progress
) -> PruningState:
    """Return what an allocation's order removes.

    Where the criterion is OBS, the allocation gives the numbers and OBS chooses the channels.
    """
    options, groups = demand.options, demand.open
    removed, steps = in_steps(demand, data, progress)
    if options.analysis is not None and options.rate is not None:
        check_reach(options.analysis, options.rate, demand.achieved(removed))
    if not demand.method.obs:
        history = tuple(RemovedStep(step.units) for step in steps)
        return start.after(removed, steps=history)
    quotas = quotas_of(groups, removed)
    goal = Goal(rate=0.0, costs=demand.costs, quotas=quotas, floors=demand.floors)
    return remove_to_rate(start, goal, progress)


def in_steps(
    demand: Demand, data: Dataset | None, progress: Progress
) -> tuple[UnitMask, list[Step]]:
    """Return what leaves in one or several steps, scored again before each.

    What has left stays out. Layers with numbers of their own lose them in the first step.

    Args:
        demand: what is asked, by a method with an order of its own.
        data: samples for methods that need some.
        progress: told how far the work is.

    Returns:
        a mask over units, and the steps in the order in which they left.

    Raises:
        PlanError: as :func:`followed`.
    """
    options, groups = demand.options, demand.open
    removed, history = groups.mask(()), list[Step]()
    rates: tuple[float, ...] = ()
    if options.rate and options.steps > 1:
        rates = rising_rates(options.rate, options.steps, "geometric")[:-1]
    for rate in tracked(rates, "steps", len(rates), progress):
        context = demand.context(data, removed=removed)
        asked = legal_steps(demand.steps(context)[0], groups, demand.floors)
        least = demand.achieved(groups.mask(unit for step in asked for unit in step.units))
        part = replace(options, rate=max(rate, min(least, options.rate or 0.0)))
        before = removed
        removed, steps = followed(replace(demand, options=part), context, removed, exact=False)
        history += _new(steps, before)
    context = demand.context(data, progress, removed=removed)
    before = removed
    removed, steps = followed(demand, context, removed)
    return removed, [*history, *_new(steps, before)]


def _new(steps: Sequence[Step], before: UnitMask) -> list[Step]:
    """Return steps without what had left before them."""
    new = [replace(s, units=tuple(u for u in s.units if not before[u])) for s in steps]
    return [step for step in new if step.units]


def followed(
    demand: Demand,
    context: AllocationContext,
    before: UnitMask | None = None,
    *,
    exact: bool = True,
) -> tuple[UnitMask, list[Step]]:
    """Return a mask over the units that an order removes, and the steps.

    Where the limits have finer steps, these fill what the usual ones leave of the rate. Not where
    costs are in blocks: channels that fill no block come back. Nor with allocations that measure:
    each step would be measured again.

    Args:
        demand: what is asked.
        context: what the allocation looks at.
        before: mask over units that have left already; they leave first.
        exact: whether finer steps may fill the rest.

    Raises:
        PlanError: the quotas remove more than the rate.
    """
    rate = demand.options.rate
    removed, steps = _followed(demand, context, before)
    if rate is None or demand.costs.in_blocks or demand.method.allocation.needs_data or not exact:
        return removed, steps
    for limits in demand.options.limits.finer:
        if rate - demand.achieved(removed) <= SLACK:
            break
        part = replace(demand, options=replace(demand.options, limits=limits))
        left = removed
        removed, finer = _followed(part, replace(context, limits=limits), left)
        steps = [*steps, *_new(finer, left)]
    return removed, steps


def _followed(
    demand: Demand, context: AllocationContext, before: UnitMask | None
) -> tuple[UnitMask, list[Step]]:
    """Return what an order removes by the limits as they are, and the steps."""
    groups, rate, blocks = demand.open, demand.options.rate, demand.costs.in_blocks
    first, rest = demand.steps(context)
    if before is not None and before.any():
        first = [*first, *(step for step in rest if before[list(step.units)].all())]
        rest = [step for step in rest if not before[list(step.units)].all()]
    if rate is None:
        steps = legal_steps([*first, *rest], groups, demand.floors)
        removed = groups.mask(unit for step in steps for unit in step.units)
        if blocks:
            removed = _filled(demand, removed, [step.units for step in steps])
        return removed, [step for step in steps if removed[list(step.units)].all()]
    if blocks:
        removed = choose_blocks(rest, groups, demand.costs, rate, first, demand.floors)
        removed = _filled(demand, removed, [step.units for step in (*first, *rest)])
        return removed, [step for step in (*first, *rest) if removed[list(step.units)].all()]
    near = demand.options.limits.near
    removed, _ = cut(rest, groups, demand.costs, rate, first, demand.floors, near=near)
    return removed, [step for step in (*first, *rest) if removed[list(step.units)].all()]


def _filled(demand: Demand, removed: UnitMask, order: Sequence[Sequence[Unit]]) -> UnitMask:
    """Return a removal without what saves nothing in blocks of channels.

    Args:
        demand: what is asked.
        removed: a mask over units.
        order: in which units leave; of those that may stay for free, the last do.
    """
    worth = np.zeros(demand.open.unit_count)
    for place, units in enumerate(order, 1):
        worth[list(units)] = place
    return give_back(
        demand.open, demand.costs, removed, worth,
        limits=demand.options.limits, asked=demand.quotas,
    )  # fmt: skip


def _without_waste(state: PruningState, demand: Demand, progress: Progress) -> PruningState:
    """Return what OBS removed without the channels that save nothing in the blocks of the target.

    Weights that make up for such a channel as if it were gone are wrong with it. So the rest is
    removed again from the original, in the same order.
    """
    if not demand.costs.in_blocks or not demand.method.obs:
        return state
    order = [step.units for step in state.history]
    kept = _filled(demand, state.removed, order)
    if np.array_equal(kept, state.removed):
        return state
    start = PruningState.start(state.original, state.groups, state.data)
    goal = Goal(rate=0.0, costs=demand.costs, floors=demand.floors)
    units = [unit for own in order for unit in own if kept[unit]]
    return remove_units(start, goal, units, progress)


def recorded(options: PruneOptions, data: Dataset | None) -> dict[str, Any]:
    """Return the options that a plan records: those that are not the defaults, and the data."""
    changed = options.changed()

    def chosen(*names: str) -> dict[str, Any]:
        return {name: changed[name] for name in names if name in changed}

    return {
        **({"threshold": float(options.threshold)} if options.threshold is not None else {}),
        **chosen("normalize", "steps", "candidates", "budget", "target", "task", "latencies"),
        **chosen("overrides"),
        **({"data": {"name": data.name, "samples": data.samples}} if data is not None else {}),
        **remembered(data),
        **chosen("exclude", "limits", "as_far_as_possible"),
    }


def _missed(demand: Demand, removed: UnitMask, achieved: float) -> tuple[str, ...]:
    """Return why less was removed than a rate says.

    Raises:
        PlanError: the rate turned out to be out of reach, and the user does not want less.
    """
    rate = demand.options.rate
    if rate is None:
        return ()
    if rate - achieved > SLACK and demand.exhausted(removed):
        refusal = demand.refusal(Reach(achieved, achieved))
        if not demand.options.as_far_as_possible:
            raise refusal
        return (refusal.message,)
    if rate - achieved > NOTED_MISS:
        return (
            f"rate {rate:g} was asked, {achieved:.3f} is what whole channels allow: with the next "
            "step it would be more",
        )
    return ()


def _unmoved(demand: Demand, removed: UnitMask) -> tuple[str, ...]:
    """Return that a threshold lets nothing leave, where that is so."""
    threshold = demand.options.threshold
    if threshold is not None and not removed.any():
        return (f"nothing was removed: no channel can go within a loss of {threshold:g}",)
    return ()
