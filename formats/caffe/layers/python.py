"""Python. Source: python_layer.hpp (BVLC 9b89154): a program, whose arithmetic no file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..layer import Example, Handling, key, layer
from .border import Border


@layer("Python")
@dataclass(frozen=True, kw_only=True, slots=True)
class Python(Border):
    """A layer written in Python."""

    module: str = key("")
    class_name: str = key("", "layer")

    param: ClassVar = "python_param"
    example: ClassVar = Example(
        handling=Handling.BORDER,
        text='python_param { module: "scaling" layer: "Scaling" }',
        input_shapes={"layer": (16, 8, 8)},
    )
