"""Analysis: the same points as the plain loop, resumable, and what allocations make of it."""

from __future__ import annotations

import contextlib
import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

import secateur
from secateur.core.allocation.sensitivity import sensitivity
from secateur.core.allocation.threshold import threshold
from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import Groups, find_groups
from secateur.core.coupling.edit import mask
from secateur.core.data import Batch, Dataset, Frame, Objects
from secateur.core.data.shards import shards
from secateur.core.evaluation.evaluate import evaluate
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.evaluation.metrics.decode import Detections
from secateur.core.evaluation.metrics.detection import (
    Finder,
    FullPrecisionMetric,
    PrecisionMetric,
)
from secateur.core.ir.heads import is_classifier
from secateur.core.ir.network import Network
from secateur.core.plan.limits import Limits
from secateur.core.plan.plan import make_plan, removed_units
from secateur.core.plan.steps import cut
from secateur.core.sensitivity import Analysis, GroupAnalysis, Point, analyze, load_analysis
from secateur.core.sensitivity.state import Known, State
from secateur.core.suffixes.contexts import kept_bytes
from secateur.core.suffixes.suffix import make_suffix
from support.analysis import FIXTURES, NETWORKS, curve, opened, ten
from support.graphs import Graph


class Arrays:
    """Noise for a network, in batches of odd sizes."""

    name = "noise"
    problems = ()

    def __init__(self, network: Network, samples: int = 24, labels: int = 0):
        shape = [dim for dim in network.inputs["data"][1:] if isinstance(dim, int)]
        random = np.random.default_rng(3)
        self.samples = samples
        self.labelled = labels > 0
        self._x = random.standard_normal((samples, *shape), dtype=np.float32)
        self._y = random.integers(0, labels, samples) if labels else None

    def __iter__(self):
        for start in range(0, self.samples, 7):
            y = None if self._y is None else self._y[start : start + 7]
            yield Batch(inputs={"data": self._x[start : start + 7]}, labels=y)


def plain_loss(network: Network, groups: Groups, entry: GroupAnalysis, removed: int, data: Dataset):
    """The loss as the plain loop finds it: rebuild the masked network, run all data."""
    group = groups.by_name(entry.name)
    gone = np.zeros(groups.unit_count, bool)
    gone[[group.units[place] for place in entry.order[:removed]]] = True
    masked = mask(network, groups, gone)
    if data.labelled:
        return evaluate(network, data).value - evaluate(masked, data).value
    true = fidelity(network, masked, data)
    return true.divergence if is_classifier(network) else true.error


def assert_as_plain_loop(network: Network, data: Dataset, analysis: Analysis) -> None:
    groups = find_groups(network)
    assert [g.name for g in analysis.groups] == [g.name for g in groups.groups if g.prunable]
    assert sum(len(entry.points) for entry in analysis.groups) > 0
    for entry in analysis.groups:
        for point in entry.points:
            expected = plain_loss(network, groups, entry, point.removed, data)
            assert point.loss == pytest.approx(expected, abs=1e-5, rel=1e-5), entry.name


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("data", ["shapes.npz", "calibration.npz"])
def test_points_are_those_of_the_plain_loop(kind, data):
    network, dataset = opened(kind, data, limit=100)
    analysis = analyze(network, dataset, rates=[0.2, 0.5, 0.9])
    assert_as_plain_loop(network, dataset, analysis)
    assert analysis.samples == 100
    if dataset.labelled:
        assert analysis.metric == "Accuracy"
        assert analysis.original_value == evaluate(network, dataset).value
    else:
        assert analysis.original_value is None


def mixed() -> Network:
    """Residual sums, concat, depthwise and grouped convolutions, two outputs at two depths."""
    graph = Graph(channels=4, size=6)
    a = graph.op("relu1", "Relu", graph.conv("a", graph.data, 8))
    b = graph.conv("b", a, 8)
    total = graph.op("sum", "Add", a, b)
    deep = graph.conv("deep", total, 8, group=8)
    grouped = graph.conv("grouped", deep, 12, group=2)
    joined = graph.op("joined", "Concat", grouped, graph.conv("c", total, 6), axis=1)
    early = graph.conv("early", b, 3, kernel=1)
    late = graph.conv("late", graph.op("relu2", "Relu", joined), 5, kernel=1)
    return graph.network(early=early, late=late)


