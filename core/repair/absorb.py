"""Absorption: the mean contribution of removed channels is added to the shifts of their consumers.

A layer y = W x + b that loses the inputs R loses the contribution W_R x_R. Its mean can be kept:

    b += mean(W_R x_R)

over the samples and the output positions. For a constant channel this is exact: a filter of zeros
has its bias as output, a batch normalisation with γ = 0 its β. The exception are borders with
padding: there the lost contribution differs from that in the interior, and no shift gives both. The
mean over all positions is the best shift in the least squares sense. Fully connected, 1×1 and
unpadded layers have no such borders.

Without data, only channels that are constant by the parameters alone are absorbed. With data, all
removed channels are.

Source: Ye, Lu, Lin, Wang, Rethinking the Smaller-Norm-Less-Informative Assumption in Channel
Pruning of Convolution Layers, 2018 (constant channels through batch normalisation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..data import Dataset, SyntheticDataset, streamed
from ..engine.session import Session
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..statistics.operators import Array, Operator, find_operators
from ..verify.small_input import within_memory
from .affected import Layer, moved, repairable, shifts_alone
from .constant import constant_channels
from .registry import repair

__all__ = ["absorb"]


@repair(
    "absorb",
    summary="what removed channels gave on average, into the shifts",
    source="Ye 2018",
    needs_data=False,
)
def absorb(state: PruningState, network: Network, progress: Progress = silent) -> Network:
    """Return the network with the mean of the lost contributions added to its shifts.

    Raises:
        DataError: the data does not fit the network.
    """
    lost = _lost_inputs(state, network)
    if not lost:
        return network
    full = state.full if state.data is not None else within_memory(state.full)[0]
    data = state.data or SyntheticDataset(full, samples=1)
    names = list(dict.fromkeys(layer.operator.x for layer, _ in lost))
    means = _means(full, names, data, progress)
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for layer, channels in lost:
        operator = layer.operator
        x = means[operator.x]
        axis = 1 if operator.op_type == "Conv" else x.ndim - 1
        x = x * channels.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
        weight = operator.matrix(state.full.array(operator.weight).astype(np.float64))
        read = operator.inputs(x, None).mean(axis=1)
        change = np.einsum("goc,gc->go", weight, read).ravel()[layer.kept]
        if change.any():
            tensors.update(moved(network, operator, change))
    return rebuild(network, tensors=tensors) if tensors else network


def _lost_inputs(
    state: PruningState, network: Network
) -> list[tuple[Layer, npt.NDArray[np.bool_]]]:
    """Return the layers at full size that lose contributions, with masks over the lost inputs."""
    surviving = state.groups.surviving(state.removed)
    constant = constant_channels(state.full, state.groups) if state.data is None else {}
    whole = {operator.key: operator for operator in find_operators(state.full)}
    found = []
    for layer in repairable(state, network):
        operator = whole[layer.operator.key]
        if not shifts_alone(network, operator) or operator.depthwise(state.full):
            continue
        lost = ~surviving[state.groups.values[operator.x].vector]
        if state.data is None:
            lost &= constant[operator.x]
        if lost.any() and _has_weights(state.full, operator, lost):
            found.append((Layer(operator, layer.kept), lost))
    return found


def _has_weights(network: Network, operator: Operator, channels: npt.NDArray[np.bool_]) -> bool:
    """Whether a weight of the channels is not 0: OBS sets weights of removed channels to 0."""
    matrix = operator.matrix(network.array(operator.weight))
    return bool((matrix * _columns(matrix, channels)).any())


def _columns(matrix: Array, channels: npt.NDArray[np.bool_]) -> Array:
    """Return a mask over input channels as a mask over columns, [groups, 1, inputs · taps]."""
    parts = channels.reshape(len(matrix), 1, -1)
    return np.repeat(parts, matrix.shape[2] // parts.shape[2], axis=2)


def _means(
    network: Network, names: Sequence[str], data: Dataset, progress: Progress
) -> dict[str, Array]:
    """Return the mean of values over the samples, float64, with axis 0 of length 1."""
    session = Session(network, fetch=names)
    sums: dict[str, Array] = {}
    counts = dict.fromkeys(names, 0)
    for batch in streamed(data, "means", progress):
        for name, x in session.run(batch.inputs).items():
            total = x.sum(axis=0, keepdims=True, dtype=np.float64)
            sums[name] = sums[name] + total if name in sums else total
            counts[name] += len(x)
    return {name: total / counts[name] for name, total in sums.items()}
