"""[shortcut]. Source: parser.c parse_shortcut, shortcut_layer.c, blas.c shortcut_multilayer_cpu.

AlexeyAB's Darknet adds a list of layers of one width and height. Where `weights_type` says so, it
weighs them by stored numbers: [layers + 1] or [layers + 1, channels], where the first stands for
the previous layer. pjreddie's adds one layer. Of a larger map it takes every n-th pixel; with a
smaller map it fills every n-th pixel. It multiplies what meets by alpha and beta. Where the numbers
of channels differ, both add only the first channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ....core.errors import FormatError, UnsupportedError
from ...adapter import Blob, key
from ..activations import activate
from ..fit import fit_map
from ..flavour import Flavour
from ..section import Example, Section, SectionBuilder, Size, section

MOST_INPUTS = 1024
TYPES = {"none": "", "per_feature": "1", "per_layer": "1", "per_channel": "c"}
NORMALIZATIONS = {"relu": "relu", "avg_relu": "relu", "softmax": "softmax"}
EPSILON = 1e-4


@section("shortcut")
@dataclass(frozen=True, kw_only=True, slots=True)
class Shortcut(Section):
    """The sum of the previous layer and earlier ones."""

    layers: tuple[int, ...] = key((), "from", doc="negative indices count back from here")
    activation: str = key("linear")
    alpha: float = key(1.0, doc="factor of the previous layer where channels meet")
    beta: float = key(1.0, doc="factor of the other layer")
    weights_type: str = key("none")
    weights_normalization: str = key("none")

    blobs = (Blob("weight", "count weights", when="weighted"),)
    references = ("layers",)
    only = {  # noqa: RUF012
        "alpha": Flavour.PJREDDIE,
        "beta": Flavour.PJREDDIE,
        "weights_type": Flavour.ALEXEYAB,
        "weights_normalization": Flavour.ALEXEYAB,
    }
    example = Example(text="from=-2\nactivation=leaky")

    @property
    def weighted(self) -> bool:
        """Whether the file holds weights of the inputs."""
        return bool(TYPES.get(self.weights_type))

    def agreed(self) -> bool:
        """Return whether both add the same: AlexeyAB's adds several, pjreddie's the first."""
        return Section.agreed(self) and len(self.layers) == 1

    def inputs(self) -> tuple[int, ...]:
        """Return the previous layer and the listed ones."""
        if not self.layers:
            raise FormatError("a shortcut needs from=")
        if len(self.layers) > MOST_INPUTS:
            raise UnsupportedError(f"more than {MOST_INPUTS} inputs")
        listed = self.layers[:1] if self.context.pjreddie else self.layers
        return (self.context.index - 1, *(self.context.absolute(index) for index in listed))

    def sizes(self, x: Size, *others: Size) -> dict[str, int | tuple[int, ...]]:
        """Return the axes of the weights.

        Raises:
            FormatError: unknown kinds of weights.
        """
        for name, value, known in (
            ("weights_type", self.weights_type, TYPES),
            ("weights_normalization", self.weights_normalization, {"none": "", **NORMALIZATIONS}),
        ):
            if value not in known:
                raise FormatError(f"{name}={value[:80]} is none of {', '.join(known)}")
        if self.weighted and self.weights_normalization == "none":
            raise UnsupportedError(
                "weights without weights_normalization; Darknet refuses them too"
            )
        each = x.channels if TYPES[self.weights_type] == "c" else 1
        return {"count": len(others) + 1, "weights": each}

    def to_ir(self, b: SectionBuilder, x: ir.Value, *others: ir.Value) -> ir.Value:
        """Emit Add for every input, with Mul where they are weighted."""
        if len(b.shape(x)) == 4:
            others = tuple(b.image(other) for other in others)
        factors: list[ir.Value | None] = [None] * (len(others) + 1)
        if self.weighted:
            factors = list(self._factors(b))
        elif self.context.pjreddie and (self.alpha, self.beta) != (1.0, 1.0):
            factors = [b.scalar(self.alpha), b.scalar(self.beta)]
        own, *theirs = factors
        total = x
        if own is not None and self.weighted:
            total = b.op("Mul", x, own)
        for other, factor in zip(others, theirs, strict=True):
            total = self._add(b, total, other, None if self.weighted else own, factor)
        return activate(b, self.activation, total)

    def _factors(self, b: SectionBuilder) -> tuple[ir.Value, ...]:
        """Return one factor an input: w / (Σ w + 1e-4), w being relu or softmax of the weights."""
        stored = b.blobs["weight"]
        weight = b.parameter("weight", stored.reshape(*stored.shape, 1, 1))
        if NORMALIZATIONS[self.weights_normalization] == "relu":
            weight = b.op("Relu", weight)
        else:
            highest = b.op("ReduceMax", weight, b.constant([0]), keepdims=1)
            weight = b.op("Exp", b.op("Sub", weight, highest))
        total = b.op("ReduceSum", weight, b.constant([0]), keepdims=1)
        share = b.op("Div", weight, b.op("Add", total, b.scalar(EPSILON)))
        count = stored.shape[0]
        return b.ops("Split", share, count=count, num_outputs=count, axis=0)

    def _add(
        self, b: SectionBuilder, x: ir.Value, other: ir.Value, own: ir.Value | None,
        factor: ir.Value | None,
    ) -> ir.Value:  # fmt: skip
        """Return x + other on the channels both have; the rest of x passes."""
        size, other_size = b.size(x), b.size(other)
        if size[1:] != other_size[1:]:
            other = fit_map(b, other, size, scaled=own is not None)
        common = min(size.channels, other_size.channels)
        if factor is not None:
            if self.weights_type == "per_channel" and common < size.channels:
                factor = b.slice(factor, [1], [0], [common])
            other = b.op("Mul", other, factor)
        if other_size.channels > common:
            other = b.slice(other, [1], [0], [common])
        rest = None
        if size.channels > common:
            rest = b.slice(x, [1], [common], [size.channels])
            x = b.slice(x, [1], [0], [common])
        if own is not None:
            x = b.op("Mul", x, own)
        total = b.op("Add", x, other)
        return total if rest is None else b.op("Concat", total, rest, axis=1)
