"""Files with a single blob (`.binaryproto`): mean images, matrices of losses.

Source: io.cpp `ReadProtoFromBinaryFile`, blob.cpp `FromProto` (BVLC 9b89154).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ...core.errors import SecateurError
from ...proto.caffe import message_class

__all__ = ["read_blob"]

MOST_BYTES = 1 << 28


def read_blob(path: Path, what: str, error: type[SecateurError]) -> np.ndarray:
    """Return a blob as float32, in the shape of the file (blobs of old files have four axes).

    Args:
        path: the file.
        what: name of its content in messages ("mean image").
        error: class of the error that is raised.

    Raises:
        SecateurError: of the class `error`: the file cannot be read, is no blob, or does not have
            the number of values of its shape.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise error(f"too large for a {what}")
        data = path.read_bytes()
    except OSError as problem:
        raise error(f"the {what} cannot be read: {problem.strerror or problem}") from problem
    blob: Any = message_class("BlobProto")()
    try:
        blob.ParseFromString(data)
    except DecodeError as problem:
        raise error(f"this is no {what} of Caffe (.binaryproto)") from problem
    values = np.array(blob.data or blob.double_data, np.float32)
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    if values.size != int(np.prod(shape)) or not values.size:
        stored = "×".join(map(str, shape))
        raise error(f"the {what} is {stored}, but the file holds {values.size} values")
    return values.reshape(shape)
