"""What a network costs: operations and parameters, also for channels that are not yet removed.

Operations are 2 · multiply-accumulates + bias additions of every convolution and fully connected
layer, for one sample. The vendor's count leaves fully connected layers out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .channels.groups import Groups
from .channels.labels import LabelVector
from .channels.trace import Weighing
from .ir.network import Network, blob_refs

__all__ = ["Costs", "LayerCost", "NetworkCost", "measure_cost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost:
    """Operations (one sample) and stored parameters of one layer; `macs` multiply-accumulates."""

    operations: int = 0
    convolution_operations: int = 0
    parameters: int = 0
    macs: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkCost:
    """Costs of a network, in all and by layer (position in :attr:`Network.layers`)."""

    layers: dict[int, LayerCost]
    operations: int
    convolution_operations: int
    """Operations as the vendor's tools count them: fully connected layers left out."""
    parameters: int


def measure_cost(network: Network, groups: Groups) -> NetworkCost:
    """Count operations and parameters of a network as it stands.

    Args:
        network: the network.
        groups: what :func:`find_groups` found in it.
    """
    operations: dict[int | None, int] = defaultdict(int)
    convolutions: dict[int | None, int] = defaultdict(int)
    parameters: dict[int | None, int] = defaultdict(int)
    macs: dict[int | None, int] = defaultdict(int)
    spatial = {
        str(node.outputs[0].name) for node in network.graph if node.op_type.startswith("Conv")
    }
    costs = Costs(network, groups)
    for weighing in groups.weighings:
        count = costs.of(weighing, None)
        operations[weighing.layer] += count
        macs[weighing.layer] += (count - len(weighing.out) * weighing.bias_positions) // 2
        convolutions[weighing.layer] += count if weighing.node in spatial else 0
    for value in network.graph.initializers.values():
        if value.const_value is not None and (refs := blob_refs(value)):
            parameters[refs[0].layer] += value.const_value.size
    return NetworkCost(
        layers={
            index: LayerCost(
                operations=operations[index],
                convolution_operations=convolutions[index],
                parameters=parameters[index],
                macs=macs[index],
            )
            for index in range(len(network.layers))
        },
        operations=sum(operations.values()),
        convolution_operations=sum(convolutions.values()),
        parameters=sum(parameters.values()),
    )


class Costs:
    """Operations of a network for any set of removed channels, without building it."""

    def __init__(self, network: Network, groups: Groups):
        self._groups = groups
        self._labels = {use.parameter: use.labels for use in groups.uses}
        self._sizes = {
            name: value.const_value.size
            for name, value in network.graph.initializers.items()
            if value.const_value is not None
        }

    def operations(self, removed: npt.NDArray[np.bool_] | None = None) -> int:
        """Return the operations of one sample once classes are removed (a mask over classes)."""
        surviving = None if removed is None else self._groups.surviving(removed)
        return sum(self.of(weighing, surviving) for weighing in self._groups.weighings)

    def of(self, weighing: Weighing, surviving: npt.NDArray[np.bool_] | None) -> int:
        """Return the operations of one node; `surviving` is a mask over labels, None for all."""
        labels = self._labels.get(weighing.weight, ())
        size = self._sizes[weighing.weight]
        if surviving is None:
            kept, out = size, len(weighing.out)
        else:
            kept = size * _surviving(labels, surviving) // max(_positions(labels), 1)
            out = int(surviving[weighing.out].sum())
        return 2 * kept * weighing.positions + out * weighing.bias_positions


def _positions(labels: tuple[LabelVector, ...]) -> int:
    return int(np.prod(np.broadcast_shapes(*(array.shape for array in labels))))


def _surviving(labels: tuple[LabelVector, ...], surviving: npt.NDArray[np.bool_]) -> int:
    """Return how many positions of the broadcast labels survive."""
    kept = [surviving[array] for array in labels]
    if sum(array.ndim and max(array.shape) > 1 for array in kept) and all(
        sum(size > 1 for size in sizes) <= 1
        for sizes in zip(*(array.shape for array in kept), strict=True)
    ):
        return int(np.prod([int(array.sum()) for array in kept]))
    return int(np.logical_and.reduce(np.broadcast_arrays(*kept)).sum())
