"""What LSTM and RNN share. Source: recurrent_layer.cpp (BVLC 9b89154).

T counts time steps, N sequences. The bottoms are x [T, N, …]; cont [T, N], which is 0 where a
sequence starts; the static input [N, …], if there is one; and the first state, where
`expose_hidden` is set. The layer is unrolled over T, as Caffe does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ..layer import CaffeBuilder, Layer, Shape, check_constant, check_positive, key, number

LONGEST = 1024
"""Most time steps that are unrolled."""

SEQUENCE = """
layer { name: "steps" type: "Reshape" bottom: "before" top: "steps"
  reshape_param { shape { dim: 4 dim: 2 dim: -1 } } }
layer { name: "cont" type: "Input" top: "cont"
  input_param { shape { dim: 4 dim: 2 } } }"""
"""For examples: two sequences of four steps, and where they start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrent(Layer):
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
        """Return the lengths of the axes that `blobs` names."""
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
