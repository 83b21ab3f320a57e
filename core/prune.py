"""Pruning by rate: groups → plan → dense network, proved equal to masked → repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .allocation import NO_LIMITS, Limits, cut, uniform
from .allocation.sensitivity import sensitivity
from .allocation.threshold import threshold as by_threshold
from .analysis.result import Analysis
from .channels import Groups, find_groups
from .cost import Costs
from .criteria import find_criterion
from .data import Dataset, SyntheticDataset
from .errors import PlanError
from .ir.digest import digest
from .ir.network import Network
from .ir.rebuild import rebuild
from .pieces import narrowed
from .plan import Plan, make_plan, removed_classes
from .progress import Progress, silent
from .proofs import prove_equal
from .repair import Job, Repairs, find_repairs, repaired
from .surgery import find_operators, gather_grams, operate
from .surgery.calibration import Calibration
from .surgery.disturbance import measure_disturbances
from .transform import expand, mask, shrink

__all__ = ["AUTOMATIC", "PROOF_SAMPLES", "SURGERY", "Choice", "apply_plan", "choose", "prune"]

AUTOMATIC = "auto"
"""Surgery where there is data to calibrate on, else the L1 norm."""

SURGERY = "surgery"
"""Structured optimal brain surgery: criterion, allocation and compensation in one."""

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


def prune(
    network: Network,
    *,
    rate: float | None = None,
    threshold: float | None = None,
    analysis: Analysis | None = None,
    criterion: str = AUTOMATIC,
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
            every layer, fully connected ones included), 0 to below 1.
        threshold: instead of a rate, the loss that every group may bear on its own, in the unit of
            the analysis.
        analysis: measured sensitivities, which a threshold needs, and by which a rate is shared
            out among the groups where they are given.
        criterion: what says which channels leave: "surgery", the name of a criterion, or "auto"
            for surgery where there is data and the L1 norm where there is none.
        repair: what makes up for the loss: "auto", "none" or names of :data:`.repair.REPAIRS`, of
            which each is kept where it brings the outputs nearer to the original's. True and False
            stand for "auto" and "none".
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


def choose(
    network: Network,
    groups: Groups,
    *,
    rate: float | None = None,
    threshold: float | None = None,
    analysis: Analysis | None = None,
    criterion: str = AUTOMATIC,
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
    open_groups = _without(groups, exclude, network)
    if not any(group.prunable for group in open_groups.groups):
        raise PlanError("no channel of this network can be removed", hint=_limits(groups))
    if analysis is not None:
        if criterion not in (AUTOMATIC, analysis.criterion):
            raise PlanError(f"the analysis was made with criterion '{analysis.criterion}'")
        criterion = analysis.criterion
    if criterion == AUTOMATIC:
        criterion = SURGERY if data is not None else "l1"
    tensors: Mapping[str, npt.NDArray[np.generic]] = {}
    if threshold is not None:
        if analysis is None:
            raise PlanError("a threshold needs an analysis", hint="secateur ana makes one")
        removed = by_threshold(open_groups, analysis, threshold, limits=limits)
        allocation = "threshold"
    elif analysis is not None and rate is not None:
        order = sensitivity(open_groups, analysis, limits)
        removed, _ = cut(order, open_groups, Costs(network, open_groups), rate)
        allocation = "sensitivity"
    elif criterion == SURGERY and rate is not None:
        if data is None:
            raise PlanError("surgery needs data to calibrate on", hint="give images or an .npz")
        removed, tensors = _operated(network, open_groups, rate, limits, data, progress)
        allocation = "global"
    elif rate is not None:
        found = find_criterion(criterion)
        if found.needs_data and data is None:
            raise PlanError(f"criterion '{criterion}' needs data", hint="give images or an .npz")
        scores = found.score(network, open_groups, Calibration(data) if data else None)
        order = uniform(open_groups, scores, limits)
        removed, _ = cut(order, open_groups, Costs(network, open_groups), rate)
        allocation = "uniform"
    costs = Costs(network, groups)
    baseline = costs.operations()
    achieved = 1.0 - costs.operations(removed) / baseline if baseline else 0.0
    notes: tuple[str, ...] = ()
    if rate is not None and rate - achieved > NOTED_MISS:
        notes = (
            f"rate {rate:g} was asked, {achieved:.3f} is what whole channels allow: "
            f"{_limits(groups)}",
        )
    provenance: dict[str, Any] = {
        "model": network.name,
        "digest": f"sha256:{digest(network)}",
        "criterion": criterion,
        "allocation": allocation,
        "rate": {
            **({"asked": float(rate)} if rate is not None else {}),
            "achieved": round(achieved, 6),
        },
    }
    if threshold is not None:
        provenance["threshold"] = float(threshold)
    if data is not None:
        provenance["data"] = {"name": data.name, "samples": data.samples}
    if exclude:
        provenance["exclude"] = list(exclude)
    if limits != NO_LIMITS:
        provenance["limits"] = {"round_to": limits.round_to, "max_rate": limits.max_rate}
    return Choice(plan=make_plan(groups, removed, provenance), tensors=tensors, notes=notes)


def apply_plan(
    network: Network,
    plan: Plan,
    *,
    groups: Groups | None = None,
    tensors: Mapping[str, npt.NDArray[np.generic]] | None = None,
    data: Dataset | None = None,
    repair: Repairs = "auto",
    sparse: bool = False,
    progress: Progress = silent,
) -> Network:
    """Carry out a plan, prove that the dense network equals the masked one, and repair it.

    Args:
        network: the network the plan was made for.
        plan: what to remove.
        groups: groups of the network where they are known already.
        tensors: weights that already compensate for what leaves (see :class:`Choice`).
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
    removed = removed_classes(plan, groups)
    compensated = rebuild(network, tensors=tensors) if tensors else network
    dense = shrink(compensated, groups, removed)
    proof_data = Calibration(data) if data else SyntheticDataset(network, samples=PROOF_SAMPLES)
    narrow = narrowed(groups, removed)
    comparison = prove_equal(
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
    prove_equal("sparse = dense", full, dense, proof_data, narrow=narrow, progress=progress)
    return replace(full, plan=found)


def _operated(
    network: Network,
    groups: Groups,
    rate: float,
    limits: Limits,
    data: Dataset,
    progress: Progress,
) -> tuple[npt.NDArray[np.bool_], Mapping[str, npt.NDArray[np.generic]]]:
    calibration = Calibration(data)
    operators = find_operators(network)
    grams = gather_grams(network, operators, calibration, progress=progress)
    weights = measure_disturbances(network, operators, calibration, progress=progress)
    surgery = operate(
        network, groups, operators, grams, weights, rate=rate, limits=limits, progress=progress
    )
    return surgery.removed, surgery.tensors


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
            replace(group, banks=()) if kept.intersection(group.layers) else group
            for group in groups.groups
        ),
    )


def _limits(groups: Groups) -> str:
    """Return in words what keeps the most channels from leaving."""
    fixed: Counter[str] = Counter()
    for group in groups.groups:
        if group.reason is not None:
            fixed[f"'{group.name}' ({group.reason})"] += len(group.channels)
    if not groups.groups:
        return "it has no convolution and no fully connected layer"
    if not fixed:
        return "every group keeps at least one channel"
    return "fixed are " + ", ".join(text for text, _ in fixed.most_common(3))
