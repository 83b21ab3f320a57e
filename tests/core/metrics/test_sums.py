"""Classes, pixels, values and agreement against their definitions, as a whole and in parts."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from secateur.core.data.targets import Targets
from secateur.core.errors import DataError
from secateur.core.evaluation.metrics import (
    AccuracyMetric,
    DivergenceMetric,
    ErrorMetric,
    FullAccuracyMetric,
    Metric,
    PixelMetric,
    ValueMetric,
)

Part = tuple[dict[str, np.ndarray], Targets]


def scored(scores: np.ndarray, labels: np.ndarray) -> Part:
    return {"y": scores}, Targets(size=len(labels), labels=labels)


def wanted(values: np.ndarray, targets: np.ndarray) -> Part:
    return {"y": values}, Targets(size=len(targets), values=targets)


def beside(after: np.ndarray, before: np.ndarray) -> Part:
    return {"y": after}, Targets(size=len(before), outputs={"y": before})


def test_top_k_loss_and_classes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 7)).astype(np.float32)
    labels = rng.integers(0, 7, 50)
    metric, plain = FullAccuracyMetric("y", (1, 3, 9)), AccuracyMetric("y")
    for start in range(0, 50, 8):
        part = scored(scores[start : start + 8], labels[start : start + 8])
        metric.update(*part)
        plain.update(*part)
    result = metric.compute()
    order = np.argsort(-scores, axis=1)
    for k in (1, 3):
        hits = sum(label in row[:k] for label, row in zip(labels, order, strict=True))
        assert result.top[k] == hits
    assert 9 not in result.top
    assert result.correct == result.top[1]
    assert plain.compute().value == result.value
    loss = -np.mean(
        [
            math.log(math.exp(row[label]) / sum(math.exp(v) for v in row))
            for row, label in zip(scores.astype(float), labels, strict=True)
        ]
    )
    assert result.loss == pytest.approx(loss)
    assert sum(right for right, _ in result.per_class.values()) == result.correct
    assert sum(count for _, count in result.per_class.values()) == 50


def test_distributions_stand_for_themselves() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    metric = FullAccuracyMetric("y")
    metric.update(*scored(probabilities, np.array([1, 1])))
    assert metric.compute().loss == pytest.approx(-math.log(0.2) / 2)
    same = DivergenceMetric("y")
    same.update(*beside(probabilities, probabilities))
    assert same.compute().value == 0
    other = DivergenceMetric("y")
    other.update(*beside(np.array([[0.25, 0.75]]), np.array([[0.5, 0.5]])))
    assert other.compute().value == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert DivergenceMetric("y").compute().value == 0


def test_nan_agrees_with_nothing() -> None:
    before, after = np.ones((2, 3)), np.full((2, 3), np.nan)
    for metric in (DivergenceMetric("y"), ErrorMetric(["y"])):
        metric.update(*beside(before, before))
        metric.update(*beside(after, before))
        assert metric.compute().value == math.inf


def test_equal_scores_count_in_their_order() -> None:
    metric, plain = FullAccuracyMetric("y", (1, 2)), AccuracyMetric("y")
    part = scored(np.zeros((3, 4)), np.array([0, 1, 2]))
    metric.update(*part)
    plain.update(*part)
    assert metric.compute().top == {1: 1, 2: 2}
    assert plain.compute().value == 1 / 3


def test_pixels() -> None:
    found = np.array([[[0, 0, 1, 1], [2, 2, 1, 1]]])
    labels = np.array([[[0, 1, 1, 1], [2, 255, 1, 0]]])
    scores = np.moveaxis(np.eye(4)[found], -1, 1)
    metric = PixelMetric("y", 4)
    metric.update(*scored(scores, labels))
    result = metric.compute()
    assert result.per_class == pytest.approx({0: 1 / 3, 1: 3 / 5, 2: 1})
    assert result.value == pytest.approx((1 / 3 + 3 / 5 + 1) / 3)
    assert result.accuracy == pytest.approx(5 / 7)
    doubled = PixelMetric("y", 4)
    doubled.update(*scored(scores, labels.repeat(2, axis=1).repeat(2, axis=2)))
    assert doubled.compute().per_class == pytest.approx(result.per_class)


def test_values() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((9, 3, 4)).astype(np.float32) * 10
    values = targets + rng.normal(size=targets.shape).astype(np.float32)
    metric = ValueMetric("y", peak=10)
    for start in range(0, 9, 4):
        metric.update(*wanted(values[start : start + 4], targets[start : start + 4]))
    result = metric.compute()
    errors = np.square(values.astype(float) - targets).mean(axis=(1, 2))
    assert result.mse == pytest.approx(errors.mean())
    assert result.psnr == pytest.approx(np.mean([10 * math.log10(100 / e) for e in errors]))
    assert result.value == pytest.approx(1 - errors.mean() / targets.astype(float).var())
    exact = ValueMetric("y")
    exact.update(*wanted(targets, targets))
    assert (exact.compute().value, exact.compute().psnr) == (1, math.inf)


def parts(seed: int = 0) -> list[Part]:
    """Five batches that every metric but those of pixels can read."""
    rng = np.random.default_rng(seed)
    return [
        (
            {"y": rng.random((size, 4), dtype=np.float32)},
            Targets(
                size=size,
                labels=rng.integers(0, 4, size),
                values=rng.random((size, 4), dtype=np.float32),
                outputs={"y": rng.random((size, 4), dtype=np.float32)},
            ),
        )
        for size in (4, 1, 7, 3, 4)
    ]


MAKERS: dict[str, Callable[[], Metric]] = {
    "accuracy": lambda: AccuracyMetric("y"),
    "all of accuracy": lambda: FullAccuracyMetric("y", (1, 2)),
    "values": lambda: ValueMetric("y"),
    "divergence": lambda: DivergenceMetric("y"),
    "error": lambda: ErrorMetric(["y"]),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_parts_add_up_to_the_whole(make: Callable[[], Metric]) -> None:
    whole, total = make(), make()
    for part in parts():
        whole.update(*part)
        worker = make()
        worker.update(*part)
        before = copy.deepcopy(worker)
        total.merge(pickle.loads(pickle.dumps(worker)))
        total.merge(make())
        assert worker.compute() == before.compute()
    found, expected = total.compute(), whole.compute()
    assert found.samples == expected.samples == 19
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    # What was merged is not changed by what is merged afterwards.
    one, other = make(), make()
    one.update(*parts()[0])
    first = one.compute()
    other.merge(one)
    other.update(*parts(1)[1])
    assert one.compute() == first


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (AccuracyMetric("y"), "no labels of one class each"),
        (PixelMetric("y", 3), "no class a pixel"),
        (ValueMetric("y"), "no values to compute"),
    ],
)
def test_targets_of_another_kind(metric: Metric, message: str) -> None:
    with pytest.raises(DataError, match=message):
        metric.update({"y": np.zeros((2, 3))}, Targets(size=2))
    with pytest.raises(DataError, match="there are 3 labels for 2 samples"):
        AccuracyMetric("y").update(*scored(np.zeros((2, 3)), np.zeros(3, int)))
