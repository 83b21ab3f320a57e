"""Walking through a network layer by layer with all samples at once.

A walk keeps, for every batch, the values that later nodes still read. Advancing computes one more
value for all batches and forgets what nobody needs any more, so that a pass over all layers costs
one forward pass, whatever happens to the weights of layers that were not yet walked over.
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
"""Bytes of activations that are held at once; so many samples are used as fit into it."""


class ActivationCache:
    """The state of a walk.

    Args:
        network: the network whose structure is walked over.
        batches: inputs of every batch.
    """

    def __init__(self, network: Network, batches: Sequence[Arrays]):
        self._fronts = [dict(batch) for batch in batches]
        self._left: dict[str, ir.Node] = {str(n.outputs[0].name): n for n in network.graph}

    def advance(self, network: Network, value: str, tensors: Tensors = NONE) -> list[np.ndarray]:
        """Compute a value for all batches and return it, one array a batch.

        Args:
            network: the network as it is now: the structure of the walk, other weights maybe.
            value: name of the value.
            tensors: initializer → values that changed since, of the same shape.
        """
        known = set(self._fronts[0])
        walked = nodes_between(network, known, [value])
        for node in walked:
            self._left.pop(str(node.outputs[0].name), None)
        needed = {v.name for n in self._left.values() for v in n.inputs if v is not None}
        made = [str(v.name) for node in walked for v in node.outputs]
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
        """Return the names of the values that advancing to a value would compute on the way."""
        nodes = nodes_between(network, set(self._fronts[0]), [value])
        return {str(output.name) for node in nodes for output in node.outputs}

    def replace(self, value: str, arrays: Sequence[np.ndarray]) -> None:
        """Put other arrays, one a batch, in the place of a value that was just computed.

        For weights that changed after the value was made of them. What is read no more is left out.
        """
        for front, array in zip(self._fronts, arrays, strict=True):
            if value in front:
                front[value] = array


def first_batches(dataset: Dataset, *networks: Network) -> list[Arrays]:
    """Return the inputs of the first samples of a dataset, at least one batch.

    Args:
        dataset: where they come from.
        networks: the networks that run on them at the same time; :data:`ACTIVATION_BYTES` bounds
            the memory of all of them together.
    """
    most = ACTIVATION_BYTES // sum(peak_bytes(network) for network in networks)
    batches: list[Arrays] = []
    samples = 0
    for batch in streamed(dataset, "weight_columns"):
        if batches and samples + batch.size > most:
            break
        batches.append(batch.inputs)
        samples += batch.size
    return batches
