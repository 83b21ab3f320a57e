"""How often parts of a network run: behind region pooling once a region, not once a sample.

The first axis of such a value counts regions. Files often leave open how many there are: some
test nets write a single one, which the program resizes, and exported graphs name the axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import onnx_ir as ir

from .network import Network, layer_of, shape_of
from .rebuild import node_key

__all__ = ["REGIONS", "Repeats", "repeats_of"]

REGIONS = "regions"
"""Key in the `meta` of a value whose first axis counts regions: how many of a sample the file
tells; 0 where it does not tell."""

POOLINGS = frozenset({"MaxRoiPool", "RoiAlign"})
"""Operators (map, regions, …) with one output a region."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where values begin to count regions.

    Args:
        name: name of the layer or the input.
        stated: regions of a sample that the file tells; None where it does not.
        length: length of the first axis there; None where it is symbolic.
    """

    name: str
    stated: int | None
    length: int | None


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often the parts of a network run for one sample.

    Args:
        rows: name of a value behind region pooling → entries of its first axis for one sample. It
            is a part of 1 where another axis counts regions, and the user says there are fewer.
        counts: the different numbers of regions of a sample, rising; empty without regions.
        open: names of layers and inputs whose number of regions is not known, so that 1 is taken.
    """

    rows: Mapping[str, Fraction]
    counts: tuple[int, ...]
    open: tuple[str, ...]


def repeats_of(network: Network) -> Repeats:
    """Return how often each value behind region pooling is computed for one sample.

    A number that the user gave (:attr:`.network.Network.regions`) counts for all poolings.
    """
    inputs = network.graph.inputs
    samples = (_length(inputs[0]) if inputs else None) or 1
    origins = {
        str(value.name): _stated(str(value.name), value, samples)
        for value in inputs
        if REGIONS in value.meta
    }
    for node in network.graph:
        known = [origins[str(v.name)] for v in node.inputs if v is not None and v.name in origins]
        if known:
            origin = max(known, key=lambda one: one.stated or 0)
        elif node.op_type in POOLINGS and node.domain == "":
            origin = _pooled(network, node)
        else:
            continue
        origins |= {str(value.name): origin for value in node.outputs}
    values = network.values() if origins else {}
    found = set(origins.values())
    return Repeats(
        rows={name: _rows(values[name], origin, network) for name, origin in origins.items()},
        counts=tuple(sorted({_count(origin, network) for origin in found})),
        open=tuple(sorted(one.name for one in found if one.stated is None))
        if network.regions is None
        else (),
    )


def _count(origin: _Origin, network: Network) -> int:
    return network.regions or origin.stated or 1


def _pooled(network: Network, node: ir.Node) -> _Origin:
    """Return the origin that a pooling is. A single region is what files write for any number."""
    layer = layer_of(node)
    name = network.layers[layer].name if layer is not None else node_key(node)
    samples = _length(node.inputs[0]) or 1
    return _stated(name, node.outputs[0], samples)


def _stated(name: str, value: ir.Value, samples: int) -> _Origin:
    length = _length(value)
    count = value.meta.get(REGIONS) or (length or 1) // samples
    return _Origin(name, count if count > 1 else None, length)


def _length(value: ir.Value | None) -> int | None:
    """Return the length of the first axis; None where it is symbolic or not known."""
    shape = shape_of(value) if value is not None and value.shape is not None else ()
    return shape[0] if shape and isinstance(shape[0], int) else None


def _rows(value: ir.Value, origin: _Origin, network: Network) -> Fraction:
    """Return the entries of the first axis of a value for one sample."""
    count, length = _count(origin, network), _length(value)
    if length is None or origin.length is None:
        return Fraction(count)
    if length % origin.length and origin.length not in shape_of(value):
        samples = origin.length // (origin.stated or origin.length) or 1
        return Fraction(length, samples)  # regions are no more told apart
    return Fraction(length * count, origin.length)
