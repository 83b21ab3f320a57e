"""Surgery in passes: a part of the rate leaves, the rest is refitted, and all is measured anew.

What a channel's removal costs is known for the network as it is. The further pruning gets, the less
these figures hold, so after every :data:`STRIDE` of the cost the moments and the disturbances are
measured again on what is left. In between, every remaining layer is refitted to the original's
outputs, so that errors do not add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .allocation import NO_LIMITS, Limits
from .allocation.overrides import Quotas, banks
from .channels import Groups
from .cost import Costs
from .data import Dataset
from .ir.network import Network
from .ir.rebuild import changed_tensors, rebuild
from .progress import Progress, silent
from .repair.refit import refit
from .surgery import find_operators, gather_grams, operate
from .surgery.calibration import Calibration
from .surgery.consumers import readers
from .surgery.disturbance import measure_disturbances
from .transform import expand, shrink

__all__ = ["STRIDE", "surgery_in_passes"]

STRIDE = 0.15
"""Part of the original's cost that leaves in one pass at most. Measured on ResNet-20 and a
MobileNetV2 detector: half of it costs more time and is not better, all at once is far worse."""

Tensors = Mapping[str, npt.NDArray[np.generic]]


def surgery_in_passes(
    network: Network,
    groups: Groups,
    data: Dataset,
    *,
    rate: float,
    limits: Limits = NO_LIMITS,
    costs: Costs | None = None,
    quotas: Quotas = MappingProxyType({}),
    first: Sequence[int] = (),
    progress: Progress = silent,
) -> tuple[npt.NDArray[np.bool_], Tensors]:
    """Remove channels by surgery until a fraction of the cost is gone.

    Args:
        network: the network.
        groups: its groups; groups without banks stay.
        data: inputs to calibrate on; labels are not used.
        rate: fraction of the cost to remove.
        limits: how many channels a set may lose.
        costs: what the rate is a fraction of; None for operations.
        quotas: bank → channels that each of its cells loses, no more and no less.
        first: classes that leave before all others.
        progress: told how far the work is.

    Returns:
        a mask over classes [classes], and initializer → compensated values at full size, with zeros
        where earlier passes removed something.

    Raises:
        DataError: the data does not fit the network.
    """
    costs = costs or Costs(network, groups)
    calibration = Calibration(data)
    operators = find_operators(network)
    number = _passes(groups, costs, rate, quotas)
    gone = np.zeros(groups.number, dtype=np.bool_)
    full = network
    for turn in range(1, number + 1):
        grams = gather_grams(full, operators, calibration, progress=progress)
        weights = measure_disturbances(
            full, readers(full, groups, operators, gone), calibration, progress=progress
        )
        surgery = operate(
            full,
            groups,
            operators,
            grams,
            weights,
            rate=rate * turn / number,
            gone=gone,
            limits=limits,
            costs=costs,
            quotas=_part(quotas, turn, number) if rate == 0 else quotas,
            first=[channel for channel in first if not gone[channel]],
            progress=progress,
        )
        gone = surgery.removed
        full = rebuild(full, tensors=surgery.tensors)
        if turn < number:
            dense = shrink(full, groups, gone)
            dense = refit(network, dense, groups, gone, calibration, progress=progress)
            full = expand(network, dense, groups, gone)
    return gone, changed_tensors(network, full)


def _passes(groups: Groups, costs: Costs, rate: float, quotas: Quotas) -> int:
    """Return how many passes a rate takes; without one, what the quotas remove."""
    share = rate
    if not rate:
        leaving = np.zeros(groups.number, dtype=np.bool_)
        for number, (index, bank) in enumerate(banks(groups)):
            for cell in bank:
                places = list(cell)[: quotas.get(number, 0)]
                leaving[[groups.groups[index].channels[place] for place in places]] = True
        share = 1.0 - costs.total(leaving) / costs.total() if costs.total() else 0.0
    return max(1, int(np.ceil(share / STRIDE - 1e-9)))


def _part(quotas: Quotas, turn: int, number: int) -> Quotas:
    """Return what of the quotas is gone after a pass."""
    return {bank: count * turn // number for bank, count in quotas.items()}
