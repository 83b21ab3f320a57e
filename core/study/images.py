"""A few images of each class, as the seed draws them."""

from __future__ import annotations

import numpy as np

from ..data import Dataset, streamed
from ..data.base import fixed_batch, target_kind
from ..data.part import chosen_part
from ..errors import DataError
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = ["FewImages"]


class FewImages:
    """Draws images of each class from a dataset.

    Of one seed, fewer images are among more of them, so that seeds differ and numbers do not.

    Args:
        labels: the class of each image, in the order of the dataset.
    """

    def __init__(self, labels: np.ndarray):
        self._labels = labels

    @classmethod
    def of(
        cls, network: Network, dataset: Dataset, most: int, progress: Progress = silent
    ) -> FewImages:
        """Read the labels of a dataset.

        Args:
            network: what it was opened for.
            dataset: the images.
            most: the largest number of each class that will be drawn.
            progress: told about every batch.

        Raises:
            DataError: images have no class, a class has too few, or the network takes whole batches
                only.
        """
        if target_kind(dataset) != "label":
            raise DataError(
                f"{dataset.name}: images have no labels of one class each",
                hint="images of each class can be counted where each has one class",
                option="low_data",
            )
        if fixed_batch(network) not in (None, 1):
            raise DataError(
                f"network '{network.name}' takes whole batches, and few images are none",
                option="low_data",
            )
        labels = np.concatenate(
            [batch.labels for batch in streamed(dataset, "reading labels", progress)
             if batch.labels is not None]
        )  # fmt: skip
        if len(labels) != dataset.samples:
            raise DataError(
                f"{dataset.name}: {dataset.samples - len(labels)} images cannot be read",
                hint="take them out, so that images of each class can be counted",
                option="low_data",
            )
        classes, counts = np.unique(labels, return_counts=True)
        rarest = int(counts.argmin())
        if counts[rarest] < most:
            raise DataError(
                f"{dataset.name}: class {classes[rarest]} has {counts[rarest]} images, and {most} "
                "of each class are asked for",
                hint="fewer images a class, or more data",
                option="low_data",
            )
        return cls(labels)

    def chosen(self, images: int, seed: int) -> np.ndarray:
        """Return which images are drawn [samples].

        Args:
            images: how many of each class.
            seed: decides which.
        """
        random = np.random.default_rng(seed)
        found = np.zeros(len(self._labels), bool)
        for number in np.unique(self._labels):
            found[random.permutation(np.flatnonzero(self._labels == number))[:images]] = True
        return found

    def drawn(self, dataset: Dataset, images: int, seed: int) -> Dataset:
        """Return the images of the dataset that are drawn."""
        return chosen_part(dataset, self.chosen(images, seed))
