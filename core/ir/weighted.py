"""Operators that multiply by stored weights, and the nodes behind them that belong to their layer.

Behind a layer y = W x + b usually stands a normalisation, a learned factor or a summand. All of
them are affine in each channel: z = factor · y + summand.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .assemble import NONE, Tensors
from .network import shape_of

__all__ = ["WEIGHTED", "affine_of", "channel_axis", "epsilon_of", "only_stored"]

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose stored weights make channels."""

BATCH_NORM_EPSILON = 1e-5
"""The default epsilon of ONNX's BatchNormalization."""

Vector = npt.NDArray[np.float64]


def channel_axis(op_type: str, rank: int) -> int:
    """Return the axis along which an operator of :data:`WEIGHTED` makes channels.

    Args:
        op_type: the operator.
        rank: number of axes of what it makes.
    """
    return 1 if op_type.startswith("Conv") else rank - 1


def epsilon_of(node: ir.Node) -> float:
    """Return what a batch normalisation adds to variances."""
    given = node.attributes.get("epsilon")
    return given.as_float() if given is not None else BATCH_NORM_EPSILON


def only_stored(node: ir.Node, value: ir.Value) -> bool:
    """Whether all that a node reads besides one value is stored."""
    others = [each for each in node.inputs if each is not None and each is not value]
    return all(each.const_value is not None for each in others)


def affine_of(
    node: ir.Node, value: ir.Value, axis: int, channels: int, tensors: Tensors = NONE
) -> tuple[Vector, Vector] | None:
    """Return factor and summand of a node that is affine in each channel [channels].

    Args:
        node: reads the value.
        value: holds the channels.
        axis: along which they lie, from the front.
        channels: how many there are.
        tensors: initializer → changed values of the same shape, instead of the stored ones.

    Returns:
        None where the node is something else, or where its stored numbers vary along another axis.
    """
    if value.shape is None or not only_stored(node, value):
        return None
    others = [each for each in node.inputs if each is not None and each is not value]
    arrays = [_array(each, tensors) for each in others]
    first, rank = node.inputs[0] is value, len(shape_of(value))
    if node.op_type == "BatchNormalization":
        if not first or axis != 1 or [each.size for each in arrays] != [channels] * 4:
            return None
        scale, shift, mean, variance = arrays
        factor = scale / np.sqrt(variance + epsilon_of(node))
        return factor, shift - factor * mean
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(arrays) != 1:
        return None
    vector = _along(arrays[0], rank, axis, channels)
    if vector is None or (not first and node.op_type in ("Sub", "Div")):
        return None
    if node.op_type in ("Add", "Sub"):
        return np.ones(channels), vector if node.op_type == "Add" else -vector
    if node.op_type == "Div" and not vector.all():
        return None
    return vector if node.op_type == "Mul" else 1.0 / vector, np.zeros(channels)


def _array(value: ir.Value, tensors: Tensors) -> Vector:
    changed = tensors.get(str(value.name))
    if changed is None:
        assert value.const_value is not None, "the caller looked whether it is stored"
        changed = value.const_value.numpy()
    return changed.astype(np.float64)


def _along(array: Vector, rank: int, axis: int, channels: int) -> Vector | None:
    """Return stored numbers as one a channel; None where they vary along another axis."""
    shape = (1,) * (rank - array.ndim) + array.shape
    if len(shape) != rank or any(size != 1 for k, size in enumerate(shape) if k != axis):
        return None
    if array.size not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), channels)
