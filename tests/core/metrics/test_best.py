"""The figure of a classifier that counts the k best classes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from secateur.core.data.targets import Targets
from secateur.core.evaluation.metrics.classification import FullAccuracyMetric
from secateur.core.evaluation.tasks.classification import Classification


@pytest.mark.parametrize("best", [1, 2, 5])
def test_the_figure_is_that_of_the_full_metric(best: int) -> None:
    draws = np.random.default_rng(best)
    task = pickle.loads(pickle.dumps(Classification("out", (best,), best)))
    assert task.metric == ("Accuracy" if best == 1 else f"Top-{best} accuracy")
    metric, full = task.make_metric(), FullAccuracyMetric("out", (best,))
    for _ in range(3):
        scores = draws.integers(0, 6, (40, 7)).astype(np.float32)  # many are equal
        targets = Targets(size=40, labels=draws.integers(0, 7, 40))
        for each in (metric, full):
            each.update({"out": scores}, targets)
    assert metric.compute().value == full.compute().top_value(best)
    assert 0 < metric.compute().value < 1
    assert metric.all_right().compute().value == 1.0
