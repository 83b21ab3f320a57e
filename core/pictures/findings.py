"""What a network finds in one sample, and how far two networks are apart there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.base import Batch, Frame
from ..errors import DataError
from ..evaluation.metrics.boxes import overlaps
from ..evaluation.metrics.classification import log_probabilities
from ..evaluation.metrics.decode import Detections
from ..evaluation.metrics.detection import MATCH, Finder
from ..ir.heads import box_heads, classes_of, classifier_output, map_output
from ..ir.network import Network

__all__ = ["SURE", "Boxes", "ClassMap", "Classes", "Finding", "Viewer", "class_name", "viewer_of"]

SURE = 0.25
"""Boxes with this score or more are shown where nobody says otherwise.
Source: detector.c `test_detector`, -thresh."""


def class_name(number: int, names: Sequence[str] = ()) -> str:
    """Return what a class is called: its name, or its number where there is none."""
    return names[number] if number < len(names) else f"class {number}"


class Finding(ABC):
    """What a network finds in one sample."""

    __slots__ = ()

    @abstractmethod
    def disagreement(self, other: Finding) -> float:
        """Return how far another network's finding is from this one; 0 where they are the same."""

    @abstractmethod
    def differs(self, other: Finding) -> bool:
        """Return whether people would be told something else."""

    @abstractmethod
    def text(self, names: Sequence[str] = ()) -> str:
        """Return it in words.

        Args:
            names: of the classes.
        """

    @abstractmethod
    def rows(self, names: Sequence[str] = ()) -> list[dict[str, object]]:
        """Return plain values, one entry for each thing that was found."""


@dataclass(frozen=True, slots=True)
class Classes(Finding):
    """The classes of a sample.

    Args:
        shares: probability of each class, [classes].
        top: so many are told, the best ones.
    """

    shares: np.ndarray
    top: int = 5

    @property
    def best(self) -> list[tuple[int, float]]:
        """The classes that are told with their probabilities, the best first."""
        order = np.argsort(-self.shares, kind="stable")[: self.top]
        return [(int(number), float(self.shares[number])) for number in order]

    def disagreement(self, other: Finding) -> float:
        """Return 1 more where the best class differs, and how far the probabilities are apart.

        The second part is half the sum of |p − q|, 0…1.
        """
        assert isinstance(other, Classes)
        apart = float(np.abs(self.shares - other.shares).sum() / 2)
        return self.differs(other) + (apart if np.isfinite(apart) else 1.0)

    def differs(self, other: Finding) -> bool:
        """Return whether the best class is another."""
        assert isinstance(other, Classes)
        return int(self.shares.argmax()) != int(other.shares.argmax())

    def text(self, names: Sequence[str] = ()) -> str:
        """Return the best classes and their probabilities."""
        told = (f"{class_name(number, names)} {100 * share:.0f} %" for number, share in self.best)
        return ", ".join(told)

    def rows(self, names: Sequence[str] = ()) -> list[dict[str, object]]:
        """Return the best classes."""
        return [
            {"class": number, "name": class_name(number, names), "score": round(share, 6)}
            for number, share in self.best
        ]


@dataclass(frozen=True, slots=True)
class Boxes(Finding):
    """The boxes in an image.

    Args:
        found: in pixels of the image.
    """

    found: Detections

    def disagreement(self, other: Finding) -> float:
        """Return the sum of the scores of boxes without a partner, and of what partners differ."""
        assert isinstance(other, Boxes)
        mine, its = self.found, other.found
        pairs = _partners(mine, its)
        left = [score for place, score in enumerate(mine.scores) if place not in pairs]
        taken = set(pairs.values())
        left += [score for place, score in enumerate(its.scores) if place not in taken]
        left += [abs(mine.scores[a] - its.scores[b]) for a, b in pairs.items()]
        return float(sum(left))

    def differs(self, other: Finding) -> bool:
        """Return whether a box of one network has no partner in the other."""
        assert isinstance(other, Boxes)
        return bool(self.alone(other) or other.alone(self))

    def alone(self, other: Boxes) -> frozenset[int]:
        """Return which boxes have no partner in what another network finds."""
        return frozenset(range(len(self.found))) - _partners(self.found, other.found).keys()

    def text(self, names: Sequence[str] = ()) -> str:
        """Return how many boxes of which classes there are."""
        if not len(self.found):
            return "nothing"
        counts: dict[int, int] = {}
        for number in self.found.classes[np.argsort(-self.found.scores, kind="stable")].tolist():
            counts[number] = counts.get(number, 0) + 1
        told = [f"{count} × {class_name(number, names)}" for number, count in counts.items()]
        return ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")

    def rows(self, names: Sequence[str] = ()) -> list[dict[str, object]]:
        """Return the boxes, the best first, with their corners in pixels."""
        order = np.argsort(-self.found.scores, kind="stable")
        return [
            {
                "class": int(self.found.classes[place]),
                "name": class_name(int(self.found.classes[place]), names),
                "score": round(float(self.found.scores[place]), 6),
                "box": [round(float(edge), 2) for edge in self.found.boxes[place]],
            }
            for place in order
        ]


