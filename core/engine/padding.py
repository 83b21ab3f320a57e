"""Channels of zeros, added so that a processor's vectors are full: for speed only.

onnxruntime computes convolutions on blocks of channels, as many as a vector of the processor
holds. If the channels of a layer are no multiple of a block, it changes the layout of the values
around every convolution or computes without blocks. Channels of zeros up to the next multiple avoid
both; the outputs are the same up to the order of sums. Measured: docs/data.md.

Padding is the inverse of a removal: it adds channels of zero weights after the last channel of a
group. Such channels are masked, and a masked channel changes nothing (docs/architecture.md,
section 4).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from ..coupling import find_groups
from ..coupling.edit import recounted
from ..coupling.groups import Group, Groups
from ..coupling.indices import LabelVector, Unit, UnitVector
from ..coupling.labels import Labels
from ..coupling.trace import INDEX, WINDOW
from ..errors import PlanError
from ..ir.network import OPSET, Network
from .session import optimized

__all__ = ["channel_block", "for_speed", "pad_channels", "padded"]

PLANAR_RANK = 4
"""Axes of the weight of a convolution over planes: outputs, inputs, height, width."""

_KNOWN: WeakKeyDictionary[ir.Model, ir.Model | None] = WeakKeyDictionary()
"""Model → the padded model that :func:`for_speed` returns; None if it returns the model itself."""


def for_speed(network: Network) -> Network:
    """Return a network with the same outputs that may run faster on this machine.

    It is for running only: its channels are not those of the files. The result is remembered as
    long as the model exists.
    """
    if network.model not in _KNOWN:
        block = channel_block()
        found = padded(network, find_groups(network), block)[0] if block > 1 else network
        # A model that is its own value would keep itself alive for ever.
        _KNOWN[network.model] = None if found is network else found.model
    model = _KNOWN[network.model]
    return network if model is None else replace(network, model=model, companions=())


@cache
def channel_block() -> int:
    """Return how many channels onnxruntime computes at once on this machine; 1 without blocks.

    The number is read from the shape that it gives the weight of a convolution with one output.
    """
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "weight")
    shape = [1, 1, 8, 8], [1, 1, 6, 6]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, one)
        for name, one in zip(("x", "y"), shape, strict=True)
    )
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"])], "block", [x], [y], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    found = optimized(model).graph
    sizes = {tensor.name: tensor.dims[0] for tensor in found.initializer}
    return next((sizes.get(n.input[1], 1) for n in found.node if n.op_type == "Conv"), 1)


def pad_channels(network: Network, multiple: int) -> Network:
    """Return the network with zero channels, so that a runtime's blocks of channels are full.

    The outputs stay the same up to the order of sums. For the groups that are padded see
    :func:`padded`.

    Args:
        network: the network.
        multiple: the number of channels of a padded group becomes a multiple of it.

    Raises:
        PlanError: `multiple` is below 1.
    """
    if multiple < 1:
        raise PlanError(f"channels must be padded to a multiple of 1 or more, not {multiple}")
    return padded(network, find_groups(network), multiple)[0]


def padded(network: Network, groups: Groups, block: int) -> tuple[Network, Groups]:
    """Return the network with zero channels up to the next multiple of a block in every group.

    Groups that cannot be pruned are not padded, nor are groups whose layers also hold channels of
    other groups or divide their channels into shares.

    Args:
        network: the network.
        groups: its groups.
        block: channels of a block.

    Returns:
        a network with the same inputs and outputs (the given one if nothing is added), and the
        groups with the labels of its values: a new channel has the label of the channel before it.
    """
    unfit = _unfit(network, groups)
    added = np.zeros(groups.unit_count, dtype=np.int64)
    for group in _whole(groups):
        if not unfit.intersection(group.units):
            added[group.units[-1]] = -len(group.units) % block
    if not added.any():
        return network, groups
    more = added[groups.units]
    tensors = {}
    for use in groups.uses:
        if not any(more[labels].any() for labels in use.labels):
            continue
        tensor = network.array(use.parameter)
        for labels in use.labels:
            for axis in _varying(labels):
                along = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)[:, 0]
                taken, new = _repeated(groups.units_of(along), added)
                tensor = np.take(tensor, taken, axis=axis)
                if use.zeroed:
                    tensor[(slice(None),) * axis + (new,)] = 0
        tensors[use.parameter] = tensor
    values = {name: _grown(labels, more, groups, added) for name, labels in groups.values.items()}
    return recounted(network, groups, 1 + more, tensors), replace(groups, values=values)


def _grown(
    labels: Labels, more: npt.NDArray[np.int64], groups: Groups, added: npt.NDArray[np.int64]
) -> Labels:
    """Return the labels of a value in the padded network.

    Args:
        labels: its labels.
        more: label → number of copies, [labels].
        groups: the groups.
        added: unit → number of copies, [units].
    """
    if labels.axis is None or not more[labels.vector].any():
        return labels
    taken, _ = _repeated(groups.units_of(labels.vector), added)
    shape = tuple(len(taken) if k == labels.axis else n for k, n in enumerate(labels.shape))
    return Labels(shape, labels.axis, labels.vector[taken])


def _whole(groups: Groups) -> list[Group]:
    """Return the prunable groups of one share whose layers each produce every channel once."""
    broken = set()
    for producer in groups.producers:
        made = [Unit(unit) for unit in groups.units[producer.labels].tolist()]
        group = groups.group_of.get(made[0])
        if group is not None and sorted(made) != sorted(group.units):
            broken.add(group.name)
    return [
        group
        for group in groups.groups
        if group.name not in broken
        and [len(partition) for partition in group.partitions] == [1]
        and group.units[-1] not in groups.reasons
    ]


def _unfit(network: Network, groups: Groups) -> set[Unit]:
    """Return the units that cannot be padded, or gain nothing from it.

    These are:
        - the channels that a window sums over, since new ones would come between them;
        - channels that are picked by their numbers: a copy would be picked by none;
        - the channels of grouped layers, since each row of their weights reads other channels;
        - a channel that is the only one of a value: it may be broadcast over the channels of
          another value;
        - the channels that layers other than convolutions over planes read or produce. Such layers
          compute without blocks, and after a flattened map they have many columns a channel.
    """
    vectors = [labels.vector for labels in groups.values.values() if len(labels.vector) == 1]
    for use in groups.uses:
        shape = network.graph.initializers[use.parameter].shape
        if (
            any(len(_varying(labels)) > 1 for labels in use.labels)
            or use.role in (INDEX, WINDOW)
            or (use.role == "weight" and (shape is None or len(shape) != PLANAR_RANK))
        ):
            vectors += use.labels
        vectors += [labels for labels in use.labels if not _varying(labels)]
    return {unit for labels in vectors for unit in groups.distinct_units(labels)}


def _varying(labels: LabelVector) -> list[int]:
    """Return the axes along which labels differ."""
    return [
        axis
        for axis, size in enumerate(labels.shape)
        if size > 1 and (labels != np.take(labels, [0], axis=axis)).any()
    ]


def _repeated(
    units: UnitVector, added: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the places to take so that copies follow the channels of some units.

    Neighbouring places of one unit (the outputs of a depthwise layer with a multiplier) are copied
    as one run.

    Args:
        units: unit at each place, [places].
        added: unit → number of copies, [units].

    Returns:
        the places to take, [new places], and a mask over these: which are copies.
    """
    places = np.arange(len(units))
    starts = np.flatnonzero(np.diff(units, prepend=-1))
    ends = np.append(starts[1:], len(units))
    growing = added[units[starts]] > 0
    taken, new, done = [], [], 0
    for start, end in zip(starts[growing].tolist(), ends[growing].tolist(), strict=True):
        copies = np.tile(places[start:end], added[units[start]])
        taken += [places[done:end], copies]
        new += [np.zeros(end - done, np.bool_), np.ones(len(copies), np.bool_)]
        done = end
    taken.append(places[done:])
    new.append(np.zeros(len(units) - done, np.bool_))
    return np.concatenate(taken), np.concatenate(new)
