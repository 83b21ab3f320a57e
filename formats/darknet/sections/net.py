"""[net]. Source: parser.c parse_net_options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from ....core.errors import FormatError
from ....core.ir.network import BATCH, Preprocess
from ...adapter import key
from ..section import Example, Handling, Section, section

MOST_VALUES = 2**31 - 1


@section("net", "network")
@dataclass(frozen=True, kw_only=True, slots=True)
class Net(Section):
    """The input of the network; everything else in it is about training."""

    width: int = key(0)
    height: int = key(0)
    channels: int = key(0)
    inputs_: int = key(0, "inputs", doc="the length of a flat input, where there is no image")
    letter_box: bool = key(default=False, doc="evaluate with the aspect ratio kept")
    example = Example(
        handling=Handling.INPUT,
        text="width=8\nheight=8\nchannels=3",
        note="the input: its channels are kept",
    )

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The shape of the input: N × channels × height × width, or N × numbers.

        Raises:
            FormatError: it is not given, or larger than Darknet can count.
        """
        image = (self.channels, self.height, self.width)
        dims = image if all(image) else (self.inputs_,)
        if dims == (0,):
            raise FormatError("[net] gives neither width, height and channels nor inputs")
        total = 1
        for dim in dims:
            total *= dim
            if not 0 < dim <= MOST_VALUES or total > MOST_VALUES:
                raise FormatError(f"an input of {'×'.join(map(str, dims))} numbers cannot be")
        return (BATCH, *dims)

    @property
    def preprocess(self) -> Preprocess:
        """How Darknet makes an input of an image: red, green, blue between 0 and 1."""
        return Preprocess(
            channels="gray" if self.channels == 1 else "rgb",
            scale=1 / 255,
            letterbox=self.letter_box,
            sampling="corners",
        )

    def to_ir(self, *args: Any, **kwargs: Any) -> ir.Value:  # noqa: ARG002
        """Refuse: it makes no layer."""
        raise FormatError("only the first section can be [net]")
