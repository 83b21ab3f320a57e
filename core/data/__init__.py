"""Samples for calibration and proofs, from wherever the user has them."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..ir.network import Network, Preprocess
from .base import BATCH_SIZE, Batch, Dataset, streamed
from .images import SUFFIXES, ImageDataset
from .npz import NpzDataset
from .synthetic import SyntheticDataset

__all__ = [
    "BATCH_SIZE",
    "Batch",
    "Dataset",
    "ImageDataset",
    "NpzDataset",
    "SyntheticDataset",
    "open_dataset",
    "streamed",
]


def open_dataset(
    path: str | Path,
    network: Network,
    *,
    preprocess: Preprocess | None = None,
    batch: int = BATCH_SIZE,
    limit: int | None = None,
) -> Dataset:
    """Open data for a network: a `.npz` archive, a folder of images, or one image.

    Args:
        path: where the data is; what it is decides how it is read.
        network: whose inputs the data must fit.
        preprocess: how images become inputs, instead of the network's own. Archives are fed as
            they stand.
        batch: samples a batch; lowered to a multiple of a batch that the network insists on.
        limit: use only so many samples from the start.

    Raises:
        DataError: the path leads to nothing usable, or what it leads to does not fit the network.
    """
    path = Path(path)
    if path.is_dir():
        return ImageDataset(path, network, preprocess=preprocess, batch=batch, limit=limit)
    if not path.exists():
        raise DataError(f"there is no data at '{path}'")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return NpzDataset(path, network, batch=batch, limit=limit)
    if suffix in SUFFIXES:
        return ImageDataset(path, network, preprocess=preprocess, batch=batch, limit=limit)
    raise DataError(
        f"'{path}' is no kind of data that can be read",
        hint="give a .npz file, an image or a folder of images",
    )
