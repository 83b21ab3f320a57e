"""Section classes: their declarations, their registry, and the reading of their keys.

A section file holds a frozen dataclass. It declares its keys as fields with :func:`key`, `blobs` in
file order, `sizes` of the blobs' axes, `to_ir`, which emits the ONNX nodes, and `from_ir` if
pruning changes a key. Sections do not access other sections: the reader passes their inputs.
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
from ...core.ir.heads import Head
from ...core.ir.network import BlobRef
from ..adapter import Blob, Example, Handling, LayerBuilder, LayerRegistry, keys_of
from .document import Block
from .flavour import Flavour
from .numerals import read_float, read_floats, read_int, read_ints
from .training import TRAINING_KEYS

__all__ = [
    "SECTIONS", "Context", "Example", "Handling", "Section", "SectionBuilder", "Size",
    "read_section", "section", "size_of",
]  # fmt: skip

SECTIONS: LayerRegistry[Section] = LayerRegistry(
    "section", package=f"{__package__}.sections", group="secateur.darknet_sections"
)
"""Section classes by the names between the brackets."""

section = SECTIONS.register

LIMIT = 1 << 20
"""Largest number of entries of a list in the graph (groups, masks, matrices)."""


class Size(NamedTuple):
    """Size of a layer's output as Darknet counts it. A vector has one row and one column."""

    channels: int
    height: int
    width: int


def size_of(value: ir.Value) -> Size:
    """Return the size of a value as Darknet counts it."""
    channels, *rest = LayerBuilder.shape(value)[1:]
    height, width = rest or (1, 1)
    return Size(int(channels), int(height), int(width))


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Facts about the network that `to_ir` of a section may use beside its keys and inputs."""

    index: int = 0
    """Darknet's index of the layer; the first section behind [net] is 0."""
    flavour: Flavour = Flavour.ALEXEYAB
    transposed: bool = False
    """Whether the weights file is an old one, which stores matrices as inputs × outputs."""
    folders: tuple[Path, ...] = ()
    """Folders in which files that the cfg names are looked for."""
    width: int = 0
    height: int = 0

    training: bool = False
    """Whether the graph is to be trained: it then holds dropouts."""
    common: bool = False
    """Whether the user did not choose a flavour, and both Darknets can run the cfg."""

    @property
    def pjreddie(self) -> bool:
        """Whether the network is read as pjreddie's Darknet reads it."""
        return self.flavour is Flavour.PJREDDIE

    @property
    def rooted(self) -> bool:
        """Whether batch normalisation adds its epsilon to the root of the variance.

        pjreddie's Darknet does so, AlexeyAB's did until 2020, and OpenCV's results are closest to
        it. So a network that both Darknets can run is read that way.
        """
        return self.pjreddie or self.common

    def absolute(self, index: int) -> int:
        """Return the absolute index of a layer; negative indices are relative to this section.

        Raises:
            FormatError: there is no such layer before this section.
        """
        found = self.index + index if index < 0 else index
        if not 0 <= found < self.index:
            raise FormatError(
                f"layer {index} is not before this one: "
                + (f"only 0 to {self.index - 1} are" if self.index else "this is the first")
            )
        return found


class SectionBuilder(LayerBuilder):
    """A :class:`LayerBuilder` with the input of the network, its flavour, and a list of notes."""

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
        """Add a float32 scalar."""
        return self.constant(number, np.float32)

    def image(self, x: ir.Value) -> ir.Value:
        """Return a value as N × channels × height × width; a vector has one row and column."""
        if x.const_value is not None:
            # A stored constant is the same for every image: add the batch axis.
            zero = self.op("Mul", self._per_image(), self.scalar(0.0))
            return self.op("Add", x, zero)
        if len(self.shape(x)) == 2:
            return self.op("Reshape", x, self.constant([0, -1, 1, 1]))
        return x

    def flat(self, x: ir.Value) -> ir.Value:
        """Return a value as N × elements, in Darknet's memory order."""
        return x if len(self.shape(x)) == 2 else self.op("Flatten", self.image(x), axis=1)

    def size(self, x: ir.Value) -> Size:
        """Return the size of a value as Darknet counts it."""
        return size_of(x)

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
        """Return a value of N × 1 × 1 × 1."""
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
    """The blobs in the weights file, in file order."""
    only: ClassVar[Mapping[str, Flavour]] = {}
    """Keys that only one flavour knows; "" stands for the section itself."""
    references: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold indices of layers."""
    example: ClassVar[Example]
    """The section in a small network, for tests and for the support tables. Its text holds its
    keys. Its inputs are two convolutions of 16 filters on 8×8 maps, at −2 and −1."""
    in_place: ClassVar[bool] = False
    """Whether its output lies in the memory of its input, which changes with it."""
    loss: ClassVar[bool] = False
    """Whether only training uses it: it then counts neither as a reader nor as an output."""

    def agreed(self) -> bool:
        """Return whether both Darknets compute the same in this section, apart from the epsilon.

        Keys that only one of them knows must have their default values.
        """
        named = {name: declared.names or (name,) for name, (_, declared) in keys_of(self).items()}
        defaults = {name: field.default for name, (field, _) in keys_of(self).items()}
        return "" not in self.only and all(
            getattr(self, name) == defaults[name]
            for name, written in named.items()
            if any(word in self.only for word in written)
        )

    def inputs(self) -> tuple[int, ...]:
        """Return the absolute indices of the section's inputs; −1 is the input of the network.

        Raises:
            FormatError: there is no such layer.
        """
        return (self.context.index - 1,)

    def sizes(self, *args: Any, **kwargs: Any) -> dict[str, int | tuple[int, ...]]:  # noqa: ARG002
        """Return the lengths of the axes in `blobs`, given one :class:`Size` for each input.

        Raises:
            FormatError: keys and inputs do not fit together.
        """
        return {}

    def to_ir(self, *args: Any, **kwargs: Any) -> ir.Value:
        """Emit the nodes, given a :class:`SectionBuilder` and one value for each input."""
        raise NotImplementedError

    def from_ir(
        self,
        nodes: Sequence[ir.Node],  # noqa: ARG002
        arrays: Mapping[str, np.ndarray],  # noqa: ARG002
    ) -> Self:
        """Return this section with keys that fit its changed nodes and blobs."""
        return self

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return tensors of the graph as the file stores them: the inverse of `to_ir`."""
        return arrays

    def shares(self) -> int | None:
        """Return the absolute index of the layer whose blobs it uses; None if it has its own."""
        return None

    def check_shared(
        self,
        owner: Section,
        shapes: Mapping[str, tuple[int, ...]],
        *inputs: Size,
    ) -> None:
        """Check that the blobs of `owner`, of the given shapes, fit this section.

        Raises:
            FormatError: they do not fit.
        """
        raise NotImplementedError

    def head(self, output: str) -> Head | None:  # noqa: ARG002
        """Return the head of this layer's output; None if it is no detection head."""
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
    """Return (attribute, key in the file, reader) of every field of a class; results are cached."""
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
        FormatError: a number does not fit into 32 bits.
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
    """Return the keys of a section that are neither read nor about training."""
    read = {key for _, key, _ in _fields(cls)}
    return [
        key
        for key in block.options
        if (key not in read and key not in TRAINING_KEYS)
        or cls.only.get(key, flavour) is not flavour
    ]
