"""Mean images: a serialized BlobProto (`.binaryproto`).

Source: io.cpp `ReadProtoFromBinaryFile`, data_transformer.cpp (BVLC 9b89154): num × channels ×
height × width or `shape`, num 1; planes in the order in which the database stored the channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ....core.errors import DataError, located
from ....proto.caffe import message_class

__all__ = ["read_mean"]

MOST_BYTES = 1 << 28


def read_mean(path: Path) -> np.ndarray:
    """Return a mean image as C×H×W float32.

    Raises:
        DataError: the file cannot be read, or holds no image.
    """
    with located(file=str(path)):
        try:
            if path.stat().st_size > MOST_BYTES:
                raise DataError("too large for a mean image")
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"the mean cannot be read: {error.strerror or error}") from error
        blob: Any = message_class("BlobProto")()
        try:
            blob.ParseFromString(data)
        except DecodeError as error:
            raise DataError("this is no mean image of Caffe (.binaryproto)") from error
        values = np.array(blob.data or blob.double_data, np.float32)
        shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 3 or values.size != int(np.prod(shape)) or not values.size:
            stored = "×".join(map(str, shape))
            raise DataError(f"the mean is {stored} with {values.size} values, not one image")
        return values.reshape(shape)
