"""[dropout], [empty], [cost]: they pass their input on.

Source: dropout_layer.c, parser.c parse_empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import key
from ..flavour import Flavour
from ..section import Example, Handling, Section, SectionBuilder, section


@dataclass(frozen=True, kw_only=True, slots=True)
class _Passing(Section):
    """What these sections share."""

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:  # noqa: ARG002
        """Return the input."""
        return x


@section("dropout")
@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout(Section):
    """Passes its input on: it only acts in training."""

    probability: float = key(0.5, doc="not used when testing")
    dropblock: bool = key(default=False, doc="not used when testing")

    in_place = True
    example = Example(text="probability=.5")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Return the input; for training, emit Dropout, which does the same when testing.

        Raises:
            FormatError: nothing would be left.
        """
        if not self.context.training or self.probability <= 0 or self.dropblock:
            return x
        if self.probability >= 1:
            raise FormatError(f"probability={self.probability:g} leaves nothing")
        return b.op("Dropout", x, b.scalar(self.probability))


@section("empty", "silence")
@dataclass(frozen=True, kw_only=True, slots=True)
class Empty(_Passing):
    """Passes its input on."""

    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example()


@section("cost")
@dataclass(frozen=True, kw_only=True, slots=True)
class Cost(_Passing):
    """A loss, which only training reads."""

    loss = True
    example = Example(
        handling=Handling.LEFT_OUT,
        text="type=sse",
        lead="[connected]\noutput=3\nactivation=linear",
        tail="",
    )
