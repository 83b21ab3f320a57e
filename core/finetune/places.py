"""The values of a network that matter for training: scores, and the features before them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ..ir.heads import BoxHead, box_heads, is_vector
from ..ir.logits import PASSING, logits_of
from ..ir.network import Network, shape_of
from ..ir.weighted import WEIGHTED, only_stored

__all__ = ["Places", "features_of", "layers_of", "places_of"]

AFTER = frozenset({"BatchNormalization", "Mul", "Add"})
"""Operators that belong to the layer before them, if their other inputs are stored."""

POOLING = frozenset({"GlobalAveragePool", "GlobalMaxPool"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Values of a network by what they are to training.

    Args:
        scores: output → the value that holds its scores before a softmax; for other outputs the
            output itself.
        features: the values that the last layers read: feature maps before a global pooling, or
            what the layers that make the outputs read.
        layers: what each layer with weights makes, its normalisation and bias included, before an
            activation.
        classes: outputs of `scores` that hold the classes of a sample.
        boxes: heads with boxes.
    """

    scores: dict[str, str]
    features: tuple[str, ...]
    layers: tuple[str, ...]
    classes: frozenset[str]
    boxes: tuple[BoxHead, ...]


def places_of(network: Network) -> Places:
    """Return the values of a network that matter for training."""
    outputs = network.graph.outputs
    return Places(
        scores={str(value.name): logits_of(value) for value in outputs},
        features=tuple(dict.fromkeys(name for value in outputs for name in features_of(value))),
        layers=layers_of(network),
        classes=frozenset(name for name, shape in network.outputs.items() if is_vector(shape)),
        boxes=tuple(box_heads(network)),
    )


def features_of(output: ir.Value) -> list[str]:
    """Return the values that the last layers before an output read, outermost first.

    The walk goes back from the output. It ends at a pooling over all positions, whose input holds
    far more numbers than its output, or at the first layer with weights.
    """
    found: list[str] = []
    seen: set[int] = set()
    waiting: list[ir.Value | None] = [output]
    while waiting:
        value = waiting.pop(0)
        node = value.producer() if value is not None else None
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        data = node.inputs[0]
        if _pools(node) and data is not None:
            found.append(str(data.name))
        elif _is_layer(node) and data is not None:
            before = _before_pooling(data)
            if before is not None:
                found.append(before)
        else:
            waiting += [each for each in node.inputs if each is not None]
    return list(dict.fromkeys(found))


def layers_of(network: Network) -> tuple[str, ...]:
    """Return what each layer with weights makes, its normalisation and bias included."""
    return tuple(dict.fromkeys(_made(node.outputs[0]) for node in network.graph if _is_layer(node)))


def _made(value: ir.Value) -> str:
    """Return the last value of a layer before its activation."""
    while len(readers := value.consumers()) == 1 and not value.is_graph_output():
        (reader,) = readers
        if reader.op_type not in AFTER or not only_stored(reader, value):
            break
        value = reader.outputs[0]
    return str(value.name)


def _before_pooling(value: ir.Value) -> str | None:
    """Return what a layer reads, seen through reshapes and a global pooling; None for an input."""
    while (node := value.producer()) is not None and (node.op_type in PASSING or _pools(node)):
        before = node.inputs[0]
        if before is None:
            break
        value = before
        if _pools(node):
            break
    return None if value.producer() is None else str(value.name)


def _is_layer(node: ir.Node) -> bool:
    """Whether a node multiplies by stored weights."""
    return node.op_type in WEIGHTED and any(
        value is not None and value.const_value is not None for value in node.inputs[1:2]
    )


def _pools(node: ir.Node) -> bool:
    """Whether a node takes all positions of a map together."""
    if node.op_type in POOLING:
        return True
    if node.op_type not in ("AveragePool", "ReduceMean"):
        return False
    before, after = node.inputs[0], node.outputs[0]
    if before is None or before.shape is None or after.shape is None:
        return False
    spatial = [size for size in shape_of(before)[2:] if isinstance(size, int)]
    left = [size for size in shape_of(after)[2:] if isinstance(size, int)]
    area = 1
    for size in spatial:
        area *= size
    return len(shape_of(before)) == 4 and area > 1 and all(size == 1 for size in left)
