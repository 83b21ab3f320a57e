"""How vai_p_caffe counts: fully connected layers in neither operations nor weights.

Source: logs of the AlexNet of Vitis-AI-Tutorials 1.0. A multiply-accumulate is 2 operations, an
added bias one; a batch normalization has 4 numbers a channel, and one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.cost.network_cost import measure_cost
from ...core.coupling import find_groups
from ...core.ir.network import Network

__all__ = ["PrunerCount", "pruner_counts"]

CONNECTED, NORMALIZED = "InnerProduct", "BatchNorm"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunerCount:
    """What one layer counts.

    Args:
        operations: of one sample.
        weights: numbers that it stores.
    """

    operations: int
    weights: int


def pruner_counts(network: Network) -> Sequence[PrunerCount]:
    """Return what each layer of a network counts as vai_p_caffe does.

    Where there is no convolution, fully connected layers count after all.
    """
    cost = measure_cost(network, find_groups(network))
    everything = not cost.convolution_operations
    found = []
    for index, info in enumerate(network.layers):
        own = cost.layers[index]
        if everything:
            found.append(PrunerCount(operations=own.operations, weights=own.parameters))
            continue
        weights = 0 if info.type == CONNECTED else own.parameters
        factor = 1 if info.type == NORMALIZED else 0
        found.append(PrunerCount(operations=own.convolution_operations, weights=weights + factor))
    return found
