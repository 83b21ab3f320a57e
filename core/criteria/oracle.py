"""What the loss really changes by without each unit: the oracle that other criteria approximate.

`oracle`: |L(without the unit) − L|, as Molchanov et al., CVPR 2019, rank by it; `oracle-signed`:
L(without the unit) − L, so that units without which the loss is smaller leave first. One unit is
left out at a time, with all others in place and unchanged. L is the mean over samples, computed
exactly; :mod:`.output_loss` says which loss.
"""

from __future__ import annotations

import numpy as np

from ..data.calibration import CALIBRATION_SAMPLES
from .registry import ScoreContext, Scores, criterion
from .removal import absences

COST = (
    "a pass for each channel, through the layers behind it, over up to "
    f"{CALIBRATION_SAMPLES:,} samples"
)


@criterion(
    "oracle",
    summary="size of the loss change without the channel, measured",
    source="Molchanov et al., CVPR 2019",
    needs_data=True,
    uses_labels=True,
    cost=COST,
    comparable=True,
)
def oracle(context: ScoreContext) -> Scores:
    """Return the size of the loss change without each unit.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    return np.abs(loss_changes(context))


@criterion(
    "oracle-signed",
    summary="loss change without the channel, measured; gains leave first",
    source="Molchanov et al., ICLR 2017",
    needs_data=True,
    uses_labels=True,
    cost=COST,
    comparable=True,
)
def loss_changes(context: ScoreContext) -> Scores:
    """Return the loss change without each unit; negative where the loss is smaller without it.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    found = np.zeros(context.groups.unit_count)
    total = sum(len(group.removable()) for group in context.groups.groups)
    done = 0

    def advance(passes: int) -> None:
        nonlocal done
        done += passes
        context.progress("oracle", min(done, total), total)

    advance(0)
    for absent in absences(context, CALIBRATION_SAMPLES):
        found[list(absent.units)] = absent.changes(np.eye(len(absent.units), dtype=bool), advance)
    context.progress("oracle", total, total)
    return found
