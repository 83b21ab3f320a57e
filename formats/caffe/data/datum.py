"""Images as `Datum` messages, encoded or raw, in a database of any kind.

Source: io.cpp (BVLC 9b89154). Those of the SSD fork are `AnnotatedDatum` messages, with objects in
boxes: caffe.proto and annotated_data_layer.cpp (weiliu89/caffe, branch ssd). Their boxes are
fractions of the image; labels count the background, which is usually class 0.

The pixels of a raw `Datum` are planes, channels × height × width. `convert_imageset` writes them in
the order blue, green, red; other programs may use any order. They are read as they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from google.protobuf.message import DecodeError

from ....core.data.base import Objects, TargetKind
from ....core.data.images import decode_image
from ....core.data.stream import Sample
from ....core.errors import DataError, Where, located
from ....proto.caffe import message_class

__all__ = ["DatumImages"]

ANNOTATED = b"\x0a"
"""How the value of an `AnnotatedDatum` begins: its first field is a message. That of a `Datum` is a
number, whose mark is another."""


class DatumImages:
    """The images of a database in the order of its keys, with their labels.

    Args:
        name: what messages call it: its path.
        keys: the keys, in order.
        background: the label of nothing, where images have objects; below 0 for none.
    """

    labels_in_memory = False

    def __init__(self, name: str, keys: Sequence[bytes], background: int = 0):
        self.name = name
        self._keys = keys
        self._background = background
        self._annotated = self.value(0).startswith(ANNOTATED)
        self.target_kind: TargetKind = "objects" if self._annotated else "label"

    def __len__(self) -> int:
        return len(self._keys)

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the label of an image, or those of its objects; it is not decoded."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            if self._annotated:
                rows, _ = self._objects(annotated_of(self.value(index)))
                return tuple(row[0] for row in rows)
            return (label_of(datum_of(self.value(index))),)

    def place_of(self, index: int) -> Where:
        """Return the key of an image."""
        key = self._keys[index].decode(errors="replace")
        return Where(file=self.name, item=f"key '{key[:60]}'")

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label, or its objects."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            if self._annotated:
                return self._with_objects(annotated_of(self.value(index)), where, gray=gray)
            datum = datum_of(self.value(index))
            label = label_of(datum) if self.target_kind else None
            return Sample(image=image_of(datum, gray=gray), label=label, where=where)

    def _with_objects(self, message: Any, where: Where, *, gray: bool) -> Sample:
        image = image_of(message.datum, gray=gray)
        if not self.target_kind:
            return Sample(image=image, where=where)
        height, width = image.shape[:2]
        rows, ignored = self._objects(message)
        boxes = [
            (number, x0 * width, y0 * height, x1 * width, y1 * height)
            for number, x0, y0, x1, y1 in rows
        ]
        return Sample(image=image, objects=Objects.of(boxes, ignored), where=where)

    def _objects(
        self, message: Any
    ) -> tuple[list[tuple[int, float, float, float, float]], list[bool]]:
        """Return class and box of every object, as fractions of the image, and which are difficult.

        Raises:
            DataError: a label is none of a class, or a box is no box.
        """
        rows, difficult = [], []
        for place, group in enumerate(message.annotation_group):
            with located(field=f"annotation_group[{place}]"):
                number = self._class(group.group_label)
                for annotation in group.annotation:
                    box = annotation.bbox
                    corners = (box.xmin, box.ymin, box.xmax, box.ymax)
                    if not all(map(math.isfinite, corners)):
                        raise DataError("a box has a corner that is no number")
                    rows.append((number, *corners))
                    difficult.append(bool(box.difficult))
        return rows, difficult

    def _class(self, label: int) -> int:
        """Return the class of a label, counted without the background."""
        if label < 0:
            raise DataError(f"the label {label} is negative")
        if label == self._background:
            raise DataError(f"an object has the label {label}, which is that of the background")
        return label - (0 <= self._background < label)

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


def annotated_of(value: bytes) -> Any:
    """Return the message of a value that holds objects, too.

    Raises:
        DataError: it is none.
    """
    message: Any = message_class("AnnotatedDatum")()
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise DataError("the value is no AnnotatedDatum") from error
    return message


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
