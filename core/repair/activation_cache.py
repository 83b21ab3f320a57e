"""Activations of a network, computed layer by layer for all samples at once.

The cache keeps, for every batch, the values that later nodes still read. An advance computes a
further value for all batches and drops values that no node reads any more. So a pass over all
layers costs one forward pass, even if the weights of later layers change meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..data import Dataset, streamed
from ..engine.session import Arrays, Session
from ..ir.assemble import NONE, Tensors
from ..ir.footprint import peak_bytes
from ..ir.network import Network
from ..ir.partial import between, nodes_between

__all__ = ["ACTIVATION_BYTES", "ActivationCache", "first_batches"]

ACTIVATION_BYTES = 1 << 31
"""Bytes of activations in memory. They bound the number of samples."""


class ActivationCache:
    """The activations up to some place in a network.

    Args:
        network: the network. Its weights may change later, its structure may not.
        batches: inputs of every batch.
    """

    def __init__(self, network: Network, batches: Sequence[Arrays]):
        self._fronts = [dict(batch) for batch in batches]
        self._left: dict[str, ir.Node] = {str(n.outputs[0].name): n for n in network.graph}

    def advance(self, network: Network, value: str, tensors: Tensors = NONE) -> list[np.ndarray]:
        """Compute a value for all batches and return it, an array for each batch.

        Args:
            network: the network with its present weights.
            value: name of the value.
            tensors: initializer → changed values of the same shape, instead of the network's.
        """
        known = set(self._fronts[0])
        nodes = nodes_between(network, known, [value])
        for node in nodes:
            self._left.pop(str(node.outputs[0].name), None)
        needed = {v.name for n in self._left.values() for v in n.inputs if v is not None}
        made = [str(v.name) for node in nodes for v in node.outputs]
        wanted = [name for name in made if name in needed or name == value]
        if wanted:
            part = Session(between(network, known, wanted, tensors))
            names = list(part.network.inputs)
            for front in self._fronts:
                front.update(part.run({name: front[name] for name in names}))
        found = [front[value] for front in self._fronts]
        for front in self._fronts:
            for name in [name for name in front if name not in needed]:
                del front[name]
        return found

    def ahead(self, network: Network, value: str) -> set[str]:
        """Return the names of the values that an advance to a value would compute."""
        nodes = nodes_between(network, set(self._fronts[0]), [value])
        return {str(output.name) for node in nodes for output in node.outputs}

    def replace(self, value: str, arrays: Sequence[np.ndarray]) -> None:
        """Replace a value that was just computed, if later nodes read it.

        This is for weights that change after the value was computed.

        Args:
            value: name of the value.
            arrays: an array for each batch.
        """
        for front, array in zip(self._fronts, arrays, strict=True):
            if value in front:
                front[value] = array


def first_batches(dataset: Dataset, *networks: Network) -> list[Arrays]:
    """Return the inputs of the first samples of a dataset, at least one batch.

    Args:
        dataset: the dataset.
        networks: the networks that run on them; :data:`ACTIVATION_BYTES` bounds their memory
            together.
    """
    most = ACTIVATION_BYTES // sum(peak_bytes(network) for network in networks)
    batches: list[Arrays] = []
    samples = 0
    for batch in streamed(dataset, "reading"):
        if batches and samples + batch.size > most:
            break
        batches.append(batch.inputs)
        samples += batch.size
    return batches
