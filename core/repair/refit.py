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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..engine.session import Arrays
from ..ir.assemble import Tensors
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.cholesky import inverse, solution
from ..statistics.moments import (
    InputMoments,
    InputSample,
    MomentAccumulator,
    SampleAccumulator,
    SplitHalf,
    joined_pairs,
    positions_of_a_sample,
    wide,
)
from ..statistics.operators import Array, Operator, Positions, find_operators
from ..statistics.ridge import DEFAULT_RIDGE, FULL_DATA_FACTOR, WIDE_COLUMNS, best_ridge, spread
from .activation_cache import ActivationCache, first_batches
from .affected import Layer, repairable, shifts_alone, stored_alone
from .boxes import box_heads_of, counts
from .registry import repair
from .targets import Path, Target, array_of, follow

__all__ = ["refit", "refit_beside"]

RIDGE_FACTOR_BY_COUNTS = 0.1
"""Factor of the ridge in a fit by counts. The full ridge pulls scores back towards those of the fit
to all positions, which are too low: a detector loses boxes whose scores fall below its limit. The
squared error, which chooses the ridge, rises only by a few percent down to a tenth of the best
ridge."""

KEPT_COLUMN_BYTES = 1 << 28
"""Bytes of a layer's columns (inputs · taps) that are kept for the rounds. With more, each round
makes the columns again."""

ROUNDS = 3
"""Number of times that the targets before an activation are updated. Each round lowers the error
behind the activation, the first rounds most."""


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
        self.tensors.update(_fitted(self._pruned, operator, samples, self.tensors))
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


@dataclass(frozen=True, slots=True)
class _Sample:
    """The inputs and targets of a layer for one batch."""

    x: np.ndarray
    positions: Positions | None
    target: Target
    counts: Array | None = None
    """Weights [groups, positions, shares of the outputs]; None for 1."""


def _boxes_apart(operator: Operator, network: Network) -> bool:
    """Whether the shares of a layer's outputs can be fitted with different weights of positions."""
    return operator.op_type == "Conv" and operator.group == 1 and not wide(operator, network)


def _samples(
    layer: Layer,
    paths: tuple[Path, Path],
    values: _Values,
    most: int,
    random: np.random.Generator,
) -> list[_Sample]:
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
        found.append(_Sample(x, positions, target, weights))
    return found


