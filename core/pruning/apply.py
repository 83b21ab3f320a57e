"""Applying a plan: masked and dense networks, the verification that they agree, and repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..coupling import find_groups
from ..coupling.groups import Groups
from ..data import Dataset
from ..data.arrays import AnyData, as_dataset
from ..data.calibration import Calibration
from ..data.stated import remembered
from ..engine.threads import within_cores
from ..errors import PlanError
from ..ir.network import Network, layer_of
from ..ir.windows import loosened, windows
from ..plan.blocks import blocks_left, without_blocks
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.plan import Plan, removed_units
from ..plan.state import PruningState
from ..progress import Progress, inside, silent
from ..repair import Repairs, find_repairs, repaired
from ..verify.equivalence import verify_equal
from ..verify.small_input import with_noise
from ..verify.stable_cuts import compare_pieces, hidden_in_both, narrowed
from .companions import cut_companions, forgotten, masked_companions, uncompensated
from .complete import complete_plan
from .dropping import Stage, drop_blocks
from .options import AUTOMATIC
from .result import Inexact, PruneResult, Verification

__all__ = ["apply_plan", "check_sparse", "planned", "with_stage"]


@within_cores()
def apply_plan(
    network: Network,
    plan: Plan,
    *,
    groups: Groups | None = None,
    state: PruningState | None = None,
    data: AnyData | None = None,
    criterion: str = AUTOMATIC,
    repair: Repairs = "auto",
    sparse: bool = False,
    progress: Progress = silent,
) -> PruneResult:
    """Remove the blocks and channels of a plan, verify that dense equals masked, and repair.

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
    data = as_dataset(data, network)
    repairs = find_repairs(repair, data=data is not None)
    if blocks := blocks_left(network, plan):
        stage = drop_blocks(network, blocks, data=data, repair=repair, progress=progress)
        result = apply_plan(
            stage.network, replace(plan, dropped=None), data=data, criterion=criterion,
            repair=repair, sparse=sparse, progress=progress,
        )  # fmt: skip
        return with_stage(result, stage, result.plan.provenance)
    network, groups = planned(network, plan, groups)
    if sparse:
        check_sparse(network)
    groups = groups or find_groups(network)
    if plan.open:
        plan, state = complete_plan(
            network, plan, groups, criterion=criterion, data=data,
            progress=inside(progress, "choosing channels"),
        )  # fmt: skip
    if state is None:
        state = PruningState.start(network, groups).after(removed_units(plan, groups))
    state = replace(state, data=Calibration(data) if data is not None else None)
    dense = state.dense()
    narrow = narrowed(groups, state.removed)
    masked, small, inputs = _verified_on(state.masked(), dense, state.data)
    verifying = inside(progress, "verifying")
    comparison = verify_equal(
        "masked = dense", masked, small, inputs, narrow=narrow, progress=verifying
    )
    verification = Verification(
        difference=float(f"{comparison.worst.relative:.3g}"),
        inputs=inputs.name,
        samples=comparison.samples,
    )
    inexact = _inexact(state, dense, verifying)
    dense, records = (
        repaired(state, dense, repairs, progress=inside(progress, "repairing"))
        if repairs and state.removed.any()
        else (dense, ())
    )
    earlier = {name: value for name, value in plan.provenance.items() if name != "repair"}
    provenance = {**earlier, **remembered(data), "proof": verification.to_data()}
    if inexact is not None:
        provenance |= {"lrn": "inexact", "not_exact": inexact.to_data()}
    if records:
        provenance["repair"] = [record.to_data() for record in records]
    result = PruneResult(
        network=replace(dense, companions=cut_companions(state, dense, progress=progress)),
        plan=replace(plan, provenance=provenance),
        verification=verification,
        repairs=records,
        history=state.history,
        notes=(
            *_below_floor(plan),
            *([inexact.note] if inexact is not None else []),
            *forgotten(plan, network),
            *uncompensated(state),
        ),
    )
    if not sparse:
        return result
    full = state.expanded(dense)
    first, second, inputs = _verified_on(full, dense, state.data)
    verify_equal("sparse = dense", first, second, inputs, narrow=narrow, progress=progress)
    full = replace(full, companions=masked_companions(state, full))
    return replace(result, network=full, dense=dense)


