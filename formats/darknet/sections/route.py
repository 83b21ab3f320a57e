"""[route]. Source: parser.c parse_route, route_layer.c forward_route_layer."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import check_positive, key
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, section

MOST_GROUPS = 4096


@section("route")
@dataclass(frozen=True, kw_only=True, slots=True)
class Route(Section):
    """Earlier layers one after another in the listed order, or one share of each of them."""

    layers: tuple[int, ...] = key((), doc="negative indices count back from here")
    groups: int = key(1, doc="cut every input into so many equal shares")
    group_id: int = key(0, doc="the share to take")

    references = ("layers",)
    only = {"groups": Flavour.ALEXEYAB, "group_id": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example(text="layers=-1,-2")

    def inputs(self) -> tuple[int, ...]:
        """Return the listed layers."""
        if not self.layers:
            raise FormatError("a route needs layers=")
        return tuple(self.context.absolute(index) for index in self.layers)

    def to_ir(self, b: SectionBuilder, *inputs: ir.Value) -> ir.Value:
        """Emit Split where it takes shares, and Concat where it joins several layers.

        A Split without sizes is even: whoever prunes must take as many from each share.
        """
        parts = [self._share(b, x) for x in inputs]
        if len(parts) == 1:
            return parts[0]
        maps = {b.size(part)[1:] for part in parts}
        if len(maps) > 1 or any(len(b.shape(part)) == 2 for part in parts):
            if self.groups > 1:
                raise UnsupportedError("groups of inputs of different width and height")
            # Darknet keeps the values and forgets the shape: only [connected] can read that.
            parts = [b.flat(part) for part in parts]
        else:
            parts = [b.image(part) for part in parts]
        return b.op("Concat", *parts, axis=1)

    def _share(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        check_positive(groups=self.groups)
        if self.groups == 1:
            return x
        channels = b.size(x).channels
        if not 0 <= self.group_id < self.groups:
            raise FormatError(f"there is no group {self.group_id} among {self.groups}")
        if channels % self.groups:
            raise FormatError(f"{self.groups} groups do not divide {channels} channels")
        if self.groups > MOST_GROUPS:
            raise UnsupportedError(f"more than {MOST_GROUPS} groups")
        return b.ops("Split", x, count=self.groups, num_outputs=self.groups, axis=1)[self.group_id]
