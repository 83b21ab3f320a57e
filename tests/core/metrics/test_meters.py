"""Classes, pixels and values against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.core.evaluation.metrics import ClassMeter, Divergence, PixelMeter, ValueMeter


def test_top_k_loss_and_classes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 7)).astype(np.float32)
    labels = rng.integers(0, 7, 50)
    meter = ClassMeter((1, 3, 9))
    for start in range(0, 50, 8):
        meter.add(scores[start : start + 8], labels[start : start + 8])
    result = meter.result("y")
    order = np.argsort(-scores, axis=1)
    for k in (1, 3):
        hits = sum(label in row[:k] for label, row in zip(labels, order, strict=True))
        assert result.top[k] == hits
    assert 9 not in result.top
    assert result.correct == result.top[1]
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
    meter = ClassMeter()
    meter.add(probabilities, np.array([1, 1]))
    assert meter.result("y").loss == pytest.approx(-math.log(0.2) / 2)
    same = Divergence()
    same.add(probabilities, probabilities)
    assert same.value == 0
    other = Divergence()
    other.add(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]]))
    assert other.value == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert Divergence().value == 0


def test_equal_scores_count_in_their_order() -> None:
    meter = ClassMeter((1, 2))
    meter.add(np.zeros((3, 4)), np.array([0, 1, 2]))
    assert meter.result("y").top == {1: 1, 2: 2}


def test_pixels() -> None:
    answers = np.array([[[0, 0, 1, 1], [2, 2, 1, 1]]])
    labels = np.array([[[0, 1, 1, 1], [2, 255, 1, 0]]])
    scores = np.moveaxis(np.eye(4)[answers], -1, 1)
    meter = PixelMeter(4)
    meter.add(scores, labels)
    result = meter.result("y")
    assert result.per_class == pytest.approx({0: 1 / 3, 1: 3 / 5, 2: 1})
    assert result.value == pytest.approx((1 / 3 + 3 / 5 + 1) / 3)
    assert result.accuracy == pytest.approx(5 / 7)
    doubled = PixelMeter(4)
    doubled.add(scores, labels.repeat(2, axis=1).repeat(2, axis=2))
    assert doubled.result("y").per_class == pytest.approx(result.per_class)


def test_values() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((9, 3, 4)).astype(np.float32) * 10
    values = targets + rng.normal(size=targets.shape).astype(np.float32)
    meter = ValueMeter(peak=10)
    for start in range(0, 9, 4):
        meter.add(values[start : start + 4], targets[start : start + 4])
    result = meter.result("y")
    errors = np.square(values.astype(float) - targets).mean(axis=(1, 2))
    assert result.mse == pytest.approx(errors.mean())
    assert result.psnr == pytest.approx(np.mean([10 * math.log10(100 / e) for e in errors]))
    assert result.value == pytest.approx(1 - errors.mean() / targets.astype(float).var())
    perfect = ValueMeter()
    perfect.add(targets, targets)
    assert (perfect.result("y").value, perfect.result("y").psnr) == (1, math.inf)
