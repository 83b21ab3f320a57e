"""Tasks: which one is found, what users may add, and that all that measures asks the same."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import secateur
from secateur.core.data import Batch, Frame, Objects
from secateur.core.data.base import target_kind
from secateur.core.data.targets import Targets
from secateur.core.errors import DataError, VerificationError
from secateur.core.evaluation.gate import Gate
from secateur.core.evaluation.loss import LossMeter
from secateur.core.evaluation.metrics import Figure, Metric
from secateur.core.evaluation.task import TASKS, Task, TaskOptions, find_task
from secateur.core.ir.heads import AnchorHead, BoxHead, ClassifierHead, classifier_output
from secateur.core.ir.network import Network
from support.analysis import FIXTURES, opened
from support.graphs import Graph


class RecallMetric(Metric):
    """How many samples of each class there are, and are right."""

    def __init__(self, output, classes):
        self.output = output
        self.counts = np.zeros((2, classes), int)

    def update(self, outputs, targets):
        scores = outputs[self.output].reshape(targets.size, -1)
        right = scores.argmax(axis=1) == targets.labels
        for row, labels in enumerate((targets.labels[right], targets.labels)):
            self.counts[row] += np.bincount(labels, minlength=self.counts.shape[1])

    def merge(self, other):
        self.counts += other.counts

    def compute(self):
        right, there = self.counts[:, self.counts[1] > 0]
        return Figure(metric="Balanced accuracy", value=float(np.mean(right / there)),
                      samples=int(self.counts[1].sum()))  # fmt: skip


@dataclass(frozen=True)
class BalancedAccuracy(Task):
    """The mean of the classes' recalls."""

    output: str
    classes: int

    name = "balanced accuracy"
    metric = "Balanced accuracy"
    unit = "%"
    points = 100.0

    @classmethod
    def of(cls, network, dataset, options):
        name = options.output or classifier_output(network)
        return cls(name, network.outputs[name][1])

    @property
    def outputs(self):
        return (self.output,)

    def make_metric(self):
        return RecallMetric(self.output, self.classes)


def recalls(network, data):
    """The figure from what `evaluate` says of each class."""
    found = secateur.evaluate(network, data).per_class.values()
    return np.mean([right / there for right, there in found])


@pytest.fixture
def registered(monkeypatch):
    """The task under its name, for one test."""
    _ = dict(TASKS)  # so that the tasks of the package are there, too
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS))
    return TASKS.add(BalancedAccuracy.name, entry=BalancedAccuracy)


@pytest.mark.parametrize("named", [False, True])
def test_a_task_of_the_user_is_measured_everywhere(registered, named):
    network, data = opened("caffe", "shapes.npz", limit=90)
    made = BalancedAccuracy.of(network, data, TaskOptions())
    assert pickle.loads(pickle.dumps(made)) == made
    task = BalancedAccuracy.name if named else made
    expected = recalls(network, data)
    result = secateur.evaluate(network, data, task=task)
    assert (result.metric, result.samples) == ("Balanced accuracy", 90)
    assert result.value == pytest.approx(expected)
    assert result.value != secateur.evaluate(network, data).value
    pruned = secateur.prune(network, rate=0.3, criterion="l1").network
    lost = expected - recalls(pruned, data)
    assert lost > 0
    row = secateur.summarize(network, pruned, data=data, task=task)[0]
    assert (row.item, row.unit) == ("Balanced accuracy", "%")
    assert row.delta == pytest.approx(-100 * lost)
    with pytest.raises(VerificationError, match="Balanced accuracy drops by"):
        secateur.check_drop(network, pruned, data, 0.1, task=task)
    assert secateur.check_drop(network, pruned, data, 99, task=task) == pytest.approx(100 * lost)
    analysis = secateur.analyze(network, data, rates=[0.5], task=task)
    plain = secateur.analyze(network, data, rates=[0.5])
    assert (analysis.metric, plain.metric) == ("Balanced accuracy", "Accuracy")
    assert analysis.original_value == pytest.approx(expected)
    assert analysis.digest != plain.digest
    # Nobody said what is best, so no point ends early.
    followed = secateur.analyze(network, data, rates=[0.5], task=task, threshold=0.01)
    assert followed.groups == analysis.groups


