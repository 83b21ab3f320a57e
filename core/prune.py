"""Pruning by rate: groups → scores → order → plan → dense network, proved equal to masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .allocation import cut, uniform
from .channels import Groups, find_groups
from .cost import Costs
from .criteria import find_criterion
from .data import Dataset, SyntheticDataset
from .errors import PlanError
from .ir.digest import digest
from .ir.network import Network
from .plan import Plan, make_plan, removed_classes
from .progress import Progress, silent
from .proofs import prove_equal
from .transform import mask, shrink

__all__ = ["PROOF_SAMPLES", "apply_plan", "plan_by_rate", "prune"]

PROOF_SAMPLES = 8
"""Samples of noise that proofs run on where the user gave no data."""

NOTED_MISS = 0.01
"""A rate missed by more than this is explained."""


def prune(
    network: Network,
    *,
    rate: float,
    criterion: str = "l1",
    exclude: Sequence[str] = (),
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Network:
    """Remove a fraction of a network's operations by whole channels.

    Args:
        network: the network, unchanged by this.
        rate: fraction of the operations to remove (2 · multiply-accumulates + bias additions of
            every layer, fully connected ones included), 0 to below 1.
        criterion: name of the score that says which channels leave first.
        exclude: names of layers whose channels all stay.
        data: inputs for the proof; noise where there is none.
        progress: told how far the work is.

    Returns:
        the dense network, with the plan that made it as `plan`.

    Raises:
        PlanError: the rate is out of range, an excluded layer is unknown, or nothing can go.
        VerificationError: the dense network does not equal the masked one.
    """
    groups = find_groups(network)
    plan, notes = plan_by_rate(network, groups, rate=rate, criterion=criterion, exclude=exclude)
    pruned = apply_plan(network, plan, groups=groups, data=data, progress=progress)
    return replace(pruned, notes=(*pruned.notes, *notes))


def plan_by_rate(
    network: Network,
    groups: Groups,
    *,
    rate: float,
    criterion: str = "l1",
    exclude: Sequence[str] = (),
) -> tuple[Plan, tuple[str, ...]]:
    """Choose the channels that make up a rate, the same share of every group.

    Returns:
        the plan, and notes for the user where the rate was not met.

    Raises:
        PlanError: as :func:`prune`.
    """
    if not 0.0 <= rate < 1.0:
        raise PlanError(f"the rate must be from 0 to below 1, got {rate:g}")
    chosen = _without(groups, exclude, network)
    if not any(group.prunable for group in chosen.groups):
        raise PlanError("no channel of this network can be removed", hint=_limits(groups))
    scores = find_criterion(criterion).score(network, chosen)
    order = uniform(chosen, scores)
    removed, achieved = cut(order, chosen, Costs(network, chosen), rate)
    notes: tuple[str, ...] = ()
    if rate - achieved > NOTED_MISS:
        notes = (
            f"rate {rate:g} was asked, {achieved:.3f} is what whole channels allow: "
            f"{_limits(groups)}",
        )
    provenance: Mapping[str, Any] = {
        "model": network.name,
        "digest": f"sha256:{digest(network)}",
        "criterion": criterion,
        "allocation": "uniform",
        "rate": {"asked": float(rate), "achieved": round(achieved, 6)},
        **({"exclude": list(exclude)} if exclude else {}),
    }
    return make_plan(groups, removed, provenance), notes


def apply_plan(
    network: Network,
    plan: Plan,
    *,
    groups: Groups | None = None,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Network:
    """Carry out a plan and prove that the dense network equals the masked one.

    Args:
        network: the network the plan was made for.
        plan: what to remove.
        groups: groups of the network where they are known already.
        data: inputs for the proof; noise where there is none.
        progress: told how far the proof is.

    Raises:
        PlanError: the plan does not fit the network.
        VerificationError: the dense network does not equal the masked one.
    """
    groups = groups or find_groups(network)
    removed = removed_classes(plan, groups)
    dense = shrink(network, groups, removed)
    proof_data = data or SyntheticDataset(network, samples=PROOF_SAMPLES)
    comparison = prove_equal(
        "masked = dense", mask(network, groups, removed), dense, proof_data, progress=progress
    )
    provenance = dict(plan.provenance)
    provenance["proof"] = {
        "masked_equals_dense": float(f"{comparison.worst.relative:.3g}"),
        "inputs": proof_data.name,
        "samples": comparison.samples,
    }
    return replace(dense, plan=replace(plan, provenance=provenance))


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
