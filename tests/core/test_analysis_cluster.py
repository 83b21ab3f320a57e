"""Analysis on a Dask cluster of other processes: the same points, and the workers made them."""

from __future__ import annotations

import re
from pathlib import Path

import joblib
import pytest

from secateur.cli.main import main
from secateur.core.sensitivity import analyze, load_analysis
from support.analysis import FIXTURES, NETWORKS, opened

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def tasks_done(client) -> list[int]:
    done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    return list(done.values())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("threshold", [None, 0.05])
def test_a_dask_cluster_gives_the_same_points(client, kind, threshold, monkeypatch):
    monkeypatch.setattr("secateur.core.data.shards.MOST_SAMPLES", 8)
    network, dataset = opened(kind, "shapes.npz", limit=40)
    expected = analyze(network, dataset, rates=[0.3, 0.6], threshold=threshold)
    before = tasks_done(client)
    with joblib.parallel_config(backend="dask"):
        found = analyze(network, dataset, rates=[0.3, 0.6], threshold=threshold)
    assert found == expected
    assert all(now > then for then, now in zip(before, tasks_done(client), strict=True))


def test_the_page_shows_how(client, tmp_path, monkeypatch):
    page = (FIXTURES.parent / "docs/analysis.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    address = client.scheduler.address
    assert "tcp://scheduler:8786" in code
    for name in ("shapes_caffe/shapes.prototxt", "shapes_caffe/shapes.caffemodel", "shapes.npz"):
        (tmp_path / Path(name).name).symlink_to(FIXTURES / name)
    monkeypatch.chdir(tmp_path)
    before = tasks_done(client)
    exec(compile(code.replace("tcp://scheduler:8786", address), "docs/analysis.md", "exec"), {})
    assert tasks_done(client) != before
    analysis = load_analysis(tmp_path / "ana")
    assert analysis.samples == 400
    assert len(analysis.groups) == 6
    arguments = ["ana", "shapes.prototxt", "shapes.caffemodel", "--data", "shapes.npz"]
    more = ["--limit", "20", "-o", "cli", "--rates", "0.5", "--cluster", address]
    monkeypatch.setattr("sys.argv", ["secateur", *arguments, *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert load_analysis("cli").samples == 20
