"""Least squares refit: every remaining layer learns to give what the original gave.

In the order of the graph, each layer's weights W and shift b are fitted to

    min ‖f(W x + b) − f(y)‖² + r ‖W − W₀‖²

with x what the pruned network feeds the layer (earlier layers already refitted), y the original
network's output of the layer at the same positions, f what follows until the next layer (see
:mod:`.targets`), and W₀ the weights it has. Source: He, Zhang, Sun, Channel Pruning for
Accelerating Very Deep Neural Networks, 2017 (the reconstruction step), with an intercept and a
ridge toward W₀ that is chosen for each layer on samples which the fit has not seen. The layers that
make a detector's boxes are fitted most where there is something (see :mod:`.boxes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..ir.assemble import NONE, Tensors
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
from ..statistics.operators import Array, Operator, Positions
from ..statistics.ridge import DEFAULT_RIDGE, FULL_DATA_FACTOR, WIDE_COLUMNS, best_ridge, spread
from .activation_cache import ActivationCache, first_batches
from .affected import Layer, repairable, shifts_alone
from .boxes import box_heads_of, counts
from .registry import repair
from .targets import Path, Target, array_of, follow

__all__ = ["refit"]

RIDGE_FACTOR_BY_COUNTS = 0.1
"""What the ridge of a fit by counts is multiplied by. It pulls scores back to those of the fit to
all positions, which are too low, so that a detector loses what falls below a limit; and the squared
error, by which ridges are chosen, rises by a few percent only down to a tenth of the best."""

KEPT_COLUMN_BYTES = 1 << 28
"""Bytes of a layer's inputs, cut into columns, that are kept for the rounds; more are cut anew."""

ROUNDS = 3
"""Times that the targets before an activation are drawn anew; each round lowers the error behind
it, the first ones most."""


@repair(
    "refit", summary="all weights, by least squares to the original's outputs", source="He 2017"
)
def refit(
    state: PruningState, dense: Network, progress: Progress = silent, *, seed: int = 0
) -> Network:
    """Return the dense network with weights refitted to the original's outputs.

    Args:
        state: what was removed, and from what; its data is what weights are fitted to.
        dense: the dense network that the removal left.
        progress: told of the layers done.
        seed: of the positions drawn.

    Raises:
        DataError: the data does not fit the networks.
    """
    assert state.data is not None
    original, pruned = state.original, dense
    layers = repairable(state, pruned)
    batches = first_batches(state.data, original, pruned)
    before, now = ActivationCache(original, batches), ActivationCache(pruned, batches)
    random = np.random.default_rng(seed)
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    waiting = {layer.operator.y for layer in layers}
    heads = box_heads_of(original, [layer.operator.y for layer in layers])
    for layer in tracked(layers, "refit", len(layers), progress):
        paths = _paths(original, pruned, layer, tensors)
        if paths[1].other is not None and now.ahead(pruned, paths[1].other) & waiting:
            paths = (
                replace(paths[0], other=None, slope=1.0),
                replace(paths[1], other=None, slope=1.0),
            )
        operator = layer.operator
        if not shifts_alone(pruned, operator):
            operator = replace(operator, shift=None)
        values = _Values(
            y=before.advance(original, operator.y),
            x=now.advance(pruned, operator.x, tensors),
            others=[
                walk.advance(one, path.other, changed) if path.other is not None else None
                for walk, one, path, changed in (
                    (before, original, paths[0], NONE),
                    (now, pruned, paths[1], tensors),
                )
            ],
        )
        head = heads.get(operator.y)
        if head is not None and _boxes_apart(operator, pruned):
            values = replace(values, counts=counts(head, before.advance(original, head.output)))
        most = positions_of_a_sample(
            operator, pruned, sum(len(x) for x in values.x), rare=values.counts is not None
        )
        samples = _samples(replace(layer, operator=operator), paths, values, most, random)
        tensors.update(_fitted(pruned, operator, samples, tensors))
        waiting.discard(operator.y)
    return rebuild(pruned, tensors=tensors) if tensors else pruned


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    """What both networks hold around a layer, one array a batch."""

    y: Sequence[np.ndarray]
    x: Sequence[np.ndarray]
    others: Sequence[Sequence[np.ndarray] | None]
    """What is added to the layer's output in the original and in the pruned network."""

    counts: Sequence[Array] | None = None
    """How often each position counts, for each share of the outputs; None for once."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """One batch of what a layer is fitted to."""

    x: np.ndarray
    positions: Positions | None
    target: Target
    counts: Array | None = None
    """[groups, positions, shares of the outputs], None where each counts once."""


def _paths(original: Network, pruned: Network, layer: Layer, tensors: Tensors) -> tuple[Path, Path]:
    """Return what follows the layer in both networks, for the channels that are left."""
    before = follow(original, layer.operator, len(layer.kept))
    now = follow(pruned, layer.operator, int(layer.kept.sum()), tensors)
    scale, offset = before.scale[layer.kept], before.offset[layer.kept]
    return replace(before, scale=scale, offset=offset), now


def _boxes_apart(operator: Operator, network: Network) -> bool:
    """Whether the boxes that a layer makes can be fitted on their own."""
    return operator.op_type == "Conv" and operator.group == 1 and not wide(operator, network)


def _samples(
    layer: Layer,
    paths: tuple[Path, Path],
    values: _Values,
    most: int,
    random: np.random.Generator,
) -> list[_Sample]:
    """Return the targets of all batches at positions that are drawn anew for each."""
    operator = layer.operator

    def left(array: np.ndarray) -> np.ndarray:
        return np.compress(layer.kept, array, axis=1 if operator.op_type == "Conv" else -1)

    found = []
    added, present = values.others
    for number, (y, x) in enumerate(zip(values.y, values.x, strict=True)):
        positions = operator.positions(y.shape, most, random)
        target = Target.of(
            *paths,
            operator.outputs(left(y), positions),
            operator.outputs(left(added[number]), positions) if added is not None else None,
            operator.outputs(present[number], positions) if present is not None else None,
        )
        often = None
        if values.counts is not None:
            often = operator.outputs(values.counts[number], positions)
        found.append(_Sample(x, positions, target, often))
    return found


def _fitted(
    network: Network, operator: Operator, samples: Sequence[_Sample], changed: Tensors
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the weight and shift that fit best."""
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
    """Return how often targets are drawn anew: never where no activation follows."""
    return ROUNDS if any(sample.target.slope != 1.0 for sample in samples) else 0


