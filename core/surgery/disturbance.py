"""How much a small disturbance of one operator's output moves the outputs of the network.

weight(operator) = mean over the outputs o of E‖o(y + n) − o(y)‖² / E‖o − mean o‖² / ε². The
disturbance n is ε times what other samples make of each channel: every channel of every sample
takes the deviation from its mean of another sample, with a random sign. So it has the variance and
the spatial structure of the channel. White noise would not do: behind the operator it averages out
over neighbouring positions, which the error of a pruned network does not, and whatever stands
before a pooling layer would seem to matter little.

Where an output is a softmax, o is what it reads: on data that the network is sure of, probabilities
stand still whatever happens to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data import Dataset
from ..ir.network import Network
from ..ir.partial import between, suffix
from ..progress import Progress, silent, tracked
from ..session import Arrays, Session
from .gram import FLOOR, shown
from .operators import Array, Operator

__all__ = ["EPSILON", "measure_disturbances"]

EPSILON = 0.1
"""Size of the disturbance relative to each channel's deviation."""

SAMPLES = 64
"""Samples the effect is measured on; from so many on, other samples change the choice little."""

BEHIND = ("Softmax", "LogSoftmax", "Flatten", "Reshape", "Identity")
"""Operators that are passed over from an output back to what a softmax reads."""


def measure_disturbances(
    network: Network,
    operators: Sequence[Operator],
    dataset: Dataset,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, float]:
    """Return the weight of every operator by its key.

    Only what follows an operator is computed again for it.

    Args:
        network: the network.
        operators: whose outputs are disturbed, one at a time.
        dataset: inputs; the first :data:`SAMPLES` are used.
        seed: of the disturbances.
        progress: told of the operators done.
    """
    network = _before_softmax(network)
    feeds = _first(dataset)
    outputs = list(network.outputs)
    parts = {operator.key: suffix(network, operator.y) for operator in operators}
    read = [name for part in parts.values() for name in part.inputs]
    names = list(dict.fromkeys([*read, *(o.y for o in operators if o.y not in outputs)]))
    still = {**feeds, **Session(shown(network, names)).run(feeds)}
    random = np.random.default_rng(seed)
    found = {}
    for operator in tracked(operators, "disturbances", len(operators), progress):
        part = parts[operator.key]
        y = _read(still, operator.y)
        channel = 1 if operator.op_type == "Conv" else y.ndim - 1
        disturbed = {operator.y: y + np.float32(EPSILON) * _disturbance(y, channel, random)}
        if part.inputs:
            feeds = {name: _read(still, name) for name in part.inputs}
            disturbed.update(Session(part).run({**feeds, **disturbed}))
        effects = [_relative(still[name], disturbed.get(name, still[name])) for name in outputs]
        found[operator.key] = float(np.mean(effects)) / EPSILON**2
    return found


def _before_softmax(network: Network) -> Network:
    """Return the network with what a softmax reads in place of each output that is one."""
    targets = []
    for value in network.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in BEHIND and node.inputs[0] is not None:
            value, node = node.inputs[0], node.inputs[0].producer()
        targets.append(str(value.name))
    return between(network, network.inputs, targets)


def _first(dataset: Dataset) -> Arrays:
    """Return the inputs of the first samples."""
    parts: list[Arrays] = []
    left = SAMPLES
    for batch in dataset:
        parts.append(batch.first(left))
        left -= batch.size
        if left <= 0:
            break
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _read(values: Arrays, name: str) -> Array:
    """Return a value under its own name or under the one it was shown by."""
    return values[name] if name in values else values[f"shown:{name}"]


def _disturbance(y: Array, channel: int, random: np.random.Generator) -> Array:
    """Return for each channel the deviation from its mean in another sample, signs at random.

    Args:
        y: values, batch first.
        channel: the axis of the channels.
        random: draws samples and signs.
    """
    moved = np.moveaxis(y, channel, 1)
    deviation = moved - moved.mean(axis=(0, *range(2, moved.ndim)), keepdims=True)
    samples, channels = moved.shape[:2]
    others = random.permuted(np.tile(np.arange(samples)[:, None], (1, channels)), axis=0)
    signs = random.choice(np.array([-1.0, 1.0], np.float32), size=(samples, channels))
    drawn = deviation[others, np.arange(channels)]
    drawn *= signs.reshape(samples, channels, *(1,) * (moved.ndim - 2))
    found: Array = np.moveaxis(drawn, 1, channel)
    return found


def _relative(still: Array, moved: Array) -> float:
    energy = float(np.square(still - still.mean(axis=0)).sum())
    energy += FLOOR * float(np.square(still).sum())
    change = float(np.square(moved - still).sum())
    return change / energy if energy > 0 else 0.0
