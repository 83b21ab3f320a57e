"""Whether labels are of the classes that a network tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError, Where
from .base import Objects

__all__ = ["check_labels", "check_objects"]

HINT = "are these the labels of another set of classes?"


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
