"""What functions return can be sent to another process, and prints itself in one short line."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import secateur

ROOT = Path(__file__).resolve().parents[2]
CAFFE = [ROOT / "fixtures/shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [ROOT / "fixtures/shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
LONGEST = 400


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    net = secateur.load(*CAFFE)
    stored = np.load(ROOT / "fixtures/shapes.npz")
    x, y = stored["x"][:24], stored["y"][:24]
    groups = secateur.find_groups(net)
    pruned = secateur.prune(net, rate=0.2, data=x, criterion="l1", repair="bias")
    small = pruned.network
    return {
        "network": net,
        "groups": groups,
        "group": groups.groups[0],
        "pruned": pruned,
        "plan": pruned.plan,
        "verification": pruned.verification,
        "analysis": secateur.analyze(net, x[:8], rates=[0.5]),
        "comparison": secateur.compare(net, small, x),
        "fidelity": secateur.fidelity(net, small, x),
        "accuracy": secateur.evaluate(net, (x, y)),
        "task": secateur.find_task(net, (x, y)),
        "fitted": secateur.fit_data(net, (x, y)),
        "cost": secateur.measure_cost(net, groups),
        "description": secateur.describe(net),
        "row": secateur.summarize(net, small, data=(x, y))[0],
        "saved": secateur.save(pruned, folder / "a"),
        "iteration": secateur.iterate(
            net, (x, y), folder / "b", rates=[0.1], criterion="l1", repair="none"
        ),
        "study": secateur.study(
            net, x, (x, y), methods=["l1"], rates=[0.2], repairs=["none"], latency=False
        ),
        "arrays": secateur.open_dataset((x, y), net),
        "batches": secateur.open_dataset([(x, y)], net),
        "archive": secateur.open_dataset(ROOT / "fixtures/shapes.npz", net),
        "batch": next(iter(secateur.open_dataset((x, y), net))),
        "objects": secateur.Objects.of([(1, 2.0, 3.0, 4.0, 5.0)]),
        "options": secateur.PruneOptions(rate=0.3),
        "gate": secateur.Gate(drop=1.0),
    }


def test_all_results_can_be_pickled(results):
    for name, result in results.items():
        again = pickle.loads(pickle.dumps(result))
        assert repr(again) == repr(result), name


def test_all_texts_are_short(results):
    for name, result in results.items():
        text = repr(result)
        assert " object at 0x" not in text, name
        assert "\n" not in text, name
        assert len(text) <= LONGEST, (name, text)
    assert "24 samples" in repr(results["arrays"])
    assert "'shapes'" in repr(results["network"])


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_a_network_from_another_process_is_written_the_same(files, tmp_path):
    network = secateur.load(*files)
    pruned = secateur.prune(network, rate=0.2)
    secateur.save(pruned, tmp_path / "a")
    sent = pickle.loads(pickle.dumps(network))
    secateur.save(secateur.prune(sent, rate=0.2), tmp_path / "b")
    secateur.save(pickle.loads(pickle.dumps(pruned)), tmp_path / "c")
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    for folder in ("b", "c"):
        assert {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()} == wanted


def test_an_onnx_network_from_another_process(tmp_path):
    secateur.save(secateur.load(*DARKNET), tmp_path / "net.onnx")
    network = secateur.load(tmp_path / "net.onnx")
    sent = pickle.loads(pickle.dumps(network))
    assert secateur.compare(network, sent).worst.relative == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: secateur.prune(n, rte=0.3), "there is no option 'rte'.*did you mean rate"),
        (lambda n: secateur.prune(n, rate="0.3"), "PruneOptions"),
        (lambda n: secateur.prune(n, secateur.PruneOptions(rate=0.1), rate=0.2), "not both"),
        (lambda n: secateur.prune(n, 0.3), "options are PruneOptions, not float"),
        (lambda n: secateur.prune(n, rate=0.3, data="images/"), "a path is no data yet"),
        (lambda n: secateur.prune(n, rate=0.3, criterion=3), "a criterion is a name or a function"),
        (lambda n: secateur.prune(n, rate=0.3, allocation=3), "allocation is a name or a function"),
        (lambda n: secateur.prune(n, rate=0.3, repair=3), "a repair is a name or a function"),
        (lambda n: secateur.prune(n, rate=0.3, task=3), "a task is a name, a Task or a function"),
        (lambda n: secateur.prune(n, rate=0.3, criterion=l1), "there is a criterion 'l1' already"),
        (lambda n: secateur.prune(n, rate=0.3, criterion=failing), "'failing' failed: KeyError"),
        (lambda n: secateur.prune(n, rate=0.3, criterion=short), "a number for each of .* units"),
        (lambda n: secateur.prune(n, rate=0.3, criterion="l1", allocation=failing), "failed"),
        (
            lambda n: secateur.prune(n, rate=0.3, criterion="l1", allocation=short),
            "must give steps in an order",
        ),
        (lambda n: secateur.prune(n, rate=0.3, repair=lost), "must give a network"),
        (lambda n: secateur.iterate(n, X, "never/", rates=None), "IterateOptions"),
        (lambda n: secateur.evaluate(n, (X, Y), task=failing), "'failing' failed: TypeError"),
        (lambda n: secateur.evaluate(n, (X, Y), task=word), "gives str, not a number"),
        (lambda n: secateur.load("nowhere.prototxt", "nowhere.caffemodel"), "no such file"),
        (lambda n: secateur.load_plan("nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_every_mistake_is_an_error_of_the_project(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(secateur.SecateurError, match=message):
        call(secateur.load(*CAFFE))
    assert list(tmp_path.iterdir()) == []


def test_a_function_of_the_same_name_takes_the_place_of_the_former():
    def made(sign):
        def mine(context):
            return sign * np.arange(context.groups.unit_count)

        return mine

    net = secateur.load(*CAFFE)
    one, other = (secateur.prune(net, rate=0.2, criterion=made(sign)).plan for sign in (1, -1))
    assert one.provenance["criterion"] == other.provenance["criterion"] == "mine"
    assert [group.removed for group in one.groups] != [group.removed for group in other.groups]


X = np.zeros((4, 1, 28, 28), np.float32)
Y = np.zeros(4, np.int64)


def l1(context):
    return np.zeros(context.groups.unit_count)


def failing(context):
    raise KeyError("weights")


def short(context):
    return [1.0, 2.0]


def lost(state, dense):
    return None


def word(outputs, targets):
    return "good"
