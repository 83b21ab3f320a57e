"""The data that a net's own data layers name: where it stands, and what its images look like.

Source: data_layer.cpp, image_data_layer.cpp, hdf5_data_layer.cpp (BVLC 9b89154). Relative paths
start from the working directory, as in Caffe, or from the folder of the net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....core.data.stream import ImageSource
from ....core.data.text import found_beside
from ....core.errors import DataError, FormatError, UnsupportedError, Where, located
from ....core.ir.network import Preprocess
from ..document import Scalar, read_document
from ..fields import places
from ..layer_reader import read_layer
from ..layers.data import FromFiles, HDF5Data, with_images
from ..upgrade import LayerText, net_of
from .hdf5_data import stored_shape
from .leveldb_data import LevelData, is_leveldb
from .lists import ImageList
from .lmdb_data import LmdbData

__all__ = ["NamedData", "named_data"]

READ = ("AnnotatedData", "Data", "LMDBData", "ImageData", "HDF5Data")
"""Types of layers whose data is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedData:
    """The data of one phase.

    Args:
        where: the place of the layer's source.
        path: the data.
        root: folder that paths in a list start from; None where the layer names none.
        batch: samples of a pass.
        top: the blob with the images.
        shape: of an image as the net takes it: C, H, W, or of other sizes.
        preprocess: how images become inputs.
    """

    where: Where
    path: Path
    root: Path | None
    batch: int
    top: str
    shape: tuple[int, ...]
    preprocess: Preprocess


def named_data(prototxt: Path, phase: str) -> NamedData:
    """Return the data that a net names for a phase.

    Args:
        prototxt: the net.
        phase: "TRAIN" or "TEST".

    Raises:
        FormatError: the net cannot be read, or names no data.
        UnsupportedError: its data is of a kind that is not read, or stands in several places.
        DataError: the data is not there, or broken.
    """
    document = read_document(prototxt)
    with located(file=str(prototxt)):
        chosen, _ = net_of(document).active(phase, (), 0)
        text, layer = _only(chosen, phase)
        source, line = _text(text, layer.param, "source")
    where = Where(file=str(prototxt), line=line, item=text.item, field="source")
    path = _found(source, prototxt, where)
    folder, _ = _text(text, layer.param, "root_folder")
    root = _found(folder, prototxt, where) if folder else None
    shape = layer.image() or layer.like(_stored(path, layer, root))
    if shape is None:
        raise DataError("the images of the data have no size", where=where)
    stated = layer.preprocess() or Preprocess()
    gray = len(shape) == 3 and shape[0] == 1
    return NamedData(
        where=where, path=path, root=root, batch=max(1, layer.batch_size),
        top=layer.tops[layer.place], shape=shape,
        preprocess=replace(stated, channels="gray") if gray else stated,
    )  # fmt: skip


def _only(chosen: Sequence[LayerText], phase: str) -> tuple[LayerText, FromFiles]:
    """Return the layer that names the data of a phase.

    Raises:
        FormatError: there is none.
        UnsupportedError: there are several, or its data is not read.
    """
    layers = with_images([read_layer(text) for text in chosen])
    found = [
        (text, layer)
        for text, layer in zip(chosen, layers, strict=True)
        if isinstance(layer, FromFiles)
    ]
    if not found:
        raise FormatError(
            f"no layer of phase {phase} reads data from files",
            hint=f"the train_val has one with include {{ phase: {phase} }}",
        )
    text, layer = found[0]
    with located(line=text.line, item=text.item):
        if len(found) > 1:
            raise UnsupportedError(
                f"the data of phase {phase} comes from {len(found)} layers, of which one is read",
                hint="in secateur's own words, --data names data of any kind",
            )
        if layer.type not in READ:
            raise UnsupportedError(
                f"data of layers of type {layer.type} is not read",
                hint="in secateur's own words, --data names data of any kind",
            )
    return text, layer


def _text(text: LayerText, param: str, name: str) -> tuple[str, int]:
    """Return the value of a field of a layer, "" for none, and its line."""
    found = places(text.message, param, name)
    value = found[0].value if found else None
    return (value.text, found[0].line) if isinstance(value, Scalar) else ("", text.line)


def _found(name: str, prototxt: Path, where: Where) -> Path:
    """Return the path that a field names.

    Raises:
        FormatError: it names none.
        DataError: nothing is there.
    """
    if not name:
        raise FormatError("required, but missing", where=where)
    found = found_beside(name, [prototxt.parent])
    if found is None:
        raise DataError(
            f"there is no data at '{name}'",
            hint="relative paths start from the working directory, or from the folder of the net",
            where=where,
        )
    return found


def _stored(path: Path, layer: FromFiles, root: Path | None) -> tuple[int, ...]:
    """Return the shape of the first image as it is stored, channels first.

    Raises:
        DataError: it cannot be read.
    """
    if isinstance(layer, HDF5Data):
        return stored_shape(path, root, layer.tops[layer.place])
    images: ImageSource
    if layer.type == "ImageData":
        images = ImageList(path, root)
    else:
        images = LevelData(path) if is_leveldb(path) else LmdbData(path)
    image = images.read(0, gray=False).image
    return (image.shape[2] if image.ndim == 3 else 1, *image.shape[:2])
