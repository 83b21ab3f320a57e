"""Data that a program holds itself: arrays, and iterables of batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..errors import DataError, located
from ..ir.dims import sample_fits, shape_text
from ..ir.network import Network, Preprocess
from .base import BATCH_SIZE, Batch, Dataset, Frame, Objects, TargetKind, limited, short_text
from .npz import NpzDataset, _Header
from .options import DataOptions
from .probe import check_batch

__all__ = ["AnyData", "ArrayDataset", "BatchDataset", "as_dataset"]

AnyData = Dataset | Iterable[Any]
"""What functions take as data: a :class:`~.base.Dataset`, an array, a pair of inputs and labels, a
mapping of arrays by name, or an iterable of these, each a batch."""

MOST_KEPT = 1 << 30
"""Bytes of batches of an iterator that are kept: it can be read once, and data is read again."""

HINT = "give an array N×C×H×W, a pair (inputs, labels), a dict of arrays, or a list of these"


@overload
def as_dataset(
    data: None, network: Network, options: DataOptions | None = None,
    preprocess: Preprocess | None = None,
) -> None: ...  # fmt: skip
@overload
def as_dataset(
    data: AnyData, network: Network, options: DataOptions | None = None,
    preprocess: Preprocess | None = None,
) -> Dataset: ...  # fmt: skip
@overload
def as_dataset(
    data: AnyData | None, network: Network, options: DataOptions | None = None,
    preprocess: Preprocess | None = None,
) -> Dataset | None: ...  # fmt: skip
def as_dataset(
    data: AnyData | None,
    network: Network,
    options: DataOptions | None = None,
    preprocess: Preprocess | None = None,
) -> Dataset | None:
    """Return data of a program as a dataset for a network.

    Args:
        data: a dataset, which is returned as it is; arrays or batches of them, as :data:`AnyData`
            has it. Arrays are as in a `.npz` file: float inputs are fed unchanged, uint8 is pixels;
            labels are classes, maps of classes or values, or for detectors an :class:`Objects` for
            each image, in pixels of the input. An iterable is read several times: what it yields
            must not change. An iterator is kept in memory, up to :data:`MOST_KEPT` bytes.
        network: whose inputs the data must fit.
        options: batch, limit and the ignored label, for arrays.
        preprocess: instead of the network's own with what options change, for pixels.

    Raises:
        DataError: it is no data, or does not fit the network.
    """
    if data is None or isinstance(data, Dataset):
        return data
    settings = _settings(network, options or DataOptions(), preprocess)
    if isinstance(data, str | bytes | PathLike):
        raise DataError(
            f"a path is no data yet: '{str(data)[:80]}'",
            hint="secateur.open_dataset(path, network)",
        )
    arrays = _arrays(data)
    if arrays is not None:
        return _of_arrays(arrays, network, settings)
    if not isinstance(data, Iterable):
        raise DataError(f"an object of type {type(data).__name__} is no data", hint=HINT)
    return BatchDataset(data, network, settings)


def _settings(
    network: Network, options: DataOptions, preprocess: Preprocess | None
) -> dict[str, Any]:
    return {
        "preprocess": preprocess or options.changed(network.preprocess),
        "batch": options.batch or BATCH_SIZE,
        "limit": options.limit,
        "ignore_label": options.ignore_label,
    }


class ArrayDataset(NpzDataset):
    """The samples of arrays in memory, as those of a `.npz` file.

    Args:
        arrays: name → array, as in such a file.
        network: whose inputs the arrays must fit.
        settings: as for :class:`NpzDataset`.

    Raises:
        DataError: an array does not fit the network.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], network: Network, **settings: Any):
        self._arrays = dict(arrays)
        super().__init__(Path(f"arrays {_digest(arrays.values())}"), network, **settings)

    def _headers(self, wanted: set[str]) -> dict[str, _Header]:
        self._keys = list(self._arrays)
        return {
            key: _Header(key=key, shape=array.shape, fortran=False, dtype=array.dtype)
            for key, array in self._arrays.items()
            if key in wanted
        }

    def _rows(self, header: _Header, each: Fraction) -> Iterator[np.ndarray]:
        batch, end = int(self._batch * each), int(self.samples * each)
        array = self._arrays[header.key]
        for start in range(0, end, batch):
            yield array[start : min(start + batch, end)]


