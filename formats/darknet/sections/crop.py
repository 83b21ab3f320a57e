"""[crop]. Source: parser.c parse_crop, crop_layer.c forward_crop_layer."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError
from ...adapter import check_positive, key
from ..section import Example, Section, SectionBuilder, section


@section("crop")
@dataclass(frozen=True, kw_only=True, slots=True)
class Crop(Section):
    """The centre of the image, as 2x − 1 unless `noadjust`."""

    crop_height: int = key(1)
    crop_width: int = key(1)
    noadjust: bool = key(default=False)
    example = Example(text="crop_width=6\ncrop_height=6")

    def to_ir(self, b: SectionBuilder, x: ir.Value) -> ir.Value:
        """Emit Slice, Mul, Sub."""
        check_positive(crop_height=self.crop_height, crop_width=self.crop_width)
        x = b.image(x)
        _, height, width = b.size(x)
        if self.crop_height > height or self.crop_width > width:
            raise FormatError(
                f"{self.crop_height}×{self.crop_width} cannot be cut out of {height}×{width}"
            )
        top, left = (height - self.crop_height) // 2, (width - self.crop_width) // 2
        x = b.slice(x, [2, 3], [top, left], [top + self.crop_height, left + self.crop_width])
        if self.noadjust:
            return x
        return b.op("Sub", b.op("Mul", x, b.scalar(2.0)), b.scalar(1.0))
