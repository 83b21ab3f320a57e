"""Samples from numpy files, streamed: no array is ever in memory as a whole.

NOTE for developers: `np.load` reads a whole array at the first touch, so the members of the
archive are read here with the public functions of `np.lib.format`. Objects are never unpickled.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import DataError, Where, located
from ..ir.dims import sample_fits, shape_text
from ..ir.network import Network, Preprocess
from ..ir.regions import region_inputs
from .base import (
    BATCH_SIZE,
    Batch,
    TargetKind,
    batch_size,
    first_batch,
    fixed_batch,
    limited,
    short_text,
)
from .labels import pixel_classes
from .preprocess import normalized
from .probe import check_batch
from .rows import of_one_run, rows_per_sample

__all__ = ["NpzDataset"]

_BROKEN = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What zipfile and np.lib.format raise at broken, encrypted or unknown archives."""

PROBED = 1 << 26
"""Bytes of maps of classes that are looked at before long work."""

_HINT = "save N×C×H×W float32 as 'x' and integer labels as 'y': np.savez(path, x=…, y=…)"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """What stands at the head of one array of the archive."""

    key: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    channels_last: bool = False
    """Whether it holds pixels as N×H×W×C."""


class NpzDataset:
    """The samples of a `.npz` or `.npy` file: inputs, and perhaps labels.

    A network's only input is fed from the array of its name or else from `x` (or, in the archives
    of Keras, `x_test`); several inputs from arrays of their names. Numbers with a point are fed as
    they stand; 8-bit pixels (N×C×H×W, N×H×W×C or N×H×W) get mean and scale, in the order of
    channels in which they are stored.

    `y` (or `y_test`) holds one integer label a sample (N or N×1), the class of each pixel (integers
    N×H×W), or what an output should be (numbers with a point, in its shape). All else is ignored.

    A `.npy` file holds the inputs alone.

    Args:
        path: the file.
        network: whose inputs the arrays must fit.
        preprocess: instead of the network's own, for pixels.
        batch: samples a batch.
        limit: use only so many samples from the start.
        ignore_label: in maps of classes, pixels of this class do not count.

    Raises:
        DataError: the file or an array is broken or does not fit the network.
    """

    problems: tuple[str, ...] = ()
    found_labels = ""

    def __init__(
        self,
        path: Path,
        network: Network,
        *,
        preprocess: Preprocess | None = None,
        batch: int = BATCH_SIZE,
        limit: int | None = None,
        ignore_label: int | None = None,
    ):
        self.path = Path(path)
        self.name = str(path)
        self._preprocess = preprocess or network.preprocess
        self._batch = batch_size(network, batch)
        self._ignore_label = ignore_label
        with located(file=self.name):
            headers = self._headers({*network.inputs, "x", "y", "x_test", "y_test"})
            self._check_there(headers, list(network.inputs))
            self._inputs = {
                name: self._input_header(headers, name, shape, single=len(network.inputs) == 1)
                for name, shape in network.inputs.items()
            }
            self._labels = None if "y" in network.inputs else _label_header(headers, network)
            self._regions = region_inputs(network.graph)
            self._images = fixed_batch(network) or 1
            self._each = rows_per_sample(network)
            stored = self._stored_samples()
            if stored < 1:
                raise DataError(f"array '{next(iter(self._inputs.values())).key}' holds no sample")
            self.samples = limited(stored, limit, network)

    def __repr__(self) -> str:
        """Return a short text."""
        return short_text(self)

    def _stored_samples(self) -> int:
        """Return how many samples the arrays hold.

        Raises:
            DataError: they do not agree.
        """
        used = [(header, self._each[name]) for name, header in self._inputs.items()]
        used += [(self._labels, Fraction(1))] if self._labels else []
        counts = {header.shape[0] / rows for header, rows in used}
        count = counts.pop()
        if counts or count.denominator != 1:
            shown = ", ".join(
                f"'{header.key}' has {header.shape[0]}"
                + (f" ({rows} a sample)" if rows != 1 else "")
                for header, rows in used
            )
            raise DataError(
                f"the arrays have different numbers of samples: {shown}", hint=self._regions_hint()
            )
        return int(count)

    def _regions_hint(self) -> str | None:
        """Return how to read a network with as many regions of an image as the arrays hold."""
        others = {h.shape[0] for name, h in self._inputs.items() if name not in self._regions}
        for name in self._regions if len(others) == 1 else ():
            count, rest = divmod(self._inputs[name].shape[0] * self._images, max(1, *others, 1))
            if not rest and count:
                return f"--input-shape {name}={count},5 reads the network with so many regions"
        return None

    @property
    def labelled(self) -> bool:
        """Whether the file has labels."""
        return self._labels is not None

    @property
    def target_kind(self) -> TargetKind:
        """What the labels are: classes, maps of classes, or values."""
        if self._labels is None:
            return ""
        if self._labels.dtype.kind == "f":
            return "values"
        return "pixels" if math.prod(self._labels.shape[1:]) > 1 else "label"

    @property
    def preprocess(self) -> Preprocess | None:
        """How pixels become inputs; None where all arrays are inputs already."""
        pixels = any(
            header.dtype == np.uint8
            for name, header in self._inputs.items()
            if name not in self._regions
        )
        return self._preprocess if pixels else None

    def unlabelled(self) -> NpzDataset:
        """Return the same inputs without labels."""
        inputs = copy(self)
        inputs._labels = None
        return inputs

    def probe(self, classes: int | None) -> None:
        """Look at the first samples, and at all labels, or maps of :data:`PROBED` bytes.

        Raises:
            DataError: the file is broken, or a label is no class.
        """
        first_batch(self)
        if self._labels is None or classes is None or self.target_kind == "values":
            return
        left = PROBED
        with located(file=self.name):
            for number, rows in enumerate(self._rows(self._labels, Fraction(1))):
                self._check(rows, classes, number * self._batch)
                left -= rows.nbytes
                if left <= 0 and self.target_kind == "pixels":
                    return

    def _check(self, rows: np.ndarray, classes: int, start: int) -> None:
        """Raise if a label of a batch is no class; places are made for a wrong one only."""
        labels = (
            rows.reshape(len(rows)).astype(np.int64)
            if self.target_kind == "label"
            else (pixel_classes(rows.reshape(len(rows), *rows.shape[-2:]), self._ignore_label))
        )
        try:
            check_batch(Batch(inputs={"": labels}, labels=labels), classes)
        except DataError:
            places = self._places(start, len(rows))
            check_batch(Batch(inputs={"": labels}, labels=labels, places=places), classes)

    def __iter__(self) -> Iterator[Batch]:
        """Stream the samples; raises DataError where the file turns out to be broken."""
        with located(file=self.name):
            rows = {
                name: self._rows(header, self._each[name]) for name, header in self._inputs.items()
            }
            labels = self._rows(self._labels, Fraction(1)) if self._labels else None
            for start in range(0, self.samples, self._batch):
                inputs = {name: self._fed(name, next(stream)) for name, stream in rows.items()}
                found = next(labels) if labels else None
                if found is None:
                    yield Batch(inputs=inputs)
                elif self.target_kind == "values":
                    yield Batch(inputs=inputs, values=_floats(found))
                else:
                    maps = self.target_kind == "pixels"
                    yield Batch(
                        inputs=inputs,
                        labels=pixel_classes(found, self._ignore_label)
                        if maps
                        else found.reshape(len(found)).astype(np.int64),
                        places=self._places(start, len(found)),
                    )

    def _places(self, start: int, count: int) -> tuple[Where, ...]:
        """Return where so many labels stand."""
        assert self._labels is not None
        key = self._labels.key
        return tuple(
            Where(file=self.name, item=f"{key}[{number}]") for number in range(start, start + count)
        )

    def _fed(self, name: str, rows: np.ndarray) -> np.ndarray:
        header = self._inputs[name]
        if name in self._regions:
            with located(item=f"array '{header.key}'"):
                return of_one_run(_floats(rows), int(self._each[name]), self._images)
        if header.dtype != np.uint8:
            return _floats(rows)
        if header.channels_last:
            rows = rows.transpose(0, 3, 1, 2)
        elif rows.ndim == 3:
            rows = rows[:, None]
        return normalized(rows, self._preprocess)

    def _headers(self, wanted: set[str]) -> dict[str, _Header]:
        """Return the heads of the arrays of `wanted` names that are there."""
        headers = {}
        if self.path.suffix.lower() == ".npy":
            self._keys = ["x"]
            message = "the file cannot be read as a numpy array"
            with _reading(message), self.path.open("rb") as stream:
                header = _read_header("x", stream)
                _check_size(header, self.path.stat().st_size - stream.tell())
                return {"x": header}
        with _reading("the file cannot be read as a numpy archive"):
            archive = zipfile.ZipFile(self.path)
        with archive:
            members = archive.namelist()
            self._keys = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
            for key in sorted(wanted.intersection(self._keys)):
                message = f"array '{key}' cannot be read"
                with _reading(message), archive.open(f"{key}.npy") as stream:
                    headers[key] = _read_header(key, stream)
                    size = archive.getinfo(f"{key}.npy").file_size
                    _check_size(headers[key], size - stream.tell())
        return headers

    def _check_there(self, headers: dict[str, _Header], inputs: list[str]) -> None:
        """Raise if several inputs lack an array.

        Raises:
            DataError: names all of them.
        """
        lacking = [name for name in inputs if name not in headers]
        if len(inputs) > 1 and len(lacking) > 1:
            names = ", ".join(f"'{name}'" for name in lacking)
            found = ", ".join(f"'{key}'" for key in self._keys) or "nothing"
            raise DataError(f"there are no arrays for the inputs {names}, only {found}", hint=_HINT)

    def _input_header(
        self, headers: dict[str, _Header], name: str, shape: tuple[int | str, ...], *, single: bool
    ) -> _Header:
        """Return the array that feeds the input `name`, checked."""
        header = headers.get(name)
        if header is None and single:
            header = headers.get("x") or headers.get("x_test")
        if header is None:
            wanted = f"'x' or '{name}'" if single else f"'{name}'"
            found = ", ".join(f"'{key}'" for key in self._keys) or "nothing"
            raise DataError(
                f"there is no array {wanted} for input '{name}', only {found}", hint=_HINT
            )
        if header.dtype == np.uint8 and len(shape) == 4 and len(header.shape) in (3, 4):
            return self._pixel_header(header, name, shape)
        if header.dtype.kind != "f":
            raise DataError(
                f"array '{header.key}' holds {header.dtype}, not float32",
                hint="store inputs as the network takes them, or pixels as uint8",
            )
        if not header.shape or not sample_fits(header.shape, shape):
            raise DataError(
                f"array '{header.key}' is {shape_text(header.shape)}, but input '{name}' "
                f"takes {shape_text(shape)}"
            )
        return header

    def _pixel_header(self, header: _Header, name: str, shape: tuple[int | str, ...]) -> _Header:
        """Return the array of pixels that feeds an input N×C×H×W, checked."""
        stored = header.shape if len(header.shape) == 4 else (header.shape[0], 1, *header.shape[1:])
        last = (stored[0], stored[3], *stored[1:3])
        if not sample_fits(stored, shape) and sample_fits(last, shape):
            stored, header = last, replace(header, channels_last=True)
        if not sample_fits(stored, shape):
            raise DataError(
                f"array '{header.key}' is {shape_text(header.shape)}, but input '{name}' "
                f"takes {shape_text(shape)}"
            )
        if len(self._preprocess.mean) not in (0, 1, stored[1]):
            raise DataError(f"the mean has {len(self._preprocess.mean)} values for {stored[1]} "
                            "channels")  # fmt: skip
        return header

    def _rows(self, header: _Header, each: Fraction) -> Iterator[np.ndarray]:
        """Yield the samples of one array, batch by batch; a sample has `each` rows."""
        batch, end = int(self._batch * each), int(self.samples * each)
        what = "sample" if each == 1 else "row"
        message = f"array '{header.key}' cannot be read"
        alone = self.path.suffix.lower() == ".npy"
        if alone or header.fortran:  # mapped, or not stored one sample after the other
            with _reading(message):
                whole = np.load(self.path, allow_pickle=False, mmap_mode="r" if alone else None)
                if not alone:
                    with whole as archive:
                        whole = archive[header.key]
            for start in range(0, end, batch):
                yield whole[start : min(start + batch, end)]
            return
        width = header.dtype.itemsize * int(np.prod(header.shape[1:], dtype=np.int64))
        with _reading(message):
            archive_file = zipfile.ZipFile(self.path)
        with archive_file:
            with _reading(message):
                stream = archive_file.open(f"{header.key}.npy")
                _read_header(header.key, stream)
            with stream:
                for start in range(0, end, batch):
                    count = min(batch, end - start)
                    with _reading(message):
                        data = stream.read(count * width)
                    if len(data) < count * width:
                        raise DataError(
                            f"array '{header.key}' ends in {what} {start + len(data) // width} "
                            f"of {header.shape[0]}"
                        )
                    yield np.frombuffer(data, header.dtype).reshape(count, *header.shape[1:])


