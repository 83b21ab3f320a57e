"""Pooling. Source: pooling_layer.cpp `Reshape`, `Forward_cpu` (BVLC 9b89154). It stores no blobs.

A bottom of i pixels gives (i + 2p − k) / s + 1 windows, for kernel k, stride s and pad p. The
quotient is rounded up, or down for round_mode FLOOR. Where any axis has padding, Caffe drops a last
window that would start beyond i + p, on every axis. MAX ignores padding. AVE divides by
min(start + k, i + p) − start: padding counts, and what hangs over beyond it does not. STOCHASTIC
gives the expectation of what training draws, Σ x² / (FLT_MIN + Σ x), without padding
(pooling_layer.cu `StoPoolForwardTest`; Caffe has it on GPUs only).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import (
    CaffeBuilder,
    Example,
    Layer,
    check_constant,
    check_positive,
    key,
    layer,
    pair,
    spatial,
)

LOWEST = float(np.finfo(np.float32).min)
"""What MAX gives for a window without a value."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""FLT_MIN, with which the sums of STOCHASTIC start, so that a window of zeros gives zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Where the windows of one pooling lie, per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    size: tuple[int, ...]
    floor: bool = False

    def outputs(self) -> tuple[int, ...]:
        """Return the number of windows on each axis."""
        found = []
        for k, s, p, i in zip(self.kernel, self.stride, self.pad, self.size, strict=True):
            check_positive(kernel_size=k, stride=s)
            if p >= k:
                raise FormatError(f"pad {p} is not smaller than the kernel {k}")
            room = i + 2 * p - k
            out = (math.floor(room / s) if self.floor else math.ceil(room / s)) + 1
            if any(self.pad) and (out - 1) * s >= i + p:
                out -= 1
            if out < 1:
                raise FormatError(f"kernel {k} does not fit a bottom of {i} with pad {p}")
            found.append(out)
        return tuple(found)

    def ends(self) -> tuple[int, ...]:
        """Return the padding at the end of each axis that lets the last window fit."""
        rows = zip(self.outputs(), self.kernel, self.stride, self.pad, self.size, strict=True)
        return tuple(max(0, (out - 1) * s + k - i - p) for out, k, s, p, i in rows)

    def beyond(self) -> bool:
        """Whether some window lies wholly outside, which ONNX cannot say by padding."""
        return any(end >= k for end, k in zip(self.ends(), self.kernel, strict=True))

    def divisors(self) -> list[np.ndarray]:
        """Return kernel / number of counted cells for every window of each axis."""
        factors = []
        rows = zip(self.outputs(), self.kernel, self.stride, self.pad, self.size, strict=True)
        for out, k, s, p, i in rows:
            check_constant(out, "windows")
            starts = np.arange(out) * s - p
            factors.append(k / (np.minimum(starts + k, i + p) - starts))
        return factors


def pool(b: CaffeBuilder, x: ir.Value, windows: Windows, method: str) -> ir.Value:
    """Emit a pooling of method MAX or AVE over the two spatial axes of `x`."""
    pads = [*windows.pad, *windows.ends()]
    if windows.beyond():
        if method != "MAX":
            raise UnsupportedError("an AVE window lies wholly outside: Caffe divides by zero there")
        before, after = [0, 0, *pads[:2]], [0, 0, *pads[2:]]
        x = b.op("Pad", x, b.constant([*before, *after]), b.scalar(LOWEST))
        pads = [0, 0, 0, 0]
    settings = {"kernel_shape": windows.kernel, "strides": windows.stride, "pads": pads}
    if method == "MAX":
        return b.op("MaxPool", x, **settings)
    y = b.op("AveragePool", x, count_include_pad=1, **settings)
    rows, columns = windows.divisors()
    if (rows == 1).all() and (columns == 1).all():
        return y
    check_constant(rows.size * columns.size, "windows")
    return b.op("Mul", y, b.constant(np.outer(rows, columns), np.float32))