def test_rounds_are_measured_by_a_task_of_the_user(tmp_path, registered):
    network, data = opened("caffe", "shapes.npz", limit=60)
    found = secateur.iterate(
        network, data, tmp_path / "own", rates=[0.2], criterion="l1", task=BalancedAccuracy.name
    )
    assert found.metric == "Balanced accuracy"
    assert found.original_value == pytest.approx(recalls(network, data))
    with pytest.raises(DataError, match="belongs to another model, other data or other settings"):
        secateur.iterate(network, data, tmp_path / "own", rates=[0.2], criterion="l1")
    plain = secateur.iterate(network, data, tmp_path / "usual", rates=[0.2], criterion="l1")
    named = secateur.iterate(
        network, data, tmp_path / "usual", rates=[0.2], criterion="l1", task="classification"
    )
    assert named == plain


def test_the_page_shows_how(tmp_path, monkeypatch):
    page = (FIXTURES.parent / "docs/data.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for name in ("shapes_caffe/shapes.prototxt", "shapes_caffe/shapes.caffemodel", "shapes.npz"):
        (tmp_path / Path(name).name).symlink_to(FIXTURES / name)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(code, "docs/data.md", "exec"), names)
    network, data = opened("caffe", "shapes.npz")
    assert names["curves"].original_value == pytest.approx(recalls(network, data))


# -- which one is found --------------------------------------------------------------------------


class Given:
    """One batch, of whose targets the dataset says nothing."""

    name, samples, problems = "given", 2, ()

    def __init__(self, inputs=None, **targets):
        self.inputs = np.zeros((2, 3, 4, 4), np.float32) if inputs is None else inputs
        self.targets = targets
        self.labelled = bool(targets)

    def __iter__(self):
        yield Batch(inputs={"data": self.inputs}, **self.targets)


def network(head: str = "") -> Network:
    g = Graph(channels=3, size=4)
    deep = g.conv("c", g.data, 5)
    made = g.network(maps=deep, y=g.op("flat", "Flatten", g.op("pool", "GlobalAveragePool", deep)))
    heads = {"classes": (ClassifierHead(output="y"),), "maps": (ClassifierHead(output="maps"),),
             "boxes": (BoxHead(output="maps", classes=0),), "": ()}  # fmt: skip
    return Network(name="made", model=made.model, heads=heads[head])


@pytest.mark.parametrize(
    ("head", "targets", "name", "outputs"),
    [
        ("", {"labels": np.zeros(2, int)}, "classification", ("y",)),
        ("", {"labels": np.zeros((2, 4, 4), int)}, "segmentation", ("maps",)),
        ("boxes", {"objects": ((), ())}, "detection", ("maps",)),
        ("", {"values": np.zeros((2, 5))}, "regression", ("y",)),
        ("", {"values": np.zeros((2, 5, 4, 4))}, "regression", ("maps",)),
        ("classes", {}, "divergence", ("y",)),
        ("", {}, "output-error", ("maps", "y")),
        ("boxes", {}, "output-error", ("maps", "y")),
        ("maps", {}, "output-error", ("maps", "y")),  # a softmax of every pixel is no classifier
    ],
)
def test_the_targets_call_for_a_task(head, targets, name, outputs):
    task = find_task(network(head), Given(**targets))
    assert (task.name, task.outputs) == (name, outputs)
    assert find_task(network(head), Given(**targets), name) == task
    assert task.needs_original == (not targets)


def test_the_kind_of_targets_needs_no_sample_where_it_is_known():
    for data, kind in (("shapes.npz", "label"), ("calibration.npz", "")):
        _, dataset = opened("caffe", data)
        assert dataset.target_kind == target_kind(dataset) == kind
    silent = SimpleNamespace(labelled=False)
    assert target_kind(silent) == ""
    with pytest.raises(DataError, match="no samples in nothing"):
        target_kind(Empty())


class Empty:
    name, samples, labelled, problems = "nothing", 0, True, ()

    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        ("clasification", {}, "unknown task 'clasification'"),
        ("detection", {}, "no head that finds boxes"),
        ("segmentation", {"labels": np.zeros(2, int)}, "kind 'pixels', given has targets of the"),
        ("classification", {}, "kind 'label', given has none"),
        ("regression", {"labels": np.zeros(2, int)}, "given has no values to compute"),
        (secateur.Classification("nowhere"), {"labels": np.zeros(2, int)}, "no output 'nowhere'"),
    ],
)
def test_a_task_that_does_not_fit(task, targets, message):
    with pytest.raises(DataError, match=message):
        find_task(network(), Given(**targets), task)


def test_the_nearest_name_is_a_hint():
    with pytest.raises(DataError) as error:
        find_task(network(), Given(), "clasification")
    assert "classification" in str(error.value.hint)


