"""The kinds of data that belong to no framework; importing this module registers them."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError, located
from ..ir.heads import classes_of
from .archives import is_archive, open_archive
from .base import Dataset
from .coco import CocoSource
from .idx import IdxImages, idx_images, is_idx
from .images import SUFFIXES, ImageFolder, class_folders, holds_images
from .npz import NpzDataset
from .registry import KINDS, Kind, Opening, stream
from .text import column_of, first_lines, read_names
from .voc import VocSource, annotation_folder

__all__: list[str] = []


def _numpy(path: Path, opening: Opening) -> Dataset:
    return NpzDataset(
        path,
        opening.network,
        preprocess=opening.preprocess,
        batch=opening.batch,
        limit=opening.options.limit,
        ignore_label=opening.options.ignore_label,
    )


def _folder(path: Path, opening: Opening) -> Dataset:
    """Open images; folders are classes where names say so, or where the network has so many."""
    if opening.names is not None and not opening.detector:
        names = read_names(opening.names)
        folders = {entry.name for entry in path.iterdir() if entry.is_dir()}
        return stream(ImageFolder(path, column_of(names, folders)), opening)
    classes = class_folders(path)
    told = _classes(opening)
    source = ImageFolder(path, classes if len(classes) == told else ())
    return stream(source, opening, found_labels="its folders are as many as the classes")


def _idx(path: Path, opening: Opening) -> Dataset:
    found = idx_images(path) if path.is_dir() else [path]
    if len(found) > 1:
        with located(file=str(path)):
            shown = ", ".join(file.name for file in found)
            raise DataError(f"several files hold images: {shown}", hint="give one of them")
    source = IdxImages(found[0])
    return stream(source, opening, tolerant=False, found_labels="the file of labels beside them")


def _is_idx(path: Path, _: Opening) -> bool:
    """Whether a path is an IDX file, or a folder with such and without other images."""
    if path.is_dir():
        return bool(idx_images(path)) and not holds_images(path)
    return is_idx(path)


def _classes(opening: Opening) -> int:
    """Return how many classes the network tells apart; 0 for a detector."""
    return 0 if opening.detector else classes_of(opening.network)


def _voc(path: Path, opening: Opening) -> Dataset:
    names = read_names(opening.names) if opening.names else ()
    found = "the annotations beside the images" if path.is_dir() and not names else ""
    return stream(VocSource(path, opening.root, names), opening, found_labels=found)


def _names_annotations(path: Path) -> bool:
    """Whether a text lists names of VOC annotations: `ImageSets/…/val.txt`."""
    lines = first_lines(path, 1) if path.suffix.lower() == ".txt" else []
    above = (parent / "Annotations" for parent in path.parents)
    return bool(lines) and any((f / f"{lines[0].split()[0]}.xml").is_file() for f in above)


for _kind in (
    Kind(
        name="numpy",
        claims=lambda path, _: path.suffix.lower() in (".npz", ".npy") and path.is_file(),
        open=_numpy,
        rank=0,
    ),
    Kind(
        name="image",
        claims=lambda path, _: path.suffix.lower() in SUFFIXES and path.is_file(),
        open=lambda path, opening: stream(ImageFolder(path), opening, tolerant=False),
        rank=0,
    ),
    Kind(
        name="COCO annotations",
        claims=lambda path, _: path.suffix.lower() == ".json" and path.is_file(),
        open=lambda path, opening: stream(CocoSource(path, opening.root), opening),
        rank=0,
    ),
    Kind(
        name="VOC annotations",
        claims=lambda path, _: annotation_folder(path) is not None or _names_annotations(path),
        open=_voc,
        rank=10,
    ),
    Kind(name="archive", claims=lambda path, _: is_archive(path), open=open_archive, rank=20),
    Kind(name="IDX", claims=_is_idx, open=_idx, rank=80),
    Kind(
        name="image folder",
        claims=lambda path, _: path.is_dir(),
        open=_folder,
        rank=90,
    ),
):
    KINDS.add(_kind.name, entry=_kind)
