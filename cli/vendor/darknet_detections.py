"""The files that Darknet's `valid` writes: what a detector finds, for the tools of data sets.

Source: detector.c `validate_detector`, `print_detector_detections`, `print_cocos`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .darknet_session import Session

if TYPE_CHECKING:
    from secateur import Network

__all__ = ["write_detections"]

SCORE, OVERLAP = 0.005, 0.45
"""Least score of detections, and the overlap at which a box suppresses a worse one."""

PREFIX, COCO_FILE = "comp4_det_test_", "coco_results.json"
"""Begins the names of files of a class; the name of the file for COCO."""

WITHOUT = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Numbers below 91 that no category of COCO has."""
CATEGORIES = tuple(number for number in range(1, 91) if number not in WITHOUT)
"""Class → number of its category in COCO."""

ORIENTATION, QUARTER_TURNS = 0x0112, 5
"""Tag of the orientation of an image, and the value from which on its sides are exchanged. Source:
Exif 2.3, table 4."""

Found = tuple[Path, int, float, tuple[float, float, float, float], tuple[int, int]]
"""Image, class, score, corners of the box in pixels, width and height of the image."""


def write_detections(session: Session, network: Network) -> str:
    """Write what a detector finds in the images of valid=; return the files, in words.

    With eval=coco it is one file for COCO's tools, else one file a class, as for Pascal VOC.

    Raises:
        DataError: an image cannot be read, or there are no names of classes.
        FormatError: a file cannot be written.
    """
    import secateur

    project = session.project
    names = project.class_names(network)
    coco = project.data.values.get("eval", ("voc", 0))[0] == "coco"
    if coco and len(names) > len(CATEGORIES):
        raise secateur.DataError(
            f"eval=coco, but the network has {len(names)} classes",
            where=secateur.Where(file=str(project.data.path)),
        )
    found = list(_found(session, network))
    texts = (
        {project.results / COCO_FILE: _coco(found)} if coco
        else {project.results / f"{PREFIX}{_file_name(name)}.txt": _voc(found, number)
              for number, name in enumerate(names)}
    )  # fmt: skip
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise secateur.FormatError(
                f"cannot be written: {error.strerror or error}",
                where=secateur.Where(file=str(path)),
            ) from error
    if coco:
        return str(project.results / COCO_FILE)
    return f"{len(texts)} files {project.results / PREFIX}*.txt"


def _file_name(name: str) -> str:
    """Return the name of a class as part of the name of a file."""
    return re.sub(r"[/\\\0]", "_", name)


def _found(session: Session, network: Network) -> Iterator[Found]:
    """Yield what is found in each image.

    Raises:
        DataError: an image cannot be read: nobody would know whose detections follow.
    """
    import secateur

    dataset = session.project.valid(network)
    images = session.project.images()
    with session.terminal.bars() as progress:
        every = list(
            secateur.find_objects(
                network, dataset, score=SCORE, suppress=OVERLAP, progress=progress
            )
        )
    if len(every) != len(images):
        first = dataset.problems[0] if dataset.problems else "unknown"
        raise secateur.DataError(
            f"{len(images) - len(every)} of {len(images)} images cannot be read: {first}"
        )
    for image, objects in zip(images, every, strict=True):
        size = _size(image)
        for box, score, number in zip(objects.boxes, objects.scores, objects.classes, strict=True):
            left, top, right, bottom = map(float, box)
            yield image, int(number), float(score), (left, top, right, bottom), size


def _size(image: Path) -> tuple[int, int]:
    """Return width and height of an image in pixels, turned as its metadata say."""
    from PIL import Image

    with Image.open(image) as opened:
        width, height = opened.size
        turned = opened.getexif().get(ORIENTATION, 1) >= QUARTER_TURNS
    return (height, width) if turned else (width, height)


def _voc(found: Sequence[Found], wanted: int) -> str:
    """Return the detections of one class: image, score and corners, which count from 1."""
    lines = []
    for image, number, score, (left, top, right, bottom), (width, height) in found:
        if number == wanted:
            corners = (
                max(left + 1, 1), max(top + 1, 1), min(right + 1, width), min(bottom + 1, height),
            )  # fmt: skip
            lines.append(f"{image.stem} {score:f} {' '.join(f'{side:f}' for side in corners)}\n")
    return "".join(lines)


def _coco(found: Sequence[Found]) -> str:
    """Return all detections as COCO's tools read them."""
    entries: list[dict[str, Any]] = []
    for image, number, score, (left, top, right, bottom), (width, height) in found:
        left, top = max(left, 0.0), max(top, 0.0)
        sides = (left, top, min(right, width) - left, min(bottom, height) - top)
        entries.append({
            "image_id": _image_id(image), "category_id": CATEGORIES[number],
            "bbox": [round(side, 6) for side in sides], "score": round(score, 6),
        })  # fmt: skip
    return json.dumps(entries, indent=0) + "\n"


def _image_id(image: Path) -> int:
    """Return the number in the name of an image, behind its last underscore."""
    digits = re.match(r"\d+", image.stem.rpartition("_")[2])
    return int(digits.group()) if digits else 0