def _partners(a: Detections, b: Detections) -> dict[int, int]:
    """Return which box of `b` is that of `a`: of the same class, overlapping most, each once."""
    if not len(a) or not len(b):
        return {}
    near = overlaps(a.boxes, b.boxes) * (a.classes[:, None] == b.classes[None])
    pairs: dict[int, int] = {}
    for place in np.argsort(-a.scores, kind="stable").tolist():
        best = int(near[place].argmax())
        if near[place, best] >= MATCH:
            pairs[place] = best
            near[:, best] = 0
    return pairs


@dataclass(frozen=True, slots=True)
class ClassMap(Finding):
    """The class of every pixel.

    Args:
        classes: H×W, at the size of the network's output.
        frame: where the image lies in the input; None where it is the input.
    """

    classes: np.ndarray
    frame: Frame | None = None

    def disagreement(self, other: Finding) -> float:
        """Return the share of the pixels that have another class.

        A map of another size is looked at where the pixels of this one are.
        """
        assert isinstance(other, ClassMap)
        rows, columns = (
            np.arange(mine) * its // mine
            for mine, its in zip(self.classes.shape, other.classes.shape, strict=True)
        )
        return float((self.classes != other.classes[rows[:, None], columns[None]]).mean())

    def differs(self, other: Finding) -> bool:
        """Return whether more than one pixel of a hundred has another class."""
        return self.disagreement(other) > 0.01

    def text(self, names: Sequence[str] = ()) -> str:
        """Return the largest classes with their shares of the pixels."""
        told = [f"{row['name']} {100 * float(str(row['share'])):.0f} %" for row in self.rows(names)]
        return ", ".join(told[:4])

    def rows(self, names: Sequence[str] = ()) -> list[dict[str, object]]:
        """Return the classes that occur with their shares of the pixels, the largest first."""
        numbers, counts = np.unique(self.classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [
            {
                "class": int(numbers[place]),
                "name": class_name(int(numbers[place]), names),
                "share": round(float(counts[place]) / self.classes.size, 6),
            }
            for place in order
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Makes findings of the outputs of a network.

    Args:
        kind: "classes", "boxes" or "map".
        classes: how many it tells apart.
        output: the output with the classes; "" for a detector.
        finder: of a detector.
        top: as for :class:`Classes`.
    """

    kind: str
    classes: int
    output: str = ""
    finder: Finder | None = None
    top: int = 5

    @property
    def plural(self) -> str:
        """What it finds, in words."""
        return {"map": "maps of classes"}.get(self.kind, self.kind)

    def findings(self, outputs: Mapping[str, np.ndarray], batch: Batch) -> Sequence[Finding]:
        """Return what is found in each sample of a batch."""
        if self.finder is not None:
            frames = batch.frames or (_whole(batch),) * batch.size
            return [Boxes(found) for found in self.finder.found(outputs, frames)]
        values = outputs[self.output]
        if self.kind == "classes":
            shares = np.exp(log_probabilities(values.reshape(batch.size, -1)))
            return [Classes(row, self.top) for row in shares]
        frames_or_none = batch.frames or (None,) * batch.size
        maps = values.argmax(axis=1).astype(np.uint16)
        return [ClassMap(row, frame) for row, frame in zip(maps, frames_or_none, strict=True)]


def _whole(batch: Batch) -> Frame:
    """Return the frame of inputs that are the pictures themselves."""
    sizes = [rows.shape[2:] for rows in batch.inputs.values() if rows.ndim == 4]
    height, width = sizes[0] if sizes else (1, 1)
    return Frame(width=width, height=height)


def viewer_of(
    network: Network, *, score: float = SURE, suppress: float | None = None, top: int = 5
) -> Viewer | None:
    """Return what makes findings of a network's outputs; None where these cannot be shown.

    Args:
        network: a detector, a classifier, or a network that makes maps of classes.
        score: boxes with less are left out.
        suppress: overlap at which a box suppresses a worse one; None for what the files say.
        top: so many classes are told.
    """
    heads = box_heads(network)
    if heads:
        finder = Finder(heads=heads, score=score, suppress=suppress)
        return Viewer(kind="boxes", classes=heads[0].classes, finder=finder)
    if count := classes_of(network):
        return Viewer(kind="classes", classes=count, output=classifier_output(network), top=top)
    try:
        output = map_output(network)
    except DataError:
        return None
    size = network.outputs[output][1]
    return Viewer(kind="map", classes=size if isinstance(size, int) else 0, output=output)
