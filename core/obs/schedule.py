"""Surgery in passes: a part of the rate leaves, the rest is refitted, and all is measured anew.

What a channel's removal costs is known for the network as it is. The further pruning gets, the less
these figures hold, so after every :data:`STRIDE` of the cost the moments and the disturbances are
measured again on what is left. In between, every remaining layer is refitted to the original's
outputs, so that errors do not add up.

The order in which channels leave can be followed to a rate, or for as long as the network bears it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..allocation.overrides import Quotas, partitions
from ..cost.network_cost import Costs
from ..coupling import Groups
from ..coupling.edit import expand, shrink
from ..data import Dataset
from ..data.calibration import Calibration
from ..evaluation.loss import LossMeter
from ..ir.network import Network
from ..ir.rebuild import changed_tensors, rebuild
from ..plan.limits import NO_LIMITS, Limits
from ..progress import Progress, silent
from ..repair.refit import refit
from ..statistics.moments import InputMoments, InputSample, gather_moments
from ..statistics.operators import Operator, find_operators
from .consumers import readers
from .output_sensitivity import DISTURBANCE_SIZE, measure_output_sensitivities
from .removal_error import find_removal_errors
from .select import Removal, operate

__all__ = ["HALVINGS", "STRIDE", "surgery_in_passes", "surgery_to_loss"]

STRIDE = 0.15
"""Part of the original's cost that leaves in one pass at most. Measured on ResNet-20 and a
MobileNetV2 detector: half of it costs more time and is not better, all at once is far worse."""

HALVINGS = 4
"""Times that the pass is halved in which a network came to lose too much."""

Tensors = Mapping[str, npt.NDArray[np.generic]]

_Moments = tuple[Mapping[str, InputMoments | InputSample], Mapping[str, float]]


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
        groups: its groups; groups without partitions stay.
        data: inputs to calibrate on; labels are not used.
        rate: fraction of the cost to remove.
        limits: how many channels a set may lose.
        costs: what the rate is a fraction of; None for operations.
        quotas: partition → channels that each of its shares loses, no more and no less.
        first: units that leave before all others.
        progress: told how far the work is.

    Returns:
        a mask over units [units], and initializer → compensated values at full size, with zeros
        where earlier passes removed something.

    Raises:
        DataError: the data does not fit the network.
    """
    calibration, operators = Calibration(data), find_operators(network)
    costs = costs or Costs(network, groups)
    number = _passes(groups, costs, rate, quotas)
    state = _State(network, np.zeros(groups.unit_count, dtype=np.bool_))
    for turn in range(1, number + 1):
        moments = _measured(state, groups, operators, calibration, progress)
        surgery = operate(
            state.full,
            groups,
            operators,
            *moments,
            rate=rate * turn / number,
            gone=state.gone,
            limits=limits,
            costs=costs,
            quotas=_part(quotas, turn, number) if rate == 0 else quotas,
            first=[unit for unit in first if not state.gone[unit]],
            progress=progress,
        )
        state = state.after(surgery)
        if turn < number:
            dense = state.refitted(network, groups, calibration, progress)
            state = _State(expand(network, dense, groups, state.gone), state.gone)
    return state.gone, changed_tensors(network, state.full)


