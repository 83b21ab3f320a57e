"""Darknet's kinds of data; importing this module registers them."""

from __future__ import annotations

import os
from pathlib import Path

from ....core.data.base import Dataset, TargetKind
from ....core.data.images import SUFFIXES
from ....core.data.registry import KINDS, Kind, Opening, stream
from ....core.data.text import first_lines, read_names
from .data_file import has_training, open_data_file
from .labels import label_path
from .lists import DarknetImages, listed

__all__: list[str] = []


def _is_data_file(path: Path, _: Opening) -> bool:
    return path.suffix.lower() == ".data" and path.is_file()


def _is_list(path: Path, _: Opening) -> bool:
    """Whether every line is the path of an image."""
    lines = first_lines(path) if path.is_file() else []
    return bool(lines) and all(line.lower().endswith(SUFFIXES) for line in lines[:-1] or lines)


def _has_labels(path: Path, opening: Opening) -> bool:
    """Whether a folder holds images with label files, for a detector."""
    if not path.is_dir() or not opening.detector:
        return False
    folder = path / "images" if (path / "images").is_dir() else path
    with os.scandir(folder) as entries:
        first = next((e.path for e in entries if e.name.lower().endswith(SUFFIXES)), None)
    return first is not None and label_path(Path(first)).is_file()


def _data_file(path: Path, opening: Opening) -> Dataset:
    source = open_data_file(
        path, opening.root, detector=opening.detector, calibrate=opening.purpose == "calibrate"
    )
    return stream(source, opening)


def _apart(path: Path, _: Opening) -> bool:
    return has_training(path)


def _list(path: Path, opening: Opening) -> Dataset:
    images = listed(path, opening.root)
    names = read_names(opening.names) if opening.names else ()
    if opening.detector:
        known: TargetKind = "objects" if label_path(images[0][0]).is_file() else ""
    else:
        known = "label" if names else ""
    source = DarknetImages(str(path), images, target_kind=known, classes=names)
    found = "the label files beside the images" if known == "objects" and not names else ""
    return stream(source, opening, found_labels=found)


for _kind in (
    Kind(
        name="Darknet .data file",
        claims=_is_data_file,
        open=_data_file,
        rank=10,
        apart=_apart,
    ),
    Kind(name="list of images", claims=_is_list, open=_list, rank=40),
    Kind(name="images with label files", claims=_has_labels, open=_list, rank=40),
):
    KINDS.add(_kind.name, entry=_kind)
