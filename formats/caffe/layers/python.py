"""Python. Source: python_layer.hpp (BVLC 9b89154): a program, whose arithmetic no file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ..layer import CaffeBuilder, Example, Handling, Layer, key, layer


@layer("Python")
@dataclass(frozen=True, kw_only=True, slots=True)
class Python(Layer):
    """A layer written in Python."""

    module: str = key("")
    class_name: str = key("", "layer")

    param: ClassVar = "python_param"
    bottom_range: ClassVar = (0, None)
    top_range: ClassVar = (0, None)
    example: ClassVar = Example(
        handling=Handling.REFUSED,
        text='python_param { module: "proposal" layer: "Proposal" }',
        note="a program, whose arithmetic no file tells",
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Refuse."""
        del b, bottoms
        what = ".".join(part for part in (self.module, self.class_name) if part)
        raise UnsupportedError(
            f"what the program {what[:80]} computes is not in the file"
            if what
            else "what a program computes is not in the file",
            hint="cut the net before this layer, and what follows it, into a prototxt of its own",
        )
