"""Samples from image files, read with OpenCV, a batch at a time on all cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import DataError, located
from ..ir.network import Network, Preprocess
from ..session import cores, shape_text
from .base import BATCH_SIZE, Batch, batch_size, limited
from .preprocess import channel_order, to_input

__all__ = ["MAX_BROKEN", "SUFFIXES", "ImageDataset", "image_files", "read_image"]

SUFFIXES = (
    ".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""File names that count as images, in lower case."""

MAX_BROKEN = 10
"""So many unreadable images of a folder are left out; one more is an error."""


class ImageDataset:
    """The images of a folder and of its folders, in the order of their names, or one image.

    Args:
        path: a folder or an image.
        network: its only input (N×C×H×W) gives the size.
        preprocess: instead of the network's own.
        batch: samples a batch.
        limit: use only so many images from the start.

    Raises:
        DataError: there is no image, or the network takes something else than images.
    """

    labelled = False

    def __init__(
        self,
        path: Path,
        network: Network,
        *,
        preprocess: Preprocess | None = None,
        batch: int = BATCH_SIZE,
        limit: int | None = None,
    ):
        self.path = Path(path)
        self.name = str(path)
        self._preprocess = preprocess or network.preprocess
        self._input, self._size = _image_input(network)
        channel_order(self._preprocess, self._size[0])
        self._batch = batch_size(network, batch)
        self._broken: list[str] = []
        with located(file=self.name):
            files = image_files(self.path)
            self._files = files[: limited(len(files), limit, network)]
        self.samples = len(self._files)

    @property
    def problems(self) -> tuple[str, ...]:
        """The images that the last pass could not read, and why."""
        return tuple(self._broken)

    def __iter__(self) -> Iterator[Batch]:
        """Stream the images, without those that cannot be read.

        Raises:
            DataError: none, or all but more than :data:`MAX_BROKEN`, of the images can be read.
        """
        self._broken = []
        samples: list[np.ndarray] = []
        found = 0
        with ThreadPoolExecutor(min(cores(), 8)) as pool:
            for start in range(0, self.samples, self._batch):
                for sample in pool.map(self._sample, self._files[start : start + self._batch]):
                    if isinstance(sample, DataError):
                        self._note(sample)
                    else:
                        samples.append(sample)
                if len(samples) >= self._batch:
                    yield self._stacked(samples[: self._batch])
                    found += self._batch
                    del samples[: self._batch]
        if samples:
            yield self._stacked(samples)
        elif not found:
            raise DataError(f"none of the images can be read; {self._broken[0]}")

    def _stacked(self, samples: list[np.ndarray]) -> Batch:
        return Batch(inputs={self._input: np.stack(samples)})

    def _sample(self, path: Path) -> np.ndarray | DataError:
        try:
            return to_input(read_image(path, gray=self._size[0] == 1), self._size, self._preprocess)
        except DataError as error:
            return error

    def _note(self, error: DataError) -> None:
        """Remember an unreadable image; raise where it is the only one, or one too many."""
        if self.path.is_file():
            raise error
        self._broken.append(str(error))
        if len(self._broken) > MAX_BROKEN:
            raise DataError(
                f"more than {MAX_BROKEN} images cannot be read; the last: {error}",
                hint="is this a folder of images?",
            )


def image_files(path: Path) -> list[Path]:
    """Return the images at `path` sorted by name; hidden files and folders do not count.

    Raises:
        DataError: there is none.
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
    import cv2

    with located(file=str(path)):
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
            flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
            image = cv2.imdecode(data, flag) if data.size else None
        except OSError as error:
            raise DataError(f"the image cannot be read: {error.strerror or error}") from error
        except cv2.error as error:
            raise DataError(f"the image cannot be read: {error}") from error
        if image is None:
            raise DataError("this is no image that OpenCV can read")
        return np.asarray(image)


def _image_input(network: Network) -> tuple[str, tuple[int, int, int]]:
    """Return the name of the only input and its channels, height and width."""
    shapes = network.inputs
    hint = "give the inputs as arrays in a .npz file"
    if len(shapes) != 1:
        names = ", ".join(f"'{name}'" for name in shapes)
        raise DataError(f"images feed one input, but the network has {names}", hint=hint)
    name, shape = next(iter(shapes.items()))
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    if len(shape) != 4 or len(sizes) != 3:
        raise DataError(f"input '{name}' ({shape_text(shape)}) takes no images", hint=hint)
    return name, (sizes[0], sizes[1], sizes[2])