def expected(b: CaffeBuilder, x: ir.Value, windows: Windows) -> ir.Value:
    """Emit Σ x² / (FLT_MIN + Σ x) over each window; cells outside count as 0."""
    bottom, right = windows.ends()
    if bottom or right:
        x = b.op("Pad", x, b.constant([0, 0, 0, 0, 0, 0, bottom, right]))
    settings = {"kernel_shape": windows.kernel, "strides": windows.stride}
    cells = b.scalar(math.prod(windows.kernel))
    total = b.op("Mul", b.op("AveragePool", x, **settings), cells)
    squares = b.op("Mul", b.op("AveragePool", b.op("Mul", x, x), **settings), cells)
    return b.op("Div", squares, b.op("Add", total, b.scalar(SMALLEST)))


@layer("Pooling")
@dataclass(frozen=True, kw_only=True, slots=True)
class Pooling(Layer):
    """Maximum or average of windows; a second top of MAX holds positions inside the plane."""

    pool: str = key("MAX", choices=("MAX", "AVE", "STOCHASTIC"))
    kernel: tuple[int, ...] = pair((), "kernel_size", "kernel_h", "kernel_w")
    stride: tuple[int, ...] = pair((), "stride", "stride_h", "stride_w")
    pad: tuple[int, ...] = pair((), "pad", "pad_h", "pad_w")
    global_pooling: bool = key(default=False, doc="one window over the whole plane")
    round_mode: str = key("CEIL", choices=("CEIL", "FLOOR"))
    ceil_mode: bool = key(default=True, doc="a fork's name for round_mode")

    param: ClassVar = "pooling_param"
    bottom_axes: ClassVar = (4, 4)
    top_range: ClassVar = (1, 2)
    example: ClassVar = Example(text="pooling_param { kernel_size: 2 stride: 2 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value | tuple[ir.Value, ...]:
        """Emit the pooling, with a divisor for each window where they differ."""
        if self.pool == "STOCHASTIC" and any(self.pad):
            raise FormatError("STOCHASTIC pooling knows no padding; Caffe refuses it too")
        if len(self.tops) == 2 and self.pool != "MAX":
            raise FormatError("only MAX pooling has a second top")
        windows = self._windows(b.dims(x, 2))
        if len(self.tops) == 2:
            return self._with_mask(b, x, windows)
        if self.pool == "STOCHASTIC":
            return expected(b, x, windows)
        if self.global_pooling:
            return b.op("GlobalMaxPool" if self.pool == "MAX" else "GlobalAveragePool", x)
        return pool(b, x, windows, self.pool)

    def _windows(self, size: Sequence[int]) -> Windows:
        if self.global_pooling:
            if self.kernel:
                raise FormatError("with global_pooling the kernel size is not given")
            return Windows(kernel=tuple(size), stride=(1, 1), pad=(0, 0), size=tuple(size))
        if not self.kernel:
            raise FormatError("kernel_size or global_pooling is required")
        return Windows(
            kernel=spatial(self.kernel, 2, 0, "kernel_size"),
            stride=spatial(self.stride, 2, 1, "stride"),
            pad=spatial(self.pad, 2, 0, "pad"),
            size=tuple(size),
            floor=self.round_mode == "FLOOR" or not self.ceil_mode,
        )

    def _with_mask(
        self, b: CaffeBuilder, x: ir.Value, windows: Windows
    ) -> tuple[ir.Value, ir.Value]:
        """Emit both tops; ONNX counts positions over the whole blob, Caffe inside each plane."""
        if windows.beyond():
            raise UnsupportedError("a window lies wholly outside: it has no position")
        y, where = b.ops(
            "MaxPool", x, count=2, kernel_shape=windows.kernel, strides=windows.stride,
            pads=[*windows.pad, *windows.ends()],
        )  # fmt: skip
        plane = b.op("Mod", where, b.constant(math.prod(b.dims(x, 2))))
        return y, b.op("Cast", plane, to=int(ir.DataType.FLOAT))
