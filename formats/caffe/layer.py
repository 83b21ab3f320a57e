"""The base class of layer types, their registry, and their builder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError
from ...core.ir.heads import Head
from ...core.ir.network import BATCH, FOLLOWERS, Caution, Preprocess
from ...core.training.losses.loss import Loss
from ...core.training.recipe import Statistics
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
"""Layer classes by the types that files use for them."""

layer = LAYERS.register

LARGEST_BLOB = 2**31 - 1
"""Largest number of values of a blob: Caffe counts in int32 (blob.cpp `Reshape`)."""

LARGEST_CONSTANT = 2**22
"""Largest number of values of a constant that a layer creates (boxes, divisors). It bounds the
memory that a number in a text file can demand."""


LISTED = 4
"""Largest number of layers that a caution names."""


def check_constant(count: int, what: str) -> None:
    """Raise if a layer would create a constant that is too large.

    Raises:
        UnsupportedError: `count` values are more than any real network needs.
    """
    if count > LARGEST_CONSTANT:
        raise UnsupportedError(f"{count} {what} are too many")


def pair(default: Any, both: str, height: str, width: str, *, doc: str = "") -> Any:
    """Declare a field for the spatial axes.

    The value of the attribute is the tuple as written: () for none, one number for all axes, or one
    number for each axis.

    Args:
        default: the default; `REQUIRED` if Caffe demands the field.
        both: name of the repeated field for all axes.
        height: name of the field for the height.
        width: name of the field for the width.
        doc: one line for the support tables.
    """
    declared = Key(names=(both, height, width), doc=doc)
    return dataclasses.field(default=default, metadata={"key": declared, "pair": True})


def spatial(values: Sequence[int], axes: int, default: int, name: str) -> tuple[int, ...]:
    """Return one number for each spatial axis from a :func:`pair` field.

    Args:
        values: the numbers of the field.
        axes: number of spatial axes.
        default: the number of each axis if the field is empty.
        name: name of the field, for messages.

    Raises:
        FormatError: the number of values is neither 0, 1 nor the number of axes.
    """
    if len(values) in (0, 1):
        return (values[0] if values else default,) * axes
    if len(values) != axes:
        raise FormatError(f"{name} is given {len(values)} times for {axes} spatial axes")
    return tuple(values)


def number(dim: int | str) -> int:
    """Return a size as a number.

    Raises:
        StaticBatchNeeded: the size is the symbolic batch.
    """
    if isinstance(dim, str):
        raise StaticBatchNeeded("this layer computes with the batch size")
    return dim


@dataclass(frozen=True, kw_only=True, slots=True)
class Example(AnyExample):
    """A layer in a small network.

    The network's input is "data", 2×3×8×8. "before" is a convolution that reads "first", "after" is
    fully connected and reads "layer". The example stands between the two, or behind "after" if it
    reads that.

    Args:
        bottoms: bottoms of the layer.
        tops: tops of the layer.
        label: shape of "label" without the batch, for layers that read it.
        values: input → numbers that fill it repeatedly, for inputs for which noise is not valid.
        input_shapes: top → (C, H, W) of data layers whose shape the file does not state.
    """

    bottoms: tuple[str, ...] = ("before",)
    tops: tuple[str, ...] = ("layer",)
    label: tuple[int, ...] = ()
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Settings:
    """Settings and state of one reading of a net."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Blob name → (C, H, W) for data layers whose shape the file does not state."""
    folder: Path = Path()
    """Folder with the files that the net names."""
    like: tuple[int, ...] = ()
    """(C, H, W) of data layers whose shape the text does not state; () for none."""
    companion: bool = False
    """Whether the net is read beside another. Layers that the caffemodel does not hold are then
    read as zeros: they are still to be trained."""
    untrained: bool = False
    """Whether layers that the caffemodel does not hold are read as zeros, for the text alone."""
    phase: str = "TEST"
    """The phase of the net."""
    batch_norm: str = "auto"
    """Which statistics BatchNorm layers with `use_global_stats: false` take in testing."""
    static: bool = False
    """Whether the graph has the batch size of the file instead of a symbolic one."""
    batches: Mapping[int, int] = field(default_factory=dict)
    """Batch size in the file → the one that a static graph has instead."""
    batch: int | None = None
    """Batch size in the file, from the first input that was read."""
    inputs: list[str] = field(default_factory=list)
    """Names of the graph's inputs that are read so far."""
    training: bool = False
    """Whether the graph is to be trained: it then holds dropouts, statistics and their factors."""
    unread: frozenset[tuple[int, str]] = frozenset()
    """Layers and their tops that would be inputs which nothing in the graph reads."""
    left_out: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Those of them so far → their dims."""
    doubts: dict[str, list[str]] = field(default_factory=dict)
    """What is assumed about layers and may be wrong → names of the layers."""

    def caution(self, text: str, layer: str) -> None:
        """Note that something is assumed about a layer; one caution names all such layers."""
        self.doubts.setdefault(text, []).append(layer)

    def cautions(self) -> list[Caution]:
        """Return what was assumed, each with the layers that it is assumed about."""
        return [
            Caution(f"{'layer' if len(layers) == 1 else 'layers'} {_listed(layers)}: {text}")
            for text, layers in self.doubts.items()
        ]


def _listed(names: Sequence[str]) -> str:
    """Return a few of many names."""
    shown = ", ".join(f"'{name}'" for name in names[:LISTED])
    return shown + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


class CaffeBuilder(LayerBuilder):
    """The builder of one layer, with operations that only Caffe's layers need."""

    def __init__(self, *args: Any, reading: Settings, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reading = reading

    def input(self, name: str, dims: Sequence[int]) -> ir.Value | None:
        """Declare an input of the graph, with a symbolic batch unless the reading is static.

        Returns:
            the input; None where only borders would read it.

        Raises:
            FormatError: a dim is not positive.
            StaticBatchNeeded: the inputs do not share one batch size.
        """
        if (self.builder.layer, name) in self.reading.unread:
            self.reading.left_out[name] = tuple(dims)
            return None
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
            shape[0] = BATCH
        elif dims:
            shape[0] = self.reading.batches.get(dims[0], dims[0])
        if dims and (self.reading.batch is None or self.reading.static):
            self.reading.batch = min(dims[0], self.reading.batch or dims[0])
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

    def one_batch(self, *values: ir.Value) -> None:
        """Check that blobs meet sample by sample: a blob of one fixed sample meets every sample.

        Raises:
            FormatError: the blobs have different batches in the file.
            StaticBatchNeeded: a blob holds a sample for each of several in the file.
        """
        dims = {self.shape(value)[0] for value in values if self.rank(value)}
        fixed = [dim for dim in dims if isinstance(dim, int)]
        if len(dims) < 2:
            return
        written = {self.reading.batch, *fixed} if len(fixed) < len(dims) else set(fixed)
        if len(written) > 1:
            raise FormatError(f"the bottoms have batches of {' and '.join(map(str, written))}")
        if fixed != [1]:
            raise StaticBatchNeeded("a blob of the net holds a sample for each of the batch")

    @staticmethod
    def follow(value: ir.Value, *stored: ir.Value) -> None:
        """Say that stored values, which no node reads, hold one number for each channel."""
        known = value.meta.get(FOLLOWERS, ())
        value.meta[FOLLOWERS] = (*known, *(str(one.name) for one in stored))

    def parameter(self, name: str, array: np.ndarray | None = None) -> ir.Value:
        """Put a stored blob into the graph; a blob that is shared in another shape is reshaped."""
        refs = self.refs[name]
        known = self.shared.get(refs)
        wanted = self.blobs[name].shape if array is None else array.shape
        if known is not None and tuple(self.dims(known, 0)) != wanted:
            return self.op("Reshape", known, self.constant(wanted))
        return super().parameter(name, array)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer of a net: its fields in the file, and its conversion to the graph and back.

    Subclasses are frozen dataclasses whose fields are declared with :func:`key` and :func:`pair`.
    """

    name: str
    type: str
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()

    param: ClassVar[str] = ""
    """Name of the message that holds the fields."""
    blobs: ClassVar[tuple[Blob, ...]] = ()
    """The stored blobs, in file order."""
    bottom_range: ClassVar[tuple[int, int | None]] = (1, 1)
    """Smallest and largest number of bottoms."""
    top_range: ClassVar[tuple[int, int | None]] = (1, 1)
    """Smallest and largest number of tops."""
    bottom_axes: ClassVar[tuple[int, int]] = (0, 32)
    """Smallest and largest number of axes of the first bottom."""
    example: ClassVar[Example]
    """The layer in a small network, for tests and for the support tables."""
    decodes: ClassVar[bool] = False
    """Whether the layer only decodes outputs: its bottoms are then outputs of the graph, and
    :meth:`heads` describes them."""
    border: ClassVar[bool] = False
    """Whether the graph cannot carry the layer: its bottoms are then outputs of the graph, and its
    tops inputs where other layers need them."""
    optional: ClassVar[bool] = False
    """Whether nothing for inference is lost where the layer is left out, since a bottom is
    absent."""
    regions: ClassVar[int | None] = None
    """Position of the bottom whose rows are regions (image, x0, y0, x1, y1); None without one."""

    def sizes(self, *_shapes: Any, **_: Any) -> dict[str, int | tuple[int, ...]]:
        """Return the lengths of the axes in `blobs`, given the shapes of the bottoms."""
        return {}

    def to_ir(self, *_args: Any, **_: Any) -> ir.Value | tuple[ir.Value | None, ...] | None:
        """Emit the nodes for `(builder, *bottoms)` and return the tops; None for an absent top."""
        raise UnsupportedError("this layer cannot be carried into the graph")

    def without(self, b: CaffeBuilder, *bottoms: ir.Value | None) -> ir.Value | None:
        """Return the top for the case that a bottom is absent (a label); None if there is none."""
        del b, bottoms
        return None

    def from_ir(self, nodes: Sequence[ir.Node], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the layer with fields that fit a changed graph.

        Args:
            nodes: the layer's nodes in the graph.
            arrays: the layer's blobs, in the shape of the graph.
        """
        del nodes, arrays
        return self

    def store(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return values of the graph as the file stores them: the inverse of `to_ir`."""
        return arrays

    def preprocess(self) -> Preprocess | None:
        """Return the preprocessing of images that the layer states; None if it states none."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Return notes for the user about this layer."""
        return ()

    def heads(self) -> tuple[Head, ...]:
        """Return the heads that the layer describes. The reader drops heads of no output."""
        return ()

    def loss(self, folder: Path) -> Loss | None:  # noqa: ARG002
        """Return the loss that training minimises; None for a layer that is no loss.

        Args:
            folder: with the files that the net names.

        Raises:
            FormatError: its fields contradict each other.
        """
        return None

    def rolling(self) -> Statistics | None:
        """Return how its batch normalisation behaves in training; None if it has none."""
        return None

    def absent(self) -> Collection[int]:
        """Return the positions of tops that have no value, as labels have none."""
        return ()

    def top_shape(self, position: int, *bottoms: Shape | None) -> tuple[int, ...] | None:
        """Return the shape of a top of a border, with its first axis; None where no file tells it.

        Where the border lays windows by regions, the reader puts their number in the place of the
        first axis.

        Args:
            position: number of the top.
            bottoms: shapes of the bottoms; None for those that are absent.
        """
        del position, bottoms
        return None

    def shares_memory(self) -> bool:
        """Whether the tops share the bottom's memory in Caffe: in-place layers then change both."""
        return False

    def fitted(self, stored: Sequence[Shape]) -> Self:
        """Return the layer as the blobs in the file show it to be, where forks differ in them.

        Args:
            stored: the shapes of the layer's blobs in the caffemodel.
        """
        del stored
        return self

    def stored(self) -> tuple[Blob, ...]:
        """Return the blobs that this layer stores, in file order."""
        return tuple(b for b in self.blobs if not b.when or getattr(self, b.when))

    def shapes(self, *bottoms: Shape) -> dict[str, tuple[int, ...]]:
        """Return the file shape of every stored blob, given the shapes of the bottoms."""
        return blob_shapes(self.blobs, self, self.sizes(*bottoms)) if self.stored() else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Layer):
    """A layer of an unknown type. It is left out if it reads labels, and an error otherwise.

    Forks have losses and metrics of their own. They read labels and are no part of inference.
    """

    params: tuple[str, ...] = ()
    """Names of the messages that hold its fields."""

    bottom_range: ClassVar = (0, None)
    top_range: ClassVar = (0, None)
    optional: ClassVar = True

    def to_ir(self, b: CaffeBuilder, *bottoms: ir.Value) -> ir.Value:
        """Raise: the type is not supported.

        Raises:
            UnsupportedError: always.
        """
        del b, bottoms
        LAYERS.find(
            self.type,
            remedy=f"--opaque {self.type[:80]} keeps it as a border",
            # A name that is near is no help where the fields are those of another type.
            fits=lambda cls: not self.params or cls.param in self.params,
        )
        raise AssertionError(f"{self.type} is known")

    def notes(self) -> tuple[str, ...]:
        """Return a note that the layer is left out; otherwise the network is refused."""
        why = "its type is not known, and it reads labels or what is decoded"
        return (Caution(f"layer '{self.name}' ({self.type}) is left out: {why}"),)
