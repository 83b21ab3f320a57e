"""Writing a Caffe network back: its documents, patched for a changed network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError, located
from ...core.ir.network import BlobRef, Network, Piece, layer_of, shape_of, tensors_by_blob
from ..adapter import Key, keys_of
from .caffemodel import Caffemodel, LayerChange, StoredLayer
from .document import Document, Insert, Message, Replace, Scalar, parse
from .fields import places, read_fields
from .layer import Layer
from .upgrade import V0_FIELDS, LayerText, net_of

__all__ = ["CaffeSource", "Options", "SourceLayer"]

Tensors = Mapping[BlobRef, ir.TensorProtocol]
Fields = Mapping[str, tuple[int, ...]]
"""Attribute of a layer → the numbers of its field in the changed network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The settings with which a net was read."""

    phase: str = "TEST"
    stages: tuple[str, ...] = ()
    level: int = 0
    training: bool = False
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch_norm: str = "auto"
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLayer:
    """A layer as it was read.

    Args:
        layer: the layer with its fields.
        text: the layer in the document.
        stored: positions of its entries in the caffemodel.
        twins: layers of other phases with the same name and type.
        bottoms: names of the graph's values that it reads; "" for what a data layer makes.
        tops: names of the values that it makes, likewise.
    """

    layer: Layer
    text: LayerText
    stored: tuple[int, ...]
    twins: tuple[LayerText, ...] = ()
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CaffeSource:
    """A prototxt and a caffemodel; implements :class:`secateur.core.ir.network.Source`."""

    paths: Mapping[str, Path]
    document: Document
    weights: Caffemodel
    layers: tuple[SourceLayer, ...]
    model: ir.Model
    """The graph as it was read. A tensor that is still the same object did not change."""
    reader: Callable[[Path, Path], Network]
    """Reads files with the settings of the original."""
    options: Options = Options()
    """Those settings."""
    folder: Path = Path()
    """With the files that the net names."""
    format: str = "caffe"

    def render(self, network: Network) -> dict[str, bytes]:
        """Return both files for a changed network; all unchanged bytes stay.

        Raises:
            UnsupportedError: the files cannot express the change; names the layer.
        """
        return {suffix: b"".join(parts) for suffix, parts in self.pieces(network).items()}

    def pieces(self, network: Network) -> dict[str, list[Piece]]:
        """Return the files of :meth:`render`, each as a list of consecutive parts."""
        edits, changes, _ = self._changes(network)
        text = bytes(self.document.replace(edits)) if edits else self.document.data
        return {".prototxt": [text], ".caffemodel": self.weights.pieces(changes)}

    def companion(self, network: Network, path: Path) -> bytes:
        """Return another prototxt of the same layers with the changed fields of `network`.

        Layers are found by name and type, in all phases. All other text stays as it is.

        Raises:
            FormatError: the file cannot be read, or a field to be replaced has another value than
                in the network.
        """
        _, _, fields = self._changes(network)
        with located(file=str(path)):
            try:
                document = parse(path.read_bytes(), path)
            except OSError as error:
                raise FormatError(f"cannot be read: {error.strerror or error}") from error
            texts = net_of(document).layers
            known = {(own.text.name, own.text.type) for own in self.layers if own.layer.stored()}
            if not known & {(text.name, text.type) for text in texts}:
                raise FormatError("it has no layer of the network that has weights")
            edits = []
            for own, changed in fields:
                for text in texts:
                    if (text.name, text.type) != (own.text.name, own.text.type):
                        continue
                    with located(line=text.line, item=text.item):
                        _check_same(own.layer, text, changed)
                        edits += _field_edits(own.layer, text, changed)
            return bytes(document.replace(edits)) if edits else document.data

    def blob_shapes(self, network: Network) -> list[dict[str, tuple[int, ...]]]:
        """Return for each layer of a network the shapes of its blobs in a file, by name."""
        tensors = tensors_by_blob(network.model)
        nodes = _by_layer(network)
        dims = {name: shape_of(value) for name, value in network.values().items() if value.shape}
        found = []
        for index, own in enumerate(self.layers):
            arrays = {
                blob.name: tensors[ref].numpy()
                for i, blob in enumerate(own.layer.stored())
                if (ref := BlobRef(index, i, blob.name)) in tensors
            }
            new = own.layer.from_ir(nodes.get(index, []), arrays) if arrays else own.layer
            bottoms = [dims.get(name, ()) for name in network.layers[index].bottoms]
            found.append(new.shapes(*bottoms) if arrays else {})
        return found

    def _changes(
        self, network: Network
    ) -> tuple[list[Replace | Insert], dict[int, LayerChange], list[tuple[SourceLayer, Fields]]]:
        """Return edits of the prototxt, changes of the caffemodel, and changed fields by layer."""
        before, now = tensors_by_blob(self.model), tensors_by_blob(network.model)
        by_layer = _by_layer(network)
        dims = {name: shape_of(value) for name, value in network.values().items() if value.shape}
        edits: list[Replace | Insert] = []
        changes: dict[int, LayerChange] = {}
        by_field: list[tuple[SourceLayer, Fields]] = []
        for index, own in enumerate(self.layers):
            bottoms = [dims.get(name, ()) for name in network.layers[index].bottoms]
            with located(file=str(self.paths[".prototxt"]), line=own.text.line, item=own.text.item):
                tensors = {
                    blob.name: now[ref]
                    for i, blob in enumerate(own.layer.stored())
                    if (ref := BlobRef(index, i, blob.name)) in now
                }
                changed = any(
                    now.get(BlobRef(index, i, b.name)) is not before.get(BlobRef(index, i, b.name))
                    for i, b in enumerate(own.layer.stored())
                )
                arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
                nodes = by_layer.get(index, [])
                new = own.layer.from_ir(nodes, arrays) if nodes or arrays else own.layer
                fields = _changed_fields(own.layer, new)
                if fields:
                    by_field.append((own, fields))
                for text in (own.text, *own.twins) if fields else ():
                    edits += _field_edits(own.layer, text, fields)
                blobs: Mapping[str, np.ndarray] = {}
                if own.stored and own.layer.stored() and network.model is not self.model:
                    shapes = new.shapes(*bottoms)
                    self._check_left(own, shapes, arrays)
                    shaped = _shaped(arrays, shapes)
                    blobs = new.store(shaped) if changed else {}
                if changed or fields:
                    for entry in own.stored:
                        changes[entry] = self._change(entry, own, blobs, fields)
        return edits, changes, by_field

    def reread(self, paths: Mapping[str, Path]) -> Network:
        """Read written files with the settings of the original."""
        return self.reader(paths[".prototxt"], paths[".caffemodel"])

    def _check_left(
        self,
        own: SourceLayer,
        shapes: Mapping[str, tuple[int, ...]],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        """Raise if a layer changes, but one of its blobs is not in the graph and cannot follow.

        Raises:
            UnsupportedError: names the blob.
        """
        for position, blob in enumerate(own.layer.stored()):
            place = self.weights.layers[own.stored[-1]].blobs[position]
            if blob.name not in arrays and not place.fits(shapes[blob.name]):
                raise UnsupportedError(f"{blob.name} is not in the graph and cannot follow it")

    def _change(
        self, entry: int, own: SourceLayer, blobs: Mapping[str, np.ndarray], fields: Fields
    ) -> LayerChange:
        """Return the change of one caffemodel entry, without blobs whose values stay the same."""
        stored = self.weights.layers[entry]
        by_position = {}
        for position, blob in enumerate(own.layer.stored()):
            array = blobs.get(blob.name)
            if array is None or position >= len(stored.blobs):
                continue
            place = stored.blobs[position]
            same = place.fits(array.shape) and np.array_equal(
                self.weights.values(place), array.reshape(-1), equal_nan=True
            )
            if not same:
                by_position[position] = array
        return LayerChange(blobs=by_position, fields=_binary_fields(own.layer, stored, fields))


def _by_layer(network: Network) -> dict[int, list[ir.Node]]:
    """Return the nodes of each layer; those of none are at −1."""
    found: dict[int, list[ir.Node]] = {}
    for node in network.graph:
        index = layer_of(node)
        found.setdefault(-1 if index is None else index, []).append(node)
    return found


def _changed_fields(old: Layer, new: Layer) -> dict[str, tuple[int, ...]]:
    """Return attribute → new numbers for the fields in which two layers differ.

    Raises:
        UnsupportedError: a field differs that pruning must not change.
    """
    found = {}
    for name, (_, declared) in keys_of(old).items():
        was, is_now = getattr(old, name), getattr(new, name)
        if was == is_now:
            continue
        if not declared.channels:
            raise UnsupportedError(f"field {name} would change, which pruning must not do")
        found[name] = is_now if isinstance(is_now, tuple) else (is_now,)
    return found


def _shaped(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return the blobs of a layer in file shape."""
    shaped = {}
    for name, array in arrays.items():
        wanted = int(np.prod(shapes[name], dtype=object))
        if wanted != array.size:
            raise FormatError(f"{name} has {array.size} values, the net needs {wanted}")
        shaped[name] = array.reshape(shapes[name])
    return shaped


