"""Images as `Datum` messages, encoded or raw, in a database of any kind.

Source: io.cpp (BVLC 9b89154).

The pixels of a raw `Datum` are planes, channels × height × width. `convert_imageset` writes them in
the order blue, green, red; other programs may use any order. They are read as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from google.protobuf.message import DecodeError

from ....core.data.base import TargetKind
from ....core.data.images import decode_image
from ....core.data.stream import Sample
from ....core.errors import DataError, Where, located
from ....proto.caffe import message_class

__all__ = ["DatumImages"]


class DatumImages:
    """The images of a database in the order of its keys, with their labels.

    Args:
        name: what messages call it: its path.
        keys: the keys, in order.
    """

    labels_in_memory = False

    def __init__(self, name: str, keys: Sequence[bytes]):
        self.target_kind: TargetKind = "label"
        self.name = name
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the label of an image, which is not decoded."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            return (label_of(datum_of(self.value(index))),)

    def place_of(self, index: int) -> Where:
        """Return the key of an image."""
        key = self._keys[index].decode(errors="replace")
        return Where(file=self.name, item=f"key '{key[:60]}'")

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            datum = datum_of(self.value(index))
            label = label_of(datum) if self.target_kind else None
            return Sample(image=image_of(datum, gray=gray), label=label, where=where)

    def value(self, index: int) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: it cannot be read.
        """
        raise NotImplementedError

    def unlabelled(self) -> Self:
        """Return the images without labels."""
        images = copy(self)
        images.target_kind = ""
        return images


def datum_of(value: bytes) -> Any:
    """Return the message of a value.

    Raises:
        DataError: it is none.
    """
    datum: Any = message_class("Datum")()
    try:
        datum.ParseFromString(value)
    except DecodeError as error:
        raise DataError("the value is no Datum") from error
    return datum


def label_of(datum: Any) -> int:
    """Return the label of an image.

    Raises:
        DataError: it is negative.
    """
    if datum.label < 0:
        raise DataError(f"the label {datum.label} is negative")
    return int(datum.label)


def image_of(datum: Any, *, gray: bool) -> np.ndarray:
    """Return the pixels of an image: H×W×3 or H×W.

    Raises:
        DataError: it holds none.
    """
    if datum.encoded:
        return decode_image(np.frombuffer(datum.data, np.uint8), gray=gray)
    shape = (datum.channels, datum.height, datum.width)
    size = int(np.prod(shape))
    if not size or datum.channels not in (1, 3):
        raise DataError(f"a Datum of {'×'.join(map(str, shape))} is no image")
    if not datum.data:
        if len(datum.float_data) != size:
            raise DataError("a Datum without pixels")
        raise DataError("a Datum of numbers with a point is not read", hint="use HDF5 or .npz")
    if len(datum.data) != size:
        raise DataError(f"{len(datum.data)} bytes for {'×'.join(map(str, shape))} pixels")
    planes = np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.ascontiguousarray(planes[0] if datum.channels == 1 else planes.transpose(1, 2, 0))
