"""LSTM. Source: lstm_layer.cpp, lstm_unit_layer.cpp (BVLC 9b89154).

Blobs: W_xc [4H, in], b_c [4H], W_xc_static, W_hc [4H, H]; gates in the order i, f, o, g.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, layer
from .recurrent import SEQUENCE, Recurrent


@layer("LSTM")
@dataclass(frozen=True, kw_only=True, slots=True)
class LSTM(Recurrent):
    """Long short-term memory: c = cont·f·c + i·g; h = o·tanh(c).

    `cont` is 0 where a sequence starts, and 1 elsewhere.
    """

    gates: ClassVar = 4
    states: ClassVar = 2
    blobs: ClassVar = (
        Blob("W_xc", "gates in"),
        Blob("b_c", "gates"),
        Blob("W_xc_static", "gates static", when="static"),
        Blob("W_hc", "gates hidden"),
    )
    example: ClassVar = Example(
        bottoms=("steps", "cont"),
        text="recurrent_param { num_output: 5 }",
        note="pass; its own channels hold its state over time, and are kept",
        values={"cont": (0, 0, 1, 1)},
        lead=SEQUENCE,
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> tuple[ir.Value, ...]:
        """Emit the unrolled steps."""
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
