"""How many rows of each input belong to a sample: one, or more where they are regions of images."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..errors import DataError
from ..ir.network import Network
from .base import fixed_batch

__all__ = ["of_one_run", "rows_of", "rows_per_sample"]


def rows_per_sample(network: Network) -> dict[str, Fraction]:
    """Return input → its rows a sample. It differs between inputs with fixed batches (regions)."""
    own = fixed_batch(network) or 1
    return {
        name: Fraction(shape[0], own) if shape and isinstance(shape[0], int) else Fraction(1)
        for name, shape in network.inputs.items()
    }


def rows_of(rows: int, chosen: np.ndarray) -> np.ndarray:
    """Return which rows of an input belong to the chosen samples.

    Args:
        rows: how many rows the input has.
        chosen: which samples, [samples].
    """
    found: np.ndarray = chosen[np.arange(rows) * len(chosen) // max(1, rows)]
    return found


def of_one_run(regions: np.ndarray, each: int, images: int) -> np.ndarray:
    """Return regions with the number of their image in the batch that the network fixes.

    Stored regions may count images from the first of the file, or all name image 0, since their
    network takes one image at a time. Their order tells which image they belong to.

    Args:
        regions: [samples · each, 5]: number of an image, x0, y0, x1, y1.
        each: regions of an image.
        images: images of one run.

    Raises:
        DataError: regions that belong to one image by their order name several.
    """
    numbers = regions[:, 0].reshape(-1, each)
    if (numbers != numbers[:, :1]).any():
        wrong = int((numbers != numbers[:, :1]).any(axis=1).argmax())
        raise DataError(
            f"rows {wrong * each} to {(wrong + 1) * each - 1} are the regions of one image, but "
            "name several in their first column"
        )
    found = np.array(regions)
    found[:, 0] = np.arange(len(regions)) // each % images
    return found