def _check_same(layer: Layer, text: LayerText, fields: Fields) -> None:
    """Raise if a layer of another file has other values in the fields to be replaced.

    Raises:
        FormatError: names the field.
    """
    theirs = read_fields(type(layer), text.message, layer.param)
    for attribute in fields:
        field, _ = keys_of(layer)[attribute]
        value, own = theirs.get(attribute, field.default), getattr(layer, attribute)
        if value != own:
            raise FormatError(f"{attribute} is {value}, and {own} in the network")


def _field_edits(layer: Layer, text: LayerText, fields: Fields) -> list[Replace | Insert]:
    """Return the edits that give the fields of a layer new numbers.

    Raises:
        UnsupportedError: the document has no place for them.
    """
    edits: list[Replace | Insert] = []
    for attribute, numbers in fields.items():
        names = _names(keys_of(layer)[attribute][1], attribute)
        found = next((f for name in names if (f := places(text.message, layer.param, name))), ())
        if found:
            if len(found) != len(numbers):
                raise UnsupportedError(f"{names[0]} would need {len(numbers)} numbers")
            for place, value in zip(found, numbers, strict=True):
                assert isinstance(place.value, Scalar)
                edits.append(Replace(place.value, str(value)))
            continue
        edits += _inserted(layer, text, names[0], numbers)
    return edits


