"""What a section class declares, how its keys are read, and the registry of all of them.

A section file holds a frozen dataclass: fields with :func:`key`, `blobs` in file order, `sizes`
behind the axis names, `to_ir` that emits the ONNX nodes, and, where pruning changes a key,
`from_ir`. Sections never look at their neighbours: the reader hands them their inputs.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, located
from ...core.ir.builder import Builder
from ...core.ir.network import BlobRef, Head
from ..adapter import Blob, Example, Handling, LayerBuilder, LayerRegistry, keys_of
from .document import Block
from .flavour import Flavour
from .numerals import read_float, read_floats, read_int, read_ints
from .training import TRAINING_KEYS

__all__ = [
    "SECTIONS", "Context", "Example", "Handling", "Section", "SectionBuilder", "Size",
    "read_section", "section",
]  # fmt: skip

SECTIONS: LayerRegistry[Section] = LayerRegistry(
    "section", package=f"{__package__}.sections", group="secateur.darknet_sections"
)
"""Section classes by the names between the brackets."""

section = SECTIONS.register

LIMIT = 1 << 20
"""No list of entries in the graph (groups, masks, matrices) grows beyond this many numbers."""


class Size(NamedTuple):
    """What a layer puts out, as Darknet counts it; a flat vector has one row and one column."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a section stands: what `to_ir` may know beyond its own keys and inputs."""

    index: int = 0
    """Darknet's index of the layer; the first section behind [net] is 0."""
    flavour: Flavour = Flavour.ALEXEYAB
    transposed: bool = False
    """Whether the weights file is so old that matrices are stored in × out."""
    folders: tuple[Path, ...] = ()
    """Where files that the cfg names are looked for."""
    width: int = 0
    height: int = 0

    common: bool = False
    """Whether nobody chose a flavour and nothing in the cfg tells them apart."""

    @property
    def pjreddie(self) -> bool:
        """Whether the network is read as pjreddie's Darknet reads it."""
        return self.flavour is Flavour.PJREDDIE

    @property
    def rooted(self) -> bool:
        """Whether the epsilon of batch normalisation is added to the root of the variance.

        pjreddie's Darknet does so, AlexeyAB's did until 2020, and OpenCV is nearest to it: what
        both can run is read that way.
        """
        return self.pjreddie or self.common

    def absolute(self, index: int) -> int:
        """Return the index of a layer given absolutely or, if negative, relative to this one.

        Raises:
            FormatError: there is no such layer before this one.
        """
        found = self.index + index if index < 0 else index
        if not 0 <= found < self.index:
            raise FormatError(
                f"layer {index} is not before this one: "
                + (f"only 0 to {self.index - 1} are" if self.index else "this is the first")
            )
        return found


