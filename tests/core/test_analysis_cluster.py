"""Analysis on a Dask cluster of other processes: the same points, and the workers made them."""

from __future__ import annotations

import joblib
import pytest

from secateur.core.analysis import analyze
from support.analysis import NETWORKS, opened

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
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
    monkeypatch.setattr("secateur.core.analysis.shards.LARGEST", 8)
    network, dataset = opened(kind, "shapes.npz", limit=40)
    expected = analyze(network, dataset, rates=[0.3, 0.6], threshold=threshold)
    before = tasks_done(client)
    with joblib.parallel_config(backend="dask"):
        found = analyze(network, dataset, rates=[0.3, 0.6], threshold=threshold)
    assert found == expected
    assert all(now > then for then, now in zip(before, tasks_done(client), strict=True))
