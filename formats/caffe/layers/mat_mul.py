"""MatMul. Source: matmul_layer.cpp of Sophgo's Caffe (c7ca6af: the first dim_1 · dim_2 numbers of
the first bottom, times the second one transposed) and of Synopsys's (b4ed5c3: the last two axes,
`transpose_a`, `transpose_b`). It stores no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ..layer import CaffeBuilder, Example, Handling, Layer, layer


@layer("MatMul")
@dataclass(frozen=True, kw_only=True, slots=True)
class MatMul(Layer):
    """A product of two bottoms; forks multiply different parts of them."""

    bottom_range: ClassVar = (2, 2)
    example: ClassVar = Example(
        handling=Handling.REFUSED,
        bottoms=("before", "first"),
        note="forks multiply different parts of the bottoms",
    )

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Raise: the file does not say whose product it is.

        Raises:
            UnsupportedError: always.
        """
        del b, bottoms
        raise UnsupportedError(
            "a layer of forks that multiply different parts of its bottoms: the file does not say "
            "which product it means",
            hint="cut the prototxt before this layer, and prune that part",
        )
