"""[softmax]. Source: parser.c parse_softmax, softmax_layer.c, blas.c softmax_cpu; tree.c."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import check_positive, key
from ..section import Example, Section, SectionBuilder, section
from ..tree import read_tree, softmax_tree


@section("softmax", "soft")
@dataclass(frozen=True, kw_only=True, slots=True)
class Softmax(Section):
    """Softmax over the flattened input, or over equal parts of it."""

    groups: int = key(1, doc="cut the values into so many parts")
    temperature: float = key(1.0)
    tree: str = key("", doc="file of a hierarchy: one softmax per group of siblings")
    example = Example()

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Softmax between two reshapes; the output is flat."""
        check_positive(groups=self.groups)
        total = prod(b.size(x))
        if total % self.groups:
            raise FormatError(f"{self.groups} groups do not divide {total} values")
        if self.temperature == 0:
            raise FormatError("temperature must not be 0")
        x = b.flat(x)
        if self.temperature != 1.0:
            x = b.op("Mul", x, b.scalar(1.0 / self.temperature))
        if self.tree:
            if self.groups > 1:
                raise UnsupportedError("a tree together with groups")
            return softmax_tree(b, x, read_tree(self.tree, self.context.folders, total), axis=1)
        if self.groups == 1:
            return b.op("Softmax", x, axis=1)
        parts = b.op("Reshape", x, b.constant([0, self.groups, total // self.groups]))
        return b.op("Flatten", b.op("Softmax", parts, axis=2), axis=1)
