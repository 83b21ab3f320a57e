"""What every layer file declares: the base class, its registry and the builder it works with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError
from ...core.ir.network import BATCH, Caution, Head, Preprocess
from ..adapter import (
    Blob,
    Handling,
    Key,
    LayerBuilder,
    LayerRegistry,
    Shape,
    StaticBatchNeeded,
    blob_shapes,
    check_positive,
    key,
)
from ..adapter import Example as AnyExample

__all__ = [
    "LAYERS", "Blob", "CaffeBuilder", "Example", "Handling", "Layer", "Settings", "Shape",
    "Unknown", "check_constant", "check_positive", "key", "layer", "number", "pair", "spatial",
]  # fmt: skip

LAYERS: LayerRegistry[Layer] = LayerRegistry(
    "layer type", package=f"{__package__}.layers", group="secateur.caffe_layers"
)
"""Every layer class by the types it claims."""

layer = LAYERS.register

LARGEST_BLOB = 2**31 - 1
"""Most values of a blob: Caffe counts in int32 (blob.cpp `Reshape`)."""

LARGEST_CONSTANT = 2**22
"""Most values of a constant that a layer makes up (boxes, divisors), so that a number in a text
file can never ask for more memory than a network could need."""


def check_constant(count: int, what: str) -> None:
    """Refuse to make up constants out of all proportion.

    Raises:
        UnsupportedError: `count` values are more than any real network needs.
    """
    if count > LARGEST_CONSTANT:
        raise UnsupportedError(f"{count} {what} are too many")


def pair(default: Any, both: str, height: str, width: str, *, doc: str = "") -> Any:
    """Declare a field for the spatial axes: `both` (repeated, or one for all), or h and w names.

    The attribute is the tuple as written: () for none, one number for all axes, or one an axis.
    Pass `REQUIRED` as default where Caffe demands it.
    """
    declared = Key(names=(both, height, width), doc=doc)
    return dataclasses.field(default=default, metadata={"key": declared, "pair": True})


def spatial(values: Sequence[int], axes: int, default: int, name: str) -> tuple[int, ...]:
    """Return one number for each of the spatial axes from a :func:`pair` field.

    Raises:
        FormatError: there are neither none, one nor as many numbers as axes.
    """
    if len(values) in (0, 1):
        return (values[0] if values else default,) * axes
    if len(values) != axes:
        raise FormatError(f"{name} is given {len(values)} times for {axes} spatial axes")
    return tuple(values)


def number(dim: int | str) -> int:
    """Return a size that must be known.

    Raises:
        StaticBatchNeeded: it is the symbolic batch.
    """
    if isinstance(dim, str):
        raise StaticBatchNeeded("this layer computes with the batch size")
    return dim


@dataclass(frozen=True, kw_only=True, slots=True)
class Example(AnyExample):
    """A layer between "before", a convolution that reads "first", and "after", fully connected.

    The input is "data", 2×3×8×8. A layer that reads "after" follows it instead.

    Args:
        bottoms: what the layer reads.
        tops: what it makes; the fully connected layer reads "layer".
        label: shape of "label" without the batch, for layers that read it.
        values: input → numbers that fill it, over and over, where noise would make no sense.
        input_shapes: top → (C, H, W) of data layers whose file does not tell.
    """

    bottoms: tuple[str, ...] = ("before",)
    tops: tuple[str, ...] = ("layer",)
    label: tuple[int, ...] = ()
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Settings:
    """What one reading of a net is done with."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    folder: Path = Path()
    """Where files that the net names stand."""
    static: bool = False
    batch: int | None = None
    """Batch size of the file, as the inputs read so far have it."""
    inputs: list[str] = field(default_factory=list)
    """Names of the graph inputs declared so far."""