def test_one_network_is_no_comparison():
    with pytest.raises(DataError, match="Output error compares a network with the one"):
        secateur.evaluate(network(), Given(), task="output-error")


# -- what every task keeps to --------------------------------------------------------------------


def scene(seed: int) -> Objects:
    """Two objects in an image of 4×4 pixels."""
    low = np.random.default_rng(seed).uniform(0, 2, (2, 2))
    return Objects.of([(0, *box, *(box + 2)) for box in low])


SIX = np.random.default_rng(5)
TARGETS = {
    "classification": {"labels": SIX.integers(0, 6, 6)},
    "segmentation": {"labels": SIX.integers(0, 6, (6, 4, 4))},
    "detection": {
        "objects": tuple(map(scene, range(6))), "frames": (Frame(width=4, height=4),) * 6,
    },
    "regression": {"values": SIX.standard_normal((6, 6), dtype=np.float32)},
    "divergence": {},
    "output-error": {},
}  # fmt: skip


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_keeps_to_the_rules(name):
    g = Graph(channels=3, size=4)
    deep = g.conv("c", g.data, 6)
    made = g.network(maps=deep, y=g.op("flat", "Flatten", g.op("pool", "GlobalAveragePool", deep)))
    head = AnchorHead(output="maps", classes=1, anchors=((2.0, 2.0),), width=4, height=4)
    net = replace(made, heads=(head, ClassifierHead(output="y")))
    data = Given(np.random.default_rng(1).random((6, 3, 4, 4), np.float32), **TARGETS[name])
    task = find_task(net, data, name)
    assert task.name == name
    assert TASKS[name].of(net, data, TaskOptions()) == pickle.loads(pickle.dumps(task)) == task
    assert set(task.outputs) <= set(net.outputs)
    assert (task.unit == "%") <= (task.points == 100)
    (batch,) = data
    outputs = secateur.Session(net).run(batch.inputs)
    noise = {key: array + np.float32(0.5) * array[::-1] for key, array in outputs.items()}
    targets = Targets.of(batch, outputs)
    plain, full, moved = task.make_metric(), task.make_full_metric(), task.make_metric()
    plain.update(outputs, targets)
    full.update(outputs, targets)
    moved.update(noise, targets)
    result = full.compute()
    assert (result.metric, result.samples) == (task.metric, 6)
    assert result.value == plain.compute().value
    own = None if task.needs_original else result.value
    best = task.best_case(plain, replace(targets, outputs={}))
    assert task.loss(best.compute().value, own) <= min(
        task.loss(metric.compute().value, own) for metric in (plain, moved)
    )
    assert task.loss(result.value, own) == 0


# -- directions, units, names --------------------------------------------------------------------


def test_losses_are_signed_and_know_the_direction():
    task = secateur.Classification("y")
    assert task.loss(0.75, 0.5) == -0.25
    assert task.text(0.1234567) == "12.35 %"
    distance = secateur.OutputError(("y",))
    assert distance.loss(0.25, None) == 0.25
    assert distance.text(0.1234567, digits=4) == "0.1235"
    assert distance.best_case(distance.make_metric(), None).compute().value == 0

    @dataclass(frozen=True)
    class Seconds(secateur.Classification):
        higher_is_better = False

    assert Seconds("y").loss(0.75, 0.5) == 0.25


def test_the_gate_fits_what_is_measured():
    with pytest.raises(DataError, match="needs labelled data"):
        Gate(drop=1).check(secateur.OutputError(("y",)))
    with pytest.raises(DataError, match="for data without labels"):
        Gate(divergence=1).check(secateur.Classification("y"))
    assert not Gate(drop=1).passes(float("nan"))
    assert Gate().passes(99)
    assert Gate(drop=3).passes(100 * (0.98 - 0.95))
    assert not Gate(drop=3).passes(3.01)
    with pytest.raises(DataError, match="needs labelled data"):
        secateur.check_drop(network(), network(), None, 1)


@pytest.mark.parametrize("task", ["classification", "divergence", "output-error"])
def test_outputs_may_have_other_names(task):
    one, data = opened("caffe", "shapes.npz", limit=32)
    same, other = (secateur.prune(one, rate=0.3, criterion="l1").network for _ in range(2))
    meter = LossMeter.of(one, data, task)
    for value in other.graph.outputs:
        value.name = f"renamed/{value.name}"
    assert set(other.outputs).isdisjoint(one.outputs)
    assert meter.value(other) == meter.value(same) != 0
    assert (meter.original_value is None) == meter.task.needs_original
