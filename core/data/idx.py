"""IDX files, the form of MNIST and of sets made after it, packed by gzip or not.

Source: yann.lecun.com/exdb/mnist, "the IDX file format": two zero bytes, the type, the number of
axes, each axis as a big-endian 32-bit number, then the values.
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, Where, located
from ..packed import head_bytes, map_file
from .base import TargetKind
from .stream import Sample

__all__ = ["IdxImages", "idx_images", "is_idx", "label_file"]

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Type → type of numpy."""

_BYTES = 8
"""The type of pixels."""

MOST_AXES = 4


@dataclass(frozen=True, slots=True)
class _Header:
    """What an IDX file begins with."""

    type: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its own number of bytes."""
        return 4 + 4 * len(self.shape)


class IdxImages:
    """The images of an IDX file, with the labels of the file beside it, if there is one.

    Args:
        path: the file with the images: N×H×W bytes, or N×H×W×C with 1 or 3 channels, which are
            taken in the order in which they are stored.

    Raises:
        DataError: a file is broken, holds something else, or there are as many labels as images
            not; names the file.
    """

    labels_in_memory = True

    def __init__(self, path: Path, *, labelled: bool = True):
        self.path = path
        self.name = str(path)
        with located(file=self.name):
            self._images = _pixels(path)
        beside = label_file(path) if labelled else None
        self._labels = _labels(beside, len(self._images)) if beside is not None else None
        self._label_file = str(beside or path)
        self.target_kind: TargetKind = "label" if beside is not None else ""

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label."""
        del gray  # as they are stored: what reads them makes other channels of one
        image = np.asarray(self._images[index])
        label = int(self._labels[index]) if self._labels is not None else None
        return Sample(image=image, label=label, where=self.place_of(index))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the samples are read from."""
        return tuple(dict.fromkeys((self.path, Path(self._label_file))))

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the label of an image."""
        return (int(self._labels[index]),) if self._labels is not None else ()

    def place_of(self, index: int) -> Where:
        """Return where the label of an image stands, or the image where there are no labels."""
        return Where(file=self._label_file, item=f"number {index}")

    def unlabelled(self) -> IdxImages:
        """Return the images without labels."""
        return IdxImages(self.path, labelled=False)


def is_idx(path: Path) -> bool:
    """Whether a file begins as IDX files do."""
    if not path.is_file():
        return False
    try:
        head = head_bytes(path, 4, DataError, named=False)
    except DataError:
        return False  # whoever reads it says what is wrong
    return _begins(head)


def idx_images(folder: Path) -> list[Path]:
    """Return the IDX files with images that lie in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if is_idx(path) and _axes(path) >= 3)


def label_file(images: Path) -> Path | None:
    """Return the file with the labels of images; None if there is none.

    Its name has "labels" for "images", and "idx1" for "idx3". It may be packed where the images are
    not, and the other way round.
    """
    plain = re.sub(r"\.gz$", "", images.name, flags=re.IGNORECASE)
    if "images" not in plain.lower():
        return None
    wanted = {name.lower() for name in _label_names(plain)}
    found = [path for path in images.parent.iterdir() if path.name.lower() in wanted]
    return min(found, key=lambda path: (path.suffix != images.suffix, path.name), default=None)


def _label_names(images: str) -> Iterator[str]:
    named = re.sub("images", "labels", images, flags=re.IGNORECASE)
    for name in (re.sub(r"idx\d", "idx1", named, flags=re.IGNORECASE), named):
        yield name
        yield f"{name}.gz"


def _begins(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an IDX file."""
    if len(head) < 4:
        return False
    return head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= MOST_AXES


def _axes(path: Path) -> int:
    return head_bytes(path, 4, DataError, named=False)[3]


def _header(data: mmap.mmap) -> _Header:
    """Return the header of a file that begins as an IDX file does.

    Raises:
        DataError: its length is not that of its values.
    """
    if not _begins(data[:4]):
        raise DataError("this is no IDX file")
    kind, axes = data[2], data[3]
    if len(data) < 4 + 4 * axes:
        raise DataError("the file is cut short")
    shape = tuple(int(n) for n in np.frombuffer(data[4 : 4 + 4 * axes], ">u4"))
    header = _Header(kind, shape)
    wanted = header.size + math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
    if len(data) != wanted:
        sizes = "×".join(map(str, shape))
        raise DataError(f"{sizes} values take {wanted} bytes, but there are {len(data)}")
    return header


def _values(data: mmap.mmap, header: _Header) -> np.ndarray:
    values = np.frombuffer(data, _TYPES[header.type], offset=header.size)
    return values.reshape(header.shape)


def _pixels(path: Path) -> np.ndarray:
    """Return the images of a file as they are stored; they are not in memory.

    Raises:
        DataError: the file is broken, or holds no images.
    """
    data = map_file(path, DataError, named=False)
    header = _header(data)
    shape = header.shape
    if len(shape) < 3:
        raise DataError(
            "this file holds labels, not images", hint="give the file with the images: the labels "
            "are found beside it",
        )  # fmt: skip
    if header.type != _BYTES or (len(shape) == 4 and shape[3] not in (1, 3)):
        sizes = "×".join(map(str, shape))
        raise DataError(f"{sizes} values of {np.dtype(_TYPES[header.type]).name} are no images")
    if not all(shape):
        raise DataError("there are no images in it")
    return _values(data, header).view(np.uint8)


def _labels(path: Path, count: int) -> np.ndarray:
    """Return the labels of images.

    Raises:
        DataError: the file is broken, or they are not as many as the images.
    """
    with located(file=str(path)):
        data = map_file(path, DataError, named=False)
        header = _header(data)
        if len(header.shape) != 1 or np.dtype(_TYPES[header.type]).kind == "f":
            raise DataError("labels are whole numbers, one for each image")
        if header.shape[0] != count:
            raise DataError(f"{header.shape[0]} labels stand beside {count} images")
        return _values(data, header).astype(np.int64)
