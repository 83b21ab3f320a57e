"""Linear maps of arrays, each with its adjoint: what the nodes of a flow compute, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Array", "Convolution", "Factor", "Mean", "Moved", "Node", "Passed", "Pooling", "Product",
    "Through", "Total", "Transposed",
]  # fmt: skip

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """What a node was given and made, and the derivatives by what it made.

    Args:
        x: inputs of the forward pass.
        y: its outputs.
        g: derivatives by the outputs.
    """

    x: Sequence[Array]
    y: Sequence[Array]
    g: Sequence[Array]


class Node(Protocol):
    """A map of one or several arrays to one or several arrays."""

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the outputs."""
        ...

    def backward(self, at: Run) -> list[Array]:
        """Return the derivatives by the inputs, from those by the outputs.

        Args:
            at: what the forward pass was given and made, and the derivatives by it.
        """
        ...


@dataclass(frozen=True)
class Passed:
    """y = x: activations, and whatever else keeps the shape."""

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the input."""
        return [x[0]]

    def backward(self, at: Run) -> list[Array]:
        """Return the derivative as it is."""
        return [at.g[0]]


@dataclass(frozen=True)
class Factor:
    """y = factor · x, element by element.

    Args:
        factor: an array that broadcasts to the output.
    """

    factor: Array

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the product."""
        return [x[0] * self.factor]

    def backward(self, at: Run) -> list[Array]:
        """Return the product with the derivative."""
        return [_summed(at.g[0] * self.factor, at.x[0].shape)]


@dataclass(frozen=True)
class Total:
    """y = Σ x over all inputs, which broadcast."""

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the sum."""
        total = x[0]
        for other in x[1:]:
            total = total + other
        return [total]

    def backward(self, at: Run) -> list[Array]:
        """Return the derivative for every summand."""
        return [_summed(at.g[0], each.shape) for each in at.x]


@dataclass(frozen=True)
class Through:
    """y = √(x₁ · x₂), the geometric mean: what a gate lets through.

    A product would double the degree of the network with every gate. The mean keeps it at one, and
    half of the flow comes from each side; x · sigmoid(x) gives the whole flow of x.
    """

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the mean."""
        return [np.sqrt(x[0]) * np.sqrt(x[1])]

    def backward(self, at: Run) -> list[Array]:
        """Return ½ y / x of the derivative for each side; 0 where nothing comes through."""
        flow = 0.5 * at.y[0] * at.g[0]
        found = []
        for each in at.x:
            through = _summed(flow, each.shape)
            found.append(np.divide(through, each, out=np.zeros_like(each), where=each > 0))
        return found


@dataclass(frozen=True)
class Mean:
    """The mean, or the sum, over some axes.

    Args:
        axes: the axes.
        shape: of the output.
        summed: whether it is the sum.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    summed: bool = False

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the mean."""
        found = x[0].sum(self.axes) if self.summed else x[0].mean(self.axes)
        return [found.reshape(self.shape)]

    def backward(self, at: Run) -> list[Array]:
        """Return an equal part for each element."""
        sizes = [1 if axis in self.axes else size for axis, size in enumerate(at.x[0].shape)]
        count = 1 if self.summed else at.x[0].size // max(1, int(np.prod(sizes)))
        return [np.broadcast_to(at.g[0].reshape(sizes) / count, at.x[0].shape)]


