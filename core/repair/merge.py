"""Merging: what a removed channel gave its consumers comes from the kept channel most like it.

Let v_r and v_j be the vectors of a removed and of a kept channel: their filters with normalisation
and shift, over all layers that make them (:mod:`..criteria.folded`). The kept channel of the same
share with the largest cosine is chosen, and

    s = ⟨v_r, v_j⟩ / ‖v_j‖²,        W_:j += s W_:r      in every consumer W

so that s z_j stands for z_r. Of all multiples, s z_j is nearest to z_r for white inputs; for
parallel vectors it equals z_r. Through ReLU and every other activation f with f(s z) = s f(z) for
s > 0 that stays true, so channels without a similar one (s ≤ 0) are left out. Behind a depthwise
convolution the multiple is found again: (s d_r, shift_r) is compared with (d_j, shift_j).

Source: Kim, Kim, Kim, Kim, Neuron Merging: Compensating for Pruned Neurons, NeurIPS 2020 (arXiv
2010.13160). There s is the ratio of the norms, and shifts are compared apart; the projection is
smaller where the channels are less alike. Channels of several layers (residual sums) and depthwise
convolutions are additions. No data is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.edit import shrink
from ..coupling.groups import Group
from ..coupling.labels import Labels
from ..criteria.folded import Vectors, gram
from ..criteria.similarity import by_group, similarities
from ..ir.network import Network
from ..ir.rebuild import node_key, rebuild
from ..plan.state import PruningState
from ..progress import Progress, silent
from .affected import stored_alone
from .registry import repair

__all__ = ["merge"]

Scales = dict[int, float]
"""Removed unit → the multiple of its kept unit that stands for it."""

Multiples = npt.NDArray[np.float64]
"""The same for every channel of a value, [channels]; 0 for channels that nothing stands for."""


@repair(
    "merge",
    summary="removed channels, into the kept channels most like them",
    source="Kim 2020",
    needs_data=False,
)
def merge(state: PruningState, dense: Network, progress: Progress = silent) -> Network:
    """Return the network whose consumers read kept channels in place of removed ones.

    Where the weights compensate already for removed channels (OBS), nothing of these is left to be
    merged, and the network is returned as it is.
    """
    del progress
    vectors = by_group(state.original, state.groups)
    targets: dict[int, int] = {}
    scales: Scales = {}
    for index, group in enumerate(state.groups.groups):
        for removed, kept, scale in _pairs(state, group, _mixing(vectors.get(index, []))):
            targets[removed], scales[removed] = kept, scale
    if not targets:
        return dense
    tensors = _merged(state, targets, _along(state, vectors, targets, scales))
    if not tensors:
        return dense
    before = shrink(state.full, state.groups, state.removed)
    after = shrink(rebuild(state.full, tensors=tensors), state.groups, state.removed)
    found = {}
    for name in tensors:
        change = after.array(name).astype(np.float64) - before.array(name)
        weight = dense.array(name)
        if change.any() and weight.shape == change.shape:
            found[name] = (weight + change).astype(weight.dtype)
    return rebuild(dense, tensors=found) if found else dense


def _mixing(vectors: list[Vectors]) -> list[Vectors]:
    """Return the vectors without those of depthwise convolutions, where there are others."""
    return [each for each in vectors if not each.own] or vectors


def _pairs(
    state: PruningState, group: Group, vectors: Iterable[Vectors]
) -> list[tuple[int, int, float]]:
    """Return removed units with the kept unit that stands for each, and the multiple."""
    if not state.removed[list(group.units)].any():
        return []
    products = gram(group, vectors)
    cosines = similarities(products)
    found = []
    for partition in group.partitions:
        for share in partition:
            units = [group.units[place] for place in share]
            kept = [place for place, u in zip(share, units, strict=True) if not state.removed[u]]
            for place, unit in zip(share, units, strict=True):
                if not state.removed[unit] or not kept:
                    continue
                best = kept[int(np.argmax(cosines[place, kept]))]
                scale = products[place, best] / max(products[best, best], 1e-300)
                if scale > 0:
                    found.append((int(unit), int(group.units[best]), float(scale)))
    return found


def _along(
    state: PruningState,
    vectors: Mapping[int, list[Vectors]],
    targets: Mapping[int, int],
    scales: Scales,
) -> dict[str, Multiples]:
    """Return value → the multiples that stand for removed units in it.

    A depthwise convolution gives multiples of its own; all other nodes pass on those that they
    read.
    """
    depthwise = {each.key: each for own in vectors.values() for each in own if each.own}
    producers = {producer.node for producer in state.groups.producers}
    found: dict[str, Multiples] = {}
    for node in state.original.graph:
        for value in node.outputs:
            labels = state.groups.values.get(str(value.name))
            if labels is None or labels.axis is None:
                continue
            units = state.groups.units[labels.vector].tolist()
            known = None
            if node_key(node) not in producers:
                known = _passed_on(state, node, labels, found)
            if known is None:
                known = np.array([scales.get(unit, 0.0) for unit in units])
            own = depthwise.get(node_key(node))
            if own is not None:
                behind = _behind(own, targets, dict(zip(units, known.tolist(), strict=True)))
                known = np.array([behind.get(unit, 0.0) for unit in units])
            found[str(value.name)] = known
    return found


def _passed_on(
    state: PruningState, node: ir.Node, labels: Labels, found: Mapping[str, Multiples]
) -> Multiples | None:
    """Return the multiples in a value that a node only moves, or None where they are not known."""
    given = [value for value in node.inputs if value is not None and value.name in found]
    if not given:
        return None
    if node.op_type == "Concat":
        joined = np.concatenate([found[str(value.name)] for value in given])
        return joined if len(joined) == len(labels.vector) else None
    first = found[str(given[0].name)]
    if len(first) == len(labels.vector):
        return first
    units = state.groups.units
    read = units[state.groups.values[str(given[0].name)].vector]
    times = len(labels.vector) // max(len(first), 1)
    if np.array_equal(read.repeat(times), units[labels.vector]):
        return first.repeat(times)
    known = dict(zip(read.tolist(), first.tolist(), strict=True))
    return np.array([known.get(unit, 0.0) for unit in units[labels.vector].tolist()])


def _behind(own: Vectors, targets: Mapping[int, int], scales: Scales) -> Scales:
    """Return the multiples behind a depthwise convolution."""
    rows: dict[int, list[npt.NDArray[np.float64]]] = {}
    for unit, row in zip(own.units.tolist(), own.rows, strict=True):
        rows.setdefault(unit, []).append(row)
    found: Scales = {}
    for unit, target in targets.items():
        if unit not in rows or target not in rows:
            continue
        removed, kept = np.stack(rows[unit]), np.stack(rows[target])
        if removed.shape != kept.shape:
            continue
        removed = np.concatenate([removed[:, :-1] * scales.get(unit, 0.0), removed[:, -1:]], axis=1)
        size = float(np.square(kept).sum())
        found[unit] = max(0.0, float((removed * kept).sum()) / size) if size else 0.0
    return found


def _merged(
    state: PruningState, targets: Mapping[int, int], along: Mapping[str, Multiples]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return weight → its values at full size with the merged columns."""
    uses = {use.parameter: use for use in state.groups.uses if use.role == "weight"}
    found: dict[str, npt.NDArray[np.float32]] = {}
    for node in state.full.graph:
        for place, value in enumerate(node.inputs):
            name = str(value.name) if value is not None else ""
            use = uses.get(name)
            other = node.inputs[1 - place] if use is not None and place < 2 else None
            if use is None or other is None or len(use.labels) < 2:
                continue
            scales = along.get(str(other.name))
            if scales is None or not scales.any() or not stored_alone(state.full, name):
                continue
            weight = state.full.array(name).astype(np.float64)
            changed = _columns(weight, state.groups.units[use.labels[1]], targets, scales)
            if changed is not None:
                found[name] = changed.astype(np.float32)
    return found


