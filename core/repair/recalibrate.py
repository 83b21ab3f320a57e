"""Recalibration: batch normalisations get the statistics of what they read in the pruned network.

In the order of the graph, the mean and the variance of each batch normalisation become those of its
input over samples and positions, which earlier normalisations, already recalibrated, have shaped.
How a file stores them (multiplied by a factor, with an epsilon outside the root) is the business of
the format's layer, which undoes that when it writes.

Source: Li, Wu, Su, Wang, Pang, EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
Pruning, 2020 (adaptive batch normalisation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..progress import tracked
from ..surgery.operators import Array
from .registry import Job, repair
from .touched import stored_alone, touched
from .walk import Walk, first_batches

__all__ = ["SILENT", "recalibrate"]

SILENT = 1e-2
"""A variance up to this part of the stored one is not believed: these samples do not excite the
channel, and dividing by so little would blow up what others put in."""


@repair("recalibrate", summary="batch-norm statistics of the pruned network", source="Li 2020")
def recalibrate(job: Job, network: Network) -> Network:
    """Return the network with the statistics that its batch normalisations see.

    Raises:
        DataError: the data does not fit the network.
    """
    changed = touched(job.original, network)
    nodes = [node for node in network.graph if _stored(network, node) and _x(node) in changed]
    if not nodes:
        return network
    assert job.data is not None
    walk = Walk(network, first_batches(job.data, job.original, network))
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    recalibrated = network
    for node in tracked(nodes, "recalibrate", len(nodes), job.progress):
        mean, variance = _statistics(walk.advance(recalibrated, _x(node)))
        names = [str(value.name) for value in node.inputs[3:5] if value is not None]
        old = network.array(names[1])
        believed = variance > SILENT * old
        tensors[names[0]] = mean.astype(np.float32)
        tensors[names[1]] = np.where(believed, variance, old).astype(np.float32)
        recalibrated = rebuild(network, tensors=tensors)
    return recalibrated


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


def _statistics(batches: Sequence[np.ndarray]) -> tuple[Array, Array]:
    """Return mean and variance of every channel (axis 1) over all batches, float64."""
    axes = tuple(axis for axis in range(batches[0].ndim) if axis != 1)
    count = sum(x.size for x in batches) // batches[0].shape[1]
    mean: Array = sum(x.sum(axis=axes, dtype=np.float64) for x in batches) / count
    column = mean.reshape([-1 if axis == 1 else 1 for axis in range(batches[0].ndim)])
    squares: Array = sum(np.square(x - column).sum(axis=axes) for x in batches) / count
    return mean, squares
