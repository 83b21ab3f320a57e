"""What a layer file declares, whatever its format: fields, blobs, names, and an example.

A layer class is a frozen dataclass. Its dataclass fields are the keys of the file with their
defaults (:func:`key`), `blobs` lists what is stored in file order (:class:`Blob`), `sizes` gives
the numbers behind the axis names used there, and `to_ir` emits the ONNX nodes.
Reading, checking and writing back derive from these. The `example` (:class:`Example`) puts the
layer into a small network: tests run it, and the support tables ask it what pruning can do.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

from ..core.errors import FormatError, UnsupportedError
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
    """How one field of a layer class stands in the file.

    Args:
        names: names in the file, the current one first; empty for the name of the attribute.
        choices: the words allowed, numbered from 0 as the file's enumeration numbers them.
        numbers: the numbers of `choices` where they are not 0, 1, 2, …
        channels: True where pruning may change the value.
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
    """Declare a field of a layer: its default, its names in the file, and what may change it."""
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
        name: what it is ("weight", "bias", "rolling_mean").
        axes: names of its axes in file order, outermost first ("out in/group kernel"); `sizes` of
            the layer gives their lengths. An axis may stand for several ("kernel" for kh and kw).
        when: the attribute that must be true for the blob to be there; "" for always.
        doc: one line for the support tables.
    """

    name: str
    axes: str
    when: str = ""
    doc: str = ""


class Handling(Enum):
    """What becomes of a layer when its network is read."""

    COMPUTED = auto()
    """It is computed in the graph."""
    INPUT = auto()
    """It becomes an input of the graph."""
    HEAD = auto()
    """Its arithmetic is in the graph; its output is one of the graph's, and is decoded later."""
    DECODED = auto()
    """It only decodes answers: what it reads becomes an output of the graph."""
    TRAINING = auto()
    """It is computed where the network is fed with labels, and is left out where it is not."""
    LEFT_OUT = auto()
    """It is never computed: it only matters in training. The written file keeps it."""
    REFUSED = auto()
    """The network cannot be read: an UnsupportedError says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One layer of a small network, as a file of the format has it.

    The network is a chain: an input, two convolutions of 16 channels, the layer, and a fully
    connected layer. Each format adds what its own files need.

    Args:
        text: the fields of the layer, as they stand in the file.
        lead: whole layers that stand between the convolutions and this one.
        tail: whole layers that follow this one; None for the fully connected layer.
        handling: what becomes of the layer.
        note: what pruning can do with it, for the support tables. Empty where tracing the network
            tells. For a layer that is refused: why.
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
    """What `to_ir` of a layer works with: operators to emit, and the layer's own stored blobs."""

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
        """Add a constant that belongs to no blob; int64 unless told."""
        return self.builder.constant(array, dtype)

    def parameter(self, name: str, array: np.ndarray | None = None) -> ir.Value:
        """Put the stored blob `name` into the graph, as it stands or in the form of `array`.

        `array` must hold the same elements in the same order (another shape, rescaled values), so
        that pruned and repaired values find their way back into the blob.
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
        """State that the format can only say `value` with channels in whole blocks of `size`."""
        value.meta[BLOCK] = size

    def dims(self, value: ir.Value, start: int = 1) -> tuple[int, ...]:
        """Return the sizes from axis `start` on, which must be numbers.

        Raises:
            StaticBatchNeeded: one of them is the symbolic batch.
        """
        dims = self.shape(value)[start:]
        numbers = tuple(dim for dim in dims if isinstance(dim, int))
        if len(numbers) != len(dims):
            raise StaticBatchNeeded("this layer computes with the batch size")
        return numbers


class StaticBatchNeeded(UnsupportedError):
    """A layer works along the batch: the reader starts again with the batch size of the file."""


class LayerRegistry(Registry[type[T]]):
    """Layer classes by the names that files use for them."""

    def register(self, *names: str) -> Callable[[type[T]], type[T]]:
        """Claim names for a class; a second claim on a name is a bug and raises."""

        def claim(cls: type[T]) -> type[T]:
            return self.add(*names, entry=cls)

        return claim

    def find(self, name: str) -> type[T]:
        """Return the class for a name.

        Raises:
            UnsupportedError: nobody claimed it; the message names the nearest known ones.
        """
        if name in self:
            return self[name]
        near = difflib.get_close_matches(name, self, n=3, cutoff=0.5)
        otherwise = f"docs/layers.md lists every supported {self.what}"
        hint = f"did you mean {' or '.join(near)}?" if near else otherwise
        raise UnsupportedError(f"unsupported {self.what} '{name[:80]}'", hint=hint)


def check_positive(**values: int) -> None:
    """Refuse sizes that are not positive.

    Raises:
        FormatError: names the first field that is zero or negative.
    """
    for name, value in values.items():
        if value <= 0:
            raise FormatError(f"{name} must be positive, got {value}")
