"""Writing a Caffe network back: its documents, patched for a changed network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError, located
from ...core.ir.network import (  # fmt: skip
    BlobRef,
    Bypass,
    Network,
    Piece,
    layer_of,
    shape_of,
    tensors_by_blob,
)
from ..adapter import Key, keys_of
from .caffemodel import Caffemodel, LayerChange, StoredLayer
from .document import Document, Insert, Message, Replace, Scalar
from .fields import places
from .layer import Layer
from .part import Part
from .upgrade import V0_FIELDS, LayerText

__all__ = ["CaffeSource", "SourceLayer"]

Tensors = Mapping[BlobRef, ir.TensorProtocol]
Edits = list[Replace | Insert]
Fields = Mapping[str, tuple[int, ...]]
"""Attribute of a layer → the numbers of its field in the changed network."""


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
    part: Part
    """What was read as this net."""
    model: ir.Model
    """The graph as it was read. A tensor that is still the same object did not change."""
    files: tuple[Path, ...] = ()
    """Further texts that were read with the net."""
    reader: Callable[..., Network] | None = None
    """Reads files with the settings of the original, for training where `training` is true;
    companions have none."""
    format: str = "caffe"

    def unchanged(self, network: Network) -> bool:
        """Whether the graph is the very one that was read."""
        return network.model is self.model

    def render(self, network: Network) -> dict[str, bytes]:
        """Return both files for a changed network; all unchanged bytes stay.

        Raises:
            UnsupportedError: the files cannot express the change; names the layer.
        """
        return {suffix: b"".join(parts) for suffix, parts in self.pieces(network).items()}

    def pieces(self, network: Network) -> dict[str, list[Piece]]:
        """Return the files of :meth:`render`, each as a list of consecutive parts."""
        texts, changes = self._written(network)
        prototxt = texts[self.paths[".prototxt"]]
        return {".prototxt": [prototxt], ".caffemodel": self.weights.pieces(changes)}

    def companions(self, network: Network) -> dict[Path, bytes]:
        """Return the further texts that were read with the net, for a changed network.

        Raises:
            UnsupportedError: the network was changed, and its companions were not.
        """
        if not self.files:
            return {}
        texts, _ = self._written(network)
        if any(path not in texts for path in self.files):
            raise UnsupportedError(
                "the network was changed without its companions",
                hint="prune, apply_plan and densify change both",
            )
        return {path: texts[path] for path in self.files}

    def without(self, network: Network, bypasses: Sequence[Bypass]) -> Network:
        """Return the network without some layers, as it is read from texts that lack them.

        Raises:
            UnsupportedError: a text cannot say what is left.
        """
        from .dropping import without_layers

        return without_layers(self, network, bypasses)

    def reread(
        self, paths: Mapping[str, Path], companions: Sequence[Path] = (), *, training: bool = False
    ) -> Network:
        """Read written files with the settings of the original, or those but for training."""
        assert self.reader is not None, "a companion is read with its network"
        further = {"training": True} if training else {}
        return self.reader(paths[".prototxt"], paths[".caffemodel"], companions, **further)

    def _written(self, network: Network) -> tuple[dict[Path, bytes], dict[int, LayerChange]]:
        """Return all texts by their files, and the changes of the caffemodel.

        For a layer that several nets have, the first one says what its weights are.
        """
        documents: dict[Path, Document] = {}
        edits: dict[Path, Edits] = {}
        changes: dict[int, LayerChange] = {}
        held: set[int] = set()
        for net in (network, *network.companions):
            source = self if net is network else net.source
            assert isinstance(source, CaffeSource)
            own_edits, own_changes = source._changes(net, held)
            changes.update((k, change) for k, change in own_changes.items() if k not in held)
            held.update(entry for own in source.layers for entry in own.stored)
            target = source.part.target
            if target is not None:
                documents.setdefault(target, source.document)
                with located(file=str(target)):
                    edits[target] = _joined(edits.get(target, []), own_edits)
        texts = {
            path: bytes(document.replace(edits[path])) if edits[path] else document.data
            for path, document in documents.items()
        }
        return texts, changes

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
        self, network: Network, held: Collection[int] = ()
    ) -> tuple[Edits, dict[int, LayerChange]]:
        """Return edits of the prototxt, and changes of the caffemodel, of this net alone.

        Args:
            network: the changed net.
            held: entries of the caffemodel whose blobs another net changes.
        """
        before, now = tensors_by_blob(self.model), tensors_by_blob(network.model)
        by_layer = _by_layer(network)
        dims = {name: shape_of(value) for name, value in network.values().items() if value.shape}
        changeable = network.model is not self.model
        edits: Edits = []
        changes: dict[int, LayerChange] = {}
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
                for text in (own.text, *own.twins) if fields else ():
                    edits += _field_edits(own.layer, text, fields)
                blobs: Mapping[str, np.ndarray] = {}
                others = bool(own.stored) and own.stored[-1] in held
                if own.stored and own.layer.stored() and changeable and not others:
                    shapes = new.shapes(*bottoms)
                    self._check_left(own, shapes, arrays)
                    shaped = _shaped(arrays, shapes)
                    blobs = new.store(shaped) if changed else {}
                if changed or fields:
                    for entry in own.stored:
                        changes[entry] = self._change(entry, own, blobs, fields)
        return edits, changes

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
            blobs = self.weights.layers[own.stored[-1]].blobs
            if blob.name in arrays or position >= len(blobs):
                continue
            if not blobs[position].fits(shapes[blob.name]):
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


def _joined(first: Edits, second: Edits) -> Edits:
    """Return the edits of one text by several nets, which share layers.

    Raises:
        UnsupportedError: two nets give one place different values.
    """
    known = {_place(edit): edit.text for edit in first}
    joined = list(first)
    for edit in second:
        text = known.get(_place(edit))
        if text is None:
            joined.append(edit)
        elif isinstance(edit, Replace) and text != edit.text:
            raise UnsupportedError(
                f"a number in line {edit.value.line} would become {text} in one phase and "
                f"{edit.text} in the other"
            )
    return joined


def _place(edit: Replace | Insert) -> tuple[object, ...]:
    """Return what an edit changes."""
    return (edit.value.span,) if isinstance(edit, Replace) else (edit.message.span, edit.name)


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
