"""Declarations of layer types, the same for every format: fields, blobs, names, and an example.

A layer class is a frozen dataclass. It declares:

* its dataclass fields: the keys of the file with their defaults (:func:`key`);
* `blobs`: the stored parameters in file order (:class:`Blob`);
* `sizes`: the lengths of the axes that the blobs name;
* `to_ir`: a method that emits the ONNX nodes;
* `example`: a small network with the layer (:class:`Example`). Tests run it, and the support tables
  are made from it.

Reading, checking and writing back derive from these declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

from ..core.errors import FormatError, UnsupportedError, nearest_hint
from ..core.ir.builder import Attribute, Builder
from ..core.ir.network import BLOCK, BlobRef
from ..core.registry import Registry

__all__ = [
    "REQUIRED",
    "Blob",
    "Example",
    "Handling",
    "Key",
    "LayerBuilder",
    "LayerRegistry",
    "Shape",
    "blob_shapes",
    "key",
    "keys_of",
]

REQUIRED = dataclasses.MISSING
Shape = tuple[int | str, ...]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """How a file stores one field of a layer class.

    Args:
        names: names in the file, the current name first; empty for the name of the attribute.
        choices: the words allowed, numbered from 0 as in the file's enumeration.
        numbers: the numbers of `choices` if they are not 0, 1, 2, …
        channels: whether pruning may change the value.
        doc: one line for the support tables.
    """

    names: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    channels: bool = False
    doc: str = ""


def key(
    default: Any = REQUIRED,
    *names: str,
    choices: Sequence[str] = (),
    numbers: Sequence[int] = (),
    channels: bool = False,
    doc: str = "",
) -> Any:
    """Declare a field of a layer; see :class:`Key` for the arguments."""
    declared = Key(
        names=names, choices=tuple(choices), numbers=tuple(numbers), channels=channels, doc=doc
    )
    if isinstance(default, list | dict | set):
        raise TypeError("defaults of layer fields are immutable")
    return dataclasses.field(default=default, metadata={"key": declared})


def keys_of(layer: Any) -> dict[str, tuple[dataclasses.Field[Any], Key]]:
    """Return attribute name → (dataclass field, declaration) of a layer class or instance."""
    return {
        field.name: (field, field.metadata["key"])
        for field in dataclasses.fields(layer)
        if "key" in field.metadata
    }


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored parameter of a layer type.

    Args:
        name: name of the parameter ("weight", "bias", "rolling_mean").
        axes: names of its axes in file order, outermost first ("out in/group kernel"). `sizes` of
            the layer gives their lengths. One name may cover several axes ("kernel": kh and kw).
        when: name of the attribute that must be true for the blob to exist; "" for always.
        doc: one line for the support tables.
    """

    name: str
    axes: str
    when: str = ""
    doc: str = ""


class Handling(Enum):
    """How the reader treats a layer."""

    COMPUTED = auto()
    """The graph computes it."""
    INPUT = auto()
    """It becomes an input of the graph."""
    HEAD = auto()
    """The graph computes it, and its output is an output of the graph. Metrics decode it."""
    DECODED = auto()
    """It only decodes outputs of the network. Its input becomes an output of the graph."""
    BORDER = auto()
    """The graph cannot carry it. What it reads becomes outputs, what it makes inputs."""
    TRAINING = auto()
    """The graph computes it if the network reads labels, and leaves it out otherwise."""
    LEFT_OUT = auto()
    """It matters in training only. The graph leaves it out; the written file keeps it."""
    REFUSED = auto()
    """The network cannot be read. An UnsupportedError says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A layer in a small network, in the text of the format.

    The network is a chain: an input, two convolutions of 16 channels, the layer, and a fully
    connected layer. Each format adds the parts that its files need.

    Args:
        text: the fields of the layer.
        lead: whole layers between the convolutions and the layer.
        tail: whole layers behind the layer; None for the fully connected layer.
        handling: how the reader treats the layer.
        note: effect of pruning on the layer, for the support tables. Empty if tracing the network
            shows it. For a layer that is refused, the reason.
    """

    text: str = ""
    lead: str = ""
    tail: str | None = None
    handling: Handling = Handling.COMPUTED
    note: str = ""


