"""Opening data: what a path leads to decides which kind of data it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, located, nearest_hint
from ..ir.network import Network, Preprocess
from ..options import options_of
from .arrays import AnyData, as_dataset
from .base import Dataset
from .naming import is_made
from .options import DataOptions
from .registry import KINDS, Kind, Opening, Purpose

__all__ = ["kind_of", "open_dataset", "with_mean_image"]


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


def open_dataset(
    path: str | Path | AnyData,
    network: Network,
    options: DataOptions | None = None,
    *,
    preprocess: Preprocess | None = None,
    purpose: Purpose = "measure",
    with_mean: Callable[[Preprocess], Preprocess] = with_mean_image,
    **settings: Any,
) -> Dataset:
    """Open data for a network; what the path leads to decides how it is read.

    Args:
        path: where the data is: an archive, a folder, a list, annotations, a database (docs/data.md
            lists all kinds); or the data itself, arrays or batches of them.
        network: whose inputs the data must fit.
        options: how the data is read and made into inputs.
        preprocess: how images become inputs, instead of the network's own; options change it.
        purpose: what the data is for; it matters where data holds images for each purpose.
        with_mean: reads the mean image that preprocessing names a file of; formats know more kinds
            of files.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: the path leads to nothing usable, or what it leads to does not fit the network.
    """
    options = options_of(DataOptions, options, settings)
    if preprocess is not None and not preprocess.origin:
        preprocess = replace(preprocess, origin="the caller")
    changed = with_mean(options.changed(preprocess or network.preprocess))
    if not isinstance(path, str | Path):
        return as_dataset(path, network, options, changed)
    path = Path(path)
    opening = Opening(network=network, preprocess=changed, options=options, purpose=purpose)
    return kind_of(path, opening).open(path, opening)


def kind_of(path: Path, opening: Opening) -> Kind:
    """Return the kind of data at a path.

    Raises:
        DataError: nothing is there, or nobody knows what it is.
    """
    there = path.exists()
    kinds = sorted(KINDS.values(), key=lambda kind: (kind.rank, kind.name))
    for kind in kinds:
        if kind.made != there and kind.claims(path, opening):
            return kind
    if not there:
        made = [kind.name for kind in kinds if kind.made]
        hint = nearest_hint(str(path), made, f"images are made by {', '.join(made)}")
        raise DataError(f"there is no data at '{path}'", hint=hint if is_made(path) else None)
    raise DataError(
        f"'{path}' is no kind of data that can be read",
        hint="give a .npz file, an image or a folder of images, a list, annotations or a database",
    )
