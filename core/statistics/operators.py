"""Multiplying nodes as matrices: their inputs at each position, and their weights.

Every convolution and matrix product is, at each output position and for each of its groups,
`y = W x + b` with W [outputs, inputs · taps]. This file brings weights and activations into that
form, and weights back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import Network, blob_refs
from ..ir.rebuild import node_key

__all__ = ["Array", "Operator", "Positions", "Shift", "find_operators"]

Array = npt.NDArray[Any]
"""Activations and weights, float32 from files and sessions, float64 in sums."""

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Shift:
    """The parameter in which a constant can be added to each output channel of an operator.

    Args:
        parameter: its name.
        sign: +1 for a bias, −1 for the mean of a normalisation, which is subtracted.
    """

    parameter: str
    sign: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """One multiplying node.

    Args:
        key: the node (name of its first output).
        op_type: "Conv", "Gemm" or "MatMul".
        x: name of the value it reads.
        y: name of the value it makes.
        weight: name of its weight.
        shift: the parameter that can take a constant for each output channel; None without one.
        group: number of groups.
        transposed: whether the stored matrix is [inputs, outputs].
        kernel, strides, dilations, pads: of a convolution; empty for products.
    """

    key: str
    op_type: str
    x: str
    y: str
    weight: str
    shift: Shift | None
    group: int = 1
    transposed: bool = False
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()

    def depthwise(self, network: Network) -> bool:
        """Whether every group reads one channel only."""
        weight = network.graph.initializers[self.weight].const_value
        return self.group > 1 and weight is not None and weight.numpy().shape[1] == 1

    def matrix(self, weight: Array) -> Array:
        """Return a stored weight as [groups, outputs of a group, inputs of a group · taps]."""
        if self.op_type == "Conv":
            return weight.reshape(self.group, weight.shape[0] // self.group, -1)
        return (weight.T if self.transposed else weight)[None]

    def stored(self, matrix: Array, like: Array) -> Array:
        """Return matrices in the form of the stored weight `like`."""
        if self.op_type == "Conv":
            return matrix.reshape(like.shape).astype(like.dtype)
        plain = matrix[0].T if self.transposed else matrix[0]
        return np.ascontiguousarray(plain, dtype=like.dtype)

    def positions(
        self, shape: Sequence[int], most: int, random: np.random.Generator
    ) -> Positions | None:
        """Choose output positions, the same for all samples of a batch.

        Args:
            shape: of the output, batch first.
            most: largest number of positions.
            random: draws the positions.

        Returns:
            flat indices into the output's axes after the channels, sorted; None for all positions.
        """
        size = int(np.prod(shape[2:])) if self.op_type == "Conv" else 1
        if size <= most:
            return None
        return np.sort(random.choice(size, most, replace=False))

    def inputs(self, x: Array, positions: Positions | None) -> Array:
        """Return the inputs of some output positions: [groups, samples · positions, inputs · taps].

        Args:
            x: the value that the operator reads, batch first.
            positions: as :meth:`positions` returns them.
        """
        if self.op_type != "Conv":
            return x.reshape(1, -1, x.shape[-1])
        batch, channels = x.shape[:2]
        half = len(self.pads) // 2
        padding = [(0, 0), (0, 0), *zip(self.pads[:half], self.pads[half:], strict=True)]
        padded = np.pad(x, padding)
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, reach, axis=tuple(range(2, x.ndim))
        )
        space = tuple(slice(None, None, stride) for stride in self.strides)
        taps = tuple(slice(None, None, dilation) for dilation in self.dilations)
        windows = windows[(slice(None), slice(None), *space, *taps)]
        sizes = windows.shape[2 : 2 + half]
        count = int(np.prod(sizes))
        if positions is not None:
            place: tuple[Any, ...] = np.unravel_index(positions, sizes)
            picked = windows[(slice(None), slice(None), *place)]
            count = len(positions)
        else:
            picked = windows.reshape(batch, channels, count, *self.kernel)
        each = channels // self.group
        grouped = picked.reshape(batch, self.group, each, count, -1)
        return np.ascontiguousarray(grouped.transpose(1, 0, 3, 2, 4)).reshape(
            self.group, batch * count, -1
        )

    def outputs(self, y: Array, positions: Positions | None) -> Array:
        """Return outputs at positions: [groups, samples · positions, outputs of a group]."""
        if self.op_type != "Conv":
            return y.reshape(1, -1, y.shape[-1])
        flat = y.reshape(*y.shape[:2], -1)
        if positions is not None:
            flat = flat[:, :, positions]
        batch, channels, count = flat.shape
        grouped = flat.reshape(batch, self.group, channels // self.group, count)
        return np.ascontiguousarray(grouped.transpose(1, 0, 3, 2)).reshape(
            self.group, batch * count, -1
        )


def find_operators(network: Network) -> list[Operator]:
    """Return the multiplying nodes of a network in the order of the graph.

    Transposed convolutions are not among them: each output is a sum of several products.
    """
    found = []
    for node in network.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type not in ("Conv", "Gemm", "MatMul") or weight is None:
            continue
        if weight.const_value is None or node.inputs[0] is None:
            continue
        if node.op_type == "Conv":
            found.append(_convolution(node, weight))
        elif len(weight.const_value.shape) == 2 and not _int(node, "transA", 0):
            found.append(
                Operator(
                    key=node_key(node),
                    op_type=node.op_type,
                    x=str(node.inputs[0].name),
                    y=str(node.outputs[0].name),
                    weight=str(weight.name),
                    shift=_shift(node),
                    transposed=not _int(node, "transB", 0),
                )
            )
    return found


def _convolution(node: ir.Node, weight: ir.Value) -> Operator:
    assert weight.const_value is not None
    x = node.inputs[0]
    assert x is not None
    kernel = tuple(int(size) for size in weight.const_value.numpy().shape[2:])
    rank = len(kernel)
    strides = _ints(node, "strides") or (1,) * rank
    dilations = _ints(node, "dilations") or (1,) * rank
    return Operator(
        key=node_key(node),
        op_type="Conv",
        x=str(x.name),
        y=str(node.outputs[0].name),
        weight=str(weight.name),
        shift=_shift(node),
        group=_int(node, "group", 1),
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=_ints(node, "pads") or _automatic_pads(node, kernel, strides, dilations),
    )


def _automatic_pads(
    node: ir.Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """Return the padding that the attribute `auto_pad` means (ONNX operator Conv)."""
    attribute = node.attributes.get("auto_pad")
    mode = attribute.as_string() if attribute is not None else "NOTSET"
    if not mode.startswith("SAME"):
        return (0,) * (2 * len(kernel))
    x = node.inputs[0]
    assert x is not None
    assert x.shape is not None
    begin, end = [], []
    for axis, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        length = x.shape[2 + axis]
        assert isinstance(length, int)
        total = max((-(-length // stride) - 1) * stride + dilation * (size - 1) + 1 - length, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return (*begin, *end)


def _shift(node: ir.Node) -> Shift | None:
    """Return the bias, or the mean of the normalisation if that is the only reader of the output.

    A constant that belongs to no blob is no shift: no file could hold its new value.
    """
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and blob_refs(bias):
        return Shift(str(bias.name), +1)
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    reader = uses[0].node
    mean = reader.inputs[3] if reader.op_type == "BatchNormalization" else None
    if mean is not None and blob_refs(mean):
        return Shift(str(mean.name), -1)
    return None


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def _ints(node: ir.Node, name: str) -> tuple[int, ...] | None:
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else None
