"""[dropout], [empty], [cost]: they pass their input on.

Source: dropout_layer.c, parser.c parse_empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ..flavour import Flavour
from ..section import Example, Handling, Section, SectionBuilder, section


@section("dropout")
@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout(Section):
    """Passes its input on: it only acts in training."""

    example = Example(text="probability=.5")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:  # noqa: ARG002
        """Return the input."""
        return x


@section("empty", "silence")
@dataclass(frozen=True, kw_only=True, slots=True)
class Empty(Dropout):
    """Passes its input on."""

    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example()


@section("cost")
@dataclass(frozen=True, kw_only=True, slots=True)
class Cost(Dropout):
    """A loss, which only training reads."""

    loss = True
    example = Example(
        handling=Handling.LEFT_OUT,
        text="type=sse",
        lead="[connected]\noutput=3\nactivation=linear",
        tail="",
    )
