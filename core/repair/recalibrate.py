"""Recalibration: batch normalisations get statistics that fit their inputs in the pruned network.

The batch normalisations are recalibrated in the order of the graph, from statistics of their inputs
over samples and positions. Let μ, v be the stored mean and variance, m, s² those of the samples in
the original, and m′, s′² those in the pruned network, with the earlier normalisations recalibrated.
Then

    v′ + ε = (v + ε) s′² / s²,        μ′ = m′ − (m − μ) √((v′ + ε) / (v + ε))

gives each channel behind the normalisation the mean and the variance that it has in the original.
For samples like the training data (m = μ, s² = v) this is μ′ = m′ and v′ = s′², up to ε: the plain
re-estimation of Li, Wu, Su, Wang, Pang, EagleEye: Fast Sub-net Evaluation for Efficient Neural
Network Pruning, 2020. With few samples, the relative form is better (docs/quality.md): their random
deviations are the same in both networks and cancel. Source of the relative form: Jordan, Sedghi,
Saukh, Entezari, Neyshabur, REPAIR: REnormalizing Permuted Activations for Interpolation Repair,
2023.

A file may store the statistics in another form (multiplied by a factor, with an epsilon outside the
root). The format's layer converts them when it writes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..ir.weighted import epsilon_of
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.operators import Array
from .activation_cache import ActivationCache, first_batches
from .affected import affected, stored_alone
from .registry import repair

__all__ = ["SILENT_VARIANCE", "recalibrate"]

SILENT_VARIANCE = 1e-2
"""A channel keeps its variance if that of the samples is at most this fraction of the expected one:
the samples do not excite the channel, and a division by so small a number would amplify others."""


@repair("recalibrate", summary="batch-norm statistics, set anew layer by layer", source="Li 2020")
def recalibrate(state: PruningState, network: Network, progress: Progress = silent) -> Network:
    """Return the network with recalibrated batch normalisations.

    Raises:
        DataError: the data does not fit the networks.
    """
    changed = affected(state.original, network)
    nodes = [node for node in network.graph if _stored(network, node) and _x(node) in changed]
    if not nodes:
        return network
    assert state.data is not None
    surviving = state.groups.surviving(state.removed)
    labels = {use.parameter: use.labels[0].ravel() for use in state.groups.uses}
    batches = first_batches(state.data, state.original, network)
    before, now = ActivationCache(state.original, batches), ActivationCache(network, batches)
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for node in tracked(nodes, "recalibrate", len(nodes), progress):
        names = [str(value.name) for value in node.inputs[3:5] if value is not None]
        kept = surviving[labels[names[0]]]
        stored = [state.original.array(name).astype(np.float64)[kept] for name in names]
        wanted = _statistics(before.advance(state.original, _x(node)))
        found = _statistics(now.advance(network, _x(node), tensors))
        mean, variance = _matched(
            (stored[0], stored[1]), (wanted[0][kept], wanted[1][kept]), found, epsilon_of(node)
        )
        tensors[names[0]] = mean.astype(np.float32)
        tensors[names[1]] = variance.astype(np.float32)
    return rebuild(network, tensors=tensors)


Statistics = tuple[Array, Array]
"""Mean and variance of every channel, float64."""


def _matched(
    stored: Statistics, wanted: Statistics, found: Statistics, epsilon: float
) -> Statistics:
    """Return statistics that normalise `found` as the stored ones normalise `wanted`."""
    believed = (wanted[1] > SILENT_VARIANCE * stored[1]) & (found[1] > SILENT_VARIANCE * wanted[1])
    ratio = found[1] / np.where(believed, wanted[1], 1.0)
    ratio = np.where(believed, ratio, 1.0)
    variance = np.maximum((stored[1] + epsilon) * ratio - epsilon, 0.0)
    stretch = np.sqrt((variance + epsilon) / (stored[1] + epsilon))
    return found[0] - (wanted[0] - stored[0]) * stretch, variance


def _x(node: ir.Node) -> str:
    return str(node.inputs[0].name) if node.inputs[0] is not None else ""


def _stored(network: Network, node: ir.Node) -> bool:
    """Whether a node is a batch normalisation whose statistics are its own blobs."""
    return node.op_type == "BatchNormalization" and all(
        value is not None
        and str(value.name) in network.graph.initializers
        and stored_alone(network, str(value.name))
        for value in node.inputs[3:5]
    )


def _statistics(batches: Sequence[np.ndarray]) -> Statistics:
    """Return mean and variance of every channel (axis 1) over all batches."""
    axes = tuple(axis for axis in range(batches[0].ndim) if axis != 1)
    count = sum(x.size for x in batches) // batches[0].shape[1]
    mean: Array = np.add.reduce([x.sum(axis=axes, dtype=np.float64) for x in batches]) / count
    column = mean.astype(np.float32).reshape([-1 if a == 1 else 1 for a in range(batches[0].ndim)])
    squares: Array = np.zeros_like(mean)
    for x in batches:
        around = (x - column).reshape(*x.shape[:2], -1)
        # The sum of one map is exact enough in float32. The sum over all maps is in float64.
        squares += np.einsum("nci,nci->nc", around, around).sum(axis=0, dtype=np.float64)
    return mean, squares / count
