"""Applying a plan: masked and dense networks, the verification that they agree, and repair."""

from __future__ import annotations

from dataclasses import replace

from ..coupling import find_groups
from ..coupling.groups import Groups
from ..data import Dataset
from ..data.calibration import Calibration
from ..engine.threads import within_cores
from ..ir.network import Network
from ..plan.plan import Plan, removed_units
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..repair import Repairs, find_repairs, repaired
from ..verify.equivalence import verify_equal
from ..verify.small_input import with_noise
from ..verify.stable_cuts import narrowed
from .complete import complete_plan
from .options import AUTOMATIC
from .result import PruneResult, Verification

__all__ = ["apply_plan"]


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
    narrow = narrowed(groups, state.removed)
    masked, small, inputs = _verified_on(state.masked(), dense, state.data)
    comparison = verify_equal(
        "masked = dense", masked, small, inputs, narrow=narrow, progress=progress
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
        network=dense,
        plan=replace(plan, provenance=provenance),
        verification=verification,
        repairs=records,
        history=state.history,
    )
    if not sparse:
        return result
    full = state.expanded(dense)
    first, second, inputs = _verified_on(full, dense, state.data)
    verify_equal("sparse = dense", first, second, inputs, narrow=narrow, progress=progress)
    return replace(result, network=full)


def _verified_on(
    first: Network, second: Network, data: Dataset | None
) -> tuple[Network, Network, Dataset]:
    """Return two networks and what they run on: the user's data, or noise at a small input."""
    return with_noise(first, second) if data is None else (first, second, data)
