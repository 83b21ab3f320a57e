"""Lists of images: each line is `path label`, or `path path` if the label is an image.

A third column (the name of the class) may stand on either side of the label. Columns may be
separated by commas, semicolons or tabs, with a line of headings above them, as tables are.

Source: image_data_layer.cpp `DataLayerSetUp` (BVLC 9b89154). The label follows the last blank of a
line, so that paths may contain blanks. `root_folder` is put before each path unchanged.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import numpy as np

from ....core.data.base import TargetKind
from ....core.data.images import SUFFIXES, read_image, read_map
from ....core.data.stream import Sample
from ....core.data.text import base_of_list, numbered_lines
from ....core.errors import DataError, Where, located

__all__ = ["ImageList", "PairList", "divided", "labelled"]

_LABEL = re.compile(r"(.*\S)\s+(-?\d+)")

_IMAGE = re.compile(
    rf"\"?(.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))\"?(\s*[,;\t]\s*|\s+)(.*)", re.IGNORECASE
)
"""The path of an image, what separates columns, and the other columns."""

_NUMBER = re.compile(r"-?\d+")


class ImageList:
    """The images of a list, with their labels.

    Args:
        path: the list.
        root: folder that relative paths start from. With None, it is the first of the working
            directory, the folder of the list and the folder above it that has the first image.

    Raises:
        DataError: a line is broken, or the first image is not found; names the line.
    """

    target_kind: TargetKind = "label"

    def __init__(self, path: Path, root: Path | None = None):
        self.name = str(path)
        self._paths: list[str] = []
        self._lines = array("q")
        self._labels = array("q")
        for line, text in numbered_lines(path):
            with located(file=self.name, line=line):
                found = labelled(text)
                if found is None and not self._paths and _is_heading(text):
                    continue
                if found is None:
                    raise DataError(
                        f"'{text[:60]}' is not 'path label'", hint="the label is a whole number"
                    )
            self._paths.append(found[0])
            self._labels.append(found[1])
            self._lines.append(line)
        self._base = _base(path, root, self._paths[0] if self._paths else "")

    def __len__(self) -> int:
        return len(self._paths)

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from, beside the list."""
        return (self._base / self._paths[index],)

    labels_in_memory = True

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the label of an image."""
        label = self._labels[index]
        if label < 0:
            with located(file=self.name, line=self._lines[index]):
                raise DataError(f"the label {label} is negative")
        return (label,)

    def place_of(self, index: int) -> Where:
        """Return the line of an image."""
        return Where(file=self.name, line=self._lines[index])

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label."""
        (label,) = self.classes_in(index)
        path = self._base / self._paths[index]
        with located(file=self.name, line=self._lines[index]):
            if not path.is_file():
                raise DataError(f"there is no image '{path}'")
        return Sample(
            image=read_image(path, gray=gray), label=label, where=self.place_of(index),
            file=str(path),
        )  # fmt: skip


class PairList:
    """The images of a list, each with a map of its classes or with a target image.

    Such lists belong to the layers "ImageSegData" and "DenseImageData".

    Args:
        path: the list.
        root: folder that relative paths start from, as in :class:`ImageList`.
        maps: whether the second path is a map of classes; else it is an image.

    Raises:
        DataError: a line is broken, or the first image is not found; names the line.
    """

    def __init__(self, path: Path, root: Path | None = None, *, maps: bool):
        self.name = str(path)
        self.target_kind: TargetKind = "pixels" if maps else "values"
        self._pairs: list[tuple[int, str, str]] = []
        for line, text in numbered_lines(path):
            both = divided(text)
            if both is None:
                with located(file=self.name, line=line):
                    raise DataError(f"'{text[:60]}' is not 'path path'")
            self._pairs.append((line, *both))
        self._base = _base(path, root, self._pairs[0][1] if self._pairs else "")

    def __len__(self) -> int:
        return len(self._pairs)

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from, beside the list."""
        _, *names = self._pairs[index]
        return tuple(self._base / name.lstrip("/") for name in names)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its map or target."""
        line, *names = self._pairs[index]
        # Lists of Pascal VOC begin their paths with "/", though they are relative.
        first, second = (self._base / name.lstrip("/") for name in names)
        with located(file=self.name, line=line):
            for path in (first, second):
                if not path.is_file():
                    raise DataError(f"there is no image '{path}'")
        image, where = read_image(first, gray=gray), Where(file=self.name, line=line)
        if self.target_kind == "values":
            target = read_image(second, gray=gray)
            return Sample(image=image, target=target, where=where, file=str(first))
        pixels = read_map(second)
        if pixels.shape != image.shape[:2]:
            with located(file=str(second)):
                raise DataError(
                    f"the map is {pixels.shape[0]}×{pixels.shape[1]}, its image "
                    f"{image.shape[0]}×{image.shape[1]}"
                )
        return Sample(image=image, pixels=np.asarray(pixels), where=where, file=str(first))


def labelled(text: str) -> tuple[str, int] | None:
    """Return the path and the label of a line; None if there is no label.

    Raises:
        DataError: several columns may be the label.
    """
    plain = _LABEL.fullmatch(text)
    if plain is not None and plain[1].lower().endswith(SUFFIXES):
        return plain[1], int(plain[2])
    image = _IMAGE.fullmatch(text)
    if image is None:
        return (plain[1], int(plain[2])) if plain is not None else None
    mark = image[2].strip() or ("\t" if "\t" in text else None)
    columns = [column.strip().strip('"') for column in image[3].split(mark)]
    numbers = [column for column in columns if _NUMBER.fullmatch(column)]
    if len(numbers) > 1:
        raise DataError(
            f"'{text[:60]}' has several numbers behind the image: which is the class?",
            hint="leave one of them",
        )
    return (image[1], int(numbers[0])) if numbers else None


def _is_heading(text: str) -> bool:
    """Whether a line is the names of columns: words with commas, semicolons or tabs between."""
    return re.search(r"[,;\t]", text) is not None and re.search(r"\d", text) is None


def divided(text: str) -> tuple[str, str] | None:
    """Return the two paths of a line; None if it is not two paths of images.

    The line is divided at a blank behind the suffix of an image.
    """
    for match in re.finditer(r"\s+", text):
        left, right = text[: match.start()], text[match.end() :]
        if left.lower().endswith(SUFFIXES) and right.lower().endswith(SUFFIXES):
            return left, right
    return None


def _base(path: Path, root: Path | None, first: str) -> Path:
    """Return the folder that the paths of a list start from.

    Args:
        path: the list.
        root: the folder that the user gave.
        first: the first path of the list; "" if the list is empty.

    Raises:
        DataError: the list is empty, or its first image is not found.
    """
    with located(file=str(path), line=1):
        if not first:
            raise DataError("the list is empty")
        if root is not None:
            return root
        return base_of_list(path, (first, first.lstrip("/")))
