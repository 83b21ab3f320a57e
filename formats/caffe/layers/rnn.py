"""RNN. Source: rnn_layer.cpp (BVLC 9b89154).

Blobs: W_xh [H, in], b_h [H], W_xh_static, W_hh [H, H], W_ho [H, H], b_o [H].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ..layer import Blob, CaffeBuilder, Example, layer
from .recurrent import SEQUENCE, Recurrent


@layer("RNN")
@dataclass(frozen=True, kw_only=True, slots=True)
class RNN(Recurrent):
    """Plain recurrent layer: h = tanh(W_hh·cont·h + W_xh·x + b_h); o = tanh(W_ho·h + b_o).

    `cont` is 0 where a sequence starts, and 1 elsewhere.
    """

    blobs: ClassVar = (
        Blob("W_xh", "gates in"),
        Blob("b_h", "gates"),
        Blob("W_xh_static", "gates static", when="static"),
        Blob("W_hh", "hidden hidden"),
        Blob("W_ho", "hidden hidden"),
        Blob("b_o", "hidden"),
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
        (h,) = self.first_states(b, bottoms)
        steps = []
        for x, cont in zip(self.inputs(b, bottoms), self.conts(b, bottoms[1]), strict=True):
            h = b.op("Tanh", b.op("Add", self.times(b, b.op("Mul", h, cont), "W_hh"), x))
            out = b.op("Add", self.times(b, h, "W_ho"), b.parameter("b_o"))
            # One number gives the length of the state and of the output: the output of W_ho alone
            # cannot become shorter.
            b.blocks(out, self.num_output)
            steps.append(b.op("Tanh", out))
        return (self.joined(b, steps), h)[: len(self.tops)]
