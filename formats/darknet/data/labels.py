"""Label files beside images: their paths and their content.

Each line holds a class, x and y of the centre, width and height, as fractions of the image.
Source: data.c `load_data_detection`, `read_boxes` (pjreddie); utils.c `replace_image_to_label`
(AlexeyAB).
"""

from __future__ import annotations

import re
from pathlib import Path

from ....core.data.base import Objects
from ....core.data.text import numbered_lines
from ....core.errors import DataError, located

__all__ = ["label_path", "read_labels"]

FOLDERS = (("/JPEGImages/", "/labels/"), ("/images/", "/labels/"))
_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|ppm|tiff?|webp|pgm)$", re.IGNORECASE)


def label_path(image: Path) -> Path:
    """Return the path of an image's label file: folder `images` → `labels`, suffix → .txt.

    pjreddie's Darknet replaces the first `images` (or `JPEGImages`) in the path. If that file does
    not exist, the last `images` is replaced instead, and then the image's own folder is tried.
    AlexeyAB's Darknet tries that folder first, unless it is one of COCO or VOC.
    """
    text = str(image)
    name = _SUFFIX.sub(".txt", text)
    candidates = []
    for old, new in FOLDERS:
        if old in name:
            candidates.append(name.replace(old, new, 1))
            head, _, tail = name.rpartition(old)
            candidates.append(f"{head}{new}{tail}")
    candidates.append(name)
    return Path(next((c for c in candidates if Path(c).is_file()), candidates[0]))


def read_labels(path: Path, height: int, width: int, classes: int = 0) -> Objects:
    """Return the objects of an image of `height` × `width` pixels.

    An empty file means that there is no object in the image.

    Args:
        path: the label file.
        height: height of the image in pixels.
        width: width of the image in pixels.
        classes: number of classes; 0 if unknown.

    Raises:
        DataError: the file does not exist, or a line is broken; names the line.
    """
    if not path.is_file():
        with located(file=str(path)):
            raise DataError("there is no such label file for an image of the set")
    rows = []
    for line, text in numbered_lines(path):
        with located(file=str(path), line=line):
            words = text.split()
            try:
                number = int(words[0])
                x, y, w, h = (float(word) for word in words[1:])
            except ValueError:
                raise DataError(f"'{text[:60]}' is not class, x, y, width, height") from None
            if number < 0 or (classes and number >= classes):
                known = f"none of 0…{classes - 1}" if classes else "below 0"
                raise DataError(f"class {number} is {known}")
            if not (w >= 0 and h >= 0 and abs(x) < 1e6 and abs(y) < 1e6):
                raise DataError(f"'{text[:60]}' is no box in parts of the image")
            rows.append(
                (number, (x - w / 2) * width, (y - h / 2) * height,
                 (x + w / 2) * width, (y + h / 2) * height)
            )  # fmt: skip
    return Objects.of(rows)
