"""`.data` files: they name the images, the names of the classes and the labels.

Source: option_list.c `read_data_cfg`; detector.c, classifier.c (AlexeyAB, pjreddie).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....core.data.text import found_beside, numbered_lines, read_names
from ....core.errors import DataError, located
from .labels import label_path
from .lists import DarknetImages, listed

__all__ = ["DataFile", "has_training", "open_data_file", "read_data_file"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A `.data` file: key → value and line. Of several equal keys, the first counts."""

    path: Path
    values: dict[str, tuple[str, int]]

    def file(self, *keys: str) -> Path | None:
        """Return the file that the first present key of `keys` names; None if no key is present.

        A relative name is looked for in the working directory, as Darknet does, then in the folder
        of the `.data` file, and then in the folders above it.

        Raises:
            DataError: the file does not exist.
        """
        for key in keys:
            if key not in self.values:
                continue
            text, line = self.values[key]
            above = self.path.absolute().parents
            found = found_beside(text, list(above[:3]))
            if found is None:
                with located(file=str(self.path), line=line, field=key):
                    raise DataError(f"there is no file '{text}'")
            return found
        return None

    def number(self, key: str) -> int:
        """Return the number of a key; 0 if the key is not present.

        Raises:
            DataError: the value is no number.
        """
        if key not in self.values:
            return 0
        text, line = self.values[key]
        if not text.isdigit():
            with located(file=str(self.path), line=line, field=key):
                raise DataError(f"'{text[:40]}' is no number")
        return int(text)


def read_data_file(path: Path) -> DataFile:
    """Read a `.data` file.

    Raises:
        DataError: the file cannot be read, or a line is no `key = value`.
    """
    values: dict[str, tuple[str, int]] = {}
    for line, text in numbered_lines(path):
        if text[0] in "#;":
            continue
        key, sign, value = text.partition("=")
        if not sign:
            with located(file=str(path), line=line):
                raise DataError(f"'{text[:60]}' is no 'key = value'")
        values.setdefault(key.strip(), (value.strip(), line))
    return DataFile(path, values)


MEASURED = ("valid", "test")
"""Keys of the images to measure on."""


def has_training(path: Path) -> bool:
    """Return whether `train=` names images that are there, and not those that are measured on.

    Where `train=` names a file of the machine that the network was trained on, there are none.

    Raises:
        DataError: the file is broken.
    """
    data = read_data_file(path)
    try:
        training = data.file("train")
    except DataError:
        return False
    if training is None or not any(key in data.values for key in MEASURED):
        return False
    measured = data.file(*MEASURED)
    return measured is not None and measured.resolve() != training.resolve()


def open_data_file(
    path: Path, root: Path | None = None, *, detector: bool, calibrate: bool = False
) -> DarknetImages:
    """Return the images of `valid=`, `test=` or `train=` with their labels.

    Args:
        path: the `.data` file.
        root: folder that relative paths in lists start from; see :func:`.lists.listed`.
        detector: whether the images are for a detector: their labels are then objects.
        calibrate: take those of `train=`, if there are any besides others.

    Raises:
        DataError: a file or key is missing, or there are fewer names than `classes=` says.
    """
    data = read_data_file(path)
    training = calibrate and has_training(path)
    images = data.file("train") if training else data.file(*MEASURED, "train")
    name = f"{path} (train=)" if training else str(path)
    if images is None:
        with located(file=str(path)):
            raise DataError("there is neither valid= nor train=")
    classes = data.number("classes")
    found = listed(images, root)
    # The file of a classifier has labels=. A detector then needs label files beside the images.
    if detector and ("labels" not in data.values or label_path(found[0][0]).is_file()):
        file = data.file("names", "labels")
        names = read_names(file) if file is not None else ()
        if file is not None and len(names) < classes:
            with located(file=str(file)):
                raise DataError(f"{len(names)} names for {classes} classes")
        return DarknetImages(name, found, target_kind="objects", count=classes, classes=names)
    labels = data.file("labels", "names")
    if labels is None:
        with located(file=str(path)):
            raise DataError("there is no labels=, which a classifier needs")
    names = read_names(labels)[: classes or None]
    return DarknetImages(name, found, target_kind="label", classes=names)