def _columns(
    weight: npt.NDArray[np.float64],
    read: npt.NDArray[np.int64],
    targets: Mapping[int, int],
    scales: Multiples,
) -> npt.NDArray[np.float64] | None:
    """Return a weight whose columns of kept units have those of removed ones added.

    Args:
        weight: at full size.
        read: unit that each element reads, in a shape that broadcasts to the weight's.
        targets: removed unit → kept unit.
        scales: multiple of each channel that is read.
    """
    axes = [axis for axis in range(read.ndim) if read.shape[axis] > 1]
    if not axes:
        return None
    columns = axes[-1]
    rows = np.moveaxis(read, columns, -1).reshape(-1, read.shape[columns])
    groups = max(len(scales) // rows.shape[1], 1)
    if len(scales) != groups * rows.shape[1] or len(rows) % groups:
        return None
    own_scales = scales.reshape(groups, -1).repeat(len(rows) // groups, axis=0)
    whole = np.moveaxis(weight, columns, -1)
    parts = whole.reshape(len(rows), -1, whole.shape[-1]).copy()
    changed = False
    for part, units, scale in zip(parts, rows.tolist(), own_scales, strict=True):
        places: dict[int, list[int]] = {}
        for place, unit in enumerate(units):
            places.setdefault(unit, []).append(place)
        for unit, own in places.items():
            target = places.get(targets.get(unit, -1))
            if target is None or len(target) != len(own) or not scale[own].any():
                continue
            part[:, target] += scale[own] * part[:, own]
            changed = True
    if not changed:
        return None
    return np.moveaxis(parts.reshape(whole.shape), -1, columns)
