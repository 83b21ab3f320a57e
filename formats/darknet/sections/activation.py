"""[activation], [logistic], [l2norm]. Source: {activation,logistic,l2norm}_layer.c forward_…."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ...adapter import key
from ..activations import activate
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, section
from .scale_channels import NO_CPU_CODE


@section("activation")
@dataclass(frozen=True, kw_only=True, slots=True)
class Activation(Section):
    """An activation on its own."""

    activation: str = key("linear")
    example = Example(text="activation=mish")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit the activation."""
        if self.activation in NO_CPU_CODE and not b.pjreddie:
            b.note(f"{self.activation} is computed here; Darknet's CPU code gives 0")
        return activate(b, self.activation, x)


@section("logistic")
@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic(Section):
    """The sigmoid, with a loss that only training reads."""

    only = {"": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example()

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Sigmoid."""
        return b.op("Sigmoid", x)


@section("l2norm")
@dataclass(frozen=True, kw_only=True, slots=True)
class L2norm(Section):
    """Each pixel divided by the length of its channel vector."""

    only = {"": Flavour.PJREDDIE}  # noqa: RUF012
    example = Example()

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit x / ‖x‖ over the channels."""
        x = b.image(x)
        return b.op("Div", x, b.op("ReduceL2", x, b.constant([1]), keepdims=1))
