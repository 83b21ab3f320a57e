"""Label files beside images: where they stand, and what is in them.

Source: data.c `load_data_detection`, `read_boxes` (pjreddie); utils.c `replace_image_to_label`
(AlexeyAB). Each line holds a class and x, y of the middle, width and height in parts of the image.
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
    """Return where the labels of an image stand: folder images → labels, suffix → .txt.

    pjreddie's replaces the first `images` (or `JPEGImages`) of the path. Where that file is not
    there, the last one is tried, and then the image's own folder, where AlexeyAB's looks first
    unless the folder is one of COCO's or VOC's.
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

    An empty file means that there is nothing in the image.

    Args:
        path: the label file.
        height: of the image.
        width: of the image.
        classes: how many there are; 0 where nobody knows.

    Raises:
        DataError: the file is not there, or a line is broken; says which.
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
