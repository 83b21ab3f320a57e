"""`.data` files: where the images, the names and the labels are.

Source: option_list.c `read_data_cfg`; detector.c, classifier.c (AlexeyAB, pjreddie).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....core.data.text import found_beside, numbered_lines, read_names
from ....core.errors import DataError, located
from .labels import label_path
from .lists import DarknetImages, listed

__all__ = ["DataFile", "open_data_file", "read_data_file"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """Keys and values of a `.data` file, with the line of each; the first of equal keys counts."""

    path: Path
    values: dict[str, tuple[str, int]]

    def file(self, *keys: str) -> Path | None:
        """Return the file that the first of some keys names, None where none is given.

        Relative names start from the working directory, as Darknet takes them, from the folder of
        the `.data` file, or from one above.

        Raises:
            DataError: it is not there.
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
        """Return a number, 0 where it is not given.

        Raises:
            DataError: it is none.
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
        DataError: it cannot be read, or a line is no `key = value`.
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


def open_data_file(path: Path, root: Path | None = None, *, detector: bool) -> DarknetImages:
    """Return the images of `valid=` (or else `train=`) with their labels.

    Raises:
        DataError: something is missing, or the names are not as many as `classes=`.
    """
    data = read_data_file(path)
    images = data.file("valid", "test", "train")
    if images is None:
        with located(file=str(path)):
            raise DataError("there is neither valid= nor train=")
    classes = data.number("classes")
    found = listed(images, root)
    # Files for classifiers have labels=; then images of a detector must have label files, too.
    if detector and ("labels" not in data.values or label_path(found[0][0]).is_file()):
        file = data.file("names", "labels")
        names = read_names(file) if file is not None else ()
        if file is not None and len(names) < classes:
            with located(file=str(file)):
                raise DataError(f"{len(names)} names for {classes} classes")
        return DarknetImages(str(path), found, target_kind="objects", count=classes, classes=names)
    labels = data.file("labels", "names")
    if labels is None:
        with located(file=str(path)):
            raise DataError("there is no labels=, which a classifier needs")
    names = read_names(labels)[: classes or None]
    return DarknetImages(str(path), found, target_kind="label", classes=names)
