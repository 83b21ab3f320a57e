"""Caffe's kinds of data; importing this module registers them."""

from __future__ import annotations

from pathlib import Path

from ....core.data.base import Dataset
from ....core.data.images import SUFFIXES as IMAGES
from ....core.data.registry import KINDS, Kind, Opening, stream
from ....core.data.text import first_lines
from ....core.errors import DataError
from ....core.ir.heads import PriorHead
from .hdf5_data import SUFFIXES, Hdf5Data
from .leveldb_data import LevelData, is_leveldb
from .lists import ImageList, PairList, divided, labelled
from .lmdb_data import LmdbData
from .net_data import is_apart, is_net, open_net_data

__all__: list[str] = []

FOUND = "every image of the database has one"
"""Where labels were found, in words."""


def _is_lmdb(path: Path, _: Opening) -> bool:
    return (path / "data.mdb").is_file() or (path.suffix == ".mdb" and path.is_file())


def _background(opening: Opening) -> int:
    """Return the class of nothing that the network's heads have: the usual one without any."""
    heads = opening.network.heads
    return next((head.background for head in heads if isinstance(head, PriorHead)), 0)


def _is_leveldb(path: Path, _: Opening) -> bool:
    return is_leveldb(path)


def _is_image_list(path: Path, _: Opening) -> bool:
    """Whether one of the first lines is the path of an image and a number."""
    return path.is_file() and any(map(_is_labelled, first_lines(path)))


def _is_labelled(line: str) -> bool:
    try:
        found = labelled(line)
    except DataError:
        return True  # whoever reads the list says what is wrong
    return found is not None and found[0].lower().endswith(IMAGES)


def _is_pair_list(path: Path, _: Opening) -> bool:
    lines = first_lines(path, 1) if path.is_file() else []
    return bool(lines) and divided(lines[0]) is not None


def _is_hdf5(path: Path, _: Opening) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    lines = first_lines(path, 1) if path.is_file() else []
    return bool(lines) and lines[0].lower().endswith(SUFFIXES)


def _pairs(path: Path, opening: Opening) -> Dataset:
    shapes = [shape for shape in opening.network.outputs.values() if len(shape) == 4]
    # An output with 1 or 3 channels is an image. Otherwise the channels are scores of classes.
    maps = not shapes or shapes[-1][1] not in (1, 3)
    return stream(PairList(path, opening.root, maps=maps), opening)


for _kind in (
    Kind(
        name="Caffe LMDB",
        claims=_is_lmdb,
        open=lambda path, opening: stream(
            LmdbData(path, _background(opening)), opening, found_labels=FOUND
        ),
        rank=10,
    ),
    Kind(
        name="Caffe LevelDB",
        claims=_is_leveldb,
        open=lambda path, opening: stream(
            LevelData(path, _background(opening)), opening, found_labels=FOUND
        ),
        rank=10,
    ),
    Kind(
        name="list of images and labels",
        claims=_is_image_list,
        open=lambda path, opening: stream(ImageList(path, opening.root), opening),
        rank=30,
    ),
    Kind(name="list of pairs of images", claims=_is_pair_list, open=_pairs, rank=20),
    Kind(
        name="data of a Caffe net",
        claims=lambda path, _: is_net(path),
        open=open_net_data,
        rank=5,
        apart=is_apart,
    ),
    Kind(name="HDF5", claims=_is_hdf5, open=Hdf5Data, rank=20),
):
    KINDS.add(_kind.name, entry=_kind)