@pytest.mark.parametrize("memory", [1 << 30, 0], ids=["kept", "recomputed"])
def test_structures_and_several_outputs(memory):
    network = mixed()
    data = Arrays(network)
    analysis = analyze(network, data, rates=[0.25, 0.5, 0.75], memory=memory)
    assert analysis.metric == "Output error"
    assert_as_plain_loop(network, data, analysis)


def test_memory_and_cores_change_no_point():
    network, dataset = opened("darknet", "calibration.npz", limit=60)
    one = analyze(network, dataset, jobs=1)
    assert analyze(network, dataset, jobs=3) == one
    small = analyze(network, dataset, memory=0)
    for entry, other in zip(one.groups, small.groups, strict=True):
        for point, same in zip(entry.points, other.points, strict=True):
            assert same.loss == pytest.approx(point.loss, rel=1e-5, abs=1e-7)


def test_a_suffix_reads_what_lies_before_it_and_goes_to_other_processes():
    network = mixed()
    groups = find_groups(network)
    suffix = make_suffix(network, groups, groups.by_name("c"), list(network.outputs))
    assert suffix is not None
    assert list(suffix.network.outputs) == ["late"]
    assert kept_bytes(network, [suffix]) >= 4 * 6 * 6 * 4
    copy = pickle.loads(pickle.dumps(suffix))
    values = {name: value for name, value in network.values().items() if name in suffix.context}
    random = np.random.default_rng(0)
    feeds = {
        name: random.standard_normal((2, *list(value.shape)[1:]), dtype=np.float32)
        for name, value in values.items()
    }
    feeds.update(suffix.masks(np.ones(len(groups.units), bool)))
    assert np.array_equal(copy.compute(feeds)["late"], suffix.compute(feeds)["late"])


def test_rates_become_whole_steps_and_the_lowest_scores_go_first():
    network = mixed()
    analysis = analyze(network, Arrays(network), rates=[0.1, 0.3, 0.5, 0.99])
    found = {entry.name: [point.removed for point in entry.points] for entry in analysis.groups}
    # 12 channels in two shares that lose equally many, 6 channels of which one stays.
    assert found["grouped"] == [0, 2, 6, 10]
    assert found["c"] == [0, 1, 3, 5]
    weights = np.abs(network.graph.initializers["c/weight"].const_value.numpy())
    order = analysis.by_name("c").order
    assert list(order) == np.argsort(weights.sum(axis=(1, 2, 3)), kind="stable")[:5].tolist()
    assert analysis.by_name("grouped").points[0].loss == 0


# -- allocations ---------------------------------------------------------------------------------


def removed_of(groups: Groups, removed: np.ndarray) -> list[int]:
    (entry,) = make_plan(groups, removed, {}).groups
    return list(entry.removed)


@pytest.mark.parametrize(
    ("losses", "loss", "count"),
    [
        ((0.0, 0.01, 0.02, 0.03), 0.02, 3),
        ((0.0, 0.05, 0.0, 0.0), 0.02, 1),  # the first place over the loss, though it comes down
        ((-0.5, -0.1, 0.01, 0.5), 0.02, 3),  # an improvement is no loss
        ((0.0, 0.0), 0.02, 2),  # nothing is removed beyond the last point
        ((math.inf,), 0.02, 0),
        ((0.01, 0.02), -0.01, 0),
    ],
)
def test_threshold_is_the_largest_rate_before_the_loss(losses, loss, count):
    groups = ten()
    removed = threshold(groups, curve(*losses), loss, limits=Limits(round_to=1))
    assert removed_of(groups, removed) == list(range(count))


def test_threshold_between_points_overrides_and_limits():
    groups = ten()
    whole = curve(0.0)
    points = (Point(rate=0.2, removed=2, loss=0.0), Point(rate=0.8, removed=8, loss=0.6))
    sparse = replace(whole, groups=(replace(whole.groups[0], points=points),))
    assert len(removed_of(groups, threshold(groups, sparse, 0.35))) == 5
    assert len(removed_of(groups, threshold(groups, sparse, 0.35, overrides={"a": 0.1}))) == 3
    limited = threshold(groups, sparse, 0.35, limits=Limits(round_to=4))
    assert len(removed_of(groups, limited)) == 2
    with pytest.raises(secateur.PlanError, match="no group or layer 'nonsense'"):
        threshold(groups, sparse, 0.1, overrides={"nonsense": 1.0})
    with pytest.raises(secateur.PlanError, match="another network"):
        threshold(groups, curve(0.1, name="c"), 0.1)


