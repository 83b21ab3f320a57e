"""A network as every part of secateur knows it: an ONNX graph, and the files it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..brief import brief
from ..markup import Table, notebook
from ..words import count_text, dims_text
from .heads import Head

__all__ = [
    "BATCH",
    "BLOCK",
    "FOLLOWERS",
    "IR_VERSION",
    "OPSET",
    "BlobRef",
    "Border",
    "Bypass",
    "Caution",
    "LayerInfo",
    "Network",
    "Piece",
    "Preprocess",
    "Source",
    "blob_refs",
    "layer_of",
    "tensors_by_blob",
]

OPSET = 18
"""The opset of every graph that secateur builds. 18 is the first with axes of reductions as inputs.
A graph read from an ONNX file keeps the file's."""

IR_VERSION = 10
"""The ONNX file version written; onnxruntime 1.18 is the first to read it."""

BATCH = "N"
"""Name of the symbolic batch dimension."""


BLOCK = "block"
"""Key in the `meta` of a value: the number of consecutive channels that form a block. A block is
removed or kept as a whole."""

FOLLOWERS = "followers"
"""Key in the `meta` of a value: names of initializers that no node reads, with an element for each
of its channels. The source stores them, so they are cut with the channels."""


@dataclass(frozen=True, slots=True, order=True)
class BlobRef:
    """One stored parameter of the source: the blob `index` (in file order) of a layer."""

    layer: int
    """Position of the layer in :attr:`Network.layers`."""
    index: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    """A layer of the source as users know it, and the values of the graph it reads and makes."""

    name: str
    type: str
    bottoms: tuple[str, ...] = ()
    """Names of graph values, so that they survive every copy of the graph."""
    tops: tuple[str, ...] = ()
    line: int | None = None
    stored: int = 0
    """Numbers this layer stores in the file. Parameters shared between layers count for the layer
    that stores them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Border:
    """A layer of the source that the graph does not compute, and where the graph ends at it.

    Args:
        layer: its position in :attr:`Network.layers`.
        subject: its name and type, for reports.
        outputs: the outputs of the graph that it reads.
        inputs: the inputs of the graph that it makes.
        parameters: initializers whose values it shares.
    """

    layer: int
    subject: str
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """How an image becomes an input: resize, crop, order channels, subtract mean, multiply `scale`.

    Args:
        channels: "bgr", "rgb" or "gray".
        mean: subtracted from 8-bit pixel values, one number or one a channel, in that order.
        scale: multiplied afterwards.
        letterbox: keep the aspect ratio and pad with grey (half of full scale) instead of
            stretching.
        crop: cut the input out of the centre of the image, which is resized only as `resize` says.
        resize: what `crop` cuts from: height and width, or the length of the short side with the
            aspect ratio kept; empty for the image as it is.
        sampling: "centres" is OpenCV's bilinear resize, whose result is rounded to 8 bits;
            "corners" keeps the corner pixels in place and does not round.
        mean_file: path, as the source spells it, of a file with an image to subtract.
        mean_image: the image of that file, C×H×W, once it has been read; it replaces `mean`.
        origin: what says all this, in words: a file, or an option; "" where it is assumed.
        remark: what users should know of that; "" where it is what they asked for.
    """

    channels: str = "bgr"
    mean: tuple[float, ...] = ()
    scale: float = 1.0
    letterbox: bool = False
    crop: bool = False
    resize: tuple[int, ...] = ()
    sampling: str = "centres"
    mean_file: str = ""
    mean_image: np.ndarray | None = field(default=None, compare=False, repr=False)
    origin: str = field(default="", compare=False, repr=False)
    remark: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bypass:
    """Layers of a source that leave, and the layer behind them that hands on another value then.

    Args:
        layers: their positions in :attr:`Network.layers`.
        joint: position of the layer that added what they made to what they read.
        kept: name of the value that it hands on now.
        stays: whether the joint does something else as well (an activation), which stays.
    """

    layers: tuple[int, ...]
    joint: int
    kept: str
    stays: bool = False


Piece = bytes | memoryview
"""A part of a file; views of a mapped file are written without being copied."""


class Caution(str):
    """A note that is always shown: it says that something was assumed which may be wrong."""

    __slots__ = ()


class Source(Protocol):
    """The documents a network was read from; it can render them for a changed network."""

    @property
    def format(self) -> str:
        """Name of the format, for people."""
        ...

    @property
    def paths(self) -> Mapping[str, Path]:
        """The files it was read from, by their usual suffix (".onnx" → …)."""
        ...

    def unchanged(self, network: Network) -> bool:
        """Whether the graph of `network` is the very one that was read from the files."""
        ...

    def render(self, network: Network) -> Mapping[str, bytes]:
        """Return the files for `network`: suffix (".onnx") to content. Changes nothing."""
        ...

    def pieces(self, network: Network) -> Mapping[str, Sequence[Piece]]:
        """Return the files of `render`, each as the parts whose concatenation it is."""
        ...

    def companions(self, network: Network) -> Mapping[Path, bytes]:
        """Return further descriptions of the network by the files they were read from, changed."""
        ...

    def without(self, network: Network, bypasses: Sequence[Bypass]) -> Network | None:
        """Return the network that its files hold once layers have left them.

        Args:
            network: a network of this source; its weights are taken.
            bypasses: what leaves, from the same network.

        Returns:
            the network as it is read from such files; None where the graph itself is the file.

        Raises:
            UnsupportedError: the files cannot say what is left; names the layer.
        """
        ...

    def reread(self, paths: Mapping[str, Path], companions: Sequence[Path] = ()) -> Network:
        """Read written files again, with the settings this source was read with.

        Args:
            paths: the written files by their usual suffix.
            companions: the written companions, in the order of :meth:`companions`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network in the neutral form every function of the core takes and returns.

    The graph holds standard ONNX operators of opset :data:`OPSET` with inference semantics, NCHW
    float32, static sizes except for a symbolic batch. The graph of an ONNX file stays as the file
    has it, except for constants (see `formats/onnx`). A network is never changed in place: see
    :func:`secateur.core.ir.rebuild.rebuild`.
    """

    name: str
    model: ir.Model = field(repr=False)
    layers: tuple[LayerInfo, ...] = ()
    source: Source | None = field(default=None, repr=False)
    preprocess: Preprocess = Preprocess()
    heads: tuple[Head, ...] = ()
    borders: tuple[Border, ...] = ()
    """The layers that the graph does not compute. Its parts may hang together by them alone."""
    notes: tuple[str, ...] = ()
    """Messages of the reader for the user (ignored weights, unused keys). `--verbose` shows all of
    them; a :class:`Caution` is always shown."""
    companions: tuple[Network, ...] = ()
    """Other nets with the same stored parameters: a train_val in each of its phases, what the file
    of weights says of layers that no text mentions. They are pruned together with the network.
    A copy with other sizes has none, until they are cut as well."""
    regions: int | None = None
    """Regions of a sample that the user says there are; None for what the files say."""

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            repr(self.name),
            f"{len(self.layers)} layers",
            *_sizes(self.inputs),
            "→",
            *_sizes(self.outputs),
        )

    @property
    def graph(self) -> ir.Graph:
        """The graph of the model."""
        return self.model.graph

    @property
    def inputs(self) -> dict[str, tuple[int | str, ...]]:
        """Input names with their shapes; the symbolic batch is a string."""
        return {str(v.name): shape_of(v) for v in self.graph.inputs}

    @property
    def outputs(self) -> dict[str, tuple[int | str, ...]]:
        """Output names with their shapes; the symbolic batch is a string."""
        return {str(v.name): shape_of(v) for v in self.graph.outputs}

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return the array of an initializer, as it lies in memory or in a mapped file."""
        tensor = self.graph.initializers[name].const_value
        assert tensor is not None, f"{name} is no initializer with data"
        return tensor.numpy()

    def values(self) -> dict[str, ir.Value]:
        """Every value of the graph by its name."""
        return {str(v.name): v for v in _all_values(self.graph)}

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        inputs, outputs = (
            ", ".join(f"{name} {dims_text(shape)}" for name, shape in values.items())
            for values in (self.inputs, self.outputs)
        )
        about = f"Network '{self.name}': from {inputs} to {outputs}"
        return notebook(_layers_table(self), about=about)


