"""A study of LeNet on digits: methods, repairs and few images compared as people would."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from support.mnist import digits


@pytest.fixture(scope="module")
def study(shared, tmp_path_factory):
    folder = shared / "models/lenet_mnist"
    network = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    data, val = (
        ((images[:, None] / 256).astype(np.float32), labels.astype(np.int64))
        for images, labels in (digits(shared, "train10k", 100), digits(shared, "t10k", 300))
    )
    return secateur.study(
        network, data, val, methods=["l1", "random"], rates=[0.3, 0.8], repairs=["none", "auto"],
        low_data=[2], seeds=2, output=tmp_path_factory.mktemp("study"),
    )  # fmt: skip


def test_repair_and_more_images_are_worth_what_they_are_known_to_be(study):
    means = {
        (m.point.method, m.point.repair, m.point.images, m.point.rate): m for m in study.means()
    }
    assert not study.failed
    assert study.original_value > 0.97
    for method in ("l1", "random"):
        plain, repaired, few = (
            means[method, repair, images, 0.8].value
            for repair, images in (("none", None), ("auto", None), ("auto", 2))
        )
        assert plain < few < repaired
    assert all(mean.spread == 0 for mean in study.means() if mean.made > 1
               and mean.point.repair == "none")  # fmt: skip


def test_the_front_has_figures_of_all_kinds(study):
    front = study.pareto()
    costs = [row.measured.operations for row in front]
    losses = [row.measured.loss for row in front]
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)
    for row in front:
        assert row.latency > 0
        low, high = row.measured.loss_interval
        assert low <= row.measured.loss <= high
        assert row.measured.size < study.size
    assert study.pareto("latency")
