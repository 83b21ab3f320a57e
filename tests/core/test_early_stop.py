"""Curves that are followed to a threshold: the decisions of complete ones from less work."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest

import secateur
from secateur.core.allocation.threshold import threshold
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask
from secateur.core.data import Objects
from secateur.core.data.targets import Targets
from secateur.core.evaluation.evaluate import evaluate
from secateur.core.evaluation.metrics.decode import Detections
from secateur.core.evaluation.metrics.detection import Finder
from secateur.core.evaluation.tasks.classification import Classification
from secateur.core.evaluation.tasks.detection import Detection
from secateur.core.evaluation.tasks.divergence import Divergence
from secateur.core.evaluation.tasks.output_error import OutputError
from secateur.core.evaluation.tasks.regression import Regression
from secateur.core.evaluation.tasks.segmentation import Segmentation
from secateur.core.sensitivity import Point, analyze, points
from secateur.core.sensitivity.points import first_exceeding, least_loss, loss_of
from secateur.core.sensitivity.state import Known
from support.analysis import curve, opened, ten


@pytest.mark.parametrize("data", ["shapes.npz", "calibration.npz"])
@pytest.mark.parametrize("loss", [0.002, 0.02, 0.3, -0.1])
def test_a_threshold_decides_as_complete_curves_do(data, loss):
    network, dataset = opened("caffe", data, limit=120)
    groups = find_groups(network)
    complete = analyze(network, dataset)
    followed = analyze(network, dataset, threshold=loss)
    assert sum(len(g.points) for g in followed.groups) < sum(len(g.points) for g in complete.groups)
    expected = threshold(groups, complete, loss)
    assert np.array_equal(threshold(groups, followed, loss), expected)
    assert expected.any() == (loss > 0)
    known = {(g.name, p.rate): p for g in complete.groups for p in g.points}
    for entry in followed.groups:
        for point in entry.points:
            exact = known[entry.name, point.rate].loss
            assert loss < point.loss <= exact if point.at_least else point.loss == exact


@pytest.mark.parametrize("kind", ["caffe", "darknet"])
@pytest.mark.parametrize(
    ("data", "loss", "rising"),
    [("shapes.npz", 0.0, False), ("calibration.npz", 0.05, False), ("calibration.npz", 0.05, True)],
)
def test_points_far_over_the_threshold_end_early(kind, data, loss, rising, monkeypatch):
    monkeypatch.setattr("secateur.core.data.shards.MOST_SAMPLES", 4)
    network, dataset = opened(kind, data, limit=80)
    groups = find_groups(network)
    complete = analyze(network, dataset)
    evaluated = []
    metrics_of = points.metrics_of

    def counted(suffix, task, piece, masks):
        evaluated.append(piece.targets.size * len(masks))
        return metrics_of(suffix, task, piece, masks)

    monkeypatch.setattr(points, "metrics_of", counted)
    followed = analyze(network, dataset, threshold=loss, rising=rising)
    measured = [point for entry in followed.groups for point in entry.points]
    assert any(point.at_least for point in measured)
    assert sum(evaluated) < 80 * len({(e.name, p.removed) for e in followed.groups
                                      for p in e.points if p.removed})  # fmt: skip
    assert np.array_equal(threshold(groups, followed, loss), threshold(groups, complete, loss))
    read_again = analyze(network, dataset, threshold=loss, rising=rising, memory=0)
    assert np.array_equal(threshold(groups, read_again, loss), threshold(groups, complete, loss))
    for jobs in (1, 3):
        assert analyze(network, dataset, threshold=loss, rising=rising, jobs=jobs) == followed


@pytest.mark.parametrize("rising", [False, True])
def test_bounds_of_losses_decide_as_losses_do(rising):
    random = np.random.default_rng(11)
    groups = ten()
    for _ in range(300):
        losses = random.normal(0.02, 0.03, 9)
        losses = np.sort(losses) if rising else losses
        counts = sorted(random.choice(np.arange(1, 10), random.integers(1, 6), replace=False))
        limit = float(random.uniform(0, 0.08))
        exact = {int(count): float(losses[count - 1]) for count in counts}
        known = {}

        def measure(count, limit, exact=exact, known=known):
            # The least that a measurement may tell that ends early.
            over = exact[count] > limit
            known[count] = Known(np.nextafter(limit, 1) if over else exact[count], at_least=over)
            return known[count]

        first_exceeding(list(exact), limit, measure, rising=rising)
        whole = curve(0.0)
        complete, followed = (
            replace(
                whole,
                groups=(
                    replace(
                        whole.groups[0],
                        points=tuple(
                            Point(rate=n / 10, removed=n, loss=k.loss, at_least=k.at_least)
                            for n, k in sorted(found.items())
                        ),
                    ),
                ),
            )
            for found in ({n: Known(loss, at_least=False) for n, loss in exact.items()}, known)
        )
        assert np.array_equal(
            threshold(groups, followed, limit), threshold(groups, complete, limit)
        )


TASKS = {
    "classification": (Classification("out"), (4,)),
    "segmentation": (Segmentation("out", 4), (4, 5, 5)),
    "regression": (Regression("out"), (3,)),
    "divergence": (Divergence("out"), (3,)),
    "output error": (OutputError(("out",)), (3,)),
    "detection": (Detection(Finder(heads=())), ()),
}


@pytest.mark.parametrize(("task", "shape"), TASKS.values(), ids=list(TASKS))
def test_no_loss_is_below_its_bound(task, shape):
    random = np.random.default_rng(12)

    def boxes(count):
        corners = random.uniform(0, 4, (count, 2))
        return np.concatenate([corners, corners + random.uniform(1, 5, (count, 2))], axis=1)

    given = [
        Targets(
            size=6,
            labels=random.integers(0, 4, (6,) if len(shape) == 1 else (6, 5, 5)),
            values=random.standard_normal((6, 3)),
            objects=tuple(
                Objects.of(
                    [
                        (int(k), *box)
                        for k, box in zip(random.integers(0, 4, 3), boxes(3), strict=True)
                    ]
                )
                for _ in range(6)
            ),
            outputs={"out": random.standard_normal((6, 3), dtype=np.float32)},
        )
        for _ in range(8)
    ]

    def measured(targets):
        metric = task.make_metric()
        if isinstance(task, Detection):
            for truth in targets.objects:
                found = Detections(boxes(20), random.random(20), random.integers(0, 4, 20))
                metric.add(found, truth)
        else:
            noise = random.standard_normal((6, *shape), dtype=np.float32)
            metric.update({"out": noise}, targets)
        return metric

    original, metrics = ([measured(one) for one in given] for _ in range(2))
    value = None
    if not task.needs_original:
        value = loss_of(task, original, 0.0) * (-1 if task.higher_is_better else 1)
    best = [task.best_case(*pair) for pair in zip(original, given, strict=True)]
    bounds = [least_loss(task, metrics[:known], best, value) for known in range(len(given) + 1)]
    assert bounds == pytest.approx(sorted(bounds))
    assert bounds[-1] == loss_of(task, metrics, value)
    assert bounds[0] < bounds[-1]
    assert least_loss(task, metrics[:3], [None] * len(given), value) is None


def test_a_rate_within_the_threshold_needs_no_complete_curves():
    network, dataset = opened("caffe", "calibration.npz", limit=40)
    complete = analyze(network, dataset)
    followed = analyze(network, dataset, threshold=0.2)
    for rate in (0.1, 0.3):
        plans = [
            secateur.prune(network, rate=rate, analysis=one, repair=False).plan.groups
            for one in (complete, followed)
        ]
        assert plans[0] == plans[1]
        assert sum(len(entry.removed) for entry in plans[0]) > 10
    with pytest.raises(secateur.PlanError, match=r"to a loss of 0\.2 only, which gives"):
        secateur.prune(network, rate=0.9, analysis=followed)


def test_a_larger_threshold_needs_other_curves():
    network, dataset = opened("caffe", "calibration.npz", limit=20)
    groups = find_groups(network)
    followed = analyze(network, dataset, threshold=0.1)
    complete = analyze(network, dataset)
    with pytest.raises(secateur.PlanError, match=r"follows its curves to a loss of 0\.1 only"):
        threshold(groups, followed, 0.2)
    for loss in (0.0, 0.03, 0.07, 0.1):
        assert np.array_equal(threshold(groups, followed, loss), threshold(groups, complete, loss))


def test_lenet_loses_the_same_channels(shared, tmp_path):
    models, digits = shared / "models/lenet_mnist", shared / "data/mnist"
    network = secateur.load(models / "lenet.prototxt", models / "lenet_iter_10000.caffemodel")
    images, labels = (
        gzip.decompress((digits / f"t10k-{name}.gz").read_bytes())
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    y = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    np.savez(tmp_path / "mnist.npz", x=(x[:2000] / 256).astype(np.float32), y=y[:2000])
    data = secateur.open_dataset(tmp_path / "mnist.npz", network)
    groups = find_groups(network)
    complete = analyze(network, data)
    followed = analyze(network, data, threshold=0.01)
    assert complete.metric == "Accuracy"
    expected = threshold(groups, complete, 0.01)
    assert np.array_equal(threshold(groups, followed, 0.01), expected)
    assert expected.sum() > 200
    assert sum(len(entry.points) for entry in followed.groups) < 27
    removed = np.zeros(groups.unit_count, bool)
    entry = complete.by_name("conv2")
    removed[[groups.by_name("conv2").units[place] for place in entry.order[:30]]] = True
    point = next(point for point in entry.points if point.removed == 30)
    plain = evaluate(mask(network, groups, removed), data).value
    assert point.loss == complete.original_value - plain