@contextmanager
def _reading(message: str) -> Iterator[None]:
    """Turn what readers of broken files raise into a DataError."""
    try:
        yield
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{message}: {reason}", hint=_HINT) from error


def _read_header(key: str, stream: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]} is not for plain arrays")
    return _Header(key=key, shape=shape, fortran=fortran and len(shape) > 1, dtype=dtype)


def _check_size(header: _Header, stored: int) -> None:
    """Raise if an array ends before its last sample.

    Args:
        header: its head.
        stored: bytes behind the head.

    Raises:
        DataError: says where it ends.
    """
    if not header.shape or header.dtype.hasobject:
        return
    width = header.dtype.itemsize * math.prod(header.shape[1:])
    if stored < width * header.shape[0]:
        raise DataError(
            f"array '{header.key}' ends in sample {stored // max(1, width)} of {header.shape[0]}"
        )


def _label_header(headers: dict[str, _Header], network: Network) -> _Header | None:
    header = headers.get("y") or headers.get("y_test")
    if header is None:
        return None
    kind, shape = header.dtype.kind, header.shape
    if kind == "f" and any(sample_fits(shape, out) for out in network.outputs.values()):
        return header
    if kind not in "iu":
        raise DataError(
            f"array '{header.key}' holds {header.dtype}, not integer labels", hint=_HINT
        )
    if not shape or (len(shape) < 3 and any(size != 1 for size in shape[1:])):
        raise DataError(
            f"array '{header.key}' is {shape_text(shape)}, not one label a sample", hint=_HINT
        )
    if len(shape) > 3 and shape[1] != 1:
        raise DataError(
            f"array '{header.key}' is {shape_text(shape)}, not one label a pixel", hint=_HINT
        )
    return header


def _floats(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)
