"""The one door to data: the neutral kinds of the core, and those that belong to one framework.

Opening data registers the kinds of all formats; what reads them loads when it is used.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.data import DataOptions, Dataset
from ..core.data import open_dataset as open_neutral
from ..core.data.arrays import AnyData
from ..core.data.naming import is_made
from ..core.data.opening import kind_of
from ..core.data.options import AUTOMATIC
from ..core.data.registry import Opening, Purpose
from ..core.data.text import read_names
from ..core.errors import DataError
from ..core.evaluation.task import Task
from ..core.ir.network import Caution, Network, Preprocess
from ..core.options import options_of
from ..core.progress import Progress, silent
from ..core.statistics.normalizations import likely_preprocess
from ..core.synthesis.kind import MadeByFitting
from ..formats.registry import FORMATS
from .preprocessing import PreprocessTrial, try_preprocess, with_mean, with_preprocess

__all__ = [
    "class_names",
    "fit_preprocess",
    "is_made",
    "made_cautions",
    "make_images",
    "open_dataset",
    "stands_apart",
]


def open_dataset(
    path: str | Path | AnyData,
    network: Network,
    options: DataOptions | None = None,
    *,
    preprocess: Preprocess | None = None,
    purpose: Purpose = "measure",
    **settings: Any,
) -> Dataset:
    """Open data of any kind for a network; what the path leads to decides how it is read.

    Args:
        path: where the data is: an archive, a folder, a list, annotations, a database; docs/data.md
            lists all kinds. Or the data itself: arrays, or batches of them.
        network: whose inputs the data must fit.
        options: how the data is read and made into inputs.
        preprocess: how images become inputs, instead of the network's own; options change it.
        purpose: what it is for: a `.data` file names images to "calibrate" on (`train=`) and
            images to "measure" on (`valid=`). Other data is the same for both.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: the path leads to nothing usable, or what it leads to does not fit the network.
    """
    options = options_of(DataOptions, options, settings)
    if preprocess is None:
        if options.preprocessing == AUTOMATIC:
            if not isinstance(path, str | Path):
                raise DataError(
                    "preprocessing is tried on data that a path leads to, not on arrays",
                    option="preprocessing",
                )
            network, _ = fit_preprocess(path, network, options)
        else:
            network = with_preprocess(network, options)
        options = replace(options, preprocessing=None)
    if isinstance(path, str | Path) and is_made(path) and preprocess is None:
        preprocess = likely_preprocess(network)
    for known in FORMATS.values():
        known.register_datasets()
    return open_neutral(
        path, network, options, preprocess=preprocess, purpose=purpose,
        with_mean=partial(with_mean, network),
    )  # fmt: skip


def class_names(dataset: Dataset, options: DataOptions | None = None) -> tuple[str, ...]:
    """Return the names of the classes: those of the file that options name, or of the data.

    Args:
        dataset: the data.
        options: how it was opened.

    Returns:
        the names in the order of the classes; empty where nobody tells them.

    Raises:
        DataError: the file cannot be read, or has no names.
    """
    if options is not None and options.names is not None:
        return read_names(Path(options.names))
    return tuple(getattr(dataset, "classes", ()))


def stands_apart(path: str | Path, network: Network, options: DataOptions | None = None) -> bool:
    """Return whether a path holds images to calibrate on that are not those to measure on.

    Args:
        path: where the data is.
        network: what it is for.
        options: how it is read.

    Raises:
        DataError: the path leads to nothing usable.
    """
    for known in FORMATS.values():
        known.register_datasets()
    opening = Opening(network=network, options=options or DataOptions())
    return kind_of(Path(path), opening).apart(Path(path), opening)


def made_cautions(path: str | PathLike[str]) -> tuple[Caution, ...]:
    """Return what is to be said of data by its path: a caution where its images are made up."""
    if not is_made(Path(path)):
        return ()
    return (
        Caution(f"{path}: no real image was seen: figures on made images say little of real ones"),
    )


def make_images(dataset: Dataset, progress: Progress = silent) -> None:
    """Make images that a dataset would else make when it is first read; others are left alone.

    Args:
        dataset: any data.
        progress: told how far the work is.
    """
    if isinstance(dataset, MadeByFitting):
        dataset.make(progress)


def fit_preprocess(
    path: str | Path,
    network: Network,
    options: DataOptions | None = None,
    *,
    task: Task | str | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> tuple[Network, tuple[PreprocessTrial, ...]]:
    """Return the network with the usual preprocessing that fits labelled data best, and all tried.

    Args:
        path: where the labelled data is.
        network: the network.
        options: how the data is read; what they say of preprocessing is kept.
        task: what is measured, if not what the labels call for.
        progress: told how far the work is.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: there are no labels, or they do not fit; or the data holds no pixels.
    """
    options = options_of(DataOptions, options, settings)

    def opened(network: Network, reading: DataOptions) -> Dataset:
        return open_dataset(path, network, reading)

    trials = try_preprocess(network, options, opened, task=task, progress=progress)
    best = trials[0]
    remark = (
        f"images become inputs as fits {path} best: {best.name} "
        f"({best.text} on {best.samples} samples)"
    )
    chosen = replace(best.preprocess, origin=f"auto: {best.name}", remark=remark)
    return replace(network, preprocess=chosen), trials
