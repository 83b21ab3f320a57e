"""Applying a plan: masked and dense networks, the verification that they agree, and repair."""

from __future__ import annotations

from dataclasses import replace

from ..coupling import find_groups
from ..coupling.groups import Groups
from ..data import Dataset, SyntheticDataset
from ..data.calibration import Calibration
from ..engine.threads import within_cores
from ..ir.network import Network
from ..plan.plan import Plan, removed_units
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..repair import Repairs, find_repairs, repaired
from ..verify.equivalence import verify_equal
from ..verify.stable_cuts import narrowed
from .companions import cut_companions, forgotten, masked_companions, uncompensated
from .complete import complete_plan
from .options import AUTOMATIC
from .result import PruneResult, Verification

__all__ = ["NOISE_SAMPLES", "apply_plan"]

NOISE_SAMPLES = 8
"""Samples of noise that verifications run on where the user gave no data."""


@within_cores()
def apply_plan(
    network: Network,
    plan: Plan,
    *,
    groups: Groups | None = None,
    state: PruningState | None = None,
    data: Dataset | None = None,
    criterion: str = AUTOMATIC,
    repair: Repairs = "auto",
    sparse: bool = False,
    progress: Progress = silent,
) -> PruneResult:
    """Remove the channels of a plan, verify that dense equals masked, and repair.

    Args:
        network: the network that the plan was made for.
        plan: what to remove. Where it gives only a number of channels, or a rate, the channels are
            chosen first (:func:`.complete.complete_plan`).
        groups: groups of the network where they are known already.
        state: a removal of the same channels whose weights compensate already.
        data: inputs for verification and repair; verification runs on noise where there are none.
        criterion: chooses channels; "auto" for the criterion that the plan was made with.
        repair: as for :func:`.prune.prune`.
        sparse: return the network at full size, with zeros.
        progress: told how far the work is.

    Raises:
        PlanError: the plan does not fit the network.
        VerificationError: the dense network does not equal the masked one.
    """
    repairs = find_repairs(repair, data=data is not None)
    groups = groups or find_groups(network)
    if plan.open:
        plan, state = complete_plan(
            network, plan, groups, criterion=criterion, data=data, progress=progress
        )
    if state is None:
        state = PruningState.start(network, groups).after(removed_units(plan, groups))
    state = replace(state, data=Calibration(data) if data is not None else None)
    dense = state.dense()
    inputs = state.data or SyntheticDataset(network, samples=NOISE_SAMPLES)
    narrow = narrowed(groups, state.removed)
    comparison = verify_equal(
        "masked = dense", state.masked(), dense, inputs, narrow=narrow, progress=progress
    )
    verification = Verification(
        difference=float(f"{comparison.worst.relative:.3g}"),
        inputs=inputs.name,
        samples=comparison.samples,
    )
    dense, records = (
        repaired(state, dense, repairs, progress=progress)
        if repairs and state.removed.any()
        else (dense, ())
    )
    provenance = {**plan.provenance, "proof": verification.to_data()}
    if records:
        provenance["repair"] = [record.to_data() for record in records]
    result = PruneResult(
        network=replace(dense, companions=cut_companions(state, dense, progress=progress)),
        plan=replace(plan, provenance=provenance),
        verification=verification,
        repairs=records,
        history=state.history,
        notes=(*forgotten(plan, network), *uncompensated(state)),
    )
    if not sparse:
        return result
    full = state.expanded(dense)
    verify_equal("sparse = dense", full, dense, inputs, narrow=narrow, progress=progress)
    full = replace(full, companions=masked_companions(state, full))
    return replace(result, network=full)
