"""Random weights for a net that comes without: sizes from the layer declarations, seeded values.

Values keep what flows through a deep net in bounds: weights shrink with their fan-in, variances
are positive, scales lie near one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.ir.network import BlobRef
from secateur.formats.caffe.caffemodel import Caffemodel
from secateur.formats.caffe.document import parse
from secateur.formats.caffe.layer import Settings
from secateur.formats.caffe.layer_reader import read_layer
from secateur.formats.caffe.reader import _Reading
from secateur.formats.caffe.upgrade import net_of
from secateur.formats.wire import length_field
from secateur.proto.caffe import fields_of, message_class

LAYER = fields_of("NetParameter")["layer"].number
BLOBS = fields_of("LayerParameter")["blobs"].number
DATA = fields_of("BlobProto")["data"].number

POSITIVE = {"variance", "rolling_variance", "scale", "factor"}


def values(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Return values for a blob by what it is."""
    if name == "factor":
        return np.ones(shape, np.float32)
    if name in POSITIVE:
        return random.uniform(0.7, 1.3, shape).astype(np.float32)
    if name == "slope":
        return np.full(shape, 0.25, np.float32)
    if len(shape) > 1:
        fan = int(np.prod(shape[1:]))
        return random.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
    return random.standard_normal(shape, np.float32) * np.float32(0.1)


@dataclass(frozen=True)
class _Filling(_Reading):
    """A reading of a net that makes up each blob where it would look it up."""

    made: dict[BlobRef, np.ndarray] = field(default_factory=dict)
    random: np.random.Generator = field(default_factory=np.random.default_rng)

    def _blob(
        self,
        index: int,
        position: int,
        shapes: Mapping[str, tuple[int, ...]],
        sharers: Mapping[BlobRef, Any],
    ) -> np.ndarray:
        own = BlobRef(index, position, self.layers[index].stored()[position].name)
        shape = shapes[own.name]
        first = sharers.get(own, (own,))[0]
        known = self.made.get(first)
        array = values(own.name, shape, self.random) if known is None else known.reshape(shape)
        self.made[own] = array
        return array


def caffemodel_for(
    prototxt: bytes,
    seed: int = 0,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    stages: tuple[str, ...] = (),
    phase: str = "TEST",
    opaque: tuple[str, ...] = (),
    further: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> bytes:
    """Return a caffemodel with random weights for a net.

    `further` gives the blobs of layers that are not computed, by their names.
    """
    net = net_of(parse(prototxt, Path("net.prototxt")))
    texts, _ = net.active(phase, stages, 0)
    layers = tuple(read_layer(text, opaque) for text in texts)
    filling = _Filling(
        name="net", file="net.prototxt", texts=texts, layers=layers,
        matched=[()] * len(layers), weights=Caffemodel(Path("none"), memoryview(b""), ()),
        settings=Settings(input_shapes=dict(input_shapes or {})),
        random=np.random.default_rng(seed),
    )  # fmt: skip
    filling.run()
    entries = []
    for index, layer in enumerate(layers):
        blobs = [
            filling.made[BlobRef(index, position, blob.name)]
            for position, blob in enumerate(layer.stored())
        ]
        entries.append((layer.name, layer.type, [*blobs, *(further or {}).get(layer.name, ())]))
    return caffemodel(entries)


def caffemodel(entries: Iterable[tuple[str, str, Sequence[np.ndarray]]]) -> bytes:
    """Return a caffemodel of layers with name, type and blobs."""
    layer, blob, shape = map(message_class, ("LayerParameter", "BlobProto", "BlobShape"))
    pieces: list[bytes | memoryview] = []
    for name, kind, blobs in entries:
        inner: list[bytes | memoryview] = [layer(name=name, type=kind).SerializeToString()]
        for array in blobs:
            head = blob(shape=shape(dim=array.shape)).SerializeToString()
            data = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data
            inner += length_field(BLOBS, [head, *length_field(DATA, [data])])
        pieces += length_field(LAYER, inner)
    return b"".join(pieces)
