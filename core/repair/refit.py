"""Least squares refit: every remaining layer learns to give what the original gave.

In the order of the graph, each layer's weights W and shift b are fitted to

    min ‖W x + b − y‖² + r ‖W − W₀‖²

with x what the pruned network feeds the layer (earlier layers already refitted), y the original
network's output of the layer before its activation, at the same positions, and W₀ the weights it
has. Source: He, Zhang, Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017 (the
reconstruction step), with an intercept and a ridge toward W₀.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..channels.groups import Groups
from ..data import Dataset, streamed
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..progress import Progress, silent, tracked
from ..session import Arrays
from ..surgery.gram import Moments
from ..surgery.operators import Array, Operator, find_operators
from .walk import Walk, largest_front

__all__ = ["MEMORY", "RIDGE", "refit"]

MEMORY = 1 << 31
"""Bytes of activations that are held at once; so many samples are used as fit into it."""

RIDGE = 1e-2
"""Weight of staying where one is, relative to the mean variance of the inputs."""

POSITIONS = 256
"""Positions of a convolution that are fitted in one sample."""


def refit(
    original: Network,
    pruned: Network,
    groups: Groups,
    removed: npt.NDArray[np.bool_],
    dataset: Dataset,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Network:
    """Return the pruned network with weights refitted to the original's outputs.

    Args:
        original: the network before pruning.
        pruned: the dense network that the removal left.
        groups: groups of the original.
        removed: mask over its classes, to know which outputs are left.
        dataset: inputs; labels are not used.
        seed: of the positions drawn.
        progress: told of the layers done.

    Raises:
        DataError: the data does not fit the networks.
    """
    surviving = groups.surviving(removed)
    kept = {weighing.node: surviving[weighing.out] for weighing in groups.weighings}
    untouched = {operator.key for operator in _before_any_change(original, pruned)}
    operators = [o for o in find_operators(pruned) if o.key not in untouched]
    batches = _batches(dataset, MEMORY // (largest_front(original) + largest_front(pruned)))
    before, now = Walk(original, batches), Walk(pruned, batches)
    random = np.random.default_rng(seed)
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    network = pruned
    for operator in tracked(operators, "refit", len(operators), progress):
        targets, inputs = before.advance(original, operator.y), now.advance(network, operator.x)
        moments = _moments(operator, kept[operator.key], targets, inputs, random)
        tensors.update(_solved(network, operator, moments))
        network = rebuild(pruned, tensors=tensors)
    return network


def _batches(dataset: Dataset, most: int) -> list[Arrays]:
    """Return the inputs of the first samples, at least one batch."""
    batches: list[Arrays] = []
    samples = 0
    for batch in streamed(dataset, "reading"):
        if batches and samples + batch.size > most:
            break
        batches.append(batch.inputs)
        samples += batch.size
    return batches


def _before_any_change(original: Network, pruned: Network) -> Sequence[Operator]:
    """Return the operators that read what they always read and were not changed themselves."""
    same = {
        name
        for name, value in pruned.graph.initializers.items()
        if value.const_value is original.graph.initializers[name].const_value
    }
    clean = {str(value.name) for value in pruned.graph.inputs} | same
    for node in pruned.graph:
        if all(value is None or value.name in clean for value in node.inputs):
            clean.update(str(value.name) for value in node.outputs)
    return [operator for operator in find_operators(pruned) if operator.x in clean]


def _moments(
    operator: Operator,
    kept: npt.NDArray[np.bool_],
    targets: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    random: np.random.Generator,
) -> Moments:
    moments = Moments()
    for y, x in zip(targets, inputs, strict=True):
        y = np.compress(kept, y, axis=1 if operator.op_type == "Conv" else y.ndim - 1)
        positions = operator.positions(y.shape, POSITIONS, random)
        moments.add(operator.inputs(x, positions), operator.outputs(y, positions))
    return moments


def _solved(
    network: Network, operator: Operator, moments: Moments
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the weight and shift that fit best."""
    stored = network.array(operator.weight)
    present = operator.matrix(stored.astype(np.float64))
    gram = moments.gram(centred=operator.shift is not None)
    assert moments.y is not None
    assert moments.yx is not None
    y = moments.y / moments.count
    cross = moments.yx / moments.count - y[:, :, None] * gram.mean[:, None, :]
    ridge = gram.ridge(RIDGE)[:, None, None] * np.eye(gram.covariance.shape[-1])
    fitted: Array = np.linalg.solve(
        gram.covariance + ridge, (cross + present @ ridge).transpose(0, 2, 1)
    ).transpose(0, 2, 1)
    tensors: dict[str, npt.NDArray[np.generic]] = {operator.weight: operator.stored(fitted, stored)}
    if operator.shift is not None:
        shift = (y - np.einsum("goc,gc->go", fitted, gram.mean)).ravel()
        old = network.array(operator.shift.parameter)
        if operator.shift.sign > 0:
            new = shift.reshape(old.shape)
        else:
            new = old - shift.reshape(old.shape)
        tensors[operator.shift.parameter] = new.astype(old.dtype)
    return tensors
