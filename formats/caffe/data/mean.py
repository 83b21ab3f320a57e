"""Mean images: a serialized BlobProto (`.binaryproto`).

The shape is num × channels × height × width with num 1, or `shape`. The planes are in the order of
the channels in the database. Source: io.cpp `ReadProtoFromBinaryFile`, data_transformer.cpp (BVLC
9b89154).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....core.errors import DataError, located
from ..blob import read_blob

__all__ = ["read_mean"]


def read_mean(path: Path) -> np.ndarray:
    """Return a mean image as C×H×W float32.

    Raises:
        DataError: the file cannot be read, or holds no image.
    """
    with located(file=str(path)):
        values = read_blob(path, "mean image", DataError)
        while values.ndim > 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 3:
            stored = "×".join(map(str, values.shape))
            raise DataError(f"the mean image is {stored}, not one image")
        return values
