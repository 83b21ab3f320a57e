"""The one door to data: the neutral kinds of the core, and those that belong to one framework.

Opening data registers the kinds of all formats; what reads them loads when it is used.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..core.data import DataOptions, Dataset
from ..core.data import open_dataset as open_neutral
from ..core.data.arrays import AnyData
from ..core.data.opening import with_mean_image
from ..core.data.text import found_beside
from ..core.errors import DataError
from ..core.ir.network import Network, Preprocess
from ..core.options import options_of
from ..formats.registry import FORMATS

__all__ = ["open_dataset", "with_preprocess"]


def open_dataset(
    path: str | Path | AnyData,
    network: Network,
    options: DataOptions | None = None,
    *,
    preprocess: Preprocess | None = None,
    **settings: Any,
) -> Dataset:
    """Open data of any kind for a network; what the path leads to decides how it is read.

    Args:
        path: where the data is: an archive, a folder, a list, annotations, a database; docs/data.md
            lists all kinds. Or the data itself: arrays, or batches of them.
        network: whose inputs the data must fit.
        options: how the data is read and made into inputs.
        preprocess: how images become inputs, instead of the network's own; options change it.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: the path leads to nothing usable, or what it leads to does not fit the network.
    """
    for known in FORMATS.values():
        known.register_datasets()
    return open_neutral(
        path,
        network,
        options_of(DataOptions, options, settings),
        preprocess=preprocess,
        with_mean=partial(_with_mean, network),
    )


def with_preprocess(
    network: Network, options: DataOptions | None = None, **settings: Any
) -> Network:
    """Return the network with the preprocessing that options of data ask for.

    Where there is no data, the noise that stands for it lies in the range that this gives.

    Args:
        network: the network, unchanged by this.
        options: how data is made into inputs.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: the mean file is not there, or broken.
    """
    options = options_of(DataOptions, options, settings)
    changed = options.changed(network.preprocess)
    if options.mean_file is not None:
        changed = _with_mean(network, changed)
    return network if changed == network.preprocess else replace(network, preprocess=changed)


def _with_mean(network: Network, preprocess: Preprocess) -> Preprocess:
    """Return preprocessing with the mean image its file holds.

    The file is looked for as it is named, and beside the network's own files.

    Raises:
        DataError: it is not there, or broken.
    """
    if not preprocess.mean_file or preprocess.mean_image is not None:
        return preprocess
    named = Path(preprocess.mean_file)
    own = network.source.paths.values() if network.source is not None else ()
    folders = [path.parent for path in own]
    found = found_beside(str(named), folders) or found_beside(named.name, folders)
    if found is None:
        raise DataError(
            f"the mean file '{named}' is not there",
            hint="--mean-file says where it is, --mean gives a value a channel instead",
        )
    if found.suffix.lower() == ".npy":
        return with_mean_image(replace(preprocess, mean_file=str(found)))
    read_mean = next(known.read_mean for known in FORMATS.values() if known.read_mean is not None)
    return replace(preprocess, mean_file=str(found), mean_image=read_mean(found))
