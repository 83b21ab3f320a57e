"""LSTM, RNN. Source: recurrent_layer.cpp, lstm_layer.cpp, lstm_unit_layer.cpp, rnn_layer.cpp.

Bottoms: x [T, N, …], cont [T, N] (0 restarts a sequence), then the static input [N, …] if any, then
the first state where `expose_hidden` is set. The net is unrolled over T, as Caffe does.
LSTM blobs: W_xc [4H, in], b_c [4H], W_xc_static, W_hc [4H, H]; gates in the order i, f, o, g.
RNN blobs: W_xh [H, in], b_h [H], W_xh_static, W_hh [H, H], W_ho [H, H], b_o [H].
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
    Blob,
    CaffeBuilder,
    Layer,
    Shape,
    check_constant,
    check_positive,
    key,
    layer,
    number,
)

LONGEST = 1024
"""Most time steps that are unrolled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recurrent(Layer):
    """What both share: the bottoms, the transformed input and the loop over time."""

    num_output: int = key(0, doc="H, length of the state")
    expose_hidden: bool = key(default=False, doc="states are bottoms and tops")

    param: ClassVar = "recurrent_param"
    bottom_axes: ClassVar = (2, 32)
    bottom_range: ClassVar = (2, 5)
    top_range: ClassVar = (1, 3)
    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    @property
    def static(self) -> bool:
        """Whether there is an input that does not change over time."""
        return len(self.bottoms) > 2 + self.states * self.expose_hidden

    def sizes(self, *shapes: Shape) -> dict[str, int | tuple[int, ...]]:
        check_positive(num_output=self.num_output)
        found: dict[str, int | tuple[int, ...]] = {
            "hidden": self.num_output,
            "gates": self.gates * self.num_output,
            "in": math.prod(number(dim) for dim in shapes[0][2:]),
        }
        if self.static:
            found["static"] = math.prod(number(dim) for dim in shapes[2][1:])
        return found

    def inputs(self, b: CaffeBuilder, bottoms: Sequence[ir.Value]) -> tuple[ir.Value, ...]:
        """Return W·x + b for every time step [1, N, gates], the static part added."""
        steps, batch = b.dims(bottoms[0], 0)[:2]
        if b.dims(bottoms[1], 0) != (steps, batch):
            raise FormatError(f"cont is {b.shape(bottoms[1])}, x is {b.shape(bottoms[0])}")
        names = [blob.name for blob in self.stored()]
        flat = b.op("Flatten", bottoms[0], axis=2)
        y = b.op("Gemm", flat, b.parameter(names[0]), b.parameter(names[1]), transB=1)
        y = b.reshape(y, steps, batch, -1)
        if self.static:
            still = b.op("Flatten", bottoms[2], axis=1)
            y = b.op("Add", y, b.op("Gemm", still, b.parameter(names[2]), transB=1))
        return self.split(b, y, steps)

    def split(self, b: CaffeBuilder, x: ir.Value, steps: int) -> tuple[ir.Value, ...]:
        """Cut a blob [T, …] into its time steps."""
        if steps > LONGEST:
            raise UnsupportedError(f"{steps} time steps are more than {LONGEST}")
        if steps == 1:
            return (x,)
        return b.ops("Split", x, b.constant([1] * steps), count=steps, axis=0)

    def conts(self, b: CaffeBuilder, cont: ir.Value) -> tuple[ir.Value, ...]:
        """Return cont of every time step, [1, N, 1]."""
        steps, batch = b.dims(cont, 0)
        return self.split(b, b.reshape(cont, steps, batch, 1), steps)

    def first_states(self, b: CaffeBuilder, bottoms: Sequence[ir.Value]) -> list[ir.Value]:
        """Return the states before the first step, [1, N, H] each."""
        if self.expose_hidden:
            return list(bottoms[-self.states :])
        check_constant(b.dims(bottoms[0], 0)[1] * self.num_output, "numbers of state")
        zeros = np.zeros((1, b.dims(bottoms[0], 0)[1], self.num_output))
        return [b.constant(zeros, np.float32) for _ in range(self.states)]

    def times(self, b: CaffeBuilder, x: ir.Value, name: str) -> ir.Value:
        """Emit W · x for x [1, N, H]."""
        y = b.op("Gemm", b.op("Flatten", x, axis=2), b.parameter(name), transB=1)
        return b.reshape(y, 1, b.dims(x, 1)[0], -1)

    def joined(self, b: CaffeBuilder, steps: Sequence[ir.Value]) -> ir.Value:
        """Emit the blob [T, N, H] of all steps."""
        return steps[0] if len(steps) == 1 else b.op("Concat", *steps, axis=0)


@layer("LSTM")
@dataclass(frozen=True, kw_only=True, slots=True)
class LSTM(_Recurrent):
    """c = cont·f·c + i·g; h = o·tanh(c)."""

    gates: ClassVar = 4
    states: ClassVar = 2
    blobs: ClassVar = (
        Blob("W_xc", "gates in"),
        Blob("b_c", "gates"),
        Blob("W_xc_static", "gates static", when="static"),
        Blob("W_hc", "gates hidden"),
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        h, c = self.first_states(b, bottoms)
        sizes = b.constant([self.num_output] * 4)
        steps = []
        for x, cont in zip(self.inputs(b, bottoms), self.conts(b, bottoms[1]), strict=True):
            total = b.op("Add", self.times(b, b.op("Mul", h, cont), "W_hc"), x)
            i, f, o, g = b.ops("Split", total, sizes, count=4, axis=2)
            kept = b.op("Mul", b.op("Mul", b.op("Sigmoid", f), c), cont)
            c = b.op("Add", kept, b.op("Mul", b.op("Sigmoid", i), b.op("Tanh", g)))
            h = b.op("Mul", b.op("Sigmoid", o), b.op("Tanh", c))
            steps.append(h)
        return (self.joined(b, steps), h, c)[: len(self.tops)]


@layer("RNN")
@dataclass(frozen=True, kw_only=True, slots=True)
class RNN(_Recurrent):
    """h = tanh(W_hh·cont·h + W_xh·x + b_h); o = tanh(W_ho·h + b_o)."""

    blobs: ClassVar = (
        Blob("W_xh", "gates in"),
        Blob("b_h", "gates"),
        Blob("W_xh_static", "gates static", when="static"),
        Blob("W_hh", "hidden hidden"),
        Blob("W_ho", "hidden hidden"),
        Blob("b_o", "hidden"),
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        (h,) = self.first_states(b, bottoms)
        steps = []
        for x, cont in zip(self.inputs(b, bottoms), self.conts(b, bottoms[1]), strict=True):
            h = b.op("Tanh", b.op("Add", self.times(b, b.op("Mul", h, cont), "W_hh"), x))
            out = b.op("Add", self.times(b, h, "W_ho"), b.parameter("b_o"))
            steps.append(b.op("Tanh", out))
        return (self.joined(b, steps), h)[: len(self.tops)]
