"""The text of a `.data` file for training.

Source: detector.c `train_detector`, classifier.c `train_classifier` (both Darknets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..emission import FILL
from .data.data_file import DataFile, read_data_file

__all__ = ["DataText", "data_text"]

KEYS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "test"),
    "names": ("names", "labels"),
    "labels": ("labels", "names"),
}
"""Keys that are written, each with those of the user's file that stand for it."""
NAMES = {
    "train": "train.txt", "valid": "valid.txt", "names": "classes.names", "labels": "classes.list",
}  # fmt: skip
"""What is to be filled in for a key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataText:
    """A `.data` file.

    Args:
        content: its text.
        fill_in: what the user must fill in, each a line.
    """

    content: bytes
    fill_in: tuple[str, ...]


def data_text(
    data: Path | None, *, labels: bool, classes: int, images: str, backup: str
) -> DataText:
    """Return a `.data` file: with the paths of the user's own, else with places to fill in.

    Args:
        data: the user's data; only a `.data` file says anything.
        labels: whether classes are told by the paths of images, as for a classifier.
        classes: how many the network tells apart.
        images: what the lists hold, in words.
        backup: folder of the trained weights.

    Raises:
        DataError: the file is broken, or names files that are not there.
    """
    own = read_data_file(data) if data is not None and data.suffix == ".data" else None
    lines = [f"classes = {(own.number('classes') if own is not None else 0) or classes}"]
    missing = []
    for key in ("train", "valid", "names", *(["labels"] if labels else [])):
        found = _given(own, key)
        missing += [key] if found is None else []
        lines.append(f"{key} = {found if found is not None else f'{FILL}/{NAMES[key]}'}")
    lines.append(f"backup = {backup}")
    return DataText(
        content=("\n".join(lines) + "\n").encode(),
        fill_in=tuple(dict.fromkeys(_words(key, images) for key in missing)),
    )


def _given(data: DataFile | None, key: str) -> Path | None:
    """Return the file that the user's own file names for a key."""
    found = data.file(*KEYS[key]) if data is not None else None
    return found.absolute() if found is not None else None


def _words(key: str, images: str) -> str:
    if key == "names":
        return "names=: the names of the classes, one a line"
    if key == "labels":
        return "labels=: the words that tell the class in the path of an image, one a line"
    return f"train= and valid=: {images}"
