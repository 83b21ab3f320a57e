"""Carrying out a removal: `mask` zeroes channels at full size, `shrink` takes them out."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ir.builder import Attribute
from ..ir.network import Network
from ..ir.rebuild import changed_tensors, node_key, rebuild
from ..ir.windows import Window, window_of
from .groups import Groups
from .indices import LabelMask, LabelVector, UnitMask
from .trace import INDEX, WINDOW, Use

__all__ = ["carried", "expand", "mask", "recounted", "shrink"]


def mask(network: Network, groups: Groups, removed: UnitMask, *, close_up: bool = True) -> Network:
    """Return the full-size network with removed channels set to zero.

    The slices of producers and of consumers are zeroed, since not every activation maps 0 to 0.
    Means, variances and divisors keep their values.

    Args:
        network: the network that `groups` was found in.
        groups: its groups.
        removed: mask over units.
        close_up: whether windows over channels close up over the removed ones, as they do in the
            dense network; else these count as zeros in their places.
    """
    surviving = groups.surviving(removed)
    tensors = {}
    for use in groups.uses:
        kept = [surviving[labels] for labels in use.labels]
        if use.role == WINDOW:
            if not kept[0].all():
                every = kept[0].ravel() if close_up else np.ones(kept[0].size, np.bool_)
                tensors[use.parameter] = _window(network, use).among(every)
        elif use.zeroed and not all(array.all() for array in kept):
            tensor = network.array(use.parameter)
            for array in kept:
                tensor = np.where(array, tensor, np.zeros((), tensor.dtype))
            tensors[use.parameter] = tensor
    return rebuild(network, tensors=tensors)


def shrink(network: Network, groups: Groups, removed: UnitMask) -> Network:
    """Return the network without the removed channels.

    Every parameter is gathered by the labels that arrive at it, and every number that counts
    channels is counted again.

    Args:
        network: the network that `groups` was found in.
        groups: its groups.
        removed: mask over units.

    Raises:
        ValueError: a share lost other numbers of channels than its partners; a plan is checked for
            this before.
    """
    surviving = groups.surviving(removed)
    tensors = {}
    for use in groups.uses:
        if use.role == WINDOW:
            count = int(surviving[use.labels[0]].sum())
            if count < use.labels[0].size:
                tensors[use.parameter] = _window(network, use).block(count)
        elif use.role != INDEX and not all(surviving[labels].all() for labels in use.labels):
            tensor = network.array(use.parameter)
            tensors[use.parameter] = _gather(tensor, use.labels, surviving)
    return recounted(network, groups, surviving.astype(np.int64), tensors)


def recounted(
    network: Network,
    groups: Groups,
    times: npt.NDArray[np.int64],
    tensors: dict[str, npt.NDArray[Any]],
) -> Network:
    """Return the network with other tensors and with every number that counts channels updated.

    Args:
        network: the network that `groups` was found in.
        groups: its groups.
        times: label → number of channels that bear it in the new network; 0 for a removed one.
        tensors: parameter → its new values.
    """
    tensors = dict(tensors)
    attributes: dict[str, dict[str, int]] = defaultdict(dict)
    lists: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for count in groups.counts:
        number = int(times[count.labels].sum())
        if number == len(count.labels):
            continue
        if count.attribute is None:
            assert count.entry is not None
            if count.target not in tensors:
                tensors[count.target] = network.array(count.target).copy()
            tensors[count.target][count.entry] = number
        elif count.entry is None:
            attributes[count.target][count.attribute] = number
        else:
            lists[count.target, count.attribute][count.entry] = number
    for use in groups.uses:
        if use.role == INDEX and not times[use.labels[0]].all():
            numbers = tensors.get(use.parameter, network.array(use.parameter))
            tensors[use.parameter] = numbers[times[use.labels[0]] > 0]
    changed: dict[str, dict[str, Attribute]] = {key: {**a} for key, a in attributes.items()}
    for node in network.graph if lists else ():
        for (key, name), entries in lists.items():
            if key == node_key(node):
                given = node.attributes[name].as_ints()
                changed.setdefault(key, {})[name] = [
                    entries.get(place, entry) for place, entry in enumerate(given)
                ]
    return rebuild(network, tensors=tensors, attributes=changed)


def expand(original: Network, dense: Network, groups: Groups, removed: UnitMask) -> Network:
    """Return the dense network at full size, with zeros where channels were removed.

    Args:
        original: the network before pruning.
        dense: the network without the removed channels (:func:`shrink`), repaired or not.
        groups: groups of the original.
        removed: mask over their units.
    """
    surviving = groups.surviving(removed)
    changed = changed_tensors(original, dense)
    counted = {count.target for count in groups.counts}
    tensors = {name: array for name, array in changed.items() if name not in counted}
    for use in groups.uses:
        if use.parameter not in changed or use.role == INDEX:
            continue
        if use.role == WINDOW:
            kept = surviving[use.labels[0]].ravel()
            tensors[use.parameter] = _window(original, use).among(kept)
            continue
        full = original.array(use.parameter).copy()
        kept = np.ones(full.shape, dtype=np.bool_)
        for labels in use.labels:
            kept &= surviving[labels]
        if use.zeroed:
            full[~kept] = 0
        full[kept] = changed[use.parameter].ravel()
        tensors[use.parameter] = full
    return rebuild(original, tensors=tensors)


def _window(network: Network, use: Use) -> Window:
    window = window_of(network.graph.initializers[use.parameter])
    assert window is not None, "the trace says that it is one"
    return window


def carried(network: Network, groups: Groups, removed: UnitMask) -> dict[str, float]:
    """Return for each group that loses channels how large the weights of these channels are.

    Returns:
        group name → the largest ‖removed slices‖ / ‖whole weight‖ (Frobenius norms) over the
        weights that produce the group's channels; 0 where all removed slices are zero.
    """
    surviving = groups.surviving(removed)
    found: dict[str, float] = defaultdict(float)
    for use in groups.uses:
        if use.role != "weight" or surviving[use.labels[0]].all():
            continue
        weight = network.array(use.parameter).astype(np.float64)
        lost = np.where(surviving[use.labels[0]], 0.0, weight)
        whole = float(np.linalg.norm(weight))
        share = float(np.linalg.norm(lost)) / whole if whole else 0.0
        for unit in groups.distinct_units(use.labels[0]):
            group = groups.group_of.get(unit)
            if group is not None and removed[unit]:
                found[group.name] = max(found[group.name], share)
    return dict(found)


def _gather(
    tensor: npt.NDArray[Any],
    labels: tuple[LabelVector, ...],
    surviving: LabelMask,
) -> npt.NDArray[Any]:
    """Return the elements all of whose labels survive, as a rectangle.

    Labels along one axis cut whole slices. Labels over two axes (a grouped convolution, where each
    group reads other channels) pick elements row by row; every row must keep equally many.
    """
    rows = np.ones(tensor.shape[0], dtype=np.bool_) if tensor.ndim else None
    matrices = []
    for array in labels:
        axes = [axis for axis, size in enumerate(array.shape) if size > 1]
        if len(axes) > 1:
            matrices.append(array)
        elif axes:
            kept = surviving[array.ravel()]
            tensor = np.compress(kept, tensor, axis=axes[0])
            if axes[0] == 0:
                rows = kept
    for array in matrices:
        assert rows is not None
        kept = surviving[array.reshape(array.shape[0], array.shape[1])][rows]
        (each,) = set(kept.sum(axis=1).tolist())
        tensor = tensor[kept].reshape(tensor.shape[0], each, *tensor.shape[2:])
    return np.ascontiguousarray(tensor)
