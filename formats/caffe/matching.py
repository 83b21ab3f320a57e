"""Checks of the links between layers, and the matching of layers with the caffemodel.

Source: net.cpp `AppendBottom`, `AppendTop`, `CopyTrainedLayersFrom`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...core.errors import FormatError, located
from ...core.nearness import near_names
from .caffemodel import Caffemodel, StoredLayer
from .layer import Layer, Unknown
from .upgrade import LayerText

__all__ = ["TOGETHER", "check_links", "definitions", "match", "twins", "weights_elsewhere"]

TOGETHER = "do these belong together? give the prototxt and the caffemodel of one training"
"""The hint where weights are of another net than the text."""


def check_links(texts: Sequence[LayerText], others: Sequence[LayerText] = ()) -> None:
    """Raise if no layer makes a bottom before it is read, or if two layers make the same blob.

    Args:
        texts: the layers of the phase that is read.
        others: the layers of other phases, for hints.

    Raises:
        FormatError: names the layer and the blob.
    """
    made: set[str] = set()
    every = {top.text for text in texts for top in text.tops}
    for text in texts:
        with located(line=text.line, item=text.item):
            for bottom in text.bottoms:
                if bottom.text not in made:
                    hint = _maker(bottom.text, others)
                    if bottom.text in every:
                        hint = "a later layer makes it: layers stand in the order in which they run"
                    with located(line=bottom.line, field="bottom"):
                        raise FormatError(f"no layer before makes '{bottom.text}'", hint=hint)
            for index, top in enumerate(text.tops):
                in_place = index < len(text.bottoms) and text.bottoms[index].text == top.text
                if top.text in made and not in_place:
                    with located(line=top.line, field="top"):
                        raise FormatError(f"'{top.text}' is made by two layers, and not in place")
                made.add(top.text)


def _maker(blob: str, others: Sequence[LayerText]) -> str | None:
    """Return a hint if a layer of another phase makes a blob; None if none does."""
    for text in others:
        if any(top.text == blob for top in text.tops):
            return (
                f"layer '{text.name}' in line {text.line} makes it, but not in this phase: try "
                "--phase TRAIN, or --stage and --level"
            )
    return None


def fit(layers: Sequence[Layer], weights: Caffemodel) -> tuple[Layer, ...]:
    """Return the layers as their blobs in the caffemodel show them to be (`Layer.fitted`).

    Args:
        layers: the layers with their fields.
        weights: the caffemodel.
    """
    stored = {entry.name: entry for entry in weights.layers if entry.blobs}
    return tuple(
        layer.fitted([blob.shape for blob in stored[layer.name].blobs])
        if layer.name in stored
        else layer
        for layer in layers
    )


def match(
    texts: Sequence[LayerText], layers: Sequence[Layer], weights: Caffemodel, file: str
) -> list[tuple[int, ...]]:
    """Return for every layer the positions of its entries in the caffemodel, found by name.

    Caffe gives all entries of a name to the first layer with that name. A second layer with the
    name is accepted only if all entries hold the same values: other tools read such files.

    Args:
        texts: the layers of the prototxt.
        layers: the layers with their fields.
        weights: the caffemodel.
        file: name of the prototxt, for messages.

    Raises:
        FormatError: two layers with different weights have the same name, or an entry has another
            number of blobs than its layer.
    """
    entries: dict[str, list[int]] = {}
    for index, stored in enumerate(weights.layers):
        entries.setdefault(stored.name, []).append(index)
    matched: list[tuple[int, ...]] = []
    bearer: dict[str, LayerText] = {}
    for text, layer in zip(texts, layers, strict=True):
        if layer.border or isinstance(layer, Unknown):  # its weights stay, whatever they are
            matched.append(tuple(i for i in entries.get(text.name, ()) if weights.layers[i].blobs))
            continue
        wanted = len(layer.stored())
        found = [i for i in entries.get(text.name, ()) if weights.layers[i].blobs]
        with located(file=file, line=text.line, item=text.item):
            other = bearer.get(text.name)
            if wanted and other is not None and not _alike(weights, found):
                raise FormatError(
                    f"a layer with weights bears the same name in line {other.line}: "
                    "Caffe finds weights by name and would leave this one without"
                )
            if wanted:
                bearer[text.name] = text
            for i in found:
                stored = weights.layers[i]
                if len(stored.blobs) != wanted and (wanted or other is None):
                    with located(file=str(weights.path), offset=stored.entry.tag, item=text.item):
                        raise FormatError(
                            f"{len(stored.blobs)} blobs are stored, the net needs {wanted}",
                            hint=TOGETHER,
                        )
        matched.append(tuple(found) if wanted else ())
    return matched


def _alike(weights: Caffemodel, entries: Sequence[int]) -> bool:
    """Whether there are several entries, and all hold the same blobs."""
    first, *others = (weights.layers[i].blobs for i in entries)
    return bool(others) and all(
        [blob.shape for blob in blobs] == [blob.shape for blob in first]
        and all(
            np.array_equal(weights.values(a), weights.values(b))
            for a, b in zip(blobs, first, strict=True)
        )
        for blobs in others
    )


def definitions(
    text: LayerText, texts: Sequence[LayerText], weights: Caffemodel
) -> tuple[int, ...]:
    """Return the caffemodel's entries for a layer without weights, if no other has its name."""
    if sum(other.name == text.name for other in texts) > 1:
        return ()
    return tuple(i for i, stored in enumerate(weights.layers) if stored.name == text.name)


