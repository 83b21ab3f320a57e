"""Least squares refit: every remaining layer is fitted to the outputs of the original.

In the order of the graph, the weights W and the shift b of each layer minimise

    ‖f(W x + b) − f(y)‖² + r ‖W − W₀‖²

where x is the input of the layer in the pruned network (earlier layers are refitted already), y the
output of the layer in the original at the same positions, f the operations up to the next layer
(see :mod:`.targets`), W₀ the present weights, and r the ridge. Source: He, Zhang, Sun, Channel
Pruning for Accelerating Very Deep Neural Networks, 2017 (the reconstruction step). The intercept
and the ridge towards W₀ are additions; cross-validation chooses the ridge of each layer. Layers
that make a detector's boxes give the most weight to positions with objects (see :mod:`.boxes`).

Where residual blocks left, a value x is read in place of the sum x + branch(x). The layers behind
are refitted as they are behind removed channels. The layer before, whose output leads to x alone,
is fitted to the sum. These two are the adaptors before and after the hole of Wang and Wu, Practical
Network Acceleration with Tiny Sets (PRACTISE), 2023, merged into the layers that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..engine.session import Arrays
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.moments import (
    positions_of_a_sample,
    wide,
)
from ..statistics.operators import Array, Operator, find_operators
from .activation_cache import ActivationCache, first_batches
from .affected import Layer, repairable, shifts_alone, stored_alone
from .boxes import box_heads_of, counts
from .fitting import Sample, fitted
from .registry import repair
from .targets import Path, Target, follow

__all__ = ["refit", "refit_beside"]


@repair(
    "refit", summary="all weights, by least squares to the original's outputs", source="He 2017"
)
def refit(
    state: PruningState, dense: Network, progress: Progress = silent, *, seed: int = 0
) -> Network:
    """Return the dense network with weights refitted to the original's outputs.

    Args:
        state: the removal; its data gives the samples of the fit.
        dense: the dense network of the removal.
        progress: reports the layers done.
        seed: seed of the positions drawn.

    Raises:
        DataError: the data does not fit the networks.
    """
    return refit_layers(state, dense, _layers(state, dense), progress, seed=seed)


def refit_beside(state: PruningState, dense: Network, progress: Progress = silent) -> Network:
    """Return the dense network with the layers refitted that stand next to what left.

    These are the layers before the blocks that left, and those that read first what is changed.
    """
    layers = _layers(state, dense)
    made = {layer.operator.y for layer in layers if layer.goal is None}
    far: set[str] = set()
    for node in dense.graph:
        if any(value is not None and value.name in far | made for value in node.inputs):
            far.update(str(value.name) for value in node.outputs)
    near = [layer for layer in layers if layer.goal is not None or layer.operator.y not in far]
    return refit_layers(state, dense, near, progress)


def refit_layers(
    state: PruningState,
    dense: Network,
    layers: Sequence[Layer],
    progress: Progress = silent,
    *,
    seed: int = 0,
) -> Network:
    """Return the dense network with some of its layers refitted, in the order of the graph.

    Args:
        state: the removal; its data gives the samples of the fit.
        dense: the dense network of the removal.
        layers: the layers, in the order of the graph.
        progress: reports the layers done.
        seed: seed of the positions drawn.

    Raises:
        DataError: the data does not fit the networks.
    """
    assert state.data is not None
    batches = first_batches(state.data, state.original, dense)
    run = _Refit(state.original, dense, layers, batches, seed)
    for layer in tracked(layers, "refit", len(layers), progress):
        run.fit(layer)
    return rebuild(dense, tensors=run.tensors) if run.tensors else dense


def _layers(state: PruningState, dense: Network) -> list[Layer]:
    """Return the layers to refit: those that the removal affects, and those that lead to it."""
    behind = {layer.operator.key: layer for layer in repairable(state, dense)}
    if not state.stands_for:
        return list(behind.values())
    surviving = state.groups.surviving(state.removed)
    kept = {term.node: surviving[term.out] for term in state.groups.cost_terms}
    found = []
    for operator in find_operators(dense):
        layer = behind.get(operator.key)
        if operator.key in kept and stored_alone(dense, operator.weight):
            mask = kept[operator.key]
            path = follow(dense, operator, int(mask.sum()), stops=state.stands_for)
            if path.end in state.stands_for:
                layer = Layer(operator, mask, path.end, state.stands_for[path.end])
        if layer is not None:
            found.append(layer)
    return found


class _Refit:
    """The refit of a network, layer by layer in the order of the graph.

    Args:
        original: the network before the removal.
        pruned: the dense network.
        layers: the layers to refit.
        batches: inputs of both networks.
        seed: seed of the positions drawn.
    """

    def __init__(
        self,
        original: Network,
        pruned: Network,
        layers: Sequence[Layer],
        batches: Sequence[Arrays],
        seed: int,
    ):
        self.tensors: dict[str, npt.NDArray[np.generic]] = {}
        self._original, self._pruned = original, pruned
        self._before = ActivationCache(original, batches)
        self._now = ActivationCache(pruned, batches)
        self._random = np.random.default_rng(seed)
        outputs = [layer.operator.y for layer in layers]
        self._waiting = set(outputs)
        self._goals = {layer.end for layer in layers if layer.goal is not None}
        self._heads = box_heads_of(original, outputs)

    def fit(self, layer: Layer) -> None:
        """Refit one layer. All earlier layers are refitted already."""
        paths = self._paths(layer)
        operator = layer.operator
        if paths is None:
            self._waiting.discard(operator.y)
            return
        if not shifts_alone(self._pruned, operator):
            operator = replace(operator, shift=None)
        values = self._values(operator, paths, layer.goal)
        count = sum(len(x) for x in values.x)
        most = positions_of_a_sample(operator, self._pruned, count, rare=values.counts is not None)
        samples = _samples(replace(layer, operator=operator), paths, values, most, self._random)
        self.tensors.update(fitted(self._pruned, operator, samples, self.tensors))
        self._waiting.discard(operator.y)

    def _paths(self, layer: Layer) -> tuple[Path, Path] | None:
        """Return the paths behind the layer in both networks, for the kept channels.

        A path ends before a sum with a value that layers still to be refitted contribute to. A
        layer with a goal behind that sum is not refitted then: that is for the last summand.
        """
        if layer.goal is not None:
            return self._to_goal(layer, layer.goal)
        before = follow(self._original, layer.operator, len(layer.kept))
        now = follow(self._pruned, layer.operator, int(layer.kept.sum()), self.tensors)
        scale, offset = before.scale[layer.kept], before.offset[layer.kept]
        before = replace(before, scale=scale, offset=offset)
        if now.other is not None and self._now.ahead(self._pruned, now.other) & self._waiting:
            before = replace(before, other=None, slope=1.0)
            now = replace(now, other=None, slope=1.0)
        return before, now

    def _to_goal(self, layer: Layer, goal: str) -> tuple[Path, Path] | None:
        """Return the paths of a layer that is fitted to a value of the original."""
        now = follow(self._pruned, layer.operator, int(layer.kept.sum()), self.tensors,
                     self._goals)  # fmt: skip
        if now.other is not None and self._now.ahead(self._pruned, now.other) & self._waiting:
            return None
        channels = int(layer.kept.sum())
        return Path(np.ones(channels), np.zeros(channels), end=goal), now

    def _values(
        self, operator: Operator, paths: tuple[Path, Path], goal: str | None = None
    ) -> _Values:
        """Return the values around an operator in both networks.

        Args:
            operator: the operator.
            paths: the paths behind it.
            goal: the value of the original that the operator is to lead to; None for its own.
        """
        before, now = paths
        values = _Values(
            y=self._before.advance(self._original, goal or operator.y),
            x=self._now.advance(self._pruned, operator.x, self.tensors),
            others=(
                self._before.advance(self._original, before.other) if before.other else None,
                self._now.advance(self._pruned, now.other, self.tensors) if now.other else None,
            ),
        )
        head = self._heads.get(operator.y)
        if head is None or not _boxes_apart(operator, self._pruned):
            return values
        boxes = self._before.advance(self._original, head.output)
        return replace(values, counts=counts(head, boxes))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    """The values around a layer, one array for each batch."""

    y: Sequence[np.ndarray]
    """Output of the layer in the original."""
    x: Sequence[np.ndarray]
    """Input of the layer in the pruned network."""
    others: tuple[Sequence[np.ndarray] | None, Sequence[np.ndarray] | None]
    """The summands of the layer's output in the original and in the pruned network."""

    counts: Sequence[Array] | None = None
    """Weight of each position, for each share of the outputs; None for 1."""