def test_an_order_by_sensitivity_meets_rates_and_is_the_thresholds():
    network, dataset = opened("caffe", "calibration.npz", limit=40)
    groups = find_groups(network)
    analysis = analyze(network, dataset)
    costs = Costs(network, groups)
    order = sensitivity(groups, analysis)
    for rate in (0.1, 0.3, 0.5):
        removed, achieved = cut(order, groups, costs, rate)
        assert rate - 0.01 <= achieved <= rate
        plan = make_plan(groups, removed, {})
        assert np.array_equal(removed_units(plan, groups), removed)
    taken = threshold(groups, analysis, 0.05)
    first = {channel for step in order[: len(order)] for channel in step.units}
    assert set(np.flatnonzero(taken)) <= first


# -- state and results ---------------------------------------------------------------------------


def test_finished_points_survive_a_half_written_line(tmp_path):
    path = tmp_path / "state.jsonl"
    with State.open(path, "d") as state:
        state.add("a", 3, Known(0.125, at_least=False))
        state.add("b", 1, Known(math.inf, at_least=True))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"group": "c", "remo')
    with State.open(path, "d") as state:
        assert state.points == {
            ("a", 3): Known(0.125, at_least=False),
            ("b", 1): Known(math.inf, at_least=True),
        }
        state.add("c", 2, Known(0.5, at_least=False))
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert json.loads(lines[-1])["group"] == "c"


@pytest.mark.parametrize("length", [0, 5])
def test_a_state_that_was_hardly_begun_starts_anew(tmp_path, length):
    path = tmp_path / "state.jsonl"
    path.write_bytes(b'{"version": 1'[:length])
    with State.open(path, "d") as state:
        assert state.points == {}
    assert json.loads(path.read_text()) == {"version": 1, "digest": "d"}


def test_a_state_of_something_else_is_refused(tmp_path):
    path = tmp_path / "state.jsonl"
    with State.open(path, "one") as state:
        state.add("a", 1, Known(0.5, at_least=False))
    with pytest.raises(secateur.DataError, match="another model, other data or other settings"):
        State.open(path, "two")
    with State.open(path, "two", restart=True) as state:
        assert state.points == {}
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(secateur.DataError, match=r"state\.jsonl:2: broken"):
        State.open(path, "two")


