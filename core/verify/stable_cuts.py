"""Comparing two networks piece by piece, cut at nodes that can turn rounding into large errors.

The position of a maximum jumps if two values are nearly equal, and a softmax of large numbers turns
their last digits into its first. Two networks that differ only in the order of their sums then
differ in all values after such a node, though neither is wrong. Here the second network is fed with
the outputs that such nodes have in the first network, and the inputs of these nodes are compared
instead. If all pieces agree, the networks agree up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ..coupling import Groups
from ..coupling.indices import UnitMask
from ..data import Dataset, streamed
from ..engine.session import Session
from ..ir.network import Network, shape_of
from ..ir.partial import between
from ..progress import Progress, silent
from .compare import Comparison, Meter

__all__ = ["Narrow", "compare_pieces", "narrowed", "same_size", "steep_nodes"]

Narrow = Callable[[str, np.ndarray], np.ndarray]
"""Takes the name of a value and its array in the first network; returns the array of the channels
that the second network has."""

STEEP = frozenset({
    "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Hardmax", "Less",
    "LessOrEqual", "Round", "Sign", "Softmax", "TopK",
})  # fmt: skip
"""Operators whose output can change much when their input changes by rounding."""


def same_size(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array: both networks have the same channels."""
    del name
    return array


def narrowed(groups: Groups, removed: UnitMask) -> Narrow:
    """Return a function that takes arrays of the full-size network to the surviving channels.

    Args:
        groups: groups of the full-size network.
        removed: mask over their units, [units].
    """
    surviving = groups.surviving(removed)

    def narrow(name: str, array: np.ndarray) -> np.ndarray:
        labels = groups.values.get(name)
        if labels is None or labels.axis is None:
            return array
        return np.compress(surviving[labels.vector], array, axis=labels.axis)

    return narrow


def steep_nodes(network: Network) -> list[ir.Node]:
    """Return the nodes at which a network is cut."""
    batches = {shape[0] for shape in network.inputs.values() if shape}
    return [
        node
        for node in network.graph
        if (node.op_type in STEEP or (node.op_type == "MaxPool" and _gives_positions(node)))
        and all(
            value.shape is not None and len(value.shape) > 0 and shape_of(value)[0] in batches
            for value in (*_read(node), *node.outputs)
        )
    ]


def compare_pieces(
    first: Network,
    second: Network,
    dataset: Dataset,
    narrow: Narrow = same_size,
    *,
    given: bool,
    progress: Progress = silent,
) -> Comparison:
    """Compare every output, and every input of a steep node.

    The input of a saturated softmax shows differences that its output hides.

    Args:
        first: the reference.
        second: a network of the same nodes, with the same or fewer channels.
        dataset: inputs for both.
        narrow: maps a value of `first` to the channels that `second` has.
        given: whether `second` is fed with the outputs that steep nodes have in `first`. Network
            outputs among these are then not compared; the inputs of the nodes are.
        progress: called with the number of samples done.

    Returns:
        one difference for each value.
    """
    known = second.values()
    nodes = [node for node in steep_nodes(first) if all(v.name in known for v in _read(node))]
    made = {str(value.name) for node in nodes for value in node.outputs} if given else set()
    outputs = [name for name in first.outputs if name not in made]
    read = dict.fromkeys(str(value.name) for node in nodes for value in _read(node))
    inner = [name for name in read if name not in {*made, *outputs, *first.inputs}]
    meters = {name: Meter() for name in (*outputs, *inner)}
    session = Session(first, fetch=[*sorted(made), *meters])
    rest = between(second, [*second.inputs, *made], list(meters)) if given else second
    session_rest = Session(rest, fetch=list(meters))
    samples = 0
    for batch in streamed(dataset, "comparing", progress):
        values = session.run(batch.inputs)
        feeds = {name: narrow(name, values[name]) for name in made} | dict(batch.inputs)
        others = session_rest.run({name: feeds[name] for name in rest.inputs})
        for name, meter in meters.items():
            meter.add(name, narrow(name, values[name]), others[name], samples, batch.size)
        samples += batch.size
    shapes = {name: shape_of(known[name]) for name in meters}
    note = f"compared in pieces, cut at {len(nodes)} nodes that amplify rounding"
    return Comparison(
        outputs=tuple(meter.result(n, n, shapes[n]) for n, meter in meters.items()),
        samples=samples,
        notes=(note,) if given else (),
    )


def _read(node: ir.Node) -> list[ir.Value]:
    """Return the computed numbers that a node reads."""
    return [
        value
        for value in node.inputs
        if value is not None and value.const_value is None and value.dtype is not ir.DataType.BOOL
    ]


def _gives_positions(node: ir.Node) -> bool:
    """Whether a pooling's positions are read, and only as positions inside a plane.

    Positions in the whole tensor differ between networks of different width.
    """
    readers = [use.node.op_type for value in node.outputs[1:] for use in value.uses()]
    return bool(readers) and set(readers) == {"Mod"}
