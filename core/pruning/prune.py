"""Pruning by rate: groups → plan → dense network, proved equal to masked → repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..allocation import Override, Request, find_allocation, uniform
from ..allocation.complete import chosen, open_quotas
from ..allocation.overrides import check_quotas, quotas, quotas_of, split
from ..allocation.sensitivity import check_reach
from ..cost.budget import LATENCY, OPERATIONS, make_costs
from ..cost.layer_latency import layer_latencies
from ..cost.network_cost import Costs, MarginalSavings
from ..coupling import Groups, find_groups
from ..coupling.edit import expand, mask, shrink
from ..data import Dataset, SyntheticDataset
from ..data.calibration import Calibration
from ..engine.threads import within_cores
from ..errors import PlanError
from ..ir.digest import digest
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..obs.schedule import surgery_in_passes, surgery_to_loss
from ..plan.limits import NO_LIMITS, Limits
from ..plan.plan import Plan, make_plan, removed_units
from ..plan.steps import check_first
from ..progress import Progress, silent
from ..repair import Job, Repairs, find_repairs, repaired
from ..sensitivity.result import Analysis
from ..verify.equivalence import verify_equal
from ..verify.stable_cuts import narrowed
from .choose import (
    AUTOMATIC,
    RANKING,
    SURGERY,
    find_scores,
    fitting_allocation,
    fitting_criterion,
    follow,
)

__all__ = [
    "AUTOMATIC",
    "PROOF_SAMPLES",
    "SURGERY",
    "Choice",
    "apply_plan",
    "choose",
    "complete_plan",
    "prune",
]

PROOF_SAMPLES = 8
"""Samples of noise that proofs run on where the user gave no data."""

NOTED_MISS = 0.01
"""A rate missed by more than this is explained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What leaves, and what the choice already did to the weights.

    Args:
        plan: the channels.
        tensors: compensated weights at full size; empty where the choice only looks.
        notes: what the user should know.
    """

    plan: Plan
    tensors: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@within_cores()
def prune(
    network: Network,
    *,
    rate: float | None = None,
    threshold: float | None = None,
    analysis: Analysis | None = None,
    criterion: str = AUTOMATIC,
    allocation: str = AUTOMATIC,
    budget: str = OPERATIONS,
    latencies: Mapping[str, float] | None = None,
    overrides: Mapping[str, Override] | None = None,
    repair: Repairs = "auto",
    sparse: bool = False,
    exclude: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Network:
    """Remove a fraction of a network's operations by whole channels.

    Args:
        network: the network, unchanged by this.
        rate: fraction of the operations to remove (2 · multiply-accumulates + bias additions of
            every layer, fully connected ones included), or of another `budget`, 0 to below 1.
        threshold: instead of a rate, the loss that may be borne: by every group on its own, in the
            unit of the analysis, or without one by the network as a whole, in that of
            :unit:`.loss.LossMeter`, which takes surgery.
        analysis: measured sensitivities, by which a threshold or a rate is shared out among the
            groups where they are given.
        criterion: what says which channels leave: "surgery", the name of a criterion, or "auto"
            for surgery where there is data and the L1 norm where there is none.
        allocation: what says how many leave each group (:data:`.allocation.ALLOCATIONS`), or
            "auto": by the analysis where there is one, else surgery's own order or equal shares.
        budget: what the rate is a fraction of: "operations", "parameters" or "latency".
        latencies: for a budget of latency: name of a layer → milliseconds; None to measure them.
        overrides: name of a layer → the rate or threshold of its group, whatever the others lose.
        repair: what makes up for the loss: "auto", "none" or names of :data:`.repair.REPAIRS`, of
            which each is kept where it brings the outputs nearer to the original's; "auto" without
            data absorbs constant channels only. True and False stand for "auto" and "none".
        sparse: return the full-size network with zeros in place of what leaves, for fine-tuning
            elsewhere; :func:`.densify.transform` makes it dense later.
        exclude: names of layers whose channels all stay.
        limits: multiples and the largest share that hold for every set of channels.
        data: inputs for calibration and proofs; labels are not used. Without data the proof runs
            on noise.
        progress: told how far the work is.

    Returns:
        the dense network, with the plan that made it as `plan`.

    Raises:
        PlanError: the rate is out of range, a name is unknown, or nothing can go.
        VerificationError: the dense network does not equal the masked one.
    """
    groups = find_groups(network)
    choice = choose(
        network,
        groups,
        rate=rate,
        threshold=threshold,
        analysis=analysis,
        criterion=criterion,
        allocation=allocation,
        budget=budget,
        latencies=latencies,
        overrides=overrides,
        exclude=exclude,
        limits=limits,
        data=data,
        progress=progress,
    )
    pruned = apply_plan(
        network,
        choice.plan,
        groups=groups,
        tensors=choice.tensors,
        data=data,
        repair=repair,
        sparse=sparse,
        progress=progress,
    )
    return replace(pruned, notes=(*pruned.notes, *choice.notes))


@within_cores()
def choose(
    network: Network,
    groups: Groups,
    *,
    rate: float | None = None,
    threshold: float | None = None,
    analysis: Analysis | None = None,
    criterion: str = AUTOMATIC,
    allocation: str = AUTOMATIC,
    budget: str = OPERATIONS,
    latencies: Mapping[str, float] | None = None,
    overrides: Mapping[str, Override] | None = None,
    exclude: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Choice:
    """Choose the channels that make up a rate; arguments and errors as :func:`prune`."""
    if (rate is None) == (threshold is None):
        raise PlanError("a rate or a threshold is needed, and not both")
    if rate is not None and not 0.0 <= rate < 1.0:
        raise PlanError(f"the rate must be from 0 to below 1, got {rate:g}")
    overrides = overrides or {}
    open_groups = _without(groups, exclude, network)
    if not any(group.prunable for group in open_groups.groups):
        raise PlanError("no channel of this network can be removed", hint=_limits(groups))
    criterion = fitting_criterion(criterion, analysis, data)
    allocation = fitting_allocation(allocation, criterion, analysis, rate, overrides)
    if latencies is not None and budget != LATENCY:
        raise PlanError(f"latencies say nothing of a budget of {budget}", hint="budget latency")
    if budget == LATENCY and latencies is None:
        latencies = layer_latencies(network, progress=progress)
    costs = make_costs(network, open_groups, budget, latencies)
    wanted = quotas(open_groups, overrides, limits, analysis)
    tensors: Mapping[str, npt.NDArray[np.generic]] = {}
    if criterion == SURGERY and allocation == RANKING:
        assert data is not None, "surgery is chosen where there is data"
        if rate is not None:
            removed, tensors = surgery_in_passes(
                network, open_groups, data, rate=rate,
                limits=limits, costs=costs, quotas=wanted, progress=progress,
            )  # fmt: skip
            check_first(1.0 - costs.total(removed) / costs.total(), rate)
        else:
            assert threshold is not None, "there is a rate or a threshold"
            removed, tensors = surgery_to_loss(
                network, open_groups, data, threshold=threshold,
                limits=limits, costs=costs, quotas=wanted, progress=progress,
            )  # fmt: skip
    else:
        request = Request(
            groups=open_groups,
            limits=limits,
            saved=MarginalSavings(open_groups, costs).saved,
            scores=find_scores(network, open_groups, criterion, analysis, data),
            analysis=analysis,
            threshold=threshold,
        )
        removed = follow(find_allocation(allocation), request, costs, rate, wanted)
        if analysis is not None and rate is not None:
            check_reach(analysis, rate, 1.0 - costs.total(removed) / costs.total())
        if criterion == SURGERY:
            assert data is not None, "surgery is chosen where there is data"
            wanted = quotas_of(open_groups, removed)
            removed, tensors = surgery_in_passes(
                network,
                open_groups,
                data,
                rate=0.0,
                costs=costs,
                quotas=wanted,
                progress=progress,
            )
    check_quotas(open_groups, removed, wanted)
    achieved = 1.0 - costs.total(removed) / costs.total() if costs.total() else 0.0
    notes: tuple[str, ...] = ()
    if rate is not None and rate - achieved > NOTED_MISS:
        notes = (
            f"rate {rate:g} was asked, {achieved:.3f} is what whole channels allow: "
            f"{_limits(groups)}",
        )
    if threshold is not None and not removed.any():
        notes = (f"nothing was removed: no channel can go within a loss of {threshold:g}",)
    provenance: dict[str, Any] = {
        "model": network.name,
        "digest": f"sha256:{digest(network)}",
        "criterion": criterion,
        "allocation": allocation,
        "rate": {
            **({"asked": float(rate)} if rate is not None else {}),
            "achieved": round(achieved, 6),
        },
        **_settings(threshold, budget, latencies, overrides, exclude, limits, data),
    }
    return Choice(plan=make_plan(groups, removed, provenance), tensors=tensors, notes=notes)


@within_cores()
def apply_plan(
    network: Network,
    plan: Plan,
    *,
    groups: Groups | None = None,
    tensors: Mapping[str, npt.NDArray[np.generic]] | None = None,
    data: Dataset | None = None,
    criterion: str = AUTOMATIC,
    repair: Repairs = "auto",
    sparse: bool = False,
    progress: Progress = silent,
) -> Network:
    """Carry out a plan, prove that the dense network equals the masked one, and repair it.

    Args:
        network: the network the plan was made for.
        plan: what to remove. Where it says only how many channels of a group stay, or which share
            leaves, these are chosen first (:func:`complete_plan`).
        groups: groups of the network where they are known already.
        tensors: weights that already compensate for what leaves (see :unit:`Choice`).
        criterion: what chooses them; "auto" for the one the plan was made with.
        data: inputs for proof and repair; the proof runs on noise where there is none.
        repair: as for :func:`prune`.
        sparse: return the result at full size, with zeros.
        progress: told how far the work is.

    Raises:
        PlanError: the plan does not fit the network.
        VerificationError: the dense network does not equal the masked one.
    """
    repairs = find_repairs(repair, data=data is not None)
    groups = groups or find_groups(network)
    if plan.open:
        choice = complete_plan(
            network, plan, groups, criterion=criterion, data=data, progress=progress
        )
        plan, tensors = choice.plan, choice.tensors
    removed = removed_units(plan, groups)
    compensated = rebuild(network, tensors=tensors) if tensors else network
    dense = shrink(compensated, groups, removed)
    proof_data = Calibration(data) if data else SyntheticDataset(network, samples=PROOF_SAMPLES)
    narrow = narrowed(groups, removed)
    comparison = verify_equal(
        "masked = dense", mask(compensated, groups, removed), dense, proof_data,
        narrow=narrow, progress=progress,
    )  # fmt: skip
    provenance = dict(plan.provenance)
    provenance["proof"] = {
        "masked_equals_dense": float(f"{comparison.worst.relative:.3g}"),
        "inputs": proof_data.name,
        "samples": comparison.samples,
    }
    if repairs and removed.any():
        job = Job(
            original=network,
            full=compensated,
            groups=groups,
            removed=removed,
            data=Calibration(data) if data else None,
            progress=progress,
        )
        dense, records = repaired(job, dense, repairs)
        if records:
            provenance["repair"] = records
    found = replace(plan, provenance=provenance)
    if not sparse:
        return replace(dense, plan=found)
    full = expand(network, dense, groups, removed)
    verify_equal("sparse = dense", full, dense, proof_data, narrow=narrow, progress=progress)
    return replace(full, plan=found)


def complete_plan(
    network: Network,
    plan: Plan,
    groups: Groups,
    *,
    criterion: str = AUTOMATIC,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Choice:
    """Choose the channels that a plan leaves open; what it names by position stays as it is.

    Args:
        network: the network the plan was made for.
        plan: with groups of which it says only how many channels stay, or which share leaves.
        groups: of the network.
        criterion: what chooses; "auto" for the one the plan was made with.
        data: for criteria that need it.
        progress: told how far the work is.

    Raises:
        PlanError: the plan does not fit the network, or the criterion needs data.
    """
    if criterion == AUTOMATIC:
        criterion = str(plan.provenance.get("criterion", AUTOMATIC))
    criterion = fitting_criterion(criterion, None, data)
    removed, wanted = chosen(plan, groups), open_quotas(plan, groups)
    tensors: Mapping[str, npt.NDArray[np.generic]] = {}
    if criterion == SURGERY:
        assert data is not None, "surgery is chosen where there is data"
        removed, tensors = surgery_in_passes(
            network,
            groups,
            data,
            rate=0.0,
            quotas=wanted,
            first=np.flatnonzero(removed).tolist(),
            progress=progress,
        )
    else:
        scores = find_scores(network, groups, criterion, None, data)
        steps, _ = split(uniform(groups, scores), groups, wanted)
        removed[[channel for step in steps for channel in step.units]] = True
    check_quotas(groups, removed, wanted)
    costs = Costs(network, groups)
    achieved = 1.0 - costs.operations(removed) / max(costs.operations(), 1)
    provenance = {
        **plan.provenance,
        "criterion": criterion,
        "rate": {"achieved": round(achieved, 6)},
        "completed": list(plan.open),
    }
    made = replace(make_plan(groups, removed, provenance), file=plan.file)
    return Choice(plan=made, tensors=tensors)


def _settings(
    threshold: float | None,
    budget: str,
    latencies: Mapping[str, float] | None,
    overrides: Mapping[str, Override],
    exclude: Sequence[str],
    limits: Limits,
    data: Dataset | None,
) -> dict[str, Any]:
    """Return what of the settings a plan remembers: that which is not as usual."""
    found: dict[str, Any] = {}
    if threshold is not None:
        found["threshold"] = float(threshold)
    if budget != OPERATIONS:
        found["budget"] = budget
    if budget == LATENCY and latencies is not None:
        found["latencies"] = {name: float(time) for name, time in latencies.items()}
    if overrides:
        found["overrides"] = {name: value.to_data() for name, value in overrides.items()}
    if data is not None:
        found["data"] = {"name": data.name, "samples": data.samples}
    if exclude:
        found["exclude"] = list(exclude)
    if limits != NO_LIMITS:
        found["limits"] = {"round_to": limits.round_to, "max_rate": limits.max_rate}
    return found


def _without(groups: Groups, exclude: Sequence[str], network: Network) -> Groups:
    """Return the groups with those of excluded layers closed.

    Raises:
        PlanError: a name is no layer of the network.
    """
    known = {info.name for info in network.layers}
    for name in exclude:
        if name not in known:
            raise PlanError(f"cannot exclude '{name}': the network has no such layer")
    kept = set(exclude)
    return replace(
        groups,
        groups=tuple(
            replace(group, partitions=()) if kept.intersection(group.layers) else group
            for group in groups.groups
        ),
    )


def _limits(groups: Groups) -> str:
    """Return in words what keeps the most channels from leaving."""
    fixed: Counter[str] = Counter()
    for group in groups.groups:
        if group.reason is not None:
            fixed[f"'{group.name}' ({group.reason})"] += len(group.units)
    if not groups.groups:
        return "it has no convolution and no fully connected layer"
    if not fixed:
        return "every group keeps at least one channel"
    return "fixed are " + ", ".join(text for text, _ in fixed.most_common(3))
