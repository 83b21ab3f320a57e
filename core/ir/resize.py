"""A network at another size of its input: the same operators on fewer rows and columns.

The weights stay. So do strides, paddings and windows, whatever size they were computed for: the
result is for comparing networks with each other, not with the framework that the files are from. Of
the constants, those that count rows and columns follow: targets of Reshape, ends of Slice, sizes of
Resize, and maps that are multiplied or added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from ..errors import FormatError
from .assemble import Assembly
from .network import Network, shape_of
from .subgraphs import subgraphs

__all__ = ["OwnSize", "resized", "spatial_step"]

Shape = tuple[int | str, ...]

PLANES = 4
"""Axes of a value with rows and columns: batch, channels, height, width."""

WINDOWED = frozenset({"AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"})

SIZELESS = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip",
    "Concat", "Cos", "DepthToSpace", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Flatten",
    "Floor", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "LRN", "LeakyRelu",
    "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "MatMul", "Max", "Mean",
    "MeanVarianceNormalization", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
    "ReduceSumSquare", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus",
    "Softsign", "SpaceToDepth", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Tile",
    "Transpose", "Unsqueeze", "Where",
}) | WINDOWED  # fmt: skip
"""Operators that take inputs of any size as they are. Others fix the size of what they read, but
for those of :data:`_FOLLOWING`."""

LARGEST_STEP = 4096
"""Rows. A network whose strides multiply to more keeps its size."""


class OwnSize(Exception):
    """A part of a network has a size of its own, so that the network keeps its size."""


def spatial_step(network: Network) -> int | None:
    """Return by how many rows and columns the input can shrink so that every map shrinks evenly.

    It is the least common multiple of the strides of all maps; None where they do not fit into
    whole numbers.
    """
    strides: dict[str, Fraction] = {
        name: Fraction(1) for name, shape in network.inputs.items() if len(shape) == PLANES
    }
    step = 1
    for node in network.graph:
        read = [strides[str(v.name)] for v in node.inputs if v is not None and v.name in strides]
        if not read:
            continue
        stride = max(read) * _stride(node)
        step = math.lcm(step, stride.numerator)
        if step > LARGEST_STEP:
            return None
        strides.update((str(value.name), stride) for value in node.outputs)
    return step


def _stride(node: ir.Node) -> Fraction:
    """Return by which factor a node lowers the number of rows."""
    if node.op_type in WINDOWED and node.op_type != "ConvTranspose":
        return Fraction(max(_ints(node, "strides") or [1]))
    if node.op_type == "ConvTranspose":
        return Fraction(1, max(_ints(node, "strides") or [1]))
    if node.op_type in ("SpaceToDepth", "DepthToSpace"):
        size = Fraction(node.attributes["blocksize"].as_int())
        return size if node.op_type == "SpaceToDepth" else 1 / size
    before, after = node.inputs[0], node.outputs[0]
    if node.op_type in ("Resize", "Slice") and before is not None:
        sizes = [_rows(value) for value in (before, after)]
        if node.op_type == "Slice":  # with steps: every second row
            return Fraction(sizes[0], sizes[1]) if _steps(node) else Fraction(1)
        return Fraction(sizes[0], sizes[1]) if sizes[1] else Fraction(1)
    return Fraction(1)


def _rows(value: ir.Value) -> int:
    shape = shape_of(value) if value.shape is not None else ()
    return shape[2] if len(shape) == PLANES and isinstance(shape[2], int) else 1


def _steps(node: ir.Node) -> bool:
    steps = _constant(node, 4)
    return steps is not None and bool((np.abs(steps) != 1).any())


def resized(network: Network, shapes: Mapping[str, Shape]) -> Network:
    """Return the network at other sizes of its inputs, for comparisons only.

    Args:
        network: the network.
        shapes: input → its new shape, smaller than before in some axes.

    Raises:
        OwnSize: something in the network has a size of its own, or would have nothing to
            compute: a convolution sees less than its window.
    """
    graph = network.graph
    copy = Assembly(network)
    for value in graph.inputs:
        name = str(value.name)
        if name in shapes:
            copy.input(name, shapes[name], value)
        else:
            copy.take(value)
    for value in graph.initializers.values():
        copy.take(value)
    for node in graph:
        changed = [
            value for value in node.inputs
            if value is not None and shape_of_copy(copy, value) != value.shape
        ]  # fmt: skip
        if not changed:
            copy.add(node)
            continue
        follow = _FOLLOWING.get(node.op_type)
        if node.domain or subgraphs(node) or (follow is None and node.op_type not in SIZELESS):
            raise OwnSize(f"{node.op_type} '{node.name}' has a size of its own")
        if node.op_type in WINDOWED:
            _check_window(node, copy)
        constants = follow(node, copy) if follow is not None else _maps(node, copy)
        reads = {
            str(node.inputs[place].name): copy.constant(  # type: ignore[union-attr]
                f"{node.outputs[0].name}/resized/{place}", array
            )
            for place, array in constants.items()
        }
        try:
            copy.add_resized(node, reads=reads)
        except FormatError as error:
            raise OwnSize(str(error)) from error
    return replace(copy.network(list(network.outputs)), source=None, heads=())


def shape_of_copy(copy: Assembly, value: ir.Value) -> ir.Shape | None:
    """Return the shape of the copy of a value."""
    return copy.values[str(value.name)].shape


def _check_window(node: ir.Node, copy: Assembly) -> None:
    """Raise if a window does not fit into its map any more, or a pooling sees a single number.

    Raises:
        OwnSize: that is so.
    """
    before, after = _both(node, copy)
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if weight is not None and weight.shape is not None:
        window = [int(size) for size in shape_of(weight)[2:]]
        spread = _ints(node, "dilations") or [1] * len(window)
        needed = [(size - 1) * each + 1 for size, each in zip(window, spread, strict=True)]
        if node.op_type == "ConvTranspose":
            strides = _ints(node, "strides") or [1] * len(window)
            needed = [-(-size // each) for size, each in zip(needed, strides, strict=True)]
    else:
        needed = [2] * len(before[2:])
    for old, new, least in zip(before[2:], after[2:], needed, strict=True):
        if isinstance(old, int) and isinstance(new, int) and new < min(old, least):
            raise OwnSize(f"{node.op_type} '{node.name}' would see {new} of {least} rows")


def _both(node: ir.Node, copy: Assembly) -> tuple[Shape, Shape]:
    """Return the shapes of a node's first input before and after."""
    value = node.inputs[0]
    assert value is not None
    return shape_of(value), shape_of(copy.values[str(value.name)])