class Killed(BaseException):
    """What ends a run from inside."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")  # joblib's word on what was cancelled
@pytest.mark.parametrize("limit", [None, 0.05])
def test_a_run_that_was_ended_goes_on_to_the_same_result(tmp_path, limit):
    network, dataset = opened("darknet", "calibration.npz", limit=40)
    expected = analyze(network, dataset, threshold=limit)
    path = tmp_path / "state.jsonl"
    sizes = []
    for stop in (3, 40, 90):
        calls = 0

        def end(label: str, done: int, total: int, stop: int = stop) -> None:
            nonlocal calls
            calls += label == "analysis"
            if calls > stop:
                raise Killed

        with contextlib.suppress(Killed):  # or it comes to its end before
            analyze(network, dataset, threshold=limit, state=path, progress=end)
        sizes.append(len(path.read_bytes()))
    assert sizes == sorted(sizes)
    assert analyze(network, dataset, threshold=limit, state=path) == expected
    before = path.read_bytes()
    assert analyze(network, dataset, threshold=limit, state=path) == expected
    assert path.read_bytes() == before


def test_the_digest_knows_model_data_and_settings():
    network, dataset = opened("darknet", "calibration.npz", limit=20)
    base = analyze(network, dataset, rates=[0.5])
    assert analyze(network, dataset, rates=[0.3]).digest == base.digest
    other = secateur.open_dataset(FIXTURES / "calibration.npz", network, limit=21)
    assert analyze(network, other, rates=[0.5]).digest != base.digest
    pruned = secateur.prune(network, rate=0.1).network
    assert analyze(pruned, dataset, rates=[0.5]).digest != base.digest


def test_results_are_read_as_they_were_written(tmp_path):
    analysis = curve(0.0, -0.25, math.inf)
    secateur.save_analysis(analysis, tmp_path / "analysis.json")
    assert load_analysis(tmp_path) == analysis
    assert "Infinity" not in (tmp_path / "analysis.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["analysis.json"]
    (tmp_path / "analysis.json").write_text('{"version": 1, "groups": [{}]}')
    with pytest.raises(secateur.DataError, match=r"analysis\.json: broken"):
        load_analysis(tmp_path)
    with pytest.raises(secateur.DataError, match="cannot be read"):
        load_analysis(tmp_path / "nowhere")


@pytest.mark.parametrize("rates", [[], [0.0], [1.0], [0.5, -0.1]])
def test_impossible_rates(rates):
    network, dataset = opened("caffe", "calibration.npz", limit=4)
    with pytest.raises(secateur.PlanError, match="rates"):
        analyze(network, dataset, rates=rates)


def test_excluded_layers_and_labels_that_do_not_fit():
    network = mixed()
    found = analyze(network, Arrays(network), rates=[0.5], exclude=["c"])
    assert found.by_name("c") is None
    assert found.by_name("grouped") is not None
    with pytest.raises(secateur.PlanError, match="no such layer"):
        analyze(network, Arrays(network), exclude=["nonsense"])
    shapes, _ = opened("caffe", "shapes.npz")
    with pytest.raises(secateur.DataError, match="tells 10 classes apart"):
        analyze(shapes, Arrays(shapes, labels=300))


# -- pieces --------------------------------------------------------------------------------------


def test_shards_keep_samples_with_their_labels():
    def batches():
        for start, stop in ((0, 3), (3, 10), (10, 11)):
            n = np.arange(start, stop)
            no = np.zeros(0)
            yield Batch(
                inputs={"x": n[:, None].astype(np.float32)},
                labels=n,
                objects=tuple(Objects.of([(k, 0, 0, 1, 1)]) for k in n),
                frames=tuple(Frame(width=int(k) + 1, height=1) for k in n),
                values=no if no.size else n[:, None] * 2.0,
            )

    found = list(shards(batches(), 4))
    assert [shard.targets.size for shard in found] == [4, 4, 3]
    for shard in found:
        expected = shard.inputs["x"][:, 0].astype(int).tolist()
        assert shard.targets.labels.tolist() == expected
        assert [int(one.classes[0]) for one in shard.targets.objects] == expected
        assert [frame.width - 1 for frame in shard.targets.frames] == expected
        assert (shard.targets.values[:, 0] / 2).tolist() == expected


def test_mean_average_precision_in_pieces_is_that_of_all():
    random = np.random.default_rng(5)
    whole, pieces = FullPrecisionMetric(Finder(heads=())), PrecisionMetric(Finder(heads=()))
    from secateur.core.evaluation.metrics.boxes import suppressed
    from secateur.core.evaluation.metrics.decode import thinned

    for _ in range(6):
        piece = PrecisionMetric(Finder(heads=()))
        for _ in range(5):
            corner = random.uniform(0, 40, (60, 2))
            boxes = np.concatenate([corner, corner + random.uniform(1, 30, (60, 2))], axis=1)
            one = Detections(boxes, random.integers(0, 30, 60) / 30, random.integers(0, 4, 60))
            kept = thinned(one, 0.45)
            slow = np.concatenate([
                np.flatnonzero(one.classes == k)[
                    suppressed(boxes[one.classes == k], one.scores[one.classes == k], 0.45)
                ]
                for k in np.unique(one.classes)
            ])  # fmt: skip
            assert np.array_equal(kept.boxes, boxes[slow])
            rows = [(int(k), *boxes[k + 5]) for k in random.integers(0, 4, 5)]
            truth = Objects.of(rows, ignored=list(random.random(5) < 0.2))
            piece.add(kept, truth)
            whole.add(kept, truth)
        pieces.merge(piece)
    assert pieces.compute().value == whole.compute().value
    assert 0 < whole.compute().value < 1


def test_a_detector_with_labels_is_as_the_plain_loop(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    network = secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    data = secateur.open_dataset(shared / "data/coco/val2017/images", network, limit=4)
    groups = find_groups(network)
    names = [group.name for group in groups.groups if group.prunable]
    keep = {names[0], names[len(names) // 2], names[-1]}
    chosen = replace(
        groups,
        groups=tuple(g if g.name in keep else replace(g, partitions=()) for g in groups.groups),
    )
    analysis = analyze(network, data, rates=[0.3], groups=chosen)
    assert analysis.metric == "mAP"
    assert analysis.original_value == evaluate(network, data).value
    assert {entry.name for entry in analysis.groups} == keep
    for entry in analysis.groups:
        (point,) = entry.points
        expected = plain_loss(network, groups, entry, point.removed, data)
        assert point.loss == pytest.approx(expected, abs=1e-5)