def _narrow_fit(
    operator: Operator, present: Array, samples: Sequence[_Sample]
) -> tuple[Array, Array]:
    """Return weight and shift from sums over all positions."""
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
        aims = (
            (columns(number), sample.target.around(columns(number) @ factor + summand))
            for number, sample in enumerate(samples)
        )
        for x, aim in joined_pairs(aims):
            mean += aim.sum(axis=1, dtype=np.float64)
            cross += aim.transpose(0, 2, 1) @ x
        weight, shift = solver.solve(mean / sums.count, cross / sums.count)
    return weight, shift


def _fit_by_counts(
    columns: Callable[[int], Array], present: Array, samples: Sequence[_Sample], *, shifted: bool
) -> tuple[Array, Array]:
    """Return weight and shift, fitted on their own for each share of the outputs.

    Args:
        columns: number of a sample → what the layer reads.
        present: the weights of a fit to all positions alike, which the ridge holds to.
        samples: what to fit to, with counts.
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
    """Return the sums over all positions, and what finds weights by them.

    Args:
        columns: number of a sample → what the layer reads.
        present: the weights that the ridge holds to.
        samples: what to fit to.
        shifted: whether an intercept can be stored.
        share: the share of the outputs whose counts hold; None for all outputs, counted once.
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
    """Return the covariance of targets and inputs for the mean of the targets · inputs."""
    found: Array = cross - mean[:, :, None] * moments.mean[:, None, :]
    return found


def _ridge(halves: SplitHalf, present: Array, *, shifted: bool) -> float:
    """Return the ridge with which one half of the samples says most about the other.

    Where there are few columns, each half is tried on the other.
    """
    if not halves.halved:
        return DEFAULT_RIDGE
    columns = present.shape[-1]
    present = spread(present, 1).astype(np.float32)
    folds = []
    for half in (halves.even, halves.odd):
        moments = half.moments(centred=shifted)
        aims = spread(_around(moments, *half.means()), 1).astype(np.float32)
        folds.append((moments, moments.covariance.astype(np.float32), aims))
    turns = [(0, 1)] if columns > WIDE_COLUMNS else [(0, 1), (1, 0)]

    def error(ridge: float) -> float:
        total = 0.0
        for seen, tried in turns:
            moments, covariance, aims = folds[seen]
            _, other, unseen = folds[tried]
            pull = moments.ridge(ridge)[:, None, None].astype(np.float32)
            square = covariance + pull * np.eye(columns, dtype=np.float32)
            pulled = (aims + pull * present).transpose(0, 2, 1)
            weight = solution(square, pulled).transpose(0, 2, 1)
            total += float(((weight @ other - 2 * unseen) * weight).sum(dtype=np.float64))
        return total

    return best_ridge(error, columns) * FULL_DATA_FACTOR


