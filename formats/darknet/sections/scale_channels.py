"""[scale_channels], [sam]. Source: scale_channels_layer.c, sam_layer.c."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import key
from ..activations import activate
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, Size, section

NO_CPU_CODE = frozenset({"swish", "mish", "hard_mish"})


@section("scale_channels")
@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleChannels(Section):
    """An earlier map times one number a channel, or times one map for all channels."""

    layers: tuple[int, ...] = key((), "from")
    scale_wh: bool = key(default=False, doc="the layer before is one map, not one number a channel")
    activation: str = key("linear")

    references = ("layers",)
    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example(text="from=-2", lead="[avgpool]")

    def inputs(self) -> tuple[int, ...]:
        """Return the previous layer and the earlier one."""
        if not self.layers:
            raise FormatError("from= is missing")
        return (self.context.index - 1, self.context.absolute(self.layers[0]))

    def to_ir(self, b: SectionBuilder, x: ir.Value, other: ir.Value) -> ir.Value:
        """Emit Mul and the activation."""
        # A stored constant needs no copy for each image here: Mul spreads it.
        x = x if x.const_value is not None else b.image(x)
        other = b.image(other)
        size, wanted = b.size(x), self._wanted(b.size(other))
        if size != wanted:
            shown, expected = ("×".join(map(str, s)) for s in (size, wanted))
            raise FormatError(f"the layer before has {shown} values, not {expected}")
        y = b.op("Mul", other, x)
        if self.activation in NO_CPU_CODE:
            b.note(f"{self.activation} is computed here; Darknet's CPU code gives 0")
        return activate(b, self.activation, y)

    def _wanted(self, other: Size) -> Size:
        return Size(1, *other[1:]) if self.scale_wh else Size(other.channels, 1, 1)


@section("sam")
@dataclass(frozen=True, kw_only=True, slots=True)
class Sam(ScaleChannels):
    """An earlier map times this one, value by value."""

    example = Example(text="from=-2")

    def _wanted(self, other: Size) -> Size:
        return other