@dataclass(frozen=True, eq=False)
class Moved:
    """Elements at other places: y = x[place], 0 where nothing comes.

    Args:
        places: for each output, 1 + the position of every element in the inputs, one behind the
            other; 0 for none.
    """

    places: tuple[npt.NDArray[np.int64], ...]

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the elements at their new places."""
        flat = np.concatenate([np.zeros(1), *(each.ravel() for each in x)])
        return [flat[places] for places in self.places]

    def backward(self, at: Run) -> list[Array]:
        """Return the derivatives at the places where the elements came from."""
        sizes = [each.size for each in at.x]
        flat = np.zeros(1 + sum(sizes))
        for places, each in zip(self.places, at.g, strict=True):
            flat += np.bincount(places.ravel(), each.ravel(), minlength=len(flat))
        ends = np.cumsum(sizes)
        parts = np.split(flat[1:], ends[:-1])
        return [part.reshape(each.shape) for part, each in zip(parts, at.x, strict=True)]


@dataclass(frozen=True, eq=False)
class Product:
    """y = x W for a matrix W, or y = W x.

    Args:
        matrix: W.
        left: whether it stands on the left.
    """

    matrix: Array
    left: bool = False

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the product."""
        return [self.matrix @ x[0] if self.left else x[0] @ self.matrix]

    def backward(self, at: Run) -> list[Array]:
        """Return the product with the transposed matrix."""
        return [self.matrix.T @ at.g[0] if self.left else at.g[0] @ self.matrix.T]


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """Where the taps of a kernel read: for a tap, the part of a padded plane.

    Args:
        kernel, strides, dilations: one number an axis.
        begins: padding before each axis.
        sizes: of the planes that are read.
        outputs: of the planes that are made.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]

    def padded(self, channels: int) -> Array:
        """Return zeros large enough for all taps, [channels, …]."""
        return np.zeros((channels, *self._reach))

    @property
    def _reach(self) -> tuple[int, ...]:
        return tuple(
            max((k - 1) * d + (n - 1) * s + 1, b + size)
            for k, d, n, s, b, size in zip(
                self.kernel, self.dilations, self.outputs, self.strides, self.begins, self.sizes,
                strict=True,
            )
        )  # fmt: skip

    @property
    def inner(self) -> tuple[Any, ...]:
        """Where a plane lies in the padded one."""
        return (
            slice(None), *(slice(b, b + n) for b, n in zip(self.begins, self.sizes, strict=True)),
        )  # fmt: skip

    def taps(self) -> list[tuple[tuple[int, ...], tuple[Any, ...]]]:
        """Return every tap, with what it reads of a padded plane."""
        found = []
        for tap in itertools.product(*map(range, self.kernel)):
            place = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, self.dilations, self.outputs, self.strides, strict=True)
            )
            found.append((tap, (slice(None), *place)))
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(_Windows):
    """A convolution, or the sum over windows of each channel.

    Channels without a flow are left out of the products, so that thin networks are quick.

    Args:
        weight: [outputs, inputs of a group, kernel…], not negative.
        group: number of groups.
    """

    weight: Array
    group: int = 1

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the outputs, sample by sample."""
        return [np.stack([self._one(each) for each in x[0]])]

    def backward(self, at: Run) -> list[Array]:
        """Return the derivatives by the inputs."""
        live = [each.reshape(len(each), -1).any(axis=1) for each in at.y[0]]
        return [np.stack([self._back(each, on) for each, on in zip(at.g[0], live, strict=True)])]

    def _one(self, x: Array) -> Array:
        padded = self.padded(len(x))
        padded[self.inner] = x
        y = np.zeros((len(self.weight), int(np.prod(self.outputs))))
        into, out = len(x) // self.group, len(self.weight) // self.group
        if into == out == 1:
            for tap, place in self.taps():
                y += _tap(self.weight, tap) * _flat(padded[place])
            return y.reshape(-1, *self.outputs)
        for number in range(self.group):
            rows = slice(number * out, (number + 1) * out)
            part = padded[number * into : (number + 1) * into]
            live = np.flatnonzero(part.reshape(into, -1).any(axis=1))
            weight, part = self.weight[rows][:, live], part[live]
            for tap, place in self.taps():
                y[rows] += _tap(weight, tap) @ _flat(part[place])
        return y.reshape(-1, *self.outputs)

    def _back(self, g: Array, live: npt.NDArray[np.bool_]) -> Array:
        into, out = self.weight.shape[1], len(self.weight) // self.group
        padded = self.padded(into * self.group)
        for number in range(self.group):
            rows = number * out + np.flatnonzero(live[number * out : (number + 1) * out])
            if into == out == 1 or not len(rows):
                continue
            weight, own = self.weight[rows], _flat(g[rows])
            part = padded[number * into : (number + 1) * into]
            for tap, place in self.taps():
                given = _tap(weight, tap).T @ own
                part[place] += given.reshape(into, *self.outputs)
        if into == out == 1:
            for tap, place in self.taps():
                given = _tap(self.weight, tap) * _flat(g)
                padded[place] += given.reshape(-1, *self.outputs)
        inner: Array = padded[self.inner]
        return inner


@dataclass(frozen=True, eq=False)
class Transposed:
    """A transposed convolution: the adjoint of a convolution.

    Args:
        straight: the convolution from the outputs to the inputs.
    """

    straight: Convolution

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the outputs."""
        every = np.ones(x[0].shape[1], dtype=np.bool_)
        return [np.stack([self.straight._back(each, every) for each in x[0]])]

    def backward(self, at: Run) -> list[Array]:
        """Return the derivatives by the inputs."""
        return self.straight.forward(at.g)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling(_Windows):
    """The mean over windows: of average pooling, and of maximum pooling.

    On the flow of equal inputs a maximum is the mean. The mean is linear, and does not depend on
    which of several equal numbers counts as the largest.

    Args:
        whole: whether padding counts, as zeros.
    """

    whole: bool = False

    def forward(self, x: Sequence[Array]) -> list[Array]:
        """Return the means."""
        return [np.stack([self._sums(each) / self._counts() for each in x[0]])]

    def backward(self, at: Run) -> list[Array]:
        """Return an equal part for each element of a window."""
        return [np.stack([self._spread(each / self._counts()) for each in at.g[0]])]

    def _counts(self) -> Array | float:
        if self.whole:
            return float(np.prod(self.kernel))
        return np.maximum(self._sums(np.ones((1, *self.sizes))), 1.0)

    def _sums(self, x: Array) -> Array:
        padded = self.padded(len(x))
        padded[self.inner] = x
        total = np.zeros((len(x), *self.outputs))
        for _, place in self.taps():
            total += padded[place]
        return total

    def _spread(self, g: Array) -> Array:
        padded = self.padded(len(g))
        for _, place in self.taps():
            padded[place] += g
        inner: Array = padded[self.inner]
        return inner


def _tap(weight: Array, tap: tuple[int, ...]) -> Array:
    """Return the matrix of one tap of a kernel, [outputs, inputs]."""
    place: tuple[Any, ...] = (slice(None), slice(None), *tap)
    matrix: Array = weight[place]
    return matrix


def _flat(planes: Array) -> Array:
    return planes.reshape(len(planes), int(np.prod(planes.shape[1:])))


def _summed(g: Array, shape: Sequence[int]) -> Array:
    """Return a derivative summed over the axes along which an input was repeated."""
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(
        lead + axis for axis, size in enumerate(shape) if size == 1 and g.shape[lead + axis] > 1
    ))  # fmt: skip
    summed: Array = g.sum(axes, keepdims=True) if axes else g
    return summed.reshape(shape)
