"""Lists of images with the labels that Darknet finds: in a label file, or in the image's path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....core.data.base import TargetKind
from ....core.data.images import image_files, read_image
from ....core.data.stream import Sample
from ....core.data.text import base_of_list, numbered_lines
from ....core.errors import DataError, Where, located
from .labels import label_path, read_labels

__all__ = ["DarknetImages", "listed"]


class DarknetImages:
    """Images with objects from label files, or with a class from their path.

    Args:
        name: name of the data in messages.
        images: path of each image, and its line in the list; the line is None for folders.
        target_kind: "objects" from label files, "label" from the path, or "" for neither.
        count: number of classes of objects; 0 if unknown.
        classes: names of the classes. The class of an image is the one whose name is part of the
            path. Source: data.c `fill_truth`.
    """

    def __init__(
        self,
        name: str,
        images: Sequence[tuple[Path, int | None]],
        *,
        target_kind: TargetKind,
        count: int = 0,
        classes: Sequence[str] = (),
    ):
        self.name = name
        self.target_kind = target_kind
        self.classes = tuple(classes)
        self._images = images
        self._count = count
        if not images:
            with located(file=name):
                raise DataError("there are no images in it")

    def __len__(self) -> int:
        return len(self._images)

    def files_of(self, index: int) -> tuple[Path, ...]:
        """Return the files that a sample is read from."""
        path, _ = self._images[index]
        return (path, label_path(path)) if self.target_kind == "objects" else (path,)

    @property
    def labels_in_memory(self) -> bool:
        """Whether classes are told by paths, not by label files."""
        return self.target_kind != "objects"

    def classes_in(self, index: int) -> list[int]:
        """Return the classes of the objects in an image, or its class by its path."""
        path, line = self._images[index]
        if self.target_kind == "objects":
            return list(map(int, read_labels(label_path(path), 1, 1).classes))
        with located(file=self.name, line=line):
            return [self._named(str(path))] if self.target_kind else []

    def place_of(self, index: int) -> Where:
        """Return where an image's label stands: its label file, or its line in the list."""
        path, line = self._images[index]
        if self.target_kind == "objects":
            return Where(file=str(label_path(path)))
        return Where(file=self.name, line=line)

    def unlabelled(self) -> DarknetImages:
        """Return the images without labels."""
        return DarknetImages(self.name, self._images, target_kind="")

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label or objects."""
        path, line = self._images[index]
        with located(file=self.name, line=line):
            if not path.is_file():
                raise DataError(f"there is no image '{path}'")
        image = read_image(path, gray=gray)
        where = Where(file=self.name, line=line)
        if self.target_kind == "label":
            with located(file=self.name, line=line):
                label = self._named(str(path))
            return Sample(image=image, label=label, where=where, file=str(path))
        if self.target_kind == "objects":
            height, width = image.shape[:2]
            labels = label_path(path)
            objects = read_labels(labels, height, width, self._count)
            where = Where(file=str(labels))
            return Sample(image=image, objects=objects, where=where, file=str(path))
        return Sample(image=image, where=where, file=str(path))

    def _named(self, path: str) -> int:
        """Return the class whose name is part of a path."""
        found = [number for number, name in enumerate(self.classes) if name in path]
        # Names can be parts of others (tench, tenches); Darknet wants exactly one.
        longest = max((len(self.classes[number]) for number in found), default=0)
        best = [number for number in found if len(self.classes[number]) == longest]
        if len(best) != 1:
            shown = ", ".join(self.classes[number] for number in best[:4]) or "none"
            raise DataError(f"the path '{path}' names {shown} of the classes, not one")
        return best[0]


def listed(path: Path, root: Path | None = None) -> list[tuple[Path, int | None]]:
    """Return the images of a list (one image on each line) or of a folder.

    Relative paths start from `root`. Without a root, they start from the first of these folders
    that has the first image: the working directory, as in Darknet, the folder of the list, and the
    folder above it.

    Raises:
        DataError: the list cannot be read, is empty, or its first image is not found.
    """
    if path.is_dir():
        folder = path / "images" if (path / "images").is_dir() else path
        return [(file, None) for file in image_files(folder)]
    lines = list(numbered_lines(path))
    with located(file=str(path), line=lines[0][0] if lines else None):
        if not lines:
            raise DataError("the list is empty")
        base = root if root is not None else base_of_list(path, (lines[0][1],))
    return [(base / text, line) for line, text in lines]