def _boxes_apart(operator: Operator, network: Network) -> bool:
    """Whether the shares of a layer's outputs can be fitted with different weights of positions."""
    return operator.op_type == "Conv" and operator.group == 1 and not wide(operator, network)


def _samples(
    layer: Layer,
    paths: tuple[Path, Path],
    values: _Values,
    most: int,
    random: np.random.Generator,
) -> list[Sample]:
    """Return the targets of all batches, each at newly drawn positions.

    Args:
        layer: the layer.
        paths: the paths behind it in the original and in the pruned network.
        values: the values around it.
        most: largest number of positions of a sample.
        random: generator of the positions.
    """
    operator = layer.operator

    def kept(array: np.ndarray) -> np.ndarray:
        return np.compress(layer.kept, array, axis=1 if operator.op_type == "Conv" else -1)

    found = []
    original_summand, summand = values.others
    if layer.goal is not None and summand is not None:
        original_summand = [np.zeros_like(part) for part in summand]  # it is in the goal
    for number, (y, x) in enumerate(zip(values.y, values.x, strict=True)):
        positions = operator.positions(y.shape, most, random)
        other, present = None, None
        if original_summand is not None:
            other = operator.outputs(kept(original_summand[number]), positions)
        if summand is not None:
            present = operator.outputs(summand[number], positions)
        target = Target.of(*paths, operator.outputs(kept(y), positions), other, present)
        weights = None
        if values.counts is not None:
            weights = operator.outputs(values.counts[number], positions)
        found.append(Sample(x, positions, target, weights))
    return found
