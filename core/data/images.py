"""Images in files, read with OpenCV, and folders of images, with or without classes."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, Where, located
from .base import TargetKind
from .stream import Sample

__all__ = [
    "SUFFIXES",
    "ImageFolder",
    "class_folders",
    "decode_image",
    "holds_images",
    "image_files",
    "read_image",
    "read_map",
]

SUFFIXES = (
    ".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Suffixes of images, in lower case."""

MOST_PIXELS = 1 << 26
"""Largest number of pixels of a map with a palette. Pillow warns above 1.3 times that number."""


class ImageFolder:
    """The images of a folder and its subfolders in the order of their names, or one image.

    Args:
        path: a folder or an image.
        classes: names of subfolders in the order of the classes. They give the images' labels;
            images outside them are an error. Empty if subfolders are no classes.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, path: Path, classes: Sequence[str] = ()):
        self.path = path
        self.name = str(path)
        self.target_kind: TargetKind = "label" if classes else ""
        self.classes = tuple(classes)
        with located(file=self.name):
            self._files = image_files(path)
            self._labels = self._classes(classes) if classes else []

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and the class of its folder."""
        path = self._files[index]
        return Sample(
            image=read_image(path, gray=gray),
            label=self._labels[index] if self._labels else None,
            where=Where(file=str(path)),
            file=str(path),
        )

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from."""
        return (self._files[index],)

    labels_in_memory = True

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the class of an image's folder."""
        return (self._labels[index],) if self._labels else ()

    def place_of(self, index: int) -> Where:
        """Return the image, whose folder is its label."""
        return Where(file=str(self._files[index]))

    def unlabelled(self) -> ImageFolder:
        """Return the images without classes."""
        return ImageFolder(self.path)

    def _classes(self, classes: Sequence[str]) -> list[int]:
        numbers = {name: number for number, name in enumerate(classes)}
        labels = []
        for file in self._files:
            first, *rest = file.relative_to(self.path).parts
            if not rest or first not in numbers:
                with located(file=str(file)):
                    raise DataError(
                        f"the folder '{first if rest else '.'}' is none of the {len(numbers)} "
                        "classes",
                        hint="one folder a class; --names gives their order",
                    )
            labels.append(numbers[first])
        return labels


def class_folders(path: Path) -> tuple[str, ...]:
    """Return the subfolders of a folder, sorted by name, if they are classes; else ().

    They are classes if there are at least two, each has images, and the folder itself has none.
    Names that begin with a number are sorted by the number.
    """
    folders = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                return ()
    if len(folders) < 2 or not all(holds_images(path / name) for name in folders):
        return ()
    return tuple(sorted(folders, key=_number_first))


def holds_images(path: Path) -> bool:
    """Whether there is an image in a folder or its subfolders."""
    return any(name.lower().endswith(SUFFIXES) for _, _, names in os.walk(path) for name in names)


def image_files(path: Path) -> list[Path]:
    """Return the images at `path`, sorted by name, without hidden files and folders.

    Raises:
        DataError: there is no image.
    """
    if path.is_file():
        return [path]
    files = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not files:
        kinds = " ".join(SUFFIXES)
        raise DataError("the folder holds no images", hint=f"images are named {kinds}")
    return sorted(files, key=lambda file: file.relative_to(path).parts)


def read_image(path: Path, *, gray: bool = False) -> np.ndarray:
    """Return the 8-bit pixels of an image: H×W×3 in the order blue, green, red, or H×W grey.

    Raises:
        DataError: the file cannot be read or is no image.
    """
    with located(file=str(path)):
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(f"the image cannot be read: {error.strerror or error}") from error
        return decode_image(data, gray=gray)


def decode_image(data: np.ndarray, *, gray: bool = False) -> np.ndarray:
    """Return the 8-bit pixels of a compressed image in memory (uint8).

    Raises:
        DataError: the data is no image.
    """
    import cv2

    try:
        flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        image = cv2.imdecode(data, flag) if data.size else None
    except cv2.error as error:
        raise DataError(f"the image cannot be read: {error}") from error
    if image is None:
        raise DataError("this is no image that OpenCV can read")
    return np.asarray(image)


def read_map(path: Path) -> np.ndarray:
    """Return a map of classes as H×W uint8: the indices of its palette, or its grey values.

    Raises:
        DataError: the file cannot be read, or is a colour image without a palette.
    """
    import cv2

    with located(file=str(path)):
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(f"the map cannot be read: {error.strerror or error}") from error
        if _has_palette(data):
            return _palette_indices(data)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise DataError("this is no image that OpenCV can read")
        if image.ndim != 2 or image.dtype != np.uint8:
            raise DataError(
                "a map of classes has one channel of 8 bits or a palette, this is a colour image"
            )
        return np.asarray(image)


def _has_palette(data: np.ndarray) -> bool:
    """Whether data is a PNG of colour type 3 (byte 25 of the header)."""
    return bytes(data[:8]) == b"\x89PNG\r\n\x1a\n" and data.size > 25 and int(data[25]) == 3


def _palette_indices(data: np.ndarray) -> np.ndarray:
    """Return the palette indices of a PNG as H×W uint8; OpenCV only gives the colours."""
    from PIL import Image

    # Width and height from bytes 16 to 23 of the header, before memory is used for the pixels.
    width, height = (int.from_bytes(data[place : place + 4].tobytes()) for place in (16, 20))
    if not 0 < width * height <= MOST_PIXELS:
        raise DataError(f"a map of {width}×{height} pixels cannot be")
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=["PNG"]) as image:
            indices = np.asarray(image)
    except Exception as error:  # Pillow has no common base for what broken files raise
        raise DataError(f"the PNG is broken: {error}") from error
    if indices.ndim != 2 or indices.dtype != np.uint8:
        raise DataError("the PNG is broken: it has a second header, of another type")
    return indices


def _number_first(name: str) -> tuple[int, int, str]:
    """Return the sort key of a folder's name: numbers by value, before other names."""
    digits = len(name) - len(name.lstrip("0123456789"))
    return (0, int(name[:digits]), name) if digits else (1, 0, name)