def _layers_table(network: Network) -> Table:
    """Return the layers with the shapes of what they make."""
    values = network.values()

    def shape(info: LayerInfo) -> str:
        top = values.get(info.tops[0]) if info.tops else None
        return dims_text(shape_of(top) if top is not None and top.shape is not None else None)

    return Table(
        caption="Layers",
        columns=("Layer", "Type", "Output", "Stored numbers"),
        rows=[
            (info.name, info.type, shape(info), count_text(info.stored) if info.stored else "")
            for info in network.layers
        ],
        numeric=(3,),
    )


def _sizes(values: Mapping[str, tuple[int | str, ...]]) -> list[str]:
    """Return inputs or outputs in words; two of them at most."""
    shown = [f"{name} {'×'.join(map(str, shape))}" for name, shape in values.items()]
    return shown if len(shown) <= 2 else [*shown[:2], f"{len(shown) - 2} more"]


def _all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def shape_of(value: ir.Value) -> tuple[int | str, ...]:
    """Return the shape with symbolic dimensions as strings ("?" where unnamed)."""
    assert value.shape is not None, f"{value.name} has no shape"
    return tuple(
        dim if isinstance(dim, int) else str(dim.value if dim.value is not None else "?")
        for dim in value.shape
    )


def layer_of(node: ir.Node) -> int | None:
    """Return the position in :attr:`Network.layers` of the layer that `node` belongs to."""
    index = node.meta.get("layer")
    return index if isinstance(index, int) else None


def blob_refs(value: ir.Value) -> tuple[BlobRef, ...]:
    """Return the source blobs whose value an initializer is: several where layers share it."""
    return tuple(value.meta.get("blobs", ()))


def tensors_by_blob(model: ir.Model) -> dict[BlobRef, ir.TensorProtocol]:
    """Return every source blob's tensor as the graph holds it."""
    return {
        ref: value.const_value
        for value in model.graph.initializers.values()
        if value.const_value is not None
        for ref in blob_refs(value)
    }
