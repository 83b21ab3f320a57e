"""Choosing: from a rate or a threshold to the channels that are removed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ..allocation.overrides import override_quotas
from ..allocation.registry import AllocationContext
from ..allocation.sensitivity import check_reach
from ..allocation.uniform import uniform
from ..cost.budget import LATENCY, make_costs
from ..cost.layer_latency import layer_latencies
from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..data import Dataset
from ..data.calibration import Calibration
from ..engine.threads import within_cores
from ..errors import PlanError
from ..evaluation.loss import LossMeter
from ..ir.digest import digest
from ..ir.network import Network
from ..obs import Goal, remove_to_loss, remove_to_rate
from ..plan.exclude import closed
from ..plan.plan import Plan, make_plan
from ..plan.quotas import Quotas, check_quotas, quotas_of, split
from ..plan.state import PruningState, RemovedStep
from ..plan.steps import Step, check_first, cut, legal_steps
from ..progress import Progress, silent
from .options import PruneOptions
from .resolve import Method, resolve, scores_of

__all__ = ["Choice", "choose"]

NOTED_MISS = 0.01
"""A rate missed by more than this is explained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which channels are removed, and the weights that already compensate.

    Args:
        plan: the channels.
        state: the removal at full size, with compensated weights where the method compensates.
        notes: what the user should know.
    """

    plan: Plan
    state: PruningState
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
        PlanError: options do not fit the network or each other, or nothing can be removed.
        DataError: the data does not fit the network.
    """
    open_groups = closed(network, groups, options.exclude)
    if not any(group.prunable for group in open_groups.groups):
        raise PlanError("no channel of this network can be removed", hint=_what_limits(groups))
    method = resolve(options, rate=options.rate, data=data)
    options = _with_latencies(network, options, progress)
    costs = make_costs(network, open_groups, options.budget, options.latencies)
    quotas: Quotas = override_quotas(
        open_groups, options.overrides, options.limits, options.analysis
    )
    start = PruningState.start(
        network, open_groups, Calibration(data) if data is not None else None
    )
    if method.obs_allocates:
        state = _by_obs(start, options, costs, quotas, data, progress)
    else:
        state, quotas = _by_order(start, method, options, costs, quotas, data, progress)
    check_quotas(open_groups, state.removed, quotas)
    achieved = _achieved(costs, state.removed)
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
        **_settings(options, data),
    }
    return Choice(
        plan=make_plan(groups, state.removed, provenance),
        state=replace(state, groups=groups),
        notes=_notes(options, groups, state, achieved),
    )


def _with_latencies(network: Network, options: PruneOptions, progress: Progress) -> PruneOptions:
    """Return the options with measured latencies, where a budget needs them."""
    if options.budget != LATENCY or options.latencies is not None:
        return options
    return replace(options, latencies=layer_latencies(network, progress=progress))


def _by_obs(
    start: PruningState,
    options: PruneOptions,
    costs: Costs,
    quotas: Quotas,
    data: Dataset | None,
    progress: Progress,
) -> PruningState:
    """Return what structured OBS removes to meet the rate, or within the threshold."""
    goal = Goal(rate=options.rate or 0.0, costs=costs, limits=options.limits, quotas=quotas)
    if options.rate is not None:
        state = remove_to_rate(start, goal, progress)
        check_first(_achieved(costs, state.removed), options.rate)
        return state
    assert options.threshold is not None, "there is a rate or a threshold"
    assert data is not None, "OBS is chosen where there is data"
    meter = LossMeter.of(start.original, data, options.task, progress=progress)
    return remove_to_loss(start, goal, options.threshold, meter, progress)


def _by_order(
    start: PruningState,
    method: Method,
    options: PruneOptions,
    costs: Costs,
    quotas: Quotas,
    data: Dataset | None,
    progress: Progress,
) -> tuple[PruningState, Quotas]:
    """Return what an allocation's order removes, and the quotas that this amounts to.

    Where the criterion is OBS, the allocation gives the numbers and OBS chooses the channels.
    """
    groups = start.groups
    context = AllocationContext(
        groups=groups,
        limits=options.limits,
        savings=MarginalSavings(groups, costs).saved,
        scores=scores_of(start.original, groups, method.criterion, options, data),
        analysis=options.analysis,
        threshold=options.threshold,
    )
    removed, steps = _followed(method, context, costs, options.rate, quotas)
    if options.analysis is not None and options.rate is not None:
        check_reach(options.analysis, options.rate, _achieved(costs, removed))
    if not method.obs:
        history = tuple(RemovedStep(step.units) for step in steps)
        return start.after(removed, steps=history), quotas
    quotas = quotas_of(groups, removed)
    return remove_to_rate(start, Goal(rate=0.0, costs=costs, quotas=quotas), progress), quotas


def _followed(
    method: Method,
    context: AllocationContext,
    costs: Costs,
    rate: float | None,
    quotas: Quotas,
) -> tuple[UnitMask, list[Step]]:
    """Return a mask over the units that an order removes, and the steps.

    Args:
        method: its allocation orders the steps.
        context: what the allocation looks at.
        costs: what the rate is a fraction of.
        rate: where to cut the order; None to follow it to its end.
        quotas: partitions that lose a given number; these leave first.

    Raises:
        PlanError: the quotas remove more than the rate.
    """
    groups = context.groups
    _, rest = split(method.allocation.order(context), groups, quotas)
    first, _ = split(uniform(groups, context.scores, context.limits), groups, quotas)
    if rate is None:
        steps = legal_steps([*first, *rest], groups)
        return groups.mask(unit for step in steps for unit in step.units), steps
    removed, _ = cut(rest, groups, costs, rate, first)
    return removed, [step for step in (*first, *rest) if removed[list(step.units)].all()]


def _achieved(costs: Costs, removed: UnitMask) -> float:
    """Return the fraction of the cost that a mask over units removes."""
    whole = costs.total()
    return 1.0 - costs.total(removed) / whole if whole else 0.0


def _settings(options: PruneOptions, data: Dataset | None) -> dict[str, Any]:
    """Return the options that a plan records: those that are not the defaults, and the data."""
    changed = options.changed()

    def recorded(*names: str) -> dict[str, Any]:
        return {name: changed[name] for name in names if name in changed}

    return {
        **({"threshold": float(options.threshold)} if options.threshold is not None else {}),
        **recorded("budget", "task", "latencies", "overrides"),
        **({"data": {"name": data.name, "samples": data.samples}} if data is not None else {}),
        **recorded("exclude", "limits"),
    }


def _notes(
    options: PruneOptions, groups: Groups, state: PruningState, achieved: float
) -> tuple[str, ...]:
    """Return why less was removed than the user may expect."""
    if options.rate is not None and options.rate - achieved > NOTED_MISS:
        return (
            f"rate {options.rate:g} was asked, {achieved:.3f} is what whole channels allow: "
            f"{_what_limits(groups)}",
        )
    if options.threshold is not None and not state.removed.any():
        return (f"nothing was removed: no channel can go within a loss of {options.threshold:g}",)
    return ()


def _what_limits(groups: Groups) -> str:
    """Return in words what keeps most channels from being removed."""
    fixed: Counter[str] = Counter()
    for group in groups.groups:
        if group.reason is not None:
            fixed[f"'{group.name}' ({group.reason})"] += len(group.units)
    if not groups.groups:
        return "it has no convolution and no fully connected layer"
    if not fixed:
        return "every group keeps at least one channel"
    return "fixed are " + ", ".join(text for text, _ in fixed.most_common(3))