def _fitted(
    network: Network, operator: Operator, samples: Sequence[_Sample], changed: Tensors
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the fitted weight and shift of an operator, as initializers.

    Args:
        network: the pruned network.
        operator: the operator.
        samples: inputs and targets of the fit.
        changed: initializer → values of layers that were refitted before.
    """
    stored = array_of(network, operator.weight, changed)
    fit = _wide_fit if wide(operator, network) else _narrow_fit
    weight, shift = fit(operator, operator.matrix(stored), samples)
    tensors: dict[str, npt.NDArray[np.generic]] = {operator.weight: operator.stored(weight, stored)}
    if operator.shift is not None:
        old = array_of(network, operator.shift.parameter, changed)
        vector = shift.reshape(old.shape)
        new = vector if operator.shift.sign > 0 else old - vector
        tensors[operator.shift.parameter] = new.astype(old.dtype)
    return tensors


def _rounds(samples: Sequence[_Sample]) -> int:
    """Return how often the targets are updated: never without an activation behind the layer."""
    return ROUNDS if any(sample.target.slope != 1.0 for sample in samples) else 0


def _narrow_fit(
    operator: Operator, present: Array, samples: Sequence[_Sample]
) -> tuple[Array, Array]:
    """Return weight and shift, from sums over all positions."""
    columns = _columns(operator, samples)
    shifted = operator.shift is not None
    present = present.astype(np.float64)
    if samples[0].counts is not None:
        plain, _ = _narrow_fit(operator, present, [replace(s, counts=None) for s in samples])
        return _fit_by_counts(columns, plain, samples, shifted=shifted)
    sums, solver = _summed(columns, present, samples, shifted=shifted)
    weight, shift = solver.solve(*sums.means())
    for _ in range(_rounds(samples)):
        mean: Array = np.zeros(shift.shape)
        cross: Array = np.zeros(weight.shape)
        factor = weight.astype(np.float32).transpose(0, 2, 1)
        summand = shift.astype(np.float32)[:, None, :]
        pairs = (
            (columns(number), sample.target.around(columns(number) @ factor + summand))
            for number, sample in enumerate(samples)
        )
        for x, target in joined_pairs(pairs):
            mean += target.sum(axis=1, dtype=np.float64)
            cross += target.transpose(0, 2, 1) @ x
        weight, shift = solver.solve(mean / sums.count, cross / sums.count)
    return weight, shift


def _fit_by_counts(
    columns: Callable[[int], Array], present: Array, samples: Sequence[_Sample], *, shifted: bool
) -> tuple[Array, Array]:
    """Return weight and shift, fitted separately for each share of the outputs.

    Args:
        columns: number of a batch → columns of the layer's input.
        present: the weights of a fit with equal weights of all positions; the ridge pulls towards
            them.
        samples: inputs and targets of the fit, with counts.
        shifted: whether an intercept can be stored.
    """
    assert samples[0].counts is not None
    shares = samples[0].counts.shape[-1]
    weights, shifts = [], []
    for share, part in enumerate(np.split(present, shares, axis=1)):
        sums, solver = _summed(columns, part, samples, shifted=shifted, share=share)
        weight, shift = solver.solve(*sums.means())
        weights.append(weight)
        shifts.append(shift)
    return np.concatenate(weights, axis=1), np.concatenate(shifts, axis=1)


def _summed(
    columns: Callable[[int], Array],
    present: Array,
    samples: Sequence[_Sample],
    *,
    shifted: bool,
    share: int | None = None,
) -> tuple[MomentAccumulator, _Solver]:
    """Return the sums over all positions, and a solver for the weights.

    Args:
        columns: number of a batch → columns of the layer's input.
        present: the weights that the ridge pulls towards.
        samples: inputs and targets of the fit.
        shifted: whether an intercept can be stored.
        share: number of the share of the outputs that is fitted with its counts; None for all
            outputs, without counts.
    """
    halves = SplitHalf()
    for number, sample in enumerate(samples):
        wanted, counts = sample.target.wanted, None
        if share is not None and sample.counts is not None:
            wanted = np.split(wanted, sample.counts.shape[-1], axis=2)[share]
            counts = sample.counts[..., share]
        halves.add(len(sample.x), columns(number), wanted, counts)
    ridge = _ridge(halves, present, shifted=shifted) * (
        1.0 if share is None else RIDGE_FACTOR_BY_COUNTS
    )
    sums = halves.joined()
    moments = sums.moments(centred=shifted)
    return sums, _Solver(moments, present, shifted=shifted, ridge=ridge)


def _around(moments: InputMoments, mean: Array, cross: Array) -> Array:
    """Return the covariance of targets and inputs.

    Args:
        moments: moments of the inputs.
        mean: mean of the targets.
        cross: mean of the products of targets and inputs.
    """
    covariance: Array = cross - mean[:, :, None] * moments.mean[:, None, :]
    return covariance


def _ridge(halves: SplitHalf, present: Array, *, shifted: bool) -> float:
    """Return the best ridge by cross-validation between the two halves of the samples.

    With few columns, each half is tested on the other. With many, one half is tested.
    """
    if not halves.halved:
        return DEFAULT_RIDGE
    columns = present.shape[-1]
    present = spread(present, 1).astype(np.float32)
    folds = []
    for half in (halves.even, halves.odd):
        moments = half.moments(centred=shifted)
        cross = spread(_around(moments, *half.means()), 1).astype(np.float32)
        folds.append((moments, moments.covariance.astype(np.float32), cross))
    pairs = [(0, 1)] if columns > WIDE_COLUMNS else [(0, 1), (1, 0)]

    def error(ridge: float) -> float:
        total = 0.0
        for fitted, tested in pairs:
            moments, covariance, cross = folds[fitted]
            _, other_covariance, other_cross = folds[tested]
            pull = moments.ridge(ridge)[:, None, None].astype(np.float32)
            square = covariance + pull * np.eye(columns, dtype=np.float32)
            pulled = (cross + pull * present).transpose(0, 2, 1)
            weight = solution(square, pulled).transpose(0, 2, 1)
            residual = (weight @ other_covariance - 2 * other_cross) * weight
            total += float(residual.sum(dtype=np.float64))
        return total

    return best_ridge(error, columns) * FULL_DATA_FACTOR


def _wide_fit(
    operator: Operator, present: Array, samples: Sequence[_Sample]
) -> tuple[Array, Array]:
    """Return weight and shift of a layer with too many columns for a covariance."""
    shifted = operator.shift is not None
    accumulator = SampleAccumulator()
    for sample in samples:
        accumulator.add(operator.inputs(sample.x, sample.positions))
    read = accumulator.sample(centred=shifted)
    count = read.rows.shape[1]
    wanted = np.concatenate([sample.target.wanted for sample in samples], axis=1)[:, :count]
    solver = _WideSolver(read, present, wanted, _owners(samples)[:count], shifted=shifted)
    weight, shift = solver.solve(wanted)
    for _ in range(_rounds(samples)):
        predicted = solver.predicted(weight, shift)
        weight, shift = solver.solve(_targets_around(samples, predicted, wanted))
    return weight, shift


def _targets_around(samples: Sequence[_Sample], predicted: Array, wanted: Array) -> Array:
    """Return the targets given the present predictions, [groups, positions, outputs].

    Args:
        samples: the targets of each batch.
        predicted: the present predictions at the first positions of all batches.
        wanted: the targets without an activation, which stay for a batch that is cut short.
    """
    parts, start = [], 0
    for sample in samples:
        stop = start + sample.target.wanted.shape[1]
        if stop > predicted.shape[1]:
            break
        parts.append(sample.target.around(predicted[:, start:stop]))
        start = stop
    return np.concatenate([*parts, wanted[:, start:]], axis=1)


def _owners(samples: Sequence[_Sample]) -> npt.NDArray[np.int64]:
    """Return the number of the sample that each position belongs to."""
    count = sum(len(sample.x) for sample in samples)
    each = [sample.target.wanted.shape[1] // len(sample.x) for sample in samples]
    sizes = [len(sample.x) for sample in samples]
    return np.repeat(np.arange(count), np.repeat(each, sizes))


class _WideSolver:
    """Finds weights for any targets of the same inputs, with more columns than positions.

    With X the inputs and E the difference of targets and present outputs, both [positions, …]
    around their means, N the number of positions and r the ridge, the minimum is
    W₀ + Eᵀ (X Xᵀ + r N)⁻¹ X. The inverse is a matrix of positions, not of columns.

    Args:
        read: sample of the inputs.
        present: the weight W₀ that the ridge pulls towards, [groups, outputs, inputs · taps].
        wanted: targets by which the ridge is chosen, [groups, positions, outputs].
        owners: number of the sample of each position.
        shifted: whether an intercept can be stored.
    """

    def __init__(
        self,
        read: InputSample,
        present: Array,
        wanted: Array,
        owners: npt.NDArray[np.int64],
        *,
        shifted: bool,
    ):
        self._read, self._present, self._shifted = read, present, shifted
        x, count = read.rows, read.rows.shape[1]
        products = (x @ x.transpose(0, 2, 1)).astype(np.float64)
        self._outputs = x @ present.transpose(0, 2, 1)
        difference = spread(wanted - self._outputs, 2)
        part = _wide_ridge(products, difference, owners, read, shifted=shifted)
        ridge = read.ridge(part)[:, None, None] * count
        self._inverse = inverse(products + ridge * np.eye(count))

    def solve(self, targets: Array) -> tuple[Array, Array]:
        """Return weight and shift for targets [groups, positions, outputs]."""
        mean = targets.mean(axis=1, dtype=np.float64)
        if not self._shifted:
            mean = np.zeros_like(mean)
        difference = self._inverse @ (targets - mean[:, None] - self._outputs)
        change = difference.transpose(0, 2, 1).astype(np.float32) @ self._read.rows
        weight = self._present + change
        return weight, mean - self._mean_output(weight)

    def predicted(self, weight: Array, shift: Array) -> Array:
        """Return the outputs of a weight and a shift, [groups, positions, outputs]."""
        outputs: Array = self._read.rows @ weight.transpose(0, 2, 1)
        outputs += (shift + self._mean_output(weight))[:, None]
        return outputs

    def _mean_output(self, weight: Array) -> Array:
        mean: Array = np.einsum("goc,gc->go", weight, self._read.mean.astype(np.float32))
        return mean


def _wide_ridge(
    products: Array,
    difference: Array,
    owners: npt.NDArray[np.int64],
    read: InputSample,
    *,
    shifted: bool,
) -> float:
    """Return the best ridge by cross-validation: each half of the samples is tested on the other.

    Args:
        products: products of the inputs, [groups, positions, positions].
        difference: targets less present outputs, [groups, positions, outputs].
        owners: number of the sample of each position.
        read: sample of the inputs.
        shifted: whether an intercept can be stored.
    """
    halves = np.flatnonzero(owners % 2 == 0), np.flatnonzero(owners % 2)
    if not len(halves[1]):
        return DEFAULT_RIDGE
    targets = [difference[:, half] for half in halves]
    if shifted:
        targets = [half - half.mean(axis=1, keepdims=True) for half in targets]

    def error(ridge: float) -> float:
        total = 0.0
        sizes = read.ridge(ridge)[:, None, None]
        for fitted, tested in ((0, 1), (1, 0)):
            own, other = halves[fitted], halves[tested]
            square = products[:, own[:, None], own] + sizes * len(own) * np.eye(len(own))
            predicted = products[:, other[:, None], own] @ solution(square, targets[fitted])
            total += float(np.square(predicted - targets[tested]).sum())
        return total

    return best_ridge(error, len(owners)) * FULL_DATA_FACTOR


def _columns(operator: Operator, samples: Sequence[_Sample]) -> Callable[[int], Array]:
    """Return a function from the number of a batch to the columns of the layer's input.

    The columns are kept if all of them have at most :data:`KEPT_COLUMN_BYTES`.
    """

    def columns(number: int) -> Array:
        return operator.inputs(samples[number].x, samples[number].positions)

    if columns(0).nbytes * len(samples) > KEPT_COLUMN_BYTES:
        return columns
    kept = [columns(number) for number in range(len(samples))]
    return kept.__getitem__


class _Solver:
    """Finds weights for any targets of the same inputs.

    Args:
        moments: moments of the inputs.
        present: the weight that the ridge pulls towards, [groups, outputs, inputs · taps].
        shifted: whether an intercept can be stored.
        ridge: strength of the ridge, relative to the mean variance of an input.
    """

    def __init__(self, moments: InputMoments, present: Array, *, shifted: bool, ridge: float):
        self._moments, self._shifted = moments, shifted
        weight = moments.ridge(ridge)[:, None, None]
        self._inverse = inverse(moments.covariance + weight * np.eye(moments.covariance.shape[-1]))
        self._pull = weight * present

    def solve(self, mean: Array, cross: Array) -> tuple[Array, Array]:
        """Return weight and shift.

        Args:
            mean: mean of the targets.
            cross: mean of the products of targets and inputs.
        """
        moments = self._moments
        weight: Array = (_around(moments, mean, cross) + self._pull) @ self._inverse
        if not self._shifted:
            return weight, np.zeros(mean.shape)
        return weight, mean - np.einsum("goc,gc->go", weight, moments.mean)