class BatchDataset:
    """The batches that an iterable yields.

    Args:
        batches: yields arrays, pairs, mappings or :class:`Batch`; all with labels, or none.
        network: whose inputs they must fit.
        settings: how arrays are read.

    Raises:
        DataError: a batch does not fit; says which.
    """

    found_labels = ""
    problems: tuple[str, ...] = ()

    def __init__(self, batches: Iterable[Any], network: Network, settings: Mapping[str, Any]):
        self._network, self._settings = network, dict(settings)
        self._limit = self._settings.pop("limit", None)
        self._unlabelled = False
        self.name = "batches"
        self._batches: Iterable[Any] = _kept(batches) if iter(batches) is batches else batches
        samples, kinds, digest = 0, set[TargetKind](), hashlib.blake2b(digest_size=4)
        for batch in self._made():
            samples += batch.size
            kinds.add(batch.target_kind)
            digest.update(_digest(batch.inputs.values()).encode())
        if not samples:
            raise DataError("there are no samples in the batches", hint=HINT)
        if len(kinds) > 1:
            told = " and ".join(sorted(kind or "nothing" for kind in kinds))
            raise DataError(f"all batches need labels of one kind, or none: they have {told}")
        (self._kind,) = kinds
        self.name = f"batches {digest.hexdigest()}"
        self.samples = limited(samples, self._limit, network)

    def __repr__(self) -> str:
        """Return a short text."""
        return short_text(self)

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each sample."""
        return "" if self._unlabelled else self._kind

    @property
    def labelled(self) -> bool:
        """Whether there is something to measure against."""
        return bool(self.target_kind)

    def unlabelled(self) -> BatchDataset:
        """Return the same inputs without labels."""
        found = copy(self)
        found._unlabelled = True
        return found

    def probe(self, classes: int | None) -> None:
        """Look at all labels.

        Raises:
            DataError: a label is no class.
        """
        for batch in self:
            check_batch(batch, classes)

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples; raises DataError where a batch does not fit."""
        left = self.samples
        for batch in self._made():
            if not left:
                return
            used = batch if batch.size <= left else _first(batch, left)
            left -= used.size
            yield replace(used, **_NO_LABELS) if self._unlabelled else used

    def _made(self) -> Iterator[Batch]:
        for number, given in enumerate(self._batches):
            with located(file=self.name, item=f"batch {number}"):
                if isinstance(given, Batch):
                    _check(given, self._network)
                    yield given
                    continue
                arrays = _arrays(given)
                if arrays is None:
                    raise DataError(
                        f"an object of type {type(given).__name__} is no batch", hint=HINT
                    )
                try:
                    yield from _of_arrays(arrays, self._network, self._settings)
                except DataError as error:
                    error.where = replace(error.where, file=None)  # the name of a part
                    raise


_NO_LABELS: dict[str, Any] = {
    "labels": None, "objects": None, "values": None, "places": None, "mixture": None,
}  # fmt: skip


def _first(batch: Batch, count: int) -> Batch:
    """Return the first samples of a batch with their labels."""

    def cut(rows: Any) -> Any:
        return None if rows is None else rows[:count]

    mixture = batch.mixture
    return Batch(
        inputs=batch.first(count), labels=cut(batch.labels), objects=cut(batch.objects),
        values=cut(batch.values), frames=cut(batch.frames), places=cut(batch.places),
        mixture=None if mixture is None else (mixture[0][:count], mixture[1][:count]),
    )  # fmt: skip


def _check(batch: Batch, network: Network) -> None:
    """Raise if the inputs of a batch are not those of a network.

    Raises:
        DataError: names the input.
    """
    for name, shape in network.inputs.items():
        array = batch.inputs.get(name)
        if array is None:
            known = ", ".join(f"'{key}'" for key in batch.inputs) or "none"
            raise DataError(f"there is no input '{name}' in it", hint=f"it has {known}")
        if array.dtype != np.float32 or not sample_fits(array.shape, shape):
            raise DataError(
                f"input '{name}' is {array.dtype} of {shape_text(array.shape)}, but the network "
                f"takes float32 of {shape_text(shape)}"
            )


def _arrays(data: Any) -> dict[str, Any] | None:
    """Return arrays by name of what may be some; None for what is an iterable of batches, or none.

    Raises:
        DataError: what stands for an array is none.
    """
    if isinstance(data, Mapping):
        return {str(name): _array(value) for name, value in data.items()}
    if isinstance(data, tuple) and len(data) == 2:
        return {"x": _array(data[0]), "y": _array(data[1])}
    if isinstance(data, np.ndarray) or hasattr(data, "__array__"):
        return {"x": _array(data)}
    return None


def _array(value: Any) -> Any:
    """Return an array, or a tuple of objects.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, Sequence) and value and all(isinstance(one, Objects) for one in value):
        return tuple(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"this is no array: {error}", hint=HINT) from error
    if array.dtype.hasobject:
        raise DataError(f"an object of type {type(value).__name__} is no array", hint=HINT)
    return array


def _of_arrays(arrays: dict[str, Any], network: Network, settings: Mapping[str, Any]) -> Dataset:
    """Return a dataset of arrays; objects beside them become those of its images."""
    objects = arrays.get("y")
    if not isinstance(objects, tuple):
        return ArrayDataset(arrays, network, **settings)
    images = ArrayDataset({k: v for k, v in arrays.items() if k != "y"}, network, **settings)
    if len(objects) < images.samples:
        raise DataError(f"there are objects of {len(objects)} images for {images.samples}")
    return BatchDataset(list(_with_objects(images, objects)), network, settings)


def _with_objects(images: ArrayDataset, objects: tuple[Objects, ...]) -> Iterator[Batch]:
    done = 0
    for batch in images:
        height, width = next(iter(batch.inputs.values())).shape[-2:]
        yield replace(
            batch,
            objects=objects[done : done + batch.size],
            frames=(Frame(width=width, height=height),) * batch.size,
        )
        done += batch.size


def _kept(batches: Iterable[Any]) -> list[Any]:
    """Return the batches of an iterator.

    Raises:
        DataError: they are too large to be kept.
    """
    found, size = [], 0
    for batch in batches:
        parts = batch.inputs if isinstance(batch, Batch) else _arrays(batch) or {}
        size += sum(getattr(array, "nbytes", 0) for array in parts.values())
        if size > MOST_KEPT:
            raise DataError(
                f"an iterator can be read once, and its batches take more than {MOST_KEPT >> 20} "
                "MiB",
                hint="give an object whose __iter__ begins anew, such as a list or a loader",
            )
        found.append(batch)
    return found


def _digest(arrays: Iterable[Any]) -> str:
    """Return a few digits that tell arrays apart: a run that goes on must have the same."""
    digest = hashlib.blake2b(digest_size=4)
    for array in arrays:
        digest.update(str((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