def with_stage(
    result: PruneResult,
    stage: Stage,
    provenance: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> PruneResult:
    """Return the result of pruning channels with the blocks that left before them.

    Args:
        result: what became of the network without the blocks.
        stage: that network, and the blocks.
        provenance: of the plan.
        notes: what the user should know of the blocks.
    """
    provenance = {name: value for name, value in provenance.items() if name != "block_repair"}
    if stage.repairs:
        provenance["block_repair"] = [record.to_data() for record in stage.repairs]
    return replace(
        result,
        plan=replace(result.plan, dropped=stage.blocks, provenance=provenance),
        repairs=(*stage.repairs, *result.repairs),
        notes=(*notes, *result.notes),
    )


def _verified_on(
    first: Network, second: Network, data: Dataset | None
) -> tuple[Network, Network, Dataset]:
    """Return two networks and what they run on: the user's data, or noise at a small input."""
    return with_noise(first, second) if data is None else (first, second, data)


def check_sparse(network: Network) -> None:
    """Raise if a network with zeros in place of channels cannot equal the one without them.

    Raises:
        PlanError: channels may be removed through LRN, which would sum over the zeros.
    """
    if any(window.free for _, _, window in windows(network)):
        raise PlanError(
            "a network with zeros computes another LRN than the dense one",
            hint="leave --lrn inexact out, or fine-tune the dense network",
            option="sparse",
        )


def planned(
    network: Network, plan: Plan, groups: Groups | None = None
) -> tuple[Network, Groups | None]:
    """Return the network whose channels a plan removes, and its groups where they are still those.

    Args:
        network: the network that the plan was made for.
        plan: it remembers whether channels were removed through LRN, and which blocks left.
        groups: groups of the network where they are known.
    """
    found = without_blocks(network, plan)
    if found is not network:
        network, groups = found, None
    if plan.provenance.get("lrn") != "inexact":
        return network, groups
    found = loosened(network)
    return found, groups if found is network else None


def _inexact(state: PruningState, dense: Network, progress: Progress) -> Inexact | None:
    """Measure what it changes that windows close up over removed channels; None where none does."""
    surviving = state.groups.surviving(state.removed)
    through = []
    for node, name, _ in windows(state.original):
        labels = next((use.labels[0] for use in state.groups.uses if use.parameter == name), None)
        if labels is not None and not surviving[labels].all():
            layer = layer_of(node)
            through.append(state.original.layers[layer].name if layer is not None else name)
    if not through:
        return None
    first, second, inputs = _verified_on(state.masked(close_up=False), dense, state.data)
    narrow = narrowed(state.groups, state.removed)
    inner = hidden_in_both(first, second, narrow)
    found = compare_pieces(first, second, inputs, narrow, inner=inner, progress=progress)
    return Inexact(
        through=tuple(through),
        value=found.worst.a,
        difference=float(f"{found.worst.relative:.3g}"),
        inputs=inputs.name,
        samples=found.samples,
    )


def _below_floor(plan: Plan) -> tuple[str, ...]:
    """Return which groups keep fewer channels than their floor, in words.

    No choice of the program goes there: somebody said so in the plan, or by the rate of a layer.
    """
    limits = plan.provenance.get("limits")
    fraction = limits.get("min_keep") if isinstance(limits, dict) else None
    least = Limits(min_keep=fraction) if isinstance(fraction, int | float) else USUAL_LIMITS
    below = [
        f"'{entry.name}' {entry.kept} of {entry.channels}"
        for entry in plan.groups
        if entry.kept < least.floor(entry.channels)
    ]
    if not below:
        return ()
    more = f" and {len(below) - 3} more" if len(below) > 3 else ""
    return (f"as asked, fewer channels stay than usual: {', '.join(below[:3])}{more}",)
