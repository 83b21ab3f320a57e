"""Recalibration: batch normalisations get the statistics that fit what they read now.

In the order of the graph, mean and variance of each batch normalisation are set anew from what it
reads in the pruned network, over samples and positions, where the normalisations before it are
recalibrated already. Where μ, v are the stored statistics, m, s² what these samples have in the
original and m′, s′² in the pruned network,

    v′ + ε = (v + ε) s′² / s²,        μ′ = m′ − (m − μ) √((v′ + ε) / (v + ε))

gives each channel behind the normalisation the mean and the variance that it has in the original.
For samples that are like the training data (m = μ, s² = v) that is μ′ = m′ and v′ = s′², up to ε:
the plain re-estimation of Li, Wu, Su, Wang, Pang, EagleEye: Fast Sub-net Evaluation for Efficient
Neural Network Pruning, 2020. With few samples it is better (docs/quality.md), since their chance
deviations are in both networks and cancel. Source of the form relative to a reference: Jordan,
Sedghi, Saukh, Entezari, Neyshabur, REPAIR: REnormalizing Permuted Activations for Interpolation
Repair, 2023.

How a file stores the statistics (multiplied by a factor, with an epsilon outside the root) is the
business of the format's layer, which undoes that when it writes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.operators import Array
from .activation_cache import ActivationCache, first_batches
from .affected import affected, stored_alone
from .registry import repair
from .targets import BATCH_NORM_EPSILON

__all__ = ["SILENT_VARIANCE", "recalibrate"]

SILENT_VARIANCE = 1e-2
"""A channel whose variance on these samples is up to this part of what it should be keeps its
variance: they do not excite it, and dividing by so little would blow up what others put in."""


@repair("recalibrate", summary="batch-norm statistics, set anew layer by layer", source="Li 2020")
def recalibrate(state: PruningState, network: Network, progress: Progress = silent) -> Network:
    """Return the network with statistics for what its batch normalisations read now.

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
            (stored[0], stored[1]), (wanted[0][kept], wanted[1][kept]), found, _epsilon(node)
        )
        tensors[names[0]] = mean.astype(np.float32)
        tensors[names[1]] = variance.astype(np.float32)
    return rebuild(network, tensors=tensors)


Statistics = tuple[Array, Array]
"""Mean and variance of every channel, float64."""


def _matched(
    stored: Statistics, wanted: Statistics, found: Statistics, epsilon: float
) -> Statistics:
    """Return the statistics with which `found` comes out as `wanted` does with the stored ones."""
    believed = (wanted[1] > SILENT_VARIANCE * stored[1]) & (found[1] > SILENT_VARIANCE * wanted[1])
    ratio = found[1] / np.where(believed, wanted[1], 1.0)
    ratio = np.where(believed, ratio, 1.0)
    variance = np.maximum((stored[1] + epsilon) * ratio - epsilon, 0.0)
    stretch = np.sqrt((variance + epsilon) / (stored[1] + epsilon))
    return found[0] - (wanted[0] - stored[0]) * stretch, variance


def _epsilon(node: ir.Node) -> float:
    given = node.attributes.get("epsilon")
    return given.as_float() if given is not None else BATCH_NORM_EPSILON


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
        # Each map is summed in float32, which is exact enough for one, and all maps in float64.
        squares += np.einsum("nci,nci->nc", around, around).sum(axis=0, dtype=np.float64)
    return mean, squares / count
