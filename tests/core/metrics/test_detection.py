"""Average precision against pycocotools and against the definitions, written out."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from secateur.core.data.base import Objects
from secateur.core.evaluation.metrics.decode import Detections
from secateur.core.evaluation.metrics.detection import (
    MATCH,
    Finder,
    FullPrecisionMetric,
    PrecisionMetric,
    average_precision,
)

Rows = list[tuple[int, float, float, float, float]]


def full(overlap: float = MATCH) -> FullPrecisionMetric:
    """A metric that is given boxes, not outputs."""
    return FullPrecisionMetric(Finder(heads=()), overlap)


def scenes(seed: int, images: int = 12, classes: int = 4, crowds: bool = False):
    """Random objects, and detections that hit many of them more or less well."""
    rng = np.random.default_rng(seed)
    for _ in range(images):
        count = int(rng.integers(0, 9))
        low = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(20, 150, (count, 2))], axis=1)
        numbers = rng.integers(0, classes, count)
        crowd = (rng.random(count) < 0.25) if crowds else np.zeros(count, bool)
        truth = Objects(boxes=boxes, classes=numbers, ignored=crowd, crowd=crowd)
        again = rng.integers(0, max(count, 1), 2 * count)
        near = boxes[again] + rng.normal(0, 8, (2 * count, 4)) if count else np.zeros((0, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        kinds = np.where(rng.random(len(near)) < 0.85, numbers[again] if count else 0, 0)
        stray = rng.uniform(0, 300, (4, 2))
        found = np.concatenate([near, np.concatenate([stray, stray + 50], axis=1)])
        # Few different scores, so that ties are met too.
        scores = np.round(rng.random(len(found)), 2)
        yield (
            truth,
            Detections(
                found, scores, np.concatenate([kinds, rng.integers(0, classes, 4)]).astype(np.int64)
            ),
        )


def pycocotools_stats(cases, folder: Path) -> np.ndarray:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    images, annotations, found = [], [], []
    for number, (truth, detections) in enumerate(cases):
        images.append({"id": number, "width": 500, "height": 500})
        for box, kind, crowd in zip(truth.boxes, truth.classes, truth.crowd, strict=True):
            x0, y0, x1, y1 = box.tolist()
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": int(kind),
                 "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
                 "iscrowd": int(crowd)}
            )  # fmt: skip
        rows = zip(detections.boxes, detections.scores, detections.classes, strict=True)
        for box, score, kind in rows:
            x0, y0, x1, y1 = box.tolist()
            found.append({"image_id": number, "category_id": int(kind), "score": float(score),
                          "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": k} for k in range(4)]}  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO(str(folder / "truth.json"))
        scoring = evaluation.COCOeval(reference, reference.loadRes(found), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return np.asarray(scoring.stats[:3])


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_coco_as_pycocotools(tmp_path: Path, seed: int, crowds: bool) -> None:
    cases = list(scenes(seed, crowds=crowds))
    metric = full()
    for truth, found in cases:
        metric.add(found, truth)
    result = metric.compute()
    ours = (result.coco, result.coco_50, result.coco_75)
    np.testing.assert_allclose(ours, pycocotools_stats(cases, tmp_path), atol=1e-6)
    assert 0.05 < result.coco < 0.95


def slow_average(scores: np.ndarray, right: np.ndarray, positives: int, method: str) -> float:
    """VOCap.m and the 11-point rule, point by point."""
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    points = []
    hits = 0
    for rank, place in enumerate(order, 1):
        hits += int(right[place])
        points.append((hits / positives, hits / rank))

    def best(recall: float) -> float:
        return max((p for r, p in points if r >= recall), default=0.0)

    if method == "11 points":
        return sum(best(k / 10) for k in range(11)) / 11
    total, last = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        total += (recall - last) * best(recall)
        last = recall
    return total


@pytest.mark.parametrize("method", ["area", "11 points"])
@pytest.mark.parametrize("seed", range(5))
def test_voc_point_by_point(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(60) / 60
    right = rng.random(60) < 0.4
    positives = int(right.sum()) + 7
    ours = average_precision(scores, right.astype(np.uint8), positives, method)
    assert ours == pytest.approx(slow_average(scores, right, positives, method), abs=1e-9)


def boxes_of(rows: Rows, scores: list[float]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(table[:, 1:], np.array(scores), table[:, 0].astype(np.int64))


def test_a_second_hit_is_wrong_and_difficult_objects_do_not_count() -> None:
    here, there = (0, 0.0, 0.0, 10.0, 10.0), (0, 50.0, 50.0, 60.0, 60.0)
    metric = full()
    metric.add(
        boxes_of([here, here, there], [0.9, 0.8, 0.7]), Objects.of([here, there], [False, True])
    )
    result = metric.compute()
    assert (result.objects, result.detections, result.samples) == (1, 3, 1)
    assert result.value == 1
    metric.add(boxes_of([], []), Objects.of([here]))
    assert metric.compute().value == 0.5
    assert metric.compute().map_11 == pytest.approx(6 / 11)


def test_classes_without_objects_are_left_out_of_the_mean() -> None:
    here = (0, 0.0, 0.0, 10.0, 10.0)
    metric = full()
    metric.add(boxes_of([here, (1, 0.0, 0.0, 9.0, 9.0)], [0.9, 0.8]), Objects.of([here]))
    assert metric.compute().per_class == {0: 1.0}
    assert metric.compute().value == 1
    assert full().compute().value == 0


def test_the_overlap_that_is_right_can_be_chosen() -> None:
    here, near = (0, 0.0, 0.0, 10.0, 10.0), (0, 0.0, 0.0, 10.0, 7.0)
    for overlap, value in ((0.5, 1), (0.7, 1), (0.75, 0)):
        metric = full(overlap)
        metric.add(boxes_of([near], [0.9]), Objects.of([here]))
        assert metric.compute().value == value


def test_the_main_figure_alone_and_in_parts_is_the_same() -> None:
    whole, plain = full(), PrecisionMetric(Finder(heads=()))
    parts = [(full(), PrecisionMetric(Finder(heads=()))) for _ in range(3)]
    for number, (truth, found) in enumerate(scenes(3, crowds=True)):
        for metric in (whole, plain, *parts[number // 4]):
            metric.add(found, truth)
    assert 0 < whole.compute().value < 1
    assert plain.compute().value == whole.compute().value
    together = full(), PrecisionMetric(Finder(heads=()))
    for part in parts:
        for metric, other in zip(together, pickle.loads(pickle.dumps(part)), strict=True):
            metric.merge(other)
    assert together[0].compute() == whole.compute()
    assert together[1].compute() == plain.compute()
