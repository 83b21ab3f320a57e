"""Mean average precision of detectors, matched image by image so that no image is kept.

Three ways to read the curve of precision over recall: Pascal VOC until 2009 (11 points), Pascal
VOC from 2010 (the whole area), and COCO (101 points, overlaps 0.5:0.05:0.95).
Sources: VOC devkit VOCevaldet.m; cocoapi cocoeval.py `evaluateImg`, `accumulate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ...data.base import Frame, Objects
from ...data.labels import check_objects
from ...data.targets import Targets
from ...errors import DataError
from ...ir.heads import BoxHead
from ...markup import figures, notebook
from .boxes import overlaps
from .decode import Detections, decode, ranks
from .metric import Figure, Metric

__all__ = [
    "FOUND",
    "MATCH",
    "METRICS",
    "DetectionResult",
    "Finder",
    "FullPrecisionMetric",
    "ImageMatches",
    "Matches",
    "PrecisionMetric",
    "average_precision",
    "matched",
    "same_class_overlaps",
]

MATCH = 0.5
"""Intersection over union that makes a detection right where nobody says otherwise, as in VOC."""

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""Intersection over union at which COCO averages."""

ELEVEN, HUNDRED = np.linspace(0, 1, 11), np.linspace(0, 1, 101)
"""Recalls at which precision is read."""

MOST = 100
"""Detections of a class in an image that COCO looks at, the best."""

WEIGHED = 1 << 22
"""Weights of detections that are in memory at once."""