def _maps(node: ir.Node, copy: Assembly) -> dict[int, np.ndarray]:
    """Return the maps that a node multiplies or adds, without rows and columns of their middle."""
    if node.op_type in WINDOWED or node.op_type in ("Gemm", "MatMul", "Pad", "Tile"):
        return {}
    sizes: dict[int, tuple[int, int]] = {}  # axis from the end → size before, size after
    for value in node.inputs:
        if value is None or value.const_value is not None or value.shape is None:
            continue
        old, new = shape_of(value), shape_of(copy.values[str(value.name)])
        for axis, (one, other) in enumerate(zip(reversed(old), reversed(new), strict=True)):
            if isinstance(one, int) and isinstance(other, int) and one != other:
                sizes[-1 - axis] = one, other
    found = {}
    for place, value in enumerate(node.inputs):
        if value is None or value.const_value is None or value.const_value.size == 1:
            continue
        array = given = value.const_value.numpy()
        for axis, (old_size, new_size) in sizes.items():
            if array.ndim >= -axis and array.shape[axis] == old_size:
                middle = range(new_size // 2, new_size // 2 + old_size - new_size)
                array = np.delete(array, middle, axis=axis)
        if array is not given:
            found[place] = array
    return found


def _reshape(node: ir.Node, copy: Assembly) -> dict[int, np.ndarray]:
    """Return the new target of a Reshape.

    Raises:
        OwnSize: it is not clear how it follows.
    """
    target = _constant(node, 1)
    before, after = _both(node, copy)
    output = node.outputs[0]
    if target is None or output.shape is None:
        raise OwnSize(f"Reshape '{node.name}' has a size of its own")
    sizes = reshaped(before, after, shape_of(output))
    new = [
        size if entry > 0 and isinstance(size, int) else entry
        for entry, size in zip(target.tolist(), sizes, strict=True)
    ]
    return {1: np.array(new, target.dtype)}


def reshaped(before: Shape, after: Shape, output: Shape) -> Shape:
    """Return the shape that a Reshape makes of another size of its input.

    Axes that are joined stay joined; of axes that one is split into, the first one changes.

    Args:
        before: shape of the input.
        after: its new shape.
        output: shape of the output so far.

    Raises:
        OwnSize: the sizes do not tell which axes belong together.
    """
    made: list[int | str] = []
    i = j = 0
    while i < len(before) or j < len(output):
        start_i, start_j = i, j
        own, other = before[i : i + 1], output[j : j + 1]
        i, j = i + 1, j + 1
        while (left := _product(own)) != (right := _product(other)):
            if not (isinstance(left, int) and isinstance(right, int)):
                raise OwnSize("axes with the batch are joined")
            assert max(i, j) <= len(before) + len(output), "a Reshape keeps the number of values"
            if left < right:
                own, i = before[start_i : i + 1], i + 1
            else:
                other, j = output[start_j : j + 1], j + 1
        made += _group(own, after[start_i:i], other)
    return tuple(made)


def _product(sizes: Shape) -> int | str | None:
    """Return a product of sizes; a name alone is its own, and None with others."""
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) == len(sizes):
        return math.prod(numbers)
    return sizes[0] if len(sizes) == 1 else None


