"""Bias correction: every channel gets the mean output that it has in the original.

The layers are corrected in the order of the graph. The shift of a layer is its bias, or the mean of
the batch normalisation behind it. It changes by the difference of the layer's mean outputs in the
original and in the pruned network, over samples and positions. Earlier layers are corrected by
then.

Source: Nagel, van Baalen, Blankevoort, Welling, Data-Free Quantization through Weight Equalization
and Bias Correction, 2019 (the empirical form).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.operators import Array, Operator
from .activation_cache import ActivationCache, first_batches
from .affected import moved, repairable, shifts_alone
from .registry import repair

__all__ = ["correct_bias"]


@repair("bias", summary="shifts, so that mean outputs are the original's", source="Nagel 2019")
def correct_bias(state: PruningState, network: Network, progress: Progress = silent) -> Network:
    """Return the network with shifts that keep every layer's mean output.

    Raises:
        DataError: the data does not fit the networks.
    """
    layers = [
        layer for layer in repairable(state, network) if shifts_alone(network, layer.operator)
    ]
    if not layers:
        return network
    assert state.data is not None
    batches = first_batches(state.data, state.original, network)
    before, now = ActivationCache(state.original, batches), ActivationCache(network, batches)
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    corrected = network
    for layer in tracked(layers, "bias", len(layers), progress):
        operator = layer.operator
        wanted = _mean(operator, before.advance(state.original, operator.y))
        wanted -= _subtracted(state.original, operator)
        outputs = now.advance(corrected, operator.y)
        change = wanted[layer.kept] - _mean(operator, outputs) + _subtracted(network, operator)
        tensors.update(moved(network, operator, change))
        corrected = rebuild(network, tensors=tensors)
        if operator.shift is not None and operator.shift.sign > 0:
            shape = _broadcast(operator, change.astype(np.float32))
            now.replace(operator.y, [y + shape for y in outputs])
    return corrected


def _mean(operator: Operator, outputs: Sequence[np.ndarray]) -> Array:
    """Return the mean of each output channel over all batches, [outputs]."""
    channel = 1 if operator.op_type == "Conv" else outputs[0].ndim - 1
    axes = tuple(axis for axis in range(outputs[0].ndim) if axis != channel)
    count = sum(y.size // y.shape[channel] for y in outputs)
    sums = [y.sum(axis=axes, dtype=np.float64) for y in outputs]
    mean: Array = np.add.reduce(sums) / count
    return mean


def _subtracted(network: Network, operator: Operator) -> Array:
    """Return the mean that a normalisation subtracts from the output; 0 if the shift is a bias."""
    assert operator.shift is not None
    if operator.shift.sign > 0:
        return np.zeros(())
    mean: Array = network.array(operator.shift.parameter).astype(np.float64)
    return mean


def _broadcast(operator: Operator, change: Array) -> Array:
    """Return numbers of channels in a shape that broadcasts over an output."""
    taps = len(operator.kernel)
    return change.reshape(-1, *(1,) * taps) if operator.op_type == "Conv" else change