class CaffeBuilder(LayerBuilder):
    """The builder of one layer, with what only Caffe's layers need."""

    def __init__(self, *args: Any, reading: Settings, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reading = reading

    def input(self, name: str, dims: Sequence[int]) -> ir.Value:
        """Declare a graph input for a blob of the file; its batch becomes symbolic where it can.

        Raises:
            FormatError: a dim is not positive.
            StaticBatchNeeded: the inputs do not share one batch size.
        """
        wanted = self.reading.input_shapes.get(name)
        if wanted is not None:
            dims = (*dims[: len(dims) - len(wanted)], *wanted)
        for dim in dims:
            check_positive(dim=dim)
        if math.prod(dims) > LARGEST_BLOB:
            raise FormatError(f"a blob of {'×'.join(map(str, dims))} is too large for Caffe")
        shape: list[int | str] = list(dims)
        if dims and not self.reading.static:
            if self.reading.batch not in (None, dims[0]):
                raise StaticBatchNeeded("the inputs have different batch sizes")
            self.reading.batch = dims[0]
            shape[0] = BATCH
        self.reading.inputs.append(name)
        return self.builder.input(name, shape)

    def scalar(self, value: float) -> ir.Value:
        """Add a float32 scalar."""
        return self.constant(value, np.float32)

    def reshape(self, x: ir.Value, *target: int) -> ir.Value:
        """Reshape; 0 copies an axis, -1 is inferred."""
        return self.op("Reshape", x, self.constant(target))

    def rank(self, x: ir.Value) -> int:
        """Return the number of axes."""
        return len(self.shape(x))

    def axis(self, x: ir.Value, axis: int) -> int:
        """Return an axis counted from 0.

        Raises:
            FormatError: the blob has no such axis.
        """
        rank = self.rank(x)
        if not -rank <= axis < rank:
            raise FormatError(f"axis {axis} does not exist: the bottom has {rank} axes")
        return axis % rank if rank else 0

    def parameter(self, name: str, array: np.ndarray | None = None) -> ir.Value:
        """Put a stored blob into the graph; one that is shared in another shape is reshaped."""
        refs = self.refs[name]
        known = self.shared.get(refs)
        wanted = self.blobs[name].shape if array is None else array.shape
        if known is not None and tuple(self.dims(known, 0)) != wanted:
            return self.op("Reshape", known, self.constant(wanted))
        return super().parameter(name, array)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer of a net: the fields of its file, and how it is carried into the graph and back.

    Subclasses are frozen dataclasses whose fields are declared with :func:`key` and :func:`pair`.
    """

    name: str
    type: str
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()

    param: ClassVar[str] = ""
    """The message that holds the fields."""
    blobs: ClassVar[tuple[Blob, ...]] = ()
    """What is stored, in file order."""
    bottom_range: ClassVar[tuple[int, int | None]] = (1, 1)
    top_range: ClassVar[tuple[int, int | None]] = (1, 1)
    bottom_axes: ClassVar[tuple[int, int]] = (0, 32)
    """Fewest and most axes of the first bottom."""
    example: ClassVar[Example]
    """The layer in a small network, for tests and for the support tables."""
    decodes: ClassVar[bool] = False
    """True where the layer only decodes: its bottoms are outputs, and `heads` tells the rest."""

    def sizes(self, *_shapes: Any, **_: Any) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths behind the axis names in `blobs`, given the shapes of the bottoms."""
        return {}

    def to_ir(self, *_args: Any, **_: Any) -> ir.Value | tuple[ir.Value | None, ...] | None:
        """Emit the nodes for `(builder, *bottoms)` and return the tops; None is an absent one."""
        raise UnsupportedError("this layer cannot be carried into the graph")

    def without(self, b: CaffeBuilder, *bottoms: ir.Value | None) -> ir.Value | None:
        """Return the top where some bottom is absent (the label of a data layer); None for none."""
        del b, bottoms
        return None

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with the values its fields have in a changed graph.

        Args:
            nodes: the layer's nodes there.
            arrays: its blobs, in the shape the graph has them.
        """
        del nodes, arrays
        return self

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Turn values of the graph back into what the file stores."""
        return arrays

    def preprocess(self) -> Preprocess | None:
        """Return how images become the first top, where the layer says so."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about this layer."""
        return ()

    def heads(self) -> tuple[Head, ...]:
        """Return how blobs become answers, by their names; those that are no outputs are left."""
        return ()

    def shares_memory(self) -> bool:
        """Whether tops share the bottom's memory in Caffe, so that in-place writes show in both."""
        return False

    def stored(self) -> tuple[Blob, ...]:
        """Return the blobs this layer has, in file order."""
        return tuple(b for b in self.blobs if not b.when or getattr(self, b.when))

    def shapes(self, *bottoms: Shape) -> dict[str, tuple[int, ...]]:
        """Return the file shape of every stored blob, given the shapes of the bottoms."""
        return blob_shapes(self.blobs, self, self.sizes(*bottoms)) if self.stored() else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Layer):
    """A layer of a type that nobody claims: left out where it reads labels, else an error.

    Forks have losses and scores of their own, which read labels and are no part of inference.
    """

    bottom_range: ClassVar = (0, None)
    top_range: ClassVar = (0, None)

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Refuse."""
        del b, bottoms
        LAYERS.find(self.type)
        raise AssertionError(f"{self.type} is known")

    def notes(self) -> tuple[str, ...]:
        """Return that it is left out: were it not, the network would be refused."""
        why = "its type is not known, and it reads labels or what is decoded"
        return (Caution(f"layer '{self.name}' ({self.type}) is left out: {why}"),)