def twins(text: LayerText, others: Sequence[LayerText]) -> tuple[LayerText, ...]:
    """Return the layers of other phases with the same name and type."""
    return tuple(other for other in others if (other.name, other.type) == (text.name, text.type))


def weights_elsewhere(
    text: LayerText,
    shapes: Mapping[str, tuple[int, ...]],
    names: Iterable[str],
    weights: Caffemodel,
) -> str:
    """Return a hint at the weights of a layer whose name is not in the caffemodel.

    A layer that was renamed in the text left its weights under the old name: an entry of the same
    shapes that no layer of the text bears the name of.

    Args:
        text: the layer.
        shapes: name → shape of every blob that it stores.
        names: the names of all layers of the text, in every phase.
        weights: the caffemodel.
    """
    taken = set(names)
    stored = [entry for entry in weights.layers if entry.blobs]
    left = [entry for entry in stored if entry.name not in taken]
    if len(left) == len(stored):
        return f"no layer of the prototxt is in the caffemodel: {TOGETHER}"
    wanted = tuple(shapes.values())
    same = [entry for entry in left if _fits(entry, wanted)]
    if same:
        near = near_names(text.name, [entry.name for entry in same])
        shown = " or ".join(f"'{name[:80]}'" for name in near or [e.name for e in same[:3]])
        return (
            f"was the layer renamed? {shown} of the caffemodel has the same sizes, and no layer of "
            "the prototxt has that name: give the layer its former name"
        )
    alike = [entry for entry in left if _reads_alike(entry, wanted)]
    if alike:
        sizes = "×".join(map(str, alike[0].blobs[0].shape))
        return (
            f"the caffemodel has '{alike[0].name[:80]}' of {sizes} in its place, as before "
            "fine-tuning: give the caffemodel that this layer was trained into"
        )
    return "give the caffemodel that was trained with this prototxt, or leave the layer out"


def _fits(entry: StoredLayer, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the blobs of an entry have these shapes."""
    return len(entry.blobs) == len(shapes) and all(
        blob.fits(shape) or blob.fits_but_for_ones(shape)
        for blob, shape in zip(entry.blobs, shapes, strict=True)
    )


def _reads_alike(entry: StoredLayer, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the first blob of an entry has these sizes but for the first, the outputs."""
    # Old files store a matrix as 1×1×outputs×inputs.
    own, wanted = (
        [size for size in sizes if size != 1] for sizes in (entry.blobs[0].shape, shapes[0])
    )
    return len(entry.blobs) == len(shapes) and len(wanted) > 1 and own[1:] == wanted[1:]
