"""Whether labels are of the classes that a network tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError, Where
from .base import Objects

__all__ = ["IGNORED", "check_labels", "check_objects", "check_pixels", "pixel_classes"]

HINT = "are these the labels of another set of classes?"

IGNORED = 255
"""The class of pixels that do not count. Source: Pascal VOC 2012, the borders of objects."""


def check_labels(labels: np.ndarray, classes: int, places: Sequence[Where] | None) -> None:
    """Raise where a label is no class.

    Args:
        labels: one a sample.
        classes: how many the network tells apart; they count from 0.
        places: where the label of each sample stands, where that is known.

    Raises:
        DataError: a label is below 0 or too high; says which, and where.
    """
    for sample in np.flatnonzero((labels < 0) | (labels >= classes))[:1]:
        raise DataError(
            f"the label is {int(labels[sample])}, but the network tells {classes} classes apart "
            f"(0…{classes - 1})",
            hint=HINT,
            where=places[sample] if places is not None else None,
        )


def pixel_classes(maps: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Return maps of classes as int64, with :data:`IGNORED` where a class does not count.

    Args:
        maps: N×H×W integers.
        ignore_label: a class that does not count either; None for no other one.
    """
    found = maps.astype(np.int64)
    if ignore_label is not None:
        found[found == ignore_label] = IGNORED
    return found


def check_pixels(maps: np.ndarray, classes: int, places: Sequence[Where] | None) -> None:
    """Raise where a pixel is of no class.

    Args:
        maps: N×H×W integers; :data:`IGNORED` and numbers below 0 do not count.
        classes: how many the network tells apart; they count from 0.
        places: where each map stands, where that is known.

    Raises:
        DataError: a class is too high; says which, and where.
    """
    for sample, row, column in np.argwhere((maps >= classes) & (maps != IGNORED))[:1]:
        number = maps[sample, row, column]
        raise DataError(
            f"a pixel of the map is of class {number}, but the network tells {classes} classes "
            f"apart (0…{classes - 1})",
            hint=f"--ignore-label {number} leaves such pixels out",
            where=places[sample] if places is not None else None,
        )


def check_objects(objects: Sequence[Objects], classes: int, places: Sequence[Where] | None) -> None:
    """Raise where an object is of no class.

    Args:
        objects: of each image.
        classes: how many the network tells apart; they count from 0.
        places: where the objects of each image stand, where that is known.

    Raises:
        DataError: a class is too high; says which object, and where.
    """
    for image, found in enumerate(objects):
        for number in np.flatnonzero(found.classes >= classes)[:1]:
            raise DataError(
                f"object {int(number) + 1} is of class {int(found.classes[number])}, but the "
                f"network tells {classes} classes apart (0…{classes - 1})",
                hint=HINT,
                where=places[image] if places is not None else None,
            )
