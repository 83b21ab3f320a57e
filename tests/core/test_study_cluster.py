"""A study on a Dask cluster of other processes: the same models, and the workers made them."""

from __future__ import annotations

import joblib
import pytest

import secateur
from support.analysis import opened

distributed = pytest.importorskip("distributed")


def test_a_dask_cluster_makes_the_same_models(tmp_path):
    network, data = opened("caffe", "shapes.npz", limit=60)
    settings = {
        "methods": ["l1", "l1+threshold"], "rates": [0.2, 0.5], "repairs": ["bias"],
        "latency": False,
    }  # fmt: skip
    expected = secateur.study(network, data, data, output=tmp_path / "a", **settings)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        found = secateur.study(network, data, data, output=tmp_path / "b", **settings)
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert found == expected
    assert len(found.failed) == 2
    assert sum(done.values()) >= len(found.rows)
    for path in (tmp_path / "a/best").rglob("*"):
        if path.is_file():
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert other.read_bytes() == path.read_bytes()
