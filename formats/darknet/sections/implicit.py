"""[implicit]. Source: parser.c parse_implicit, representation_layer.c.

Weights: [filters, atoms].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx_ir as ir

from ...adapter import Blob, check_positive, key
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, Size, section


@section("implicit")
@dataclass(frozen=True, kw_only=True, slots=True)
class Implicit(Section):
    """A stored constant of filters × atoms × 1. It reads no input."""

    filters: int = key(1, channels=True)
    atoms: int = key(1)

    blobs = (Blob("weight", "out atoms"),)
    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012
    example = Example(text="filters=16", tail="[scale_channels]\nfrom=-2\n[connected]\noutput=3")

    def inputs(self) -> tuple[int, ...]:
        """Return nothing."""
        return ()

    def sizes(self, *inputs: Size) -> dict[str, int | tuple[int, ...]]:  # noqa: ARG002
        """Return the axes of the weights."""
        check_positive(filters=self.filters, atoms=self.atoms)
        return {"out": self.filters, "atoms": self.atoms}

    def to_ir(self, b: SectionBuilder) -> ir.Value:
        """Return the parameter itself; layers that need one for each image copy it."""
        return b.parameter("weight", b.blobs["weight"].reshape(1, self.filters, self.atoms, 1))

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        """Return the number of channels left."""
        return replace(self, filters=arrays["weight"].shape[1])