def surgery_to_loss(
    network: Network,
    groups: Groups,
    data: Dataset,
    *,
    threshold: float,
    limits: Limits = NO_LIMITS,
    costs: Costs | None = None,
    quotas: Quotas = MappingProxyType({}),
    progress: Progress = silent,
) -> tuple[npt.NDArray[np.bool_], Tensors]:
    """Remove channels by surgery for as long as the refitted network loses no more than allowed.

    The loss is measured after every pass; in the pass that goes too far, the place is found by
    bisection, to :data:`STRIDE` / 2^:data:`HALVINGS` of the cost. That takes losses to rise with
    what leaves; of few samples they may come down again further out.

    Args:
        network: as for :func:`surgery_in_passes`, like all that is not named here.
        groups: its groups.
        data: inputs to calibrate on and to measure with; labels are used where there are some.
        threshold: the loss of the whole network, in the unit of :unit:`.loss.LossMeter`.
        limits: how many channels a set may lose.
        costs: what leaves is counted in.
        quotas: what leaves whatever is lost.
        progress: told how far the work is.

    Returns:
        as :func:`surgery_in_passes`; nothing leaves where the first step costs too much.

    Raises:
        DataError: the data does not fit the network.
    """
    calibration, operators = Calibration(data), find_operators(network)
    costs = costs or Costs(network, groups)
    meter = LossMeter.of(network, data, progress=progress)

    def tried(start: _State, moments: _Moments, rate: float) -> tuple[_State, Network, bool]:
        """Return what a rate leaves, the same refitted, and whether that loses little enough."""
        surgery = operate(
            start.full, groups, operators, *moments, rate=rate, gone=start.gone,
            limits=limits, costs=costs, quotas=quotas, progress=progress,
        )  # fmt: skip
        found = start.after(surgery)
        dense = found.refitted(network, groups, calibration, progress)
        loss = meter.loss(meter.value(dense, progress=progress))
        return found, dense, loss <= threshold

    state = best = _State(network, np.zeros(groups.unit_count, dtype=np.bool_))
    low = 0.0
    while True:
        moments = _measured(state, groups, operators, calibration, progress)
        found, dense, bears = tried(state, moments, low + STRIDE)
        if not bears or np.array_equal(found.gone, best.gone):
            break
        best, low = found, low + STRIDE
        state = _State(expand(network, dense, groups, best.gone), best.gone)
    high = low + STRIDE
    for _ in range(0 if bears else HALVINGS):
        middle = (low + high) / 2
        found, _, bears = tried(state, moments, middle)
        if bears:
            best, low = found, middle
        else:
            high = middle
    return best.gone, changed_tensors(network, best.full)


@dataclass(frozen=True, slots=True)
class _State:
    """Where a removal stands: the network at full size, and a mask over the units that left."""

    full: Network
    gone: npt.NDArray[np.bool_]

    def after(self, surgery: Removal) -> _State:
        """Return what a surgery makes of this."""
        return _State(rebuild(self.full, tensors=surgery.tensors), surgery.removed)

    def refitted(
        self, network: Network, groups: Groups, data: Dataset, progress: Progress
    ) -> Network:
        """Return the dense network, fitted to what the original `network` gives."""
        dense = shrink(self.full, groups, self.gone)
        return refit(network, dense, groups, self.gone, data, progress=progress)


def _measured(
    state: _State,
    groups: Groups,
    operators: Sequence[Operator],
    data: Dataset,
    progress: Progress,
) -> _Moments:
    """Return moments and weights of the operators, as :func:`.surgery.operate` reads them."""
    moments = gather_moments(state.full, operators, data, progress=progress)
    read = readers(state.full, groups, operators, state.gone)
    lacking = find_removal_errors(
        state.full, groups, read, moments, state.gone, DISTURBANCE_SIZE**2, progress
    )
    return moments, measure_output_sensitivities(state.full, read, data, lacking, progress=progress)


def _passes(groups: Groups, costs: Costs, rate: float, quotas: Quotas) -> int:
    """Return how many passes a rate takes; without one, what the quotas remove."""
    fraction = rate
    if not rate:
        removed = groups.mask(
            unit
            for number, (index, partition) in enumerate(partitions(groups))
            for share in partition
            for unit in groups.groups[index].members(share[: quotas.get(number, 0)])
        )
        fraction = 1.0 - costs.total(removed) / costs.total() if costs.total() else 0.0
    return max(1, int(np.ceil(fraction / STRIDE - 1e-9)))


def _part(quotas: Quotas, turn: int, number: int) -> Quotas:
    """Return what of the quotas is gone after a pass."""
    return {partition: count * turn // number for partition, count in quotas.items()}
