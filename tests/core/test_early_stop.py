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
from secateur.core.evaluation.metrics.detection import Matches
from secateur.core.sensitivity import Point, analyze, points
from secateur.core.sensitivity import scorers as judges
from secateur.core.sensitivity.detection import ObjectJudge
from secateur.core.sensitivity.points import first_exceeding
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
    evidence_of = points.judged

    def counted(suffix, judge, piece, masks):
        evaluated.append(piece.answers.size * len(masks))
        return evidence_of(suffix, judge, piece, masks)

    monkeypatch.setattr(points, "judged", counted)
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


def test_no_loss_is_below_its_bound():
    random = np.random.default_rng(12)
    answers = [
        Targets(
            size=6,
            labels=random.integers(0, 4, (6, 5, 5)),
            values=random.standard_normal((6, 3)),
            objects=tuple(
                Objects.of([(int(k), 0, 0, 1, 1) for k in random.integers(0, 4, 3)])
                for _ in range(6)
            ),
            outputs={"out": random.standard_normal((6, 3), dtype=np.float32)},
        )
        for _ in range(8)
    ]

    def matches():
        kinds = random.integers(0, 2, 20).astype(np.uint8)
        return Matches(random.integers(0, 4, 20), random.random(20), kinds)

    def noise(*shape):
        return {"out": random.standard_normal((6, *shape), dtype=np.float32)}

    classes = [replace(one, labels=one.labels[:, 0, 0]) for one in answers]
    cases = [
        (judges.ClassJudge("out"), classes, lambda one: judges.ClassJudge("out").evidence(
            noise(4), one)),
        (judges.PixelJudge("out", 4), answers, lambda one: judges.PixelJudge("out", 4).evidence(
            noise(4, 5, 5), one)),
        (judges.ValueJudge("out"), answers, lambda one: judges.ValueJudge("out").evidence(
            noise(3), one)),
        (judges.DivergenceJudge("out"), answers, lambda one: judges.DivergenceJudge("out").evidence(
            noise(3), one)),
        (judges.ErrorJudge(("out",)), answers, lambda one: judges.ErrorJudge(("out",)).evidence(
            noise(3), one)),
        (ObjectJudge((), ()), answers, lambda _: matches()),
    ]  # fmt: skip
    for judge, given, evidence_of in cases:
        baseline = [evidence_of(one) for one in given]
        evidence = [evidence_of(one) for one in given]
        bounds = [
            judges.least_loss(judge, evidence[:known], baseline, given)
            for known in range(len(given) + 1)
        ]
        assert bounds == pytest.approx(sorted(bounds)), judge
        assert bounds[-1] == judge.loss(evidence, baseline, given)
        assert bounds[0] < bounds[-1], judge


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
    assert point.loss == complete.baseline - plain