def _inserted(
    layer: Layer, text: LayerText, name: str, numbers: Sequence[int]
) -> list[Replace | Insert]:
    """Return the edits that add a field to a layer.

    Raises:
        UnsupportedError: the document has no place for it.
    """
    holders = text.message.messages(layer.param)
    holder: Message = holders[-1] if holders else text.message
    if holder.synthetic or "." in name:
        raise UnsupportedError(f"there is no place to write {layer.param}.{name}")
    if holders:
        return [Insert(holder, name, str(value)) for value in numbers]
    content = " ".join(f"{name}: {value}" for value in numbers)
    return [Insert(holder, layer.param, f"{{ {content} }}")]


def _names(declared: Key, attribute: str) -> tuple[str, ...]:
    return declared.names or (attribute,)


def _binary_fields(
    layer: Layer, stored: StoredLayer, fields: Fields
) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return path → numbers in the schema of the entry, without fields of nested messages."""
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    for attribute, numbers in fields.items():
        name = _names(keys_of(layer)[attribute][1], attribute)[0]
        if "." in name:
            continue
        if stored.version:
            found[layer.param, name] = numbers
            continue
        for param, renamed in V0_FIELDS.values():
            for flat, current in renamed.items() if param == layer.param else ():
                if current == name:
                    found[(flat,)] = numbers
    return found