class SectionBuilder(LayerBuilder):
    """A :class:`LayerBuilder` that also knows the network's input and takes notes."""

    def __init__(
        self,
        builder: Builder,
        blobs: Mapping[str, np.ndarray],
        refs: Mapping[str, tuple[BlobRef, ...]],
        shared: dict[tuple[BlobRef, ...], ir.Value],
        *,
        data: ir.Value,
        note: Callable[[str], None],
        context: Context,
    ):
        super().__init__(builder, blobs, refs, shared)
        self.data = data
        self.note = note
        self.pjreddie = context.pjreddie
        self.rooted = context.rooted

    def scalar(self, number: float) -> ir.Value:
        """Add a float32 constant without axes."""
        return self.constant(number, np.float32)

    def image(self, x: ir.Value) -> ir.Value:
        """Return a value as N × channels × height × width; a vector has one row and column."""
        if x.const_value is not None:
            # A stored constant is the same for every image: give it their number.
            zero = self.op("Mul", self._per_image(), self.scalar(0.0))
            return self.op("Add", x, zero)
        if len(self.shape(x)) == 2:
            return self.op("Reshape", x, self.constant([0, -1, 1, 1]))
        return x

    def flat(self, x: ir.Value) -> ir.Value:
        """Return a value as N × numbers, in Darknet's memory order."""
        return x if len(self.shape(x)) == 2 else self.op("Flatten", self.image(x), axis=1)

    def size(self, x: ir.Value) -> Size:
        """Return the size of a value as Darknet counts it."""
        channels, *rest = self.dims(x)
        height, width = rest or (1, 1)
        return Size(channels, height, width)

    def slice(
        self, x: ir.Value, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int],
        steps: Sequence[int] = (),
    ) -> ir.Value:  # fmt: skip
        """Cut a part out of a value."""
        inputs = [x, self.constant(starts), self.constant(ends), self.constant(axes)]
        if steps:
            inputs.append(self.constant(steps))
        return self.op("Slice", *inputs)

    def pad(
        self, x: ir.Value, top: int, left: int, bottom: int, right: int, value: float = 0.0
    ) -> ir.Value:
        """Add rows and columns around a map."""
        pads = self.constant([0, 0, top, left, 0, 0, bottom, right])
        return self.op("Pad", x, pads, self.scalar(value) if value else None)

    def _per_image(self) -> ir.Value:
        axes = self.constant(list(range(1, len(self.shape(self.data)))))
        one = self.op("ReduceMean", self.data, axes, keepdims=1)
        return (
            one
            if len(self.shape(one)) == 4
            else self.op("Reshape", one, self.constant([0, 1, 1, 1]))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section of a cfg file, its values read."""

    context: Context = Context()

    blobs: ClassVar[tuple[Blob, ...]] = ()
    """What the weights file holds for it, in file order."""
    only: ClassVar[Mapping[str, Flavour]] = {}
    """Keys, or "" for the section itself, that only one flavour knows."""
    example: ClassVar[Example]
    """The section in a small network, for tests and for the support tables: its text is its keys,
    and what it reads are two convolutions of 16 filters on 8×8, at −2 and −1."""
    loss: ClassVar[bool] = False
    """True for what only training reads: it neither counts as a reader nor as an output."""

    def agreed(self) -> bool:
        """Return whether both Darknets compute the same here, but for the epsilon.

        Keys that only one of them knows do no harm at their defaults.
        """
        named = {name: declared.names or (name,) for name, (_, declared) in keys_of(self).items()}
        defaults = {name: field.default for name, (field, _) in keys_of(self).items()}
        return "" not in self.only and all(
            getattr(self, name) == defaults[name]
            for name, written in named.items()
            if any(word in self.only for word in written)
        )

    def inputs(self) -> tuple[int, ...]:
        """Return the absolute indices of the layers it reads; −1 is the input of the network.

        Raises:
            FormatError: there is no such layer.
        """
        return (self.context.index - 1,)

    def sizes(self, *args: Any, **kwargs: Any) -> dict[str, int | tuple[int, ...]]:  # noqa: ARG002
        """Return the lengths of the axes in `blobs`, given one :class:`Size` per input.

        Raises:
            FormatError: keys and inputs do not fit together.
        """
        return {}

    def to_ir(self, *args: Any, **kwargs: Any) -> ir.Value:
        """Emit the nodes, given a :class:`SectionBuilder` and one value per input."""
        raise NotImplementedError

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],  # noqa: ARG002
    ) -> Self:
        """Return this section with the values that its changed nodes and blobs ask for."""
        return self

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return graph tensors in the form the file stores; the inverse of what `to_ir` did."""
        return arrays

    def shares(self) -> int | None:
        """Return the absolute index of the layer whose blobs it uses instead of its own."""
        return None

    def check_shared(
        self,
        owner: Section,
        shapes: Mapping[str, tuple[int, ...]],
        *inputs: Size,
    ) -> None:
        """Check that the blobs of `owner`, of the given shapes, serve this section too.

        Raises:
            FormatError: they do not.
        """
        raise NotImplementedError

    def head(self, output: str) -> Head | None:  # noqa: ARG002
        """Return how to decode this layer's output, where it is a detection head."""
        return None


Reader = Callable[[str], Any]
_READERS: Mapping[Any, Reader] = {
    int: read_int,
    float: read_float,
    str: str,
    bool: lambda text: read_int(text) != 0,
    tuple[int, ...]: read_ints,
    tuple[float, ...]: read_floats,
}


_FIELDS: dict[type[Section], tuple[tuple[str, str, Reader], ...]] = {}


def _fields(cls: type[Section]) -> tuple[tuple[str, str, Reader], ...]:
    """Return (attribute, key in the file, reader) of every field; found once a class."""
    if cls not in _FIELDS:
        hints = typing.get_type_hints(cls)
        _FIELDS[cls] = tuple(
            (name, declared.names[0] if declared.names else name, _READERS[hints[name]])
            for name, (_, declared) in keys_of(cls).items()
        )
    return _FIELDS[cls]


def read_section(cls: type[Section], block: Block, context: Context) -> Section:
    """Read the keys of a section.

    Raises:
        FormatError: a number does not fit.
    """
    values = {}
    for attribute, key, reader in _fields(cls):
        option = block.options.get(key)
        if option is None or option.value is None:
            continue
        if cls.only.get(key, context.flavour) is not context.flavour:
            continue
        with located(line=option.line, field=key):
            values[attribute] = reader(option.value)
    return cls(context=context, **values)


def unread_keys(cls: type[Section], block: Block, flavour: Flavour) -> list[str]:
    """Return the keys of a section that nothing reads, training keys aside."""
    read = {key for _, key, _ in _fields(cls)}
    return [
        key
        for key in block.options
        if (key not in read and key not in TRAINING_KEYS)
        or cls.only.get(key, flavour) is not flavour
    ]