def _wide_fit(
    operator: Operator, present: Array, samples: Sequence[_Sample]
) -> tuple[Array, Array]:
    """Return weight and shift where there are more columns than a covariance is made for.

    With E what the targets are off the present output, X the inputs, both [positions, …] around
    their means, the minimum is W₀ + Eᵀ (X Xᵀ + r N)⁻¹ X: a matrix of positions, not of columns.
    """
    kept = SampleAccumulator()
    for sample in samples:
        kept.add(operator.inputs(sample.x, sample.positions))
    read = kept.sample(centred=operator.shift is not None)
    x, count = read.rows, read.rows.shape[1]
    products = (x @ x.transpose(0, 2, 1)).astype(np.float64)
    made = x @ present.transpose(0, 2, 1)
    wanted = np.concatenate([s.target.wanted for s in samples], axis=1)[:, :count]
    shifted = operator.shift is not None
    off = spread(wanted - made, 2)
    part = _wide_ridge(products, off, _owners(samples)[:count], read, shifted=shifted)
    ridge = read.ridge(part)[:, None, None] * count
    inverted = inverse(products + ridge * np.eye(count))

    def solve(aims: Array) -> tuple[Array, Array]:
        mean = aims.mean(axis=1, dtype=np.float64)
        if operator.shift is None:
            mean = np.zeros_like(mean)
        off = inverted @ (aims - mean[:, None] - made)
        weight = present + off.transpose(0, 2, 1).astype(np.float32) @ x
        return weight, mean - np.einsum("goc,gc->go", weight, read.mean.astype(np.float32))

    def aims(weight: Array, shift: Array) -> Array:
        around = x @ weight.transpose(0, 2, 1)
        around += (shift + np.einsum("goc,gc->go", weight, read.mean.astype(np.float32)))[:, None]
        parts, start = [], 0
        for sample in samples:
            stop = min(start + sample.target.wanted.shape[1], count)
            if stop - start < sample.target.wanted.shape[1]:
                break
            parts.append(sample.target.around(around[:, start:stop]))
            start = stop
        return np.concatenate([*parts, wanted[:, start:]], axis=1)

    weight, shift = solve(wanted)
    for _ in range(_rounds(samples)):
        weight, shift = solve(aims(weight, shift))
    return weight, shift


def _owners(samples: Sequence[_Sample]) -> npt.NDArray[np.int64]:
    """Return the number of the sample that each position belongs to."""
    count = sum(len(sample.x) for sample in samples)
    each = [sample.target.wanted.shape[1] // len(sample.x) for sample in samples]
    sizes = [len(sample.x) for sample in samples]
    return np.repeat(np.arange(count), np.repeat(each, sizes))


def _wide_ridge(
    products: Array, off: Array, owners: npt.NDArray[np.int64], read: InputSample, *, shifted: bool
) -> float:
    """Return the ridge with which each half of the samples says most about the other.

    Args:
        products: [groups, positions, positions], of the inputs.
        off: [groups, positions, outputs], what the targets are off the present output.
        owners: number of the sample of each position.
        read: the inputs.
        shifted: whether an intercept can be stored.
    """
    halves = np.flatnonzero(owners % 2 == 0), np.flatnonzero(owners % 2)
    if not len(halves[1]):
        return DEFAULT_RIDGE
    parts = [off[:, half] for half in halves]
    if shifted:
        parts = [one - one.mean(axis=1, keepdims=True) for one in parts]

    def error(ridge: float) -> float:
        total = 0.0
        sizes = read.ridge(ridge)[:, None, None]
        for seen, unseen in ((0, 1), (1, 0)):
            here, there = halves[seen], halves[unseen]
            square = products[:, here[:, None], here] + sizes * len(here) * np.eye(len(here))
            told = products[:, there[:, None], here] @ solution(square, parts[seen])
            total += float(np.square(told - parts[unseen]).sum())
        return total

    return best_ridge(error, len(owners)) * FULL_DATA_FACTOR


def _columns(operator: Operator, samples: Sequence[_Sample]) -> Callable[[int], Array]:
    """Return a function that gives what the layer reads in a batch, kept where that is little."""

    def made(number: int) -> Array:
        return operator.inputs(samples[number].x, samples[number].positions)

    if made(0).nbytes * len(samples) > KEPT_COLUMN_BYTES:
        return made
    kept = [made(number) for number in range(len(samples))]
    return kept.__getitem__


class _Solver:
    """Weights for any targets of the same inputs.

    Args:
        moments: moments of the inputs.
        present: the weight that the ridge holds to, [groups, outputs, inputs · taps].
        shifted: whether an intercept can be stored.
        ridge: weight of staying there, relative to the mean variance of an input.
    """

    def __init__(self, moments: InputMoments, present: Array, *, shifted: bool, ridge: float):
        self._moments, self._shifted = moments, shifted
        weight = moments.ridge(ridge)[:, None, None]
        self._inverse = inverse(moments.covariance + weight * np.eye(moments.covariance.shape[-1]))
        self._pull = weight * present

    def solve(self, mean: Array, cross: Array) -> tuple[Array, Array]:
        """Return weight and shift for the mean of the targets and that of targets · inputs."""
        moments = self._moments
        weight: Array = (_around(moments, mean, cross) + self._pull) @ self._inverse
        if not self._shifted:
            return weight, np.zeros(mean.shape)
        return weight, mean - np.einsum("goc,gc->go", weight, moments.mean)
