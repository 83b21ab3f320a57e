"""Absorption: what removed channels gave their readers on average moves into the readers' shift.

A layer y = W x + b that loses the inputs R loses W_R x_R. Its mean can be kept:

    b += mean(W_R x_R)

over the samples and the output positions. For a channel that is constant (a filter of zeros leaves
its bias, a batch normalisation with γ = 0 its β) this is no approximation, since the mean is the
value. The exception is a border: where a kernel reads padding beside the constant, the lost
contribution differs from that in the interior, and no bias can give both; the mean over all
positions is nearest to it in the least squares sense. Fully connected, 1×1 and unpadded layers have
no such border.

Without data only channels that the parameters alone show to be constant are absorbed; with data the
mean of every removed channel is.

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
    """Return the network with what it lost on average added to its shifts.

    Raises:
        DataError: the data does not fit the network.
    """
    lost = _lost_inputs(state, network)
    if not lost:
        return network
    data = state.data or SyntheticDataset(state.full, samples=1)
    names = list(dict.fromkeys(layer.operator.x for layer, _ in lost))
    means = _means(state.full, names, data, progress)
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
    """Return the layers at full size that lose inputs with weight, and masks over these inputs."""
    surviving = state.groups.surviving(state.removed)
    constant = constant_channels(state.full, state.groups) if state.data is None else {}
    whole = {operator.key: operator for operator in find_operators(state.full)}
    found = []
    for layer in repairable(state, network):
        operator = whole[layer.operator.key]
        if not shifts_alone(network, operator) or operator.depthwise(state.full):
            continue
        gone = ~surviving[state.groups.values[operator.x].vector]
        if state.data is None:
            gone &= constant[operator.x]
        if gone.any() and _weighed(state.full, operator, gone):
            found.append((Layer(operator, layer.kept), gone))
    return found


def _weighed(network: Network, operator: Operator, channels: npt.NDArray[np.bool_]) -> bool:
    """Whether any weight reads the channels: OBS, for one, has taken those weights away."""
    matrix = operator.matrix(network.array(operator.weight))
    return bool((matrix * _columns(matrix, channels)).any())


def _columns(matrix: Array, channels: npt.NDArray[np.bool_]) -> Array:
    """Return a mask over input channels as one over columns: [groups, 1, inputs · taps]."""
    parts = channels.reshape(len(matrix), 1, -1)
    return np.repeat(parts, matrix.shape[2] // parts.shape[2], axis=2)


def _means(
    network: Network, names: Sequence[str], data: Dataset, progress: Progress
) -> dict[str, Array]:
    """Return the mean of values over the samples, axis 0 of length 1, float64."""
    session = Session(network, fetch=names)
    sums: dict[str, Array] = {}
    counts = dict.fromkeys(names, 0)
    for batch in streamed(data, "means", progress):
        for name, x in session.run(batch.inputs).items():
            total = x.sum(axis=0, keepdims=True, dtype=np.float64)
            sums[name] = sums[name] + total if name in sums else total
            counts[name] += len(x)
    return {name: total / counts[name] for name, total in sums.items()}
