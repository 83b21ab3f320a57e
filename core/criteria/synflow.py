"""Synaptic flow: Tanaka, Kunin, Yamins, Ganguli, Pruning neural networks without any data by
iteratively conserving synaptic flow, NeurIPS 2020 (arXiv 2006.05467).

    flow(unit) = Σ |w · ∂R/∂w| over the weights that produce it

where R is the sum of the outputs for an input of ones, in the network of absolute weights
(:mod:`.flow`). Every layer passes on the whole flow, so a layer with few units has much in each,
and no layer is emptied before the others. That holds only if flows are computed again while units
leave. So the criterion removes units in :data:`STEPS` steps, over all layers at once, down to
:data:`LEAST` of them; after step k, LEAST^(k/STEPS) are left. The score of a unit is its place in
the order of removal, above 0 and up to 1.

The code of the authors applies |·| to the statistics of batch normalisations as well. Means
subtracted from absolute values can then silence a whole layer. Here a normalisation is a factor of
|γ|/σ, and shifts are dropped, as in the theory of the paper.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from .flow import Flow
from .registry import ScoreContext, Scores, criterion

__all__ = ["LEAST", "STEPS", "removal_order"]

STEPS = 100
"""Steps of the paper."""

LEAST = 0.01
"""The part of the units that is left after the last step; they are ordered by their last flow."""

DIGITS = 9
"""Decimals of the logarithm of a flow that count."""


@criterion(
    "synflow",
    summary=f"synaptic flow through absolute weights, in {STEPS} steps",
    source="Tanaka et al., NeurIPS 2020",
    cost=f"{STEPS} passes of one sample through NumPy, forward and back",
    comparable=True,
)
def synflow(context: ScoreContext) -> Scores:
    """Return the place of each unit in the order of removal, above 0 and up to 1.

    Raises:
        PlanError: the weights multiply to more than numbers can hold.
    """
    groups = context.groups
    scores = np.ones(groups.unit_count)
    order = removal_order(Flow(context.network, groups), groups)
    scores[order] = np.arange(1, len(order) + 1) / max(len(order), 1)
    return scores


def removal_order(
    flow: Flow, groups: Groups, steps: int = STEPS, least: float = LEAST
) -> npt.NDArray[np.int64]:
    """Return the units that can be removed, in the order in which they leave.

    Args:
        flow: the network of absolute weights.
        groups: its groups.
        steps: how often flows are computed; 1 for all units by their first flow.
        least: the part of the units that is left after the last step.
    """
    left = np.array(
        sorted(unit for group in groups.groups for unit in group.removable()), dtype=np.int64
    )
    kept = UnitMask(np.ones(groups.unit_count, dtype=np.bool_))
    whole, order = len(left), []
    for step in range(1, steps + 1):
        stay = 0 if steps == 1 else int(whole * least ** (step / steps))
        gone = len(left) - stay
        if gone <= 0:
            continue
        ranked = _ranked(left, flow.scores(kept))
        order.append(ranked[:gone])
        left = np.sort(ranked[gone:])
        kept[order[-1]] = False
    return np.concatenate([*order, _ranked(left, flow.scores(kept))])


def _ranked(units: npt.NDArray[np.int64], flows: Scores) -> npt.NDArray[np.int64]:
    """Return units by rising flow.

    Layers of one unit all have the same flow. Only rounding would tell them apart, so the last
    digits do not count; ties stay in their order.
    """
    with np.errstate(divide="ignore"):
        sizes = np.round(np.log(flows[units]), DIGITS)
    return units[np.argsort(sizes, kind="stable")]
