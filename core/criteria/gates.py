"""Gates: factors of 1 by which every place that makes a unit is multiplied.

A place is what a layer makes, behind its bias and its normalisation and before its activation. A
unit that several layers make (the channels that a residual sum adds) has one gate and several
places: the gradient of the gate is the sum over them. Depthwise convolutions pass channels on and
are no places.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.groups import Groups
from ..coupling.indices import UnitVector
from ..ir.assemble import Assembly
from ..ir.network import Network, shape_of
from ..ir.partial import nodes_between
from ..ir.rebuild import node_key
from ..ir.weighted import only_stored

__all__ = ["GATED", "Place", "find_places", "gated", "per_place", "place_counts"]

GATED = "gated:"
"""Prefix of a value that is multiplied by its gate; the name of the value follows."""

GATE = "gate:"
"""Prefix of the input that holds the gate of a value."""

AFTER = frozenset({"BatchNormalization", "Mul", "Add", "Sub", "Identity", "Dropout"})
"""Operators that belong to the layer before them, if their other inputs are stored."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """What one layer makes.

    Args:
        value: the last value before an activation.
        units: the unit of each channel [channels].
        axis: along which the channels lie.
        shape: of the value.
        by_sample: whether samples lie along the first axis, so that each has a gate of its own.
        nodes: from the layer's own node to the one that makes `value`.
    """

    value: str
    units: UnitVector
    axis: int
    shape: tuple[int | str, ...]
    by_sample: bool
    nodes: tuple[ir.Node, ...]

    @property
    def name(self) -> str:
        """The input that holds its gate."""
        return GATE + self.value

    def spread(self, rows: int) -> tuple[int, ...]:
        """Return the shape of its gate for some samples."""
        sizes = [1] * len(self.shape)
        sizes[self.axis] = len(self.units)
        if self.by_sample:
            sizes[0] = rows
        return tuple(sizes)


def find_places(network: Network, groups: Groups) -> tuple[Place, ...]:
    """Return the places of all units that may be removed, in the order of the graph."""
    removable = groups.mask(unit for group in groups.groups for unit in group.removable())
    nodes = {node_key(node): node for node in network.graph}
    batch = next((shape[0] for shape in network.inputs.values() if shape), None)
    found: dict[str, Place] = {}
    for producer in groups.producers:
        if not removable[groups.units[producer.labels]].any():
            continue
        own = _layer(nodes[producer.node], groups)
        value = own[-1].outputs[0]
        labels, shape = groups.values[str(value.name)], shape_of(value)
        if labels.axis is not None:
            found[str(value.name)] = Place(
                value=str(value.name),
                units=groups.units_of(labels.vector),
                axis=labels.axis,
                shape=shape,
                by_sample=batch is not None and labels.axis > 0 and shape[0] == batch,
                nodes=own,
            )
    return tuple(found.values())


def place_counts(groups: Groups, places: Sequence[Place]) -> npt.NDArray[np.int64]:
    """Return in how many places each unit is made, at least 1 [units]."""
    counts = np.zeros(groups.unit_count, dtype=np.int64)
    for place in places:
        counts[np.unique(place.units)] += 1
    return np.maximum(counts, 1)


def per_place(
    groups: Groups, places: Sequence[Place], scores: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return scores [units], each over the number of its unit's places.

    The gradient of a shared gate is a sum over its places. Undivided, the channels of residual
    stages would look as many times too important.
    """
    return scores / place_counts(groups, places)


def gated(network: Network, places: Sequence[Place], wanted: Collection[str]) -> Network:
    """Return a network whose places are multiplied by inputs, :attr:`Place.name` each.

    Args:
        network: the network.
        places: of it.
        wanted: names of the values that become its outputs.
    """
    by_value: Mapping[str, Place] = {place.value: place for place in places}
    part = Assembly(network)
    replaced: dict[str, ir.Value] = {}
    for node in nodes_between(network, set(network.inputs), wanted):
        part.take_read(node)
        read = {str(value.name) for value in node.inputs if value is not None}
        part.add(node, reads={name: replaced[name] for name in read & replaced.keys()})
        for value in node.outputs:
            place = by_value.get(str(value.name))
            if place is None:
                continue
            made = part.values[place.value]
            sizes: list[int | str] = list(place.spread(1))
            if place.by_sample:
                sizes[0] = place.shape[0]
            gate = part.input(place.name, sizes, like=made)
            replaced[place.value] = part.op("Mul", [made, gate], GATED + place.value, like=made)
    return replace(part.network(list(wanted)), source=None, heads=())


def _layer(node: ir.Node, groups: Groups) -> tuple[ir.Node, ...]:
    """Return a node with those behind it that belong to its layer: bias, normalisation, scale."""
    found = [node]
    while True:
        value = found[-1].outputs[0]
        readers = value.consumers()
        if len(readers) != 1 or value.is_graph_output():
            return tuple(found)
        (reader,) = readers
        belongs = reader.op_type in AFTER and only_stored(reader, value)
        if not belongs or not _same(groups, value, reader.outputs[0]):
            return tuple(found)
        found.append(reader)


def _same(groups: Groups, first: ir.Value, second: ir.Value) -> bool:
    """Whether the channels of two values are the same units."""
    before, after = (groups.values.get(str(value.name)) for value in (first, second))
    if before is None or after is None or before.axis != after.axis:
        return False
    return np.array_equal(groups.units[before.vector], groups.units[after.vector])
