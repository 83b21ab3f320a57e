"""Every kind of head, decoded box by box as the C sources do it."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest

from secateur.core.errors import DataError, UnsupportedError
from secateur.core.evaluation.metrics.boxes import overlaps, suppressed
from secateur.core.evaluation.metrics.decode import (
    Detections,
    boxes_and_scores,
    decode,
    thinned,
)
from secateur.core.ir.heads import AnchorHead, BoxHead, CellHead, PriorHead, RegionHead

decode_module = importlib.import_module("secateur.core.evaluation.metrics.decode")

ANCHORS = ((10.0, 14.0), (23.0, 27.0), (37.0, 58.0), (81.0, 82.0))
WIDE, HIGH, CLASSES = 5, 4, 3

Row = tuple[list[float], list[float]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.05, 0.95, shape).astype(np.float32)


def corner(x: float, y: float, w: float, h: float) -> list[float]:
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def assert_same(head: BoxHead, output: np.ndarray, rows: list[Row]):
    boxes, scores = boxes_and_scores(head, {head.output: output[None]}, 0, -np.inf)
    assert boxes.shape == (len(rows), 4)
    mine = {tuple(np.round(s, 5)): b for b, s in zip(boxes, scores, strict=True)}
    assert len(mine) == len(rows)
    for box, probabilities in rows:
        key = min(mine, key=lambda k: np.abs(np.array(k) - probabilities).max())
        np.testing.assert_allclose(key, probabilities, atol=2e-5)
        np.testing.assert_allclose(mine[key], box, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("new_coords", [False, True])
def test_anchors(new_coords: bool) -> None:
    mask, entries = (1, 3), 5 + CLASSES
    output = noise(len(mask) * entries, HIGH, WIDE)
    head = AnchorHead(
        output="out", classes=CLASSES, anchors=ANCHORS, mask=mask, new_coords=new_coords,
        width=160, height=128,
    )  # fmt: skip
    rows = []
    for n, anchor in enumerate(mask):
        for j in range(HIGH):
            for i in range(WIDE):
                v = [float(output[n * entries + e, j, i]) for e in range(entries)]
                size = [x * x * 4 if new_coords else math.exp(x) for x in v[2:4]]
                w, h = (s * a for s, a in zip(size, ANCHORS[anchor], strict=True))
                box = corner((i + v[0]) / WIDE, (j + v[1]) / HIGH, w / 160, h / 128)
                rows.append((box, [v[4] * p for p in v[5:]]))
    assert_same(head, output, rows)


def test_anchors_with_deviations() -> None:
    entries = 9 + CLASSES
    output = noise(2 * entries, HIGH, WIDE)
    head = AnchorHead(
        output="out", classes=CLASSES, anchors=ANCHORS, mask=(0, 2), width=160, height=128,
        uncertain=True,
    )  # fmt: skip
    rows = []
    for n, anchor in enumerate((0, 2)):
        for j in range(HIGH):
            for i in range(WIDE):
                v = [float(output[n * entries + e, j, i]) for e in range(entries)]
                w, h = (math.exp(x) * a for x, a in zip(v[4:8:2], ANCHORS[anchor], strict=True))
                box = corner((i + v[0]) / WIDE, (j + v[2]) / HIGH, w / 160, h / 128)
                sure = 1 - (v[1] + v[3] + v[5] + v[7]) / 4
                rows.append((box, [v[8] * p * sure for p in v[9:]]))
    assert_same(head, output, rows)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("background", [False, True])
def test_region(layout: str, background: bool) -> None:
    entries = 5 + CLASSES
    output = noise(2 * entries, HIGH, WIDE)
    head = RegionHead(
        output="out", classes=CLASSES, anchors=((1.5, 2.0), (3.0, 1.0)), softmax=True,
        background=background, rows_first=layout == "NHWC", xy_sigmoid=layout == "NHWC",
    )  # fmt: skip
    rows = []
    for n, (aw, ah) in enumerate(((1.5, 2.0), (3.0, 1.0))):
        for j in range(HIGH):
            for i in range(WIDE):
                v = [float(output[n * entries + e, j, i]) for e in range(entries)]
                x, y = (sigmoid(p) if layout == "NHWC" else p for p in v[:2])
                w, h = math.exp(v[2]) * aw / WIDE, math.exp(v[3]) * ah / HIGH
                scale = 1 if background else v[4]
                rows.append((corner((i + x) / WIDE, (j + y) / HIGH, w, h),
                             [scale * p for p in v[5:]]))  # fmt: skip
    stored = output.transpose(1, 2, 0) if layout == "NHWC" else output
    assert_same(head, stored, rows)


@pytest.mark.parametrize("sqrt", [False, True])
def test_cells(sqrt: bool) -> None:
    side, num = 3, 2
    output = noise(side * side * (CLASSES + num * 5))
    head = CellHead(output="out", classes=CLASSES, side=side, num=num, coords=4, sqrt=sqrt)
    rows = []
    for cell in range(side * side):
        for n in range(num):
            scale = float(output[side * side * CLASSES + cell * num + n])
            start = side * side * (CLASSES + num) + (cell * num + n) * 4
            x, y, w, h = (float(v) for v in output[start : start + 4])
            w, h = (w * w, h * h) if sqrt else (w, h)
            box = corner((x + cell % side) / side, (y + cell // side) / side, w, h)
            classes = output[cell * CLASSES : (cell + 1) * CLASSES]
            rows.append((box, [scale * float(p) for p in classes]))
    assert_same(head, output, rows)


@pytest.mark.parametrize("kind", ["corner", "center_size", "corner_size"])
def test_priors(kind: str) -> None:
    priors = np.sort(noise(6, 4).reshape(6, 2, 2), axis=1).reshape(6, 4)
    variances, offsets, scores = noise(6, 4), noise(6, 4) - 0.5, noise(6, 1 + CLASSES)
    head = PriorHead(
        output="loc", scores="conf", priors="prior", classes=1 + CLASSES, code_type=kind
    )
    outputs = {
        "loc": offsets.reshape(1, -1), "conf": scores.reshape(1, -1),
        "prior": np.stack([priors.ravel(), variances.ravel()])[None],
    }  # fmt: skip
    boxes, found = boxes_and_scores(head, outputs, 0, 0.0)
    np.testing.assert_allclose(found, scores[:, 1:])
    for box, p, v, o in zip(boxes, priors, variances, offsets, strict=True):
        w, h = p[2] - p[0], p[3] - p[1]
        if kind == "corner":
            wanted = [p[k] + v[k] * o[k] for k in range(4)]
        elif kind == "corner_size":
            wanted = [p[k] + v[k] * o[k] * (w, h)[k % 2] for k in range(4)]
        else:
            x = v[0] * o[0] * w + (p[0] + p[2]) / 2
            y = v[1] * o[1] * h + (p[1] + p[3]) / 2
            wanted = corner(x, y, math.exp(v[2] * o[2]) * w, math.exp(v[3] * o[3]) * h)
        np.testing.assert_allclose(box, wanted, rtol=1e-5)
    with pytest.raises(DataError, match="6 priors, but 5 locations"):
        boxes_and_scores(head, {**outputs, "loc": offsets[:5].reshape(1, -1)}, 0, 0.0)
    with pytest.raises(UnsupportedError, match="class to class"):
        boxes_and_scores(replace(head, share_location=False), outputs, 0, 0.0)
    with pytest.raises(UnsupportedError, match="nothing decodes boxes of a BoxHead"):
        boxes_and_scores(BoxHead(output="loc", classes=1), outputs, 0, 0.0)


def slow_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda k: -scores[k]):
        a = boxes[place]
        for other in kept:
            b = boxes[other]
            width = min(a[2], b[2]) - max(a[0], b[0])
            height = min(a[3], b[3]) - max(a[1], b[1])
            both = max(width, 0) * max(height, 0)
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
            if both / union > threshold:
                break
        else:
            kept.append(place)
    return kept


def test_suppression_box_by_box() -> None:
    rng = np.random.default_rng(0)
    for threshold in (0.0, 0.3, 0.45, 1.0):
        low = rng.uniform(0, 50, (80, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 40, (80, 2))], axis=1)
        scores = rng.random(80)
        kept = suppressed(boxes, scores, threshold)
        assert kept.tolist() == slow_suppression(boxes, scores, threshold)
    assert suppressed(boxes[:0], scores[:0], 0.5).size == 0
    # With eta the threshold falls after each box that is kept, so that fewer are left.
    assert 0 < len(suppressed(boxes, scores, 0.9, eta=0.7)) < len(suppressed(boxes, scores, 0.9))


@pytest.mark.parametrize("most", [None, 3])
@pytest.mark.parametrize("least", [0.4, 0.95])
def test_many_few_and_shared_boxes_are_thinned_alike(
    monkeypatch: pytest.MonkeyPatch, least: float, most: int | None
) -> None:
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 50, (90, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (90, 2))], axis=1)
    boxes[4:7] = boxes[3], boxes[3], (9, 9, 9, 9)  # the same box twice, and empty ones
    boxes[8] = boxes[6]
    scores = rng.integers(0, 40, (90, 12)) / 40
    places, classes = np.nonzero(scores > least)
    found = Detections(boxes[places], scores[places, classes], classes)
    assert (len(found) <= decode_module.FEW) == (least > 0.9)
    expected = []
    for number in range(12):
        mine = found.chosen(found.classes == number)
        mine = mine.chosen(np.argsort(-mine.scores, kind="stable")[:most])
        expected.append(mine.chosen(suppressed(mine.boxes, mine.scores, 0.45)))
    wanted = Detections.joined(expected)
    assert len(wanted) < len(found)
    monkeypatch.setattr("secateur.core.evaluation.metrics.boxes.STRIP", 16)
    for few, crowded in ((1000, 20_000), (decode_module.FEW, 20_000), (0, 20_000), (0, 0)):
        monkeypatch.setattr(decode_module, "FEW", few)
        monkeypatch.setattr(decode_module, "CROWDED", crowded)
        left = thinned(found, 0.45, most=most)
        for name in ("boxes", "scores", "classes"):
            np.testing.assert_array_equal(getattr(left, name), getattr(wanted, name))


def test_overlaps_of_empty_boxes_are_nothing() -> None:
    point = np.array([[1.0, 1, 1, 1]])
    assert overlaps(point, point).item() == 0
    whole, part = np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 1, 1]])
    assert overlaps(part, whole).item() == 0.25
    assert overlaps(part, whole, np.array([True])).item() == 1


def test_limits_of_a_head_and_of_the_user() -> None:
    scores = np.array([[0.9, 0.8, 0.3, 0.004]], np.float32)
    loc = np.zeros((1, 16), np.float32)
    prior = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3], [4, 4, 5, 5]], np.float32)
    outputs = {
        "loc": loc, "conf": scores, "prior": np.stack([prior.ravel(), np.ones(16)])[None]
    }  # fmt: skip
    base = PriorHead(output="loc", scores="conf", priors="prior", classes=1, background=-1)

    def count(settings: dict[str, object], **limits: float) -> int:
        (found,) = decode([replace(base, **settings)], outputs, **limits)
        return len(found)

    assert count({}) == 2
    assert count({}, score=0.001) == 3
    assert count({}, overlap=0.95) == 3
    assert count({"nms_threshold": 0.95, "confidence_threshold": 0.5}) == 2
    assert count({"nms_threshold": 0.95, "keep_top_k": 1}) == 1
    assert count({"nms_threshold": 0.95, "nms_top_k": 2}) == 2
    with pytest.raises(DataError, match="no head"):
        decode([], outputs)
