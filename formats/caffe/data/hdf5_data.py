"""HDF5 files and lists of them. Source: hdf5_data_layer.cpp (BVLC 9b89154): no transformation.

A file holds one dataset for each top, with the samples along the first axis: `data` (or the name of
the network's input), and `label` if there are labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from ....core.data.base import (
    Batch,
    TargetKind,
    batch_size,
    first_batch,
    fixed_batch,
    limited,
    short_text,
)
from ....core.data.labels import check_labels
from ....core.data.registry import Opening
from ....core.data.rows import of_one_run, rows_per_sample
from ....core.data.text import found_beside, numbered_lines
from ....core.errors import DataError, Where, located
from ....core.ir.dims import sample_fits, shape_text
from ....core.ir.regions import region_inputs

__all__ = ["SUFFIXES", "Hdf5Data", "stored_shape"]

SUFFIXES = (".h5", ".hdf5")

PROBED = 1 << 24
"""Labels that are looked at before long work. They are read in a second."""

CHUNK = 1 << 16
"""Labels that are read at once."""


def stored_shape(path: Path, root: Path | None, name: str) -> tuple[int, ...]:
    """Return the shape of a sample of a data set.

    Args:
        path: a file, or a list of files, of which the first is read.
        root: folder that paths in a list start from.
        name: of the data set.

    Raises:
        DataError: h5py is not installed, a file is broken, or has no such data set.
    """
    file = path if path.suffix.lower() in SUFFIXES else _listed(path, root)[0]
    with located(file=str(file)), _opened(file) as content:
        if name not in content:
            raise DataError(f"there is no dataset '{name}'", hint=f"it has {', '.join(content)}")
        return tuple(int(size) for size in content[name].shape[1:])


class Hdf5Data:
    """Inputs from HDF5 files, with labels if the files have them.

    Args:
        path: a file, or a list of files, one on each line.
        opening: the network, and the number of samples.

    Raises:
        DataError: h5py is not installed, or a file is broken or does not fit; names the file.
    """

    problems: tuple[str, ...] = ()
    found_labels = ""

    def __init__(self, path: Path, opening: Opening):
        self.name = str(path)
        self._network = opening.network
        self._batch = batch_size(opening.network, opening.batch)
        self._each = rows_per_sample(opening.network)
        self._regions = region_inputs(opening.network.graph)
        self._images = fixed_batch(opening.network) or 1
        self._files = [path] if path.suffix.lower() in SUFFIXES else _listed(path, opening.root)
        counts, shapes = [], []
        for file in self._files:
            with located(file=str(file)), _opened(file) as content:
                names = self._names(content)
                counts.append(self._stored_samples(content, names))
                shapes.append(self._label(content, counts[-1]))
        self.target_kind = _kind(shapes)
        self.labelled = bool(self.target_kind)
        self._counts = counts
        with located(file=self.name):
            self.samples = limited(sum(counts), opening.options.limit, opening.network)

    def __repr__(self) -> str:
        """Return a short text."""
        return short_text(self)

    @property
    def files(self) -> Sequence[Path]:
        """The files with the samples."""
        return tuple(self._files)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the samples of one file after the other. A batch does not span two files."""
        left = self.samples
        for file, count in zip(self._files, self._counts, strict=True):
            with located(file=str(file)), _opened(file) as content:
                names = self._names(content)
                for start in range(0, min(count, left), self._batch):
                    stop = min(start + self._batch, count, left)
                    yield self._made(content, names, start, stop)
            left -= min(count, left)

    def unlabelled(self) -> Hdf5Data:
        """Return the same inputs without labels."""
        inputs = copy(self)
        inputs.target_kind, inputs.labelled = "", False
        return inputs

    def probe(self, classes: int | None) -> None:
        """Look at the first samples, and at all labels.

        Raises:
            DataError: a file is broken, or a label is no class.
        """
        first_batch(self)
        if classes is None or self.target_kind != "label":
            return
        left = min(self.samples, PROBED)
        for file, count in zip(self._files, self._counts, strict=True):
            with located(file=str(file)), _opened(file) as content:
                for start in range(0, min(count, left), CHUNK):
                    self._check(content, start, min(start + CHUNK, count, left), classes)
            left -= min(count, left)

    def _check(self, content: Any, start: int, stop: int, classes: int) -> None:
        """Raise if one of some labels of a file is no class."""
        try:
            labels = content["label"][start:stop].reshape(-1).astype(np.int64)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read: {error}") from error
        for number in np.flatnonzero((labels < 0) | (labels >= classes))[:1]:
            place = Where(file=content.filename, item=f"label[{start + number}]")
            check_labels(labels[number : number + 1], classes, [place])

    def _made(self, content: Any, names: dict[str, str], start: int, stop: int) -> Batch:
        """Return the samples from `start` to `stop` of a file."""
        try:
            inputs = {
                name: self._fed(name, content[key], start, stop) for name, key in names.items()
            }
            rows = content["label"][start:stop] if self.labelled else None
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read: {error}") from error
        if rows is None:
            return Batch(inputs=inputs)
        if self.target_kind == "label":
            return Batch(
                inputs=inputs,
                labels=rows.reshape(-1).astype(np.int64),
                places=tuple(
                    Where(file=content.filename, item=f"label[{number}]")
                    for number in range(start, stop)
                ),
            )
        return Batch(inputs=inputs, values=rows.astype(np.float32))

    def _fed(self, name: str, stored: Any, start: int, stop: int) -> np.ndarray:
        """Return the rows of some samples for an input."""
        each = self._each[name]
        rows = np.ascontiguousarray(stored[int(start * each) : int(stop * each)], np.float32)
        if name not in self._regions:
            return rows
        with located(item=f"dataset '{name}'"):
            return of_one_run(rows, int(each), self._images)

    def _stored_samples(self, content: Any, names: dict[str, str]) -> int:
        """Return how many samples a file holds.

        Raises:
            DataError: its datasets do not agree.
        """
        counts = {content[key].shape[0] / self._each[name] for name, key in names.items()}
        count = counts.pop()
        if counts or count.denominator != 1:
            shown = ", ".join(f"'{key}' has {content[key].shape[0]}" for key in names.values())
            raise DataError(f"the datasets have different numbers of samples: {shown}")
        return int(count)

    def _names(self, content: Any) -> dict[str, str]:
        """Return input → name of its dataset.

        Raises:
            DataError: a dataset is missing, or does not fit its input.
        """
        names = {}
        for name, shape in self._network.inputs.items():
            alone = len(self._network.inputs) == 1
            key = "data" if alone and name not in content else name
            if key not in content:
                known = f"'{name}' or 'data'" if alone and name != "data" else f"'{name}'"
                raise DataError(f"there is no dataset {known}", hint=f"it has {', '.join(content)}")
            stored = content[key].shape
            if not stored or not sample_fits(stored, shape):
                raise DataError(
                    f"dataset '{key}' is {shape_text(stored)}, but input '{name}' takes "
                    f"{shape_text(shape)}"
                )
            names[name] = key
        return names

    def _label(self, content: Any, count: int) -> tuple[int, ...] | None:
        """Return the shape of the labels of a file; None if it has none.

        Raises:
            DataError: there are not `count` labels.
        """
        if "label" not in content:
            return None
        stored: tuple[int, ...] = content["label"].shape
        if not stored or stored[0] != count:
            raise DataError(f"dataset 'label' is {shape_text(stored)} for {count} samples")
        return stored


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            "reading HDF5 needs the package h5py", hint="pip install 'secateur[hdf5]'"
        ) from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"cannot be read as HDF5: {error}") from error


def _kind(shapes: Sequence[tuple[int, ...] | None]) -> TargetKind:
    """Return what the labels of all files are: one number a sample is its class."""
    kinds: set[TargetKind] = {
        "" if shape is None else "label" if math.prod(shape[1:]) == 1 else "values"
        for shape in shapes
    }
    return "" if "" in kinds else "values" if "values" in kinds else "label"


def _listed(path: Path, root: Path | None) -> list[Path]:
    """Return the files of a list.

    Raises:
        DataError: the list is empty, or a file does not exist.
    """
    files = []
    for line, text in numbered_lines(path):
        folders = [path.parent, path.parent.parent]
        found = (root / text) if root is not None else found_beside(text, folders)
        if found is None or not found.is_file():
            with located(file=str(path), line=line):
                raise DataError(f"there is no file '{text}'")
        files.append(found)
    if not files:
        with located(file=str(path)):
            raise DataError("the list is empty")
    return files
