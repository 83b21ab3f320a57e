"""Many passes on a Dask cluster of other processes: the same scores, whichever workers die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import joblib
import pytest

from secateur.cli.main import main
from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.data import SyntheticDataset
from secateur.core.engine import spread as own
from secateur.core.engine.spread import spread, spread_in_any_order
from secateur.core.engine.threads import cores
from secateur.core.errors import DataError
from secateur.core.progress import silent
from secateur.core.pruning.prune import prune
from secateur.core.sensitivity import analyze
from support.analysis import FIXTURES, NETWORKS
from support.normed import wide
from support.spreading import Large, ends, ends_once, fails, nested

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    """Two workers of two threads: joblib computes in this process where there is one in all."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0",
        scheduler_kwargs={"allowed_failures": 1},
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


@pytest.fixture
def dask(client):
    with joblib.parallel_config(backend="dask"):
        yield client


def tasks_done(client, workers=None) -> dict[str, int]:
    return client.run(lambda dask_worker: dask_worker.state.executed_count, workers=workers)


class Killing:
    """Progress that ends a worker once a part of the work is done."""

    def __init__(self, client, part=0.3):
        self.workers = client.run(os.getpid)
        self.part = part
        self.killed = ""

    def __call__(self, label, done, total):
        if not self.killed and total and done > self.part * total:
            self.killed, pid = next(iter(self.workers.items()))
            os.kill(pid, signal.SIGKILL)


def scores(name, progress=silent):
    network = wide()
    data = SyntheticDataset(network, samples=24)
    context = ScoreContext(
        network=network, groups=find_groups(network), data=data, progress=progress
    )
    return CRITERIA[name].score(context)


@pytest.mark.parametrize("name", ["shapley-permutation", "oracle", "particle"])
def test_a_cluster_gives_the_same_scores(name, client):
    expected = scores(name)
    before = tasks_done(client)
    with joblib.parallel_config(backend="dask"):
        found = scores(name)
    assert found.tobytes() == expected.tobytes()
    after = tasks_done(client)
    assert all(after[worker] > count for worker, count in before.items())


def test_scores_are_the_same_where_a_worker_is_killed(dask):
    with joblib.parallel_config(backend="threading"):
        expected = scores("shapley")
    killing = Killing(dask)
    found = scores("shapley", killing)
    assert killing.killed
    assert found.tobytes() == expected.tobytes()


def test_one_step_is_the_same_where_a_worker_is_killed(dask):
    network = wide()
    data = SyntheticDataset(network, samples=60)
    settings = {"rate": 0.4, "criterion": "l1", "allocation": "one-step", "candidates": 12}
    with joblib.parallel_config(backend="threading"):
        expected = prune(network, data=data, **settings)
    killing = Killing(dask)
    before = tasks_done(dask)

    def during(label, done, total):
        if "candidates" in label:
            killing(label, done, total)

    found = prune(network, data=data, progress=during, **settings)
    assert killing.killed
    others = [worker for worker in before if worker != killing.killed]
    after = tasks_done(dask, others)
    assert all(after[worker] > before[worker] for worker in others)
    assert found.plan.to_yaml() == expected.plan.to_yaml()
    for name in expected.network.graph.initializers:
        assert found.network.array(name).tobytes() == expected.network.array(name).tobytes()


def test_an_analysis_is_the_same_where_a_worker_is_killed(dask, tmp_path):
    network = wide()
    data = SyntheticDataset(network, samples=60)
    with joblib.parallel_config(backend="threading"):
        expected = analyze(network, data)
    killing = Killing(dask)
    found = analyze(network, data, progress=killing, state=tmp_path / "state.jsonl")
    assert killing.killed
    assert found == expected


@pytest.mark.parametrize("ordered", [True, False])
def test_arguments_that_are_gone_with_a_worker_are_sent_again(ordered, dask, tmp_path):
    calls = [(Large(10 * number), tmp_path, number) for number in range(6)]
    expected = [11 * number for number in range(6)]
    if ordered:
        assert list(spread(ends_once, calls, jobs=None)) == expected
    else:
        found = dict(spread_in_any_order(ends_once, calls, jobs=None))
        assert [found[number] for number in range(6)] == expected
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("argument", [Large(1), 1], ids=["lost", "given up"])
def test_work_that_ends_every_worker_is_an_error(argument, dask, monkeypatch):
    monkeypatch.setattr(own, "LOSSES", 2)
    with pytest.raises(DataError, match="the workers of the cluster end at this work"):
        list(spread(ends, [(argument,)], jobs=None))
    dask.wait_for_workers(2, timeout=120)


def test_calls_within_calls_stay_on_their_worker(dask):
    assert list(spread(nested, [(3,), (2,)], jobs=None)) == [[True] * 3, [True] * 2]
    assert list(spread(cores, [(), ()], jobs=None)) == [1, 1]
    here = list(spread(os.getpid, [(), ()], jobs=None, here=True))
    assert here == [os.getpid()] * 2


def test_a_failing_call_says_why(dask):
    with pytest.raises(DataError, match="no labels"):
        list(spread(fails, [(1,), (2,)], jobs=None))


def test_a_cluster_without_workers_is_an_error():
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", processes=False) as empty,
        distributed.Client(empty),
        joblib.parallel_config(backend="dask", wait_for_workers_timeout=0.2),
        pytest.raises(DataError, match="the cluster has no worker"),
    ):
        list(spread(os.getpid, [()], jobs=None))


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["secateur", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("command", "idle"),
    [
        (["prune", "--criterion", "oracle", "--rate", "0.3"], False),
        (["prune", "--criterion", "l1", "--allocation", "one-step", "--candidates", "3",
          "--rate", "0.3"], False),
        (["prune", "--criterion", "l1", "--rate", "0.3"], True),
        (["iterate", "--criterion", "oracle", "--rates", "0.3"], False),
    ],
)  # fmt: skip
def test_commands_compute_on_the_cluster(command, idle, cluster, tmp_path, monkeypatch, capsys):
    files = [FIXTURES / name for name in NETWORKS["caffe"]]
    more = ["--data", FIXTURES / "shapes.npz", "--limit", 20, "--repair", "none"]
    for folder, where in (("a", ["--jobs", 2]), ("b", ["--cluster", cluster.scheduler_address])):
        with distributed.Client(cluster) as client:
            client.wait_for_workers(2, timeout=120)
            before = sum(tasks_done(client).values())
        run(monkeypatch, command[0], *files, *command[1:], *more, *where, "-o", tmp_path / folder)
        with distributed.Client(cluster) as client:
            computed = sum(tasks_done(client).values()) > before
        assert computed == (folder == "b" and not idle)
        said = "the cluster has nothing to do: it serves the criteria oracle, " in (
            " ".join(capsys.readouterr().err.split())
        )
        assert said == (folder == "b" and idle)
    paths = [path for path in (tmp_path / "a").rglob("*.caffemodel") if path.is_file()]
    assert paths
    for path in paths:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert Path(other).read_bytes() == path.read_bytes()