MISSED, FOUND, IGNORED = 0, 1, 2
"""What a detection is: wrong, right, or of an object that does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionResult:
    """Average precisions, 0…1; means are over the classes that occur in the labels.

    Args:
        samples: how many images.
        objects: how many objects count.
        detections: how many boxes were found.
        overlap: intersection over union that makes a detection right, for the first three.
        map_area: mean of `per_class`.
        map_11: with 11 points of recall.
        per_class: class → area under its curve.
        coco: mean over overlaps 0.5:0.05:0.95.
        coco_50: at overlap 0.5.
        coco_75: at overlap 0.75.
        coco_per_class: class → mean over the overlaps.
        skipped: images that could not be read.
    """

    samples: int
    objects: int
    detections: int
    overlap: float
    map_area: float
    map_11: float
    coco: float
    coco_50: float
    coco_75: float
    per_class: dict[int, float] = field(default_factory=dict)
    coco_per_class: dict[int, float] = field(default_factory=dict)
    skipped: int = 0

    metric = "mAP"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return notebook(figures(f"{self.metric} {self.value:.4g}", self))

    @property
    def value(self) -> float:
        """The area under the curve at `overlap`, the mean over classes."""
        return self.map_area


@dataclass(frozen=True, kw_only=True, slots=True)
class Finder:
    """How the outputs of a detector become boxes in its images.

    Args:
        heads: of the network.
        score: leave out what scores not more; None for what the heads say.
        suppress: overlap at which a box suppresses a worse one; None for what the heads say.
    """

    heads: tuple[BoxHead, ...]
    score: float | None = None
    suppress: float | None = None

    def found(self, outputs: Mapping[str, np.ndarray], frames: Sequence[Frame]) -> list[Detections]:
        """Return what is found in each sample, in pixels of its image.

        Args:
            outputs: of the network.
            frames: where the image of each sample lies in the input.
        """
        boxes = decode(self.heads, outputs, score=self.score, overlap=self.suppress)
        return [
            Detections(frame.to_image(one.boxes), one.scores, one.classes)
            for one, frame in zip(boxes, frames, strict=True)
        ]

    def pairs(
        self, outputs: Mapping[str, np.ndarray], targets: Targets
    ) -> Iterator[tuple[Detections, Objects]]:
        """Yield what is found in each image with the objects that are in it.

        Raises:
            DataError: there are no objects, or one is of no class.
        """
        if targets.objects is None or targets.frames is None:
            raise DataError("the samples have no objects in boxes")
        found = self.found(outputs, targets.frames)
        check_objects(targets.objects, self.heads[0].classes, targets.places)
        return zip(found, targets.objects, strict=True)


class PrecisionMetric(Metric):
    """The mean average precision alone: the area under the curve of VOC.

    Args:
        finder: how outputs become boxes.
        overlap: intersection over union that makes a detection right.
        average: what of a curve counts, one of :data:`AVERAGES`.
    """

    __slots__ = ("_average", "_finder", "_matches", "_objects", "_overlap", "_samples")

    def __init__(self, finder: Finder, overlap: float = MATCH, average: str = "area"):
        self._finder = finder
        self._average = average
        self._overlap = overlap
        self._matches: list[Matches] = []
        self._objects: Counter[int] = Counter()
        self._samples = 0

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Decode boxes and match them with the objects of each image."""
        before = len(self._matches)
        for found, truth in self._finder.pairs(outputs, targets):
            self.add(found, truth)
        self._matches[before:] = [Matches.joined(self._matches[before:])]  # a few large arrays

    def add(self, found: Detections, truth: Objects) -> None:
        """Match one image and take it in; boxes of both in the same units."""
        found = found.chosen(np.lexsort((-found.scores, found.classes)))
        table = same_class_overlaps(found, truth)
        kinds = matched(table, truth.ignored, self._overlap)
        self._take(Matches(found.classes, found.scores, kinds), truth.counting)

    def _take(self, matches: Matches, objects: np.ndarray) -> None:
        self._matches.append(matches)
        self._objects.update(objects.tolist())
        self._samples += 1

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        self._matches.extend(other._matches)
        self._objects.update(other._objects)
        self._samples += other._samples

    def compute(self) -> Figure:
        """Return the mean over the classes that occur, 0…1."""
        found = Matches.joined(self._matches)
        average = AVERAGES[self._average]
        areas = {k: average(found.curve(k, self._objects[k])) for k in sorted(self._objects)}
        name = METRICS[self._average]
        return Figure(metric=name, value=_mean(areas), samples=self._samples)

    def weighted(self, parts: Sequence[Metric], weights: np.ndarray) -> np.ndarray:
        """Return the mean over the classes for images that count several times.

        A detection of an image that counts twice is there twice, one behind the other.
        """
        own = [part for part in parts if isinstance(part, PrecisionMetric)]
        found = [Matches.joined(part._matches) for part in own]
        counts = [len(one.classes) for one in found]
        joined, owner = Matches.joined(found), np.repeat(np.arange(len(own)), counts)
        areas, there = np.zeros(len(weights)), np.zeros(len(weights), np.int64)
        for number in sorted({k for part in own for k in part._objects}):
            positives = weights @ np.array([part._objects[number] for part in own])
            mine = np.flatnonzero(joined.classes == number)
            mine = mine[np.argsort(-joined.scores[mine], kind="stable")]
            rows = max(1, WEIGHED // max(1, len(mine)))
            for start in range(0, len(weights), rows):
                part = slice(start, start + rows)
                often = weights[part][:, owner[mine]].T
                curve = _curve_of(joined.kinds[mine, None], often, positives[part])
                areas[part] += np.where(positives[part] > 0, self._averages(curve), 0.0)
            there += positives > 0
        return areas / np.maximum(there, 1)

    def _averages(self, curve: _Curve) -> np.ndarray:
        """Return the average precision of each of the curves that stand beside each other."""
        if self._average == "area":
            return curve.areas()
        return np.array([AVERAGES[self._average](one) for one in curve.columns()])

    def best_case(self, objects: Sequence[Objects]) -> PrecisionMetric:
        """Return what images would give where every object is found before anything wrong is."""
        best = PrecisionMetric(self._finder, self._overlap, self._average)
        for truth in objects:
            count = len(truth.counting)
            right = np.full(count, FOUND, np.uint8)
            best._take(Matches(truth.counting, np.full(count, np.inf), right), truth.counting)
        return best


class FullPrecisionMetric(Metric):
    """All of :class:`DetectionResult`; keeps scores and what each detection is.

    Args:
        finder: how outputs become boxes.
        overlap: intersection over union that makes a detection right.
    """

    __slots__ = ("_finder", "_images", "_overlap")

    def __init__(self, finder: Finder, overlap: float = MATCH):
        self._finder = finder
        self._overlap = overlap
        self._images: list[ImageMatches] = []

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Decode boxes and match them with the objects of each image."""
        for found, truth in self._finder.pairs(outputs, targets):
            self.add(found, truth)

    def add(self, found: Detections, truth: Objects) -> None:
        """Match one image and take it in; boxes of both in the same units."""
        self._images.append(ImageMatches.of(found, truth, self._overlap))

    def merge(self, other: Self) -> None:
        """Take in what another one has seen."""
        self._images.extend(other._images)

    def compute(self) -> DetectionResult:
        """Return what was measured."""
        area, points, coco = {}, {}, {}
        voc = Matches.joined([image.voc for image in self._images])
        strict = Matches.joined([image.coco for image in self._images], len(OVERLAPS))
        objects = Counter(k for image in self._images for k in image.objects)
        for number in sorted(objects):
            positives = objects[number]
            curve = voc.curve(number, positives)
            area[number], points[number] = curve.area(), curve.mean_at(ELEVEN)
            curves = strict.curve(number, positives).columns()
            coco[number] = [one.mean_at(HUNDRED) for one in curves]
        table = np.array(list(coco.values())) if coco else np.zeros((1, len(OVERLAPS)))
        return DetectionResult(
            samples=len(self._images),
            objects=objects.total(),
            detections=len(voc.classes),
            overlap=self._overlap,
            map_area=_mean(area),
            map_11=_mean(points),
            coco=float(table.mean()),
            coco_50=float(table[:, 0].mean()),
            coco_75=float(table[:, 5].mean()),
            per_class=area,
            coco_per_class={number: float(np.mean(row)) for number, row in coco.items()},
        )


@dataclass(frozen=True, slots=True)
class Matches:
    """Detections of some images, image by image.

    Args:
        classes: n, counted from 0.
        scores: n.
        kinds: n: whether each is wrong (0), right (1) or does not count (2); or n × columns of
            these, for several ways to tell.
    """

    classes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Matches], columns: int | None = None) -> Matches:
        """Return those of several images as one; `columns` is of use where there is no image."""
        if not parts:
            tail = () if columns is None else (columns,)
            return Matches(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, *tail), np.uint8))
        return Matches(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.kinds for part in parts]),
        )

    def curve(self, number: int, positives: int) -> _Curve:
        """Return the curve of class `number`, of which there are `positives` objects."""
        mine = self.classes == number
        return _curve(self.scores[mine], self.kinds[mine], positives)


@dataclass(frozen=True, slots=True)
class ImageMatches:
    """What is right of what was found in one image.

    Args:
        objects: the classes of the objects that count, each as often as it occurs.
        voc: all detections, as VOC matches them.
        coco: the first ones of each class, with a column for each of COCO's overlaps.
    """

    objects: tuple[int, ...]
    voc: Matches
    coco: Matches

    @staticmethod
    def of(found: Detections, truth: Objects, overlap: float) -> ImageMatches:
        """Match detections and objects.

        Args:
            found: the detections.
            truth: the objects, with boxes in the same units.
            overlap: intersection over union that makes a detection right for VOC.
        """
        found = found.chosen(np.lexsort((-found.scores, found.classes)))
        table = same_class_overlaps(found, truth)
        seen = ranks(found.classes) < MOST
        first = found.chosen(seen)
        crowded = truth.crowd.any()
        strict = same_class_overlaps(first, truth, truth.crowd) if crowded else table[seen]
        return ImageMatches(
            tuple(truth.counting.tolist()),
            Matches(found.classes, found.scores, matched(table, truth.ignored, overlap)),
            Matches(first.classes, first.scores, _coco_matched(strict, truth.ignored, truth.crowd)),
        )


def same_class_overlaps(
    found: Detections, truth: Objects, crowd: np.ndarray | None = None
) -> np.ndarray:
    """Return the overlap of each detection with each object of its class, −1 with other objects.

    Args:
        found: n detections.
        truth: m objects.
        crowd: as for :func:`~.boxes.overlaps`.

    Returns:
        n×m.
    """
    table = overlaps(found.boxes, truth.boxes, crowd)
    table[found.classes[:, None] != truth.classes] = -1
    return table


def matched(table: np.ndarray, ignored: np.ndarray, least: float) -> np.ndarray:
    """Match as VOC does: each detection belongs to the object it overlaps most.

    The first one at an object is right, the others are wrong.

    Args:
        table: detections × objects, those of a class by falling score (`same_class_overlaps`).
        ignored: objects that do not count.
        least: the overlap needed.
    """
    kinds = np.full(len(table), MISSED, np.uint8)
    if not table.size:
        return kinds
    best = table.argmax(axis=1)
    near = table[np.arange(len(table)), best] >= least
    off = near & ignored[best]
    kinds[off] = IGNORED
    candidates = np.flatnonzero(near & ~off)
    _, first = np.unique(best[candidates], return_index=True)
    kinds[candidates[first]] = FOUND
    return kinds


def average_precision(scores: np.ndarray, kinds: np.ndarray, positives: int, method: str) -> float:
    """Return the average precision of one class.

    Args:
        scores: of all detections, over all images.
        kinds: whether each is wrong (0), right (1) or does not count (2).
        positives: how many objects there are to be found.
        method: "area" under the falling envelope of precision; the mean of the envelope at
            "11 points" (0, 0.1 … 1) or "101 points" of recall.
    """
    if not positives:
        return 0.0
    curve = _curve(scores, kinds, positives)
    if method == "area":
        return curve.area()
    return curve.mean_at(ELEVEN if method == "11 points" else HUNDRED)


@dataclass(frozen=True, slots=True)
class _Curve:
    """Precision over recall, one detection more a row.

    Args:
        recall: n, or n × columns of curves beside each other.
        envelope: the largest precision at that recall or a higher one; shaped alike.
        precision: the precision itself; shaped alike.
    """

    recall: np.ndarray
    envelope: np.ndarray
    precision: np.ndarray

    def columns(self) -> Iterator[_Curve]:
        """Yield curves that stand beside each other, one by one."""
        for parts in zip(self.recall.T, self.envelope.T, self.precision.T, strict=True):
            yield _Curve(*parts)

    def area(self) -> float:
        return float((np.diff(self.recall, prepend=0.0) * self.envelope).sum())

    def plain_area(self) -> float:
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    def areas(self) -> np.ndarray:
        """Return the area under each of the curves that stand beside each other."""
        steps = np.diff(self.recall, prepend=0.0, axis=0)
        return np.asarray((steps * self.envelope).sum(axis=0))

    def mean_at(self, points: np.ndarray) -> float:
        """Return the mean of the envelope at these recalls; it is 0 at those never reached."""
        places = np.searchsorted(self.recall, points, side="left")
        reached = places[: int(np.searchsorted(places, len(self.recall)))]
        return float(self.envelope[reached].sum()) / len(points)


AVERAGES: Mapping[str, Callable[[_Curve], float]] = {
    "area": _Curve.area,
    "11 points": lambda curve: curve.mean_at(ELEVEN),
    "integral": _Curve.plain_area,
}
"""What of a curve counts → the average precision: the area under the envelope (VOC from 2010), the
mean of the envelope at eleven recalls (VOC until 2009), the area under the curve itself. The SSD
fork calls them MaxIntegral, 11point and Integral (bbox_util.cpp, `ComputeAP`)."""

METRICS: Mapping[str, str] = {
    "area": DetectionResult.metric, "11 points": "mAP, 11 points", "integral": "mAP, integral",
}  # fmt: skip
"""What the mean of each is called."""


def _curve(scores: np.ndarray, kinds: np.ndarray, positives: int) -> _Curve:
    """Return the curve of one class; `kinds` are n, or n × columns."""
    return _curve_of(kinds[np.argsort(-scores, kind="stable")], 1, np.asarray(positives))


def _curve_of(kinds: np.ndarray, often: np.ndarray | int, positives: np.ndarray) -> _Curve:
    """Return the curve of detections by falling score, each of which counts so often.

    Where the weight of a detection is a number of columns, so are the curves.
    """
    right = np.cumsum((kinds == FOUND) * often, axis=0, dtype=np.float64)
    wrong = np.cumsum((kinds == MISSED) * often, axis=0, dtype=np.float64)
    precision = right / np.maximum(right + wrong, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return _Curve(right / np.maximum(positives, 1), envelope, precision)


def _coco_matched(table: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Match as COCO does, at each of :data:`OVERLAPS`: the best object that is still free.

    Returns:
        detections × overlaps.
    """
    kinds = np.full((len(table), len(OVERLAPS)), MISSED, np.uint8)
    if not table.shape[1]:
        return kinds
    order = np.argsort(ignored, kind="stable")
    table, ignored, crowd = table[:, order], ignored[order], crowd[order]
    free = np.ones((len(OVERLAPS), table.shape[1]), bool)
    nearest = table.max(axis=1)
    for place in np.flatnonzero(nearest >= OVERLAPS[0]).tolist():
        # Overlaps rise, so those that this detection reaches are the first ones.
        reached = int(np.searchsorted(OVERLAPS, nearest[place], side="right"))
        left = free[:reached] | crowd
        match = _last_best(table[place], left & ~ignored, OVERLAPS[:reached])
        other = _last_best(table[place], left & ignored, OVERLAPS[:reached])
        match = np.where(match < 0, other, match)
        found = np.flatnonzero(match >= 0)
        free[found, match[found]] = False
        kinds[place, found] = np.where(ignored[match[found]], IGNORED, FOUND)
    return kinds


def _last_best(row: np.ndarray, allowed: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return the last of the best objects that are allowed, -1 where none is good enough.

    Args:
        row: overlap with each object.
        allowed: limits × objects.
        least: the limits.
    """
    found = np.where(allowed, row, -1.0)
    last = found.shape[1] - 1 - found[:, ::-1].argmax(axis=1)
    return np.where(found.max(axis=1) >= least, last, -1)


def _mean(values: dict[int, float]) -> float:
    return float(np.mean(list(values.values()))) if values else 0.0
