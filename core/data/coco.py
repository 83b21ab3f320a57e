"""COCO annotations: one JSON file with the objects of all images.

Source: cocodataset.org/#format-data; boxes are x, y, width, height in pixels from the corner.
Classes are the categories in the order of their ids, counted from 0.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..errors import DataError, Where, located
from .base import Objects, TargetKind
from .images import read_image
from .stream import Sample
from .text import reading

__all__ = ["CocoSource"]

MOST_BYTES = 1 << 31


class CocoSource:
    """The images of a COCO file, in its order, with their objects.

    Args:
        path: the JSON file.
        root: folder with the images; with None, it is looked for near the file.

    Raises:
        DataError: the file is broken, or the images are not found; names the entry.
    """

    target_kind: TargetKind = "objects"

    def __init__(self, path: Path, root: Path | None = None):
        self.path = path
        self.name = str(path)
        with reading(path):
            if path.stat().st_size > MOST_BYTES:
                raise DataError("too large for COCO annotations")
            try:
                content = json.loads(path.read_bytes())
            except (json.JSONDecodeError, RecursionError) as error:
                line = getattr(error, "lineno", None)
                with located(line=line):
                    raise DataError(f"this is no JSON: {error}") from error
            self._read(content)
            self._folder = root or self._find_folder()

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its objects."""
        number, name = self._images[index]
        image = read_image(self._folder / name, gray=gray)
        boxes, ignored, crowd = self._objects.get(number, ([], [], []))
        return Sample(
            image=image,
            objects=Objects.of(boxes, ignored, crowd),
            where=Where(file=self.name, item=f"image '{name}'"),
            file=str(self._folder / name),
        )

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from, beside the annotations."""
        return (self._folder / self._images[index][1],)

    labels_in_memory = True

    def classes_in(self, index: int) -> list[int]:
        """Return the classes of the objects in an image."""
        boxes, _, _ = self._objects.get(self._images[index][0], ([], [], []))
        return [int(box[0]) for box in boxes]

    def place_of(self, index: int) -> Where:
        """Return the entry of an image."""
        return Where(file=self.name, item=f"image '{self._images[index][1]}'")

    def _read(self, content: Any) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            raise DataError("these are no COCO annotations: there is no list 'images'")
        self._images = [
            (_entry(e, i, "images", "id"), str(_entry(e, i, "images", "file_name")))
            for i, e in enumerate(content["images"])
        ]
        if not self._images:
            raise DataError("the list 'images' is empty")
        categories = content.get("categories") or []
        ids = sorted(_entry(e, i, "categories", "id") for i, e in enumerate(categories))
        names = {e["id"]: str(e.get("name", e["id"])) for e in categories}
        self.classes = tuple(names[number] for number in ids)
        order = {number: place for place, number in enumerate(ids)}
        known = {number for number, _ in self._images}
        self._objects: dict[Any, tuple[list[Any], list[bool], list[bool]]] = defaultdict(
            lambda: ([], [], [])
        )
        for place, entry in enumerate(content.get("annotations") or []):
            image, category, box = (
                _entry(entry, place, "annotations", key)
                for key in ("image_id", "category_id", "bbox")
            )
            with located(item=f"annotations[{place}]"):
                if category not in order:
                    raise DataError(f"category {category} is not in the list 'categories'")
                if image not in known:
                    raise DataError(f"image {image} is not in the list 'images'")
                x, y, width, height = _numbers(box)
            boxes, ignored, crowds = self._objects[image]
            crowd = bool(entry.get("iscrowd", 0))
            boxes.append((order[category], x, y, x + width, y + height))
            crowds.append(crowd)
            ignored.append(crowd)  # as in cocoeval.py, which overwrites `ignore` of the file

    def _find_folder(self) -> Path:
        """Return the folder with the first image: beside the file, or as in COCO's layout.

        Raises:
            DataError: the image is not found.
        """
        split = self.path.stem.rpartition("_")[2]
        beside, above = self.path.parent, self.path.parent.parent
        candidates = [
            beside, beside / "images", beside / split, above / split, above / "images",
            above / "images" / split, above,
        ]  # fmt: skip
        first = self._images[0][1]
        for folder in candidates:
            if (folder / first).is_file():
                return folder
        raise DataError(
            f"the image '{first}' is not found near the annotations",
            hint="--root names the folder with the images",
        )


def _entry(entry: Any, place: int, section: str, key: str) -> Any:
    """Return a field of entry number `place` of a list.

    Raises:
        DataError: it is missing.
    """
    with located(item=f"{section}[{place}]", field=key):
        if not isinstance(entry, dict) or key not in entry:
            raise DataError("required, but missing")
        return entry[key]


def _numbers(box: Any) -> list[float]:
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(value, int | float) for value in box)
    ):
        raise DataError(f"the bbox {str(box)[:60]} is not x, y, width, height")
    return [float(value) for value in box]
