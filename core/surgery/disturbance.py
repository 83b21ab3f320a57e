"""How much a small disturbance of one operator's output moves the outputs of the network.

weight(operator) = mean over the outputs o of E‖o(y + n) − o(y)‖² / E‖o − mean o‖² / ε², with noise
n of ε times the standard deviation of each channel of y.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data import Dataset
from ..ir.network import Network
from ..ir.partial import suffix
from ..progress import Progress, silent, tracked
from ..session import Arrays, Session
from .gram import FLOOR, shown
from .operators import Array, Operator

__all__ = ["EPSILON", "measure_disturbances"]

EPSILON = 0.1
"""Size of the noise relative to each channel's standard deviation."""

SAMPLES = 16
"""Samples the effect is measured on; a mean over so many positions settles quickly."""


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
        dataset: inputs; its first batch is used.
        seed: of the noise.
        progress: told of the operators done.
    """
    batch = next(iter(dataset))
    feeds = batch.first(SAMPLES)
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
        noise = random.standard_normal(y.shape, dtype=np.float32) * _deviation(y) * EPSILON
        disturbed = {operator.y: y + noise}
        if part.inputs:
            feeds = {name: _read(still, name) for name in part.inputs}
            disturbed.update(Session(part).run({**feeds, **disturbed}))
        effects = [_relative(still[name], disturbed.get(name, still[name])) for name in outputs]
        found[operator.key] = float(np.mean(effects)) / EPSILON**2
    return found


def _read(values: Arrays, name: str) -> Array:
    """Return a value under its own name or under the one it was shown by."""
    return values[name] if name in values else values[f"shown:{name}"]


def _deviation(y: Array) -> Array:
    axes = tuple(axis for axis in range(y.ndim) if axis != 1)
    deviation: Array = y.std(axis=axes, keepdims=True)
    return deviation


def _relative(still: Array, moved: Array) -> float:
    energy = float(np.square(still - still.mean(axis=0)).sum())
    energy += FLOOR * float(np.square(still).sum())
    change = float(np.square(moved - still).sum())
    return change / energy if energy > 0 else 0.0