def blob_shapes(
    blobs: Sequence[Blob], layer: Any, sizes: Mapping[str, int | tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the expected shape of every blob that `layer` stores, in file order."""
    found = {}
    for blob in blobs:
        if blob.when and not getattr(layer, blob.when):
            continue
        shape: list[int] = []
        for axis in blob.axes.split():
            size = sizes[axis]
            shape.extend(size if isinstance(size, tuple) else (size,))
        found[blob.name] = tuple(shape)
    return found


class LayerBuilder:
    """The argument of `to_ir` of a layer: it emits operators, and holds the layer's stored blobs.

    Args:
        builder: builder of the whole graph.
        blobs: values of the layer's blobs by name, in file shape.
        refs: references to each blob by name; several if layers share it.
        shared: initializers that exist already, by their references. Layers fill it.
        settings: settings of the reader.
    """

    def __init__(
        self,
        builder: Builder,
        blobs: Mapping[str, np.ndarray],
        refs: Mapping[str, tuple[BlobRef, ...]],
        shared: dict[tuple[BlobRef, ...], ir.Value] | None = None,
        settings: Mapping[str, Any] | None = None,
    ):
        self.builder = builder
        self.blobs = blobs
        self.refs = refs
        self.shared = shared if shared is not None else {}
        self.settings: Mapping[str, Any] = settings or {}

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """Emit an ONNX node with one output."""
        return self.builder.op(op_type, *inputs, **attributes)

    def ops(
        self, op_type: str, *inputs: ir.Value | None, count: int, **attributes: Attribute
    ) -> tuple[ir.Value, ...]:
        """Emit an ONNX node with `count` outputs."""
        return self.builder.ops(op_type, *inputs, count=count, **attributes)

    def constant(self, array: Any, dtype: Any = np.int64) -> ir.Value:
        """Add a constant that belongs to no blob."""
        return self.builder.constant(array, dtype)

    def parameter(self, name: str, array: np.ndarray | None = None) -> ir.Value:
        """Put the stored blob `name` into the graph.

        Args:
            name: name of the blob.
            array: the same elements in the same order, with another shape or with rescaled
                values. The writer undoes that. None for the blob as it is stored.
        """
        stored = self.blobs[name]
        array = stored if array is None else array
        assert array.size == stored.size, f"{name}: {array.shape} does not hold {stored.shape}"
        refs = self.refs[name]
        known = self.shared.get(refs)
        if known is not None and known.shape is not None and known.shape.numpy() == array.shape:
            return known
        value = self.builder.parameter(array, *refs)
        self.shared[refs] = value
        return value

    @staticmethod
    def shape(value: ir.Value) -> Shape:
        """Return the shape of a value; a symbolic batch is a string."""
        assert value.shape is not None
        return tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)

    @staticmethod
    def blocks(value: ir.Value, size: int) -> None:
        """Declare that the format can store `value` only in whole blocks of `size` channels."""
        value.meta[BLOCK] = size

    def dims(self, value: ir.Value, start: int = 1) -> tuple[int, ...]:
        """Return the sizes of the axes from `start` on.

        Raises:
            StaticBatchNeeded: one of them is the symbolic batch.
        """
        dims = self.shape(value)[start:]
        numbers = tuple(dim for dim in dims if isinstance(dim, int))
        if len(numbers) != len(dims):
            raise StaticBatchNeeded("this layer computes with the batch size")
        return numbers


class StaticBatchNeeded(UnsupportedError):
    """A layer computes with the batch size: the reader starts again with that of the file."""


class LayerRegistry(Registry[type[T]]):
    """Layer classes by the names that files use for them."""

    def register(self, *names: str) -> Callable[[type[T]], type[T]]:
        """Register a class under its names. A name that is taken is a bug and raises."""

        def claim(cls: type[T]) -> type[T]:
            return self.add(*names, entry=cls)

        return claim

    def find(
        self,
        name: str,
        also: Iterable[str] = (),
        *,
        remedy: str = "",
        fits: Callable[[type[T]], bool] | None = None,
    ) -> type[T]:
        """Return the class for a name.

        Args:
            name: the name in the file.
            also: names that the caller knows besides, for the hint.
            remedy: what a user can do about a name that is spelled right.
            fits: whether a class could be meant by what else the file says; None for all.

        Raises:
            UnsupportedError: no class has it; the message suggests names that are near.
        """
        if name in self:
            return self[name]
        known = [other for other, cls in self.items() if fits is None or fits(cls)]
        otherwise = remedy or f"docs/layers.md lists every supported {self.what}"
        near = nearest_hint(name, [*known, *also], None)
        hint = " ".join(filter(None, (near, remedy))) if near else otherwise
        raise UnsupportedError(f"unsupported {self.what} '{name[:80]}'", hint=hint)


def check_positive(**values: int) -> None:
    """Raise if a size is not positive.

    Raises:
        FormatError: names the first field that is zero or negative.
    """
    for name, value in values.items():
        if value <= 0:
            raise FormatError(f"{name} must be positive, got {value}")