def _group(own: Shape, new: Shape, other: Shape) -> Shape:
    """Return the new sizes of the axes that some axes become."""
    if own == new:
        return other
    if own == other:
        return new
    whole = math.prod(int(size) for size in new)
    rest = math.prod(int(size) for size in other[1:])
    if whole % rest:
        raise OwnSize(f"{whole} numbers do not divide by {rest}")
    return (whole // rest, *other[1:])


def _slice(node: ir.Node, copy: Assembly) -> dict[int, np.ndarray]:
    """Return the new ends of a Slice: a part of a map shrinks by as much as the map.

    Raises:
        OwnSize: nothing would be left.
    """
    starts, ends, axes = (_constant(node, place) for place in (1, 2, 3))
    before, after = _both(node, copy)
    if starts is None or ends is None:
        raise OwnSize(f"Slice '{node.name}' has a size of its own")
    new = ends.copy()
    for place in range(len(ends)):
        axis = place if axes is None else int(axes[place])
        old_size, new_size = before[axis], after[axis]
        if not isinstance(old_size, int) or not isinstance(new_size, int):
            continue
        if old_size == new_size or not 0 < ends[place] <= old_size:
            continue  # the end of the axis, or counted from there
        new[place] = int(ends[place]) - (old_size - new_size)
        if new[place] <= max(0, int(starts[place])):
            raise OwnSize(f"Slice '{node.name}' would leave nothing")
    return {2: new}


def _resize(node: ir.Node, copy: Assembly) -> dict[int, np.ndarray]:
    """Return the new sizes of a Resize by whole factors; one by `scales` follows by itself.

    Raises:
        OwnSize: the sizes are no multiples of those before.
    """
    sizes = _constant(node, 3)
    if sizes is None:
        if _constant(node, 2) is None:
            raise OwnSize(f"Resize '{node.name}' has a size of its own")
        return {}
    before, after = _both(node, copy)
    new = []
    for size, axis in zip(sizes.tolist(), _ints(node, "axes") or range(len(before)), strict=True):
        old_size, new_size = before[axis], after[axis]
        if old_size == new_size or not isinstance(old_size, int) or not isinstance(new_size, int):
            new.append(size)
        elif size % old_size:
            raise OwnSize(f"Resize '{node.name}' has a size of its own")
        else:
            new.append(size // old_size * new_size)
    return {3: np.array(new, sizes.dtype)}


def _along_others(node: ir.Node, copy: Assembly) -> dict[int, np.ndarray]:
    """Return nothing: the node works along an axis that keeps its size.

    Raises:
        OwnSize: it does not.
    """
    before, after = _both(node, copy)
    attribute = node.attributes.get("axis")
    axis = attribute.as_int() if attribute is not None else 0
    if before[axis] != after[axis]:
        raise OwnSize(f"{node.op_type} '{node.name}' has a size of its own")
    return {}


_FOLLOWING: Mapping[str, Callable[[ir.Node, Assembly], dict[int, np.ndarray]]] = {
    "Gather": _along_others,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _along_others,
}


def _constant(node: ir.Node, place: int) -> np.ndarray | None:
    """Return the constant that a node reads at a place; None for other values."""
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None or value.const_value is None or value.const_value.size == 0:
        return None
    return value.const_value.numpy()


def _ints(node: ir.Node, name: str) -> Sequence[int]:
    attribute = node.attributes.get(name)
    return attribute.as_ints() if attribute is not None else ()
