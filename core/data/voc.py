"""Pascal VOC annotations: an XML file for each image.

Source: VOC2012 development kit, section 2.3.4. Corners count pixels from 1, and the last pixel
belongs to the box: x0 = xmin − 1, x1 = xmax.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..errors import DataError, Where, located
from .base import Objects, TargetKind
from .images import SUFFIXES, read_image
from .stream import ImageSource, Sample
from .text import numbered_lines, reading

__all__ = ["VOC_CLASSES", "VocSource", "annotation_folder"]

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The classes of Pascal VOC in their usual order."""

MOST_BYTES = 1 << 24

HEAD_BYTES = 1 << 12
"""Bytes of a file in which its first element begins."""


class VocSource:
    """The images of a folder of annotations, or of a list of their names.

    Args:
        path: a folder with XML files, one above `Annotations`, or a list of an `ImageSets` folder.
        root: folder with the images; with None, `JPEGImages` beside the annotations, or the folder
            of the annotations.
        classes: names of the classes in their order. If empty, the classes of VOC if they include
            all names that occur, else all names that occur, sorted.

    Raises:
        DataError: there are no annotations, or one is broken; names the file.
    """

    target_kind: TargetKind = "objects"

    def __init__(self, path: Path, root: Path | None = None, classes: Sequence[str] = ()):
        self.name = str(path)
        with located(file=self.name):
            self._files = _annotations(path)
        beside = self._files[0].parent
        images = beside.parent / "JPEGImages"
        self._folder = root or (images if images.is_dir() else beside)
        self.classes = tuple(classes) or self._found_classes()
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its objects."""
        path = self._files[index]
        with located(file=str(path)):
            tree = _parsed(path)
            rows, ignored = [], []
            for place, element in enumerate(tree.iter("object")):
                with located(item=f"object {place + 1}"):
                    rows.append(self._row(element))
                    ignored.append(element.findtext("difficult", "0").strip() == "1")
        file = self._image(path, tree)
        return Sample(
            image=read_image(file, gray=gray), objects=Objects.of(rows, ignored),
            where=Where(file=str(path)), file=str(file),
        )  # fmt: skip

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from."""
        path = self._files[index]
        with located(file=str(path)):
            return (path, self._image(path, _parsed(path)))

    labels_in_memory = False

    def classes_in(self, index: int) -> list[int]:
        """Return the classes of the objects in an image."""
        path = self._files[index]
        with located(file=str(path)):
            return [self._row(element)[0] for element in _parsed(path).iter("object")]

    def place_of(self, index: int) -> Where:
        """Return the file of an image's objects."""
        return Where(file=str(self._files[index]))

    def unlabelled(self) -> ImageSource:
        """Return the images of the annotations, whatever objects they name."""
        return _Images(self)

    def read_image(self, index: int, *, gray: bool) -> Sample:
        """Return an image without its objects."""
        path = self._files[index]
        file = self._image(path, _parsed(path))
        image = read_image(file, gray=gray)
        return Sample(image=image, where=Where(file=str(path)), file=str(file))

    def _row(self, element: ElementTree.Element) -> tuple[int, float, float, float, float]:
        name = _text(element, "name")
        if name not in self._numbers:
            raise DataError(
                f"class '{name}' is none of the {len(self.classes)}",
                hint="--names gives a file with the classes",
            )
        x0, y0, x1, y1 = (
            _number(element, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
        )
        return (self._numbers[name], x0 - 1, y0 - 1, x1, y1)

    def _image(self, path: Path, tree: ElementTree.Element) -> Path:
        stored = Path((tree.findtext("filename") or "").strip()).name
        if stored and (self._folder / stored).is_file():
            return self._folder / stored
        for suffix in SUFFIXES:
            candidate = self._folder / f"{path.stem}{suffix}"
            if candidate.is_file():
                return candidate
        with located(file=str(path)):
            raise DataError(
                f"its image '{stored or path.stem}' is not in '{self._folder}'",
                hint="--root names the folder with the images",
            )

    def _found_classes(self) -> tuple[str, ...]:
        found: set[str] = set()
        for path in self._files:
            with located(file=str(path)):
                found.update(_text(element, "name") for element in _parsed(path).iter("object"))
        return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))


class _Images:
    """The images of annotations, without their objects."""

    target_kind: TargetKind = ""

    def __init__(self, source: VocSource):
        self._source = source
        self.name = source.name

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image."""
        return self._source.read_image(index, gray=gray)

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from."""
        return self._source.files_of(index)


def annotation_folder(path: Path) -> Path | None:
    """Return the folder itself or its `Annotations`, whichever has annotations; None for neither.

    Other XML files are none. Where images lie among them, a few annotations do not make a folder of
    annotations: half as many as images are needed.
    """
    if not path.is_dir():
        return None
    found, images = 0, 0
    with os.scandir(path) as entries:
        for entry in entries:
            images += entry.name.lower().endswith(SUFFIXES)
            found += entry.name.lower().endswith(".xml") and _is_annotation(Path(entry.path))
    if found and 2 * found >= images:
        return path
    folder = path / "Annotations"
    return folder if folder.is_dir() and any(_xml_files(folder)) else None


def _xml_files(folder: Path) -> Iterator[Path]:
    """Yield the annotations of a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".xml" and _is_annotation(path):
            yield path


def _is_annotation(path: Path) -> bool:
    """Whether a file is an annotation by its first element.

    What is broken is taken for one: whoever reads it says what is wrong.
    """
    parser: Any = ElementTree.XMLPullParser(["start"])
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if b"<!ENTITY" in head:
            return True
        parser.feed(head)
        for _, element in parser.read_events():
            return str(getattr(element, "tag", "")).rpartition("}")[2] == "annotation"
    except (OSError, ElementTree.ParseError):
        pass
    return True


def _annotations(path: Path) -> list[Path]:
    """Return the annotations of a folder or a list.

    Raises:
        DataError: there are none, or a file of the list does not exist.
    """
    if path.is_dir():
        folder = annotation_folder(path)
        found = list(_xml_files(folder)) if folder is not None else []
        if not found:
            raise DataError("the folder holds no annotations (.xml)")
        return found
    folder = next((f for parent in path.parents if (f := parent / "Annotations").is_dir()), None)
    if folder is None:
        raise DataError("there is no folder 'Annotations' above this list")
    files = []
    for line, text in numbered_lines(path):
        words = text.split()
        # Lists of one class have a second column: −1 for images without that class.
        file = folder / f"{words[0]}.xml"
        if not file.is_file():
            with located(line=line):
                raise DataError(f"there is no annotation '{file}'")
        files.append(file)
    if not files:
        raise DataError("the list is empty")
    return files


def _parsed(path: Path) -> ElementTree.Element:
    with reading(path):
        if path.stat().st_size > MOST_BYTES:
            raise DataError("too large for an annotation")
        data = path.read_bytes()
        if b"<!ENTITY" in data:
            raise DataError("annotations have no entities")
        try:
            return ElementTree.fromstring(data)  # noqa: S314  # no entities, see above
        except ElementTree.ParseError as error:
            with located(line=error.position[0]):
                raise DataError(f"this is no XML: {error}") from error


def _text(element: ElementTree.Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise DataError(f"<{name}> is missing")
    return text


def _number(element: ElementTree.Element, name: str) -> float:
    text = _text(element, name)
    try:
        return float(text)
    except ValueError:
        raise DataError(f"<{name}> is no number: '{text[:40]}'") from None
