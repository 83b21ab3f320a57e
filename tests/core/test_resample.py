"""The bootstrap: intervals against computations by hand, and every metric against copies of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.data import NpzDataset
from secateur.core.data.targets import Targets
from secateur.core.engine.session import Session
from secateur.core.evaluation.measure import measured, measured_each
from secateur.core.evaluation.metrics import (
    AccuracyMetric,
    DivergenceMetric,
    ErrorMetric,
    PixelMetric,
    PrecisionMetric,
    ValueMetric,
)
from secateur.core.evaluation.metrics.decode import Detections
from secateur.core.evaluation.metrics.detection import Finder
from secateur.core.evaluation.metrics.metric import Metric
from secateur.core.evaluation.own import FunctionTask
from secateur.core.evaluation.resample import DRAWS, Resampling, interval_of
from secateur.core.evaluation.task import Task
from secateur.core.evaluation.tasks.output_error import OutputError
from secateur.core.ir.network import Network
from support.analysis import NETWORKS, opened
from support.graphs import Graph

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.8, 0.1, 0.1]], np.float32)


def made(metric: Metric) -> Task:
    """Return a task that makes copies of an empty metric."""
    import copy

    class Own(Task):
        outputs = ("out",)
        metric_of = metric

        def make_metric(self) -> Metric:
            return copy.deepcopy(metric)

    return Own()


def accuracies(right: list[bool]) -> list[Metric]:
    found = []
    for one in right:
        metric = AccuracyMetric("out")
        scores = np.array([[1.0, 0.0]], np.float32)
        metric.update({"out": scores}, Targets(size=1, labels=np.array([0 if one else 1])))
        found.append(metric)
    return found


def test_the_interval_is_that_of_a_computation_by_hand():
    right = [True] * 7 + [False] * 3
    values = Resampling(10).values(made(AccuracyMetric("out")), accuracies(right))
    random = np.random.default_rng(0)
    shares = [sum(right[k] for k in random.integers(10, size=10)) / 10 for _ in range(1000)]
    assert values.tolist() == shares
    assert interval_of(values) == (sorted(shares)[24], sorted(shares)[974])
    assert interval_of(np.arange(1000.0)[::-1]) == (24.0, 974.0)


def test_the_interval_of_many_samples_is_that_of_the_normal_distribution():
    parts = accuracies([k % 10 != 0 for k in range(1000)])
    low, high = interval_of(Resampling(1000).values(made(AccuracyMetric("out")), parts))
    wide = 1.96 * math.sqrt(0.9 * 0.1 / 1000)
    assert low == pytest.approx(0.9 - wide, abs=0.003)
    assert high == pytest.approx(0.9 + wide, abs=0.003)


def test_draws_do_not_depend_on_how_many_are_in_memory(monkeypatch):
    whole = np.concatenate(list(Resampling(7).weights()))
    monkeypatch.setattr("secateur.core.evaluation.resample.PART", 50)
    parts = list(Resampling(7).weights())
    assert len(parts) > 100
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (DRAWS, 7)
    assert (whole.sum(axis=1) == 7).all()


def divergences() -> list[Metric]:
    found: list[Metric] = []
    for row in range(4):
        metric = DivergenceMetric("out")
        before = SCORES[row : row + 1]
        metric.update({"out": before[:, ::-1].copy()}, Targets(size=1, outputs={"out": before}))
        found.append(metric)
    return found


def errors(*, broken: bool = False) -> list[Metric]:
    found: list[Metric] = []
    for row in range(4):
        metric = ErrorMetric(["a", "b"])
        before = {"a": SCORES[row : row + 1], "b": SCORES[row : row + 1] + row}
        after = {name: array * 1.1 + 0.1 * row for name, array in before.items()}
        if broken and row == 2:
            after["a"] = after["a"] * np.float32(np.inf)
        metric.update(after, Targets(size=1, outputs=before))
        found.append(metric)
    return found


def pixels() -> list[Metric]:
    random = np.random.default_rng(3)
    found: list[Metric] = []
    for _ in range(5):
        metric = PixelMetric("out", 3)
        scores = random.random((1, 3, 4, 4)).astype(np.float32)
        metric.update({"out": scores}, Targets(size=1, labels=random.integers(0, 2, (1, 4, 4))))
        found.append(metric)
    return found


def values() -> list[Metric]:
    random = np.random.default_rng(4)
    found: list[Metric] = []
    for _ in range(5):
        metric = ValueMetric("out", peak=1.0)
        wanted = random.random((1, 3)).astype(np.float32)
        metric.update({"out": wanted + 0.1}, Targets(size=1, values=wanted))
        found.append(metric)
    return found


def boxes(count: int = 8) -> list[Metric]:
    """Return what a detector found in images: right, wrong, unsure, of three classes."""
    random = np.random.default_rng(5)
    found: list[Metric] = []
    for _ in range(count):
        metric = PrecisionMetric(Finder(heads=()))
        objects = random.integers(0, 4)
        rows = [(int(random.integers(3)), 10.0 * k, 0.0, 10.0 * k + 8, 8.0) for k in range(objects)]
        truth = secateur.Objects.of(rows)
        moved = truth.boxes + random.uniform(-3, 3, truth.boxes.shape)
        stray = random.uniform(0, 40, (2, 2))
        corners = np.concatenate([moved, np.concatenate([stray, stray + 8], axis=1)])
        classes = np.concatenate([truth.classes, random.integers(0, 3, 2)])
        metric.add(Detections(corners, random.random(len(corners)), classes), truth)
        found.append(metric)
    return found


@pytest.mark.parametrize(
    ("empty", "parts"),
    [
        (AccuracyMetric("out"), accuracies([True, False, True, True])),
        (DivergenceMetric("out"), divergences()),
        (ErrorMetric(["a", "b"]), errors()),
        (ErrorMetric(["a", "b"]), errors(broken=True)),
        (PixelMetric("out", 3), pixels()),
        (ValueMetric("out", peak=1.0), values()),
        (PrecisionMetric(Finder(heads=())), boxes()),
    ],
    ids=["accuracy", "divergence", "error", "broken", "pixels", "values", "boxes"],
)
def test_samples_that_are_drawn_twice_count_twice(empty, parts, monkeypatch):
    task, draws = made(empty), Resampling(len(parts), draws=60)
    expected = []
    for weights in np.concatenate(list(draws.weights())):
        total = task.make_metric()
        for part, often in zip(parts, weights, strict=True):
            for _ in range(often):
                total.merge(part)
        expected.append(total.compute().value)
    found = draws.values(task, parts)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(expected)) > 3
    monkeypatch.setattr("secateur.core.evaluation.resample.WIDEST", 0)
    monkeypatch.setattr("secateur.core.evaluation.metrics.detection.WEIGHED", 10)
    np.testing.assert_allclose(draws.values(task, parts), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("data", ["shapes.npz", "calibration.npz"])
def test_the_metrics_of_all_samples_are_that_of_the_whole(kind, data):
    network, dataset = opened(kind, data, limit=20)
    small = secateur.prune(network, rate=0.3, criterion="l1", repair="none").network
    task = secateur.find_task(network, dataset)
    parts = measured_each(small, dataset, task, original=network)
    assert len(parts) == 20
    assert [part.compute().samples for part in parts] == [1] * 20
    total = task.make_metric()
    for part in parts:
        total.merge(part)
    whole = measured(small, dataset, task, original=network).compute().value
    assert total.compute().value == pytest.approx(whole, rel=1e-5)


# -- outputs without a row for each sample ------------------------------------------------------


def with_output(kind: str) -> Network:
    """A network with a map, and one number for the whole batch or four rows a sample."""
    g = Graph(channels=2, size=4, seed=3)
    y = g.conv("b", g.op("relu", "Relu", g.conv("a", g.data, 8)), 3)
    if kind == "number":
        return g.network(y=y, other=g.op("total", "ReduceSum", y, keepdims=0))
    rows = g.op("rows", "Reshape", y, g.builder.constant([-1, 12]))
    return g.network(y=y, other=rows)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(6, 2, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    return tmp_path / "x.npz"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["number", "rows"])
def test_the_metric_of_a_sample_is_that_of_all_it_gives(kind, batch, samples):
    network = with_output(kind)
    small = secateur.prune(network, rate=0.3, criterion="l1", repair="none").network
    dataset = NpzDataset(samples, network, batch=batch)
    parts = measured_each(small, dataset, OutputError(("other",)), original=network)
    expected = []
    for image in np.load(samples)["x"]:
        one, other = (
            Session(each).run({"data": image[None]})["other"] for each in (network, small)
        )
        expected.append(np.linalg.norm(other - one) / np.linalg.norm(one))
    found = [part.compute().value for part in parts]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_function_gets_one_number_a_batch(samples):
    network = with_output("number")
    seen = []

    def measure(outputs, targets):
        seen.append((outputs["other"].shape, targets.size))
        return float(outputs["other"].sum())

    dataset = NpzDataset(samples, network, batch=3)
    figure = measured(network, dataset, FunctionTask(measure).on(network)).compute()
    whole = Session(network).run({"data": np.load(samples)["x"]})["y"].sum()
    assert figure.value == pytest.approx(whole, rel=1e-4)
    assert seen == [((2,), 6)]


def test_a_number_for_the_whole_batch_is_no_hindrance_to_pruning_with_data(samples):
    network = with_output("number")
    result = secateur.prune(network, rate=0.3, data=NpzDataset(samples, network, batch=3))
    assert result.plan.provenance["criterion"] == "obs"
    assert result.network.outputs["other"] == ()
