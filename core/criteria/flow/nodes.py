"""From a node of the graph to the linear map that it is in a network of absolute weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...coupling.trace import static_shape
from ...engine.session import Session
from ...errors import SecateurError
from ...ir.network import Network
from ...ir.partial import between
from ...ir.weighted import epsilon_of
from .maps import (
    Array,
    Convolution,
    Factor,
    Mean,
    Moved,
    Node,
    Passed,
    Pooling,
    Product,
    Through,
    Total,
    Transposed,
)  # fmt: skip

__all__ = ["Place", "node_of"]

MOVING = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that put elements at other places, or repeat them."""

DIGITS = 1 << 12
"""Positions are moved as numbers of this base, so that float32 holds them exactly."""


@dataclass(frozen=True, eq=False)
class Place:
    """One node with what it reads.

    Args:
        network: the network.
        node: the node.
        computed: its inputs that depend on the inputs of the network, in order.
        constants: name → array of every parameter that it reads.
    """

    network: Network
    node: ir.Node
    computed: tuple[ir.Value, ...]
    constants: dict[str, npt.NDArray[np.generic]]

    def shape(self, value: ir.Value | None) -> tuple[int, ...]:
        """Return the shape of a value for one sample."""
        found = static_shape(value) if value is not None else None
        assert found is not None, "shapes were checked before"
        return found

    @property
    def x(self) -> tuple[int, ...]:
        """The shape of the first computed input."""
        return self.shape(self.computed[0])

    @property
    def y(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.shape(self.node.outputs[0])

    def constant(self, index: int) -> Array | None:
        """Return the absolute values of an input that is a parameter; None where it is not one."""
        if index >= len(self.node.inputs) or self.node.inputs[index] is None:
            return None
        found = self.constants.get(str(self.node.inputs[index].name))  # type: ignore[union-attr]
        return np.abs(found.astype(np.float64)) if found is not None else None

    def integers(self, name: str, usual: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        given = self.node.attributes.get(name)
        return tuple(given.as_ints()) if given is not None else tuple(usual)

    def integer(self, name: str, usual: int) -> int:
        """Return an attribute that is an integer."""
        given = self.node.attributes.get(name)
        return given.as_int() if given is not None else usual

    def number(self, name: str, usual: float) -> float:
        """Return an attribute that is a number."""
        given = self.node.attributes.get(name)
        return given.as_float() if given is not None else usual

    def word(self, name: str, usual: str) -> str:
        """Return an attribute that is a text."""
        given = self.node.attributes.get(name)
        return given.as_string() if given is not None else usual


def node_of(place: Place) -> Node | None:
    """Return the linear map of a node; None where the flow ends at it."""
    kind = place.node.op_type
    if place.node.domain != "" or any(
        static_shape(value) is None for value in (*place.computed, *place.node.outputs[:1])
    ):
        return None
    made = MAKERS.get(kind)
    if made is not None:
        return made(place)
    if kind in MOVING:
        return _moved(place)
    return Passed() if len(place.computed) >= 1 and place.x == place.y else None


def _convolution(place: Place) -> Node | None:
    weight = place.constant(1)
    if weight is None or len(place.computed) != 1:
        return None
    kernel = weight.shape[2:]
    windows = _windows(place, kernel, place.x[2:], place.y[2:])
    return Convolution(weight=weight, group=place.integer("group", 1), **windows)


def _transposed(place: Place) -> Node | None:
    weight = place.constant(1)
    if weight is None or len(place.computed) != 1:
        return None
    kernel = weight.shape[2:]
    windows = _windows(place, kernel, place.y[2:], place.x[2:])
    return Transposed(Convolution(weight=weight, group=place.integer("group", 1), **windows))


def _pooling(place: Place) -> Node:
    kernel = place.integers("kernel_shape", ())
    windows = _windows(place, kernel, place.x[2:], place.y[2:])
    return Pooling(whole=bool(place.integer("count_include_pad", 0)), **windows)


def _windows(
    place: Place, kernel: Sequence[int], sizes: Sequence[int], outputs: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Return where the taps of a kernel read."""
    ones = (1,) * len(kernel)
    strides, dilations = place.integers("strides", ones), place.integers("dilations", ones)
    begins = place.integers("pads", (0,) * 2 * len(kernel))[: len(kernel)]
    mode = place.word("auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        total = [
            max((n - 1) * s + (k - 1) * d + 1 - size, 0)
            for n, s, k, d, size in zip(outputs, strides, kernel, dilations, sizes, strict=True)
        ]
        begins = tuple(t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total)
    return {
        "kernel": tuple(kernel), "strides": strides, "dilations": dilations, "begins": begins,
        "sizes": tuple(sizes), "outputs": tuple(outputs),
    }  # fmt: skip


def _gemm(place: Place) -> Node | None:
    weight = place.constant(1)
    if weight is None or weight.ndim != 2 or place.integer("transA", 0):
        return None
    matrix = weight.T if place.integer("transB", 0) else weight
    return Product(matrix * abs(place.number("alpha", 1.0)))


def _matmul(place: Place) -> Node | None:
    left, right = place.constant(0), place.constant(1)
    if right is not None and right.ndim == 2:
        return Product(right)
    return Product(left, left=True) if left is not None and left.ndim == 2 else None


def _normalization(place: Place) -> Node | None:
    scale, variance = place.constant(1), place.constant(4)
    if scale is None or variance is None:
        return None
    deviation = np.sqrt(variance + epsilon_of(place.node))
    return Factor((scale / deviation).reshape(-1, *(1,) * (len(place.x) - 2)))


def _total(place: Place) -> Node:
    return Total() if len(place.computed) > 1 or place.x != place.y else Passed()


def _product(place: Place) -> Node | None:
    if len(place.computed) == 2:
        return Through()
    factor = next(
        (found for index in range(2) if (found := place.constant(index)) is not None), None
    )
    return Factor(factor) if factor is not None else None


def _quotient(place: Place) -> Node | None:
    """Return the flow of the dividend; what divides scales it by a constant, or says nothing."""
    divisor = place.constant(1)
    if divisor is not None:
        return Factor(1.0 / np.where(divisor > 0, divisor, 1.0))
    return Passed() if place.x == place.y else None


def _whole(place: Place) -> Node:
    return Mean(tuple(range(2, len(place.x))), place.y)


def _reduced(place: Place) -> Node:
    rank = len(place.x)
    given = place.node.inputs[1] if len(place.node.inputs) > 1 else None
    if given is not None:
        axes = tuple(int(axis) for axis in place.constants[str(given.name)].ravel())
    else:
        axes = place.integers("axes", tuple(range(rank)))
    summed = place.node.op_type in ("ReduceSum", "ReduceL1")
    return Mean(tuple(sorted({axis % rank for axis in axes})), place.y, summed)


def _resized(place: Place) -> Node:
    """Return the element that lies nearest, whatever the interpolation."""
    index = np.arange(1, 1 + int(np.prod(place.x))).reshape(place.x)
    for axis, (size, wanted) in enumerate(zip(place.x, place.y, strict=True)):
        nearest = np.minimum(np.arange(wanted) * size // wanted, size - 1)
        index = np.take(index, nearest, axis=axis)
    return Moved((index,))


def _moved(place: Place) -> Node | None:
    """Return where each element goes: the operator itself moves the numbers of the elements."""
    names = [str(value.name) for value in place.computed]
    made = [str(value.name) for value in place.node.outputs]
    sizes = [int(np.prod(place.shape(value))) for value in place.computed]
    numbers = np.split(np.arange(1, 1 + sum(sizes)), np.cumsum(sizes)[:-1])
    found = [np.zeros(place.shape(value), np.int64) for value in place.node.outputs]
    try:
        session = Session(between(place.network, set(names), made))
        for power in range(3):
            feeds = {
                name: (own // DIGITS**power % DIGITS).reshape(place.shape(value)).astype(np.float32)
                for name, own, value in zip(names, numbers, place.computed, strict=True)
            }
            for total, name in zip(found, made, strict=True):
                own = np.nan_to_num(session.run(feeds)[name], posinf=0.0, neginf=0.0)
                total += np.maximum(np.rint(own), 0).astype(np.int64) * DIGITS**power
    except SecateurError:
        return None  # it moves something else than numbers of channels
    return Moved(tuple(found))


MAKERS: dict[str, Callable[[Place], Node | None]] = {
    "Add": _total, "AveragePool": _pooling, "BatchNormalization": _normalization,
    "Conv": _convolution, "ConvTranspose": _transposed, "Div": _quotient, "Gemm": _gemm,
    "GlobalAveragePool": _whole, "GlobalMaxPool": _whole, "MatMul": _matmul, "Max": _total,
    "MaxPool": _pooling, "Mul": _product, "ReduceL1": _reduced, "ReduceMax": _reduced,
    "ReduceMean": _reduced, "ReduceSum": _reduced, "Resize": _resized, "Sub": _total,
    "Sum": _total, "Upsample": _resized,
}  # fmt: skip
