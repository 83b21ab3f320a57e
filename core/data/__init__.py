"""Samples for calibration, proofs and measurements, from wherever the user has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import DataError, located
from ..ir.network import Network, Preprocess
from .base import BATCH_SIZE, Batch, Dataset, Frame, Objects, streamed
from .npz import NpzDataset
from .registry import KINDS, Kind, Opening
from .stream import ImageSource, ImageStream, Sample
from .synthetic import SyntheticDataset

__all__ = [
    "BATCH_SIZE",
    "KINDS",
    "Batch",
    "Dataset",
    "Frame",
    "ImageSource",
    "ImageStream",
    "Kind",
    "NpzDataset",
    "Objects",
    "Opening",
    "Sample",
    "SyntheticDataset",
    "kind_of",
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
    root: str | Path | None = None,
    names: str | Path | None = None,
    ignore_label: int | None = None,
) -> Dataset:
    """Open data for a network; what the path leads to decides how it is read.

    Args:
        path: where the data is: an archive, a folder, a list, annotations, a database (docs/data.md
            lists all kinds).
        network: whose inputs the data must fit.
        preprocess: how images become inputs, instead of the network's own.
        batch: samples a batch; lowered to a multiple of a batch that the network insists on.
        limit: use only so many samples from the start.
        root: folder that relative paths in lists and annotations start from.
        names: file with the names of the classes in their order, one a line.
        ignore_label: in maps of classes, pixels of this class do not count; those of 255 never do.

    Raises:
        DataError: the path leads to nothing usable, or what it leads to does not fit the network.
    """
    path = Path(path)
    opening = Opening(
        network=network,
        preprocess=with_mean_image(preprocess or network.preprocess),
        batch=batch,
        limit=limit,
        root=Path(root) if root is not None else None,
        names=Path(names) if names is not None else None,
        ignore_label=ignore_label,
    )
    return kind_of(path, opening).open(path, opening)


def kind_of(path: Path, opening: Opening) -> Kind:
    """Return the kind of data at a path.

    Raises:
        DataError: nothing is there, or nobody knows what it is.
    """
    if not path.exists():
        raise DataError(f"there is no data at '{path}'")
    for kind in sorted(KINDS.values(), key=lambda kind: (kind.rank, kind.name)):
        if kind.claims(path, opening):
            return kind
    raise DataError(
        f"'{path}' is no kind of data that can be read",
        hint="give a .npz file, an image or a folder of images, a list, annotations or a database",
    )


def with_mean_image(preprocess: Preprocess) -> Preprocess:
    """Return preprocessing with the mean image that a `.npy` file holds.

    Raises:
        DataError: there is no such file, or it is of a kind that only a format knows.
    """
    if not preprocess.mean_file or preprocess.mean_image is not None:
        return preprocess
    import numpy as np

    with located(file=preprocess.mean_file):
        try:
            image = np.load(preprocess.mean_file, allow_pickle=False)
        except OSError as error:
            raise DataError(f"the mean cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError("the mean is no array of numpy", hint="give a .npy file") from error
        if image.ndim == 4 and image.shape[0] == 1:
            image = image[0]
        if image.ndim == 1:
            return replace(preprocess, mean=tuple(float(v) for v in image), mean_file="")
        if image.ndim != 3:
            raise DataError(f"the mean has {image.ndim} axes, not C×H×W")
    return replace(preprocess, mean_image=image.astype(np.float32))
