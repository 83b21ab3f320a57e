"""Images from the statistics of batch normalisations: nearer to these than where they began."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.engine.session import Session
from secateur.core.errors import UnsupportedError
from secateur.core.ir.network import Network, Preprocess
from secateur.core.statistics.normalizations import (
    likely_preprocess,
    median_mismatch,
    stored_statistics,
)
from secateur.core.synthesis import images as synthesis
from secateur.core.synthesis.images import StatisticsDataset
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
UNIT = Preprocess(channels="gray", scale=1 / 255)


@pytest.fixture(scope="module")
def network() -> Network:
    folder = FIXTURES / "shapes_caffe"
    return secateur.load(folder / "shapes.prototxt", folder / "shapes.caffemodel")


def off(network: Network, inputs: dict[str, np.ndarray]) -> float:
    """Return the mismatch as onnxruntime computes it."""
    stored = stored_statistics(network)
    found = Session(network, fetch=[one.value for one in stored]).run(inputs)
    return median_mismatch([found[one.value] for one in stored], stored)


def test_the_mismatch_falls(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    need_torch()
    monkeypatch.setattr(synthesis, "STEPS", 20)
    dataset = StatisticsDataset(network, samples=8, batch=3, preprocess=UNIT)
    seen = []
    (fit,) = dataset.make(lambda label, done, total: seen.append((label, done, total)))
    assert fit.after < 0.6 * fit.before
    assert seen[-1] == ("making images", 20, 20)
    (start,) = dataset._start
    assert off(network, fit.images) < off(network, start.inputs)
    (name,) = network.inputs
    assert 0 <= fit.images[name].min() <= fit.images[name].max() <= 1 + 1e-6
    assert [batch.size for batch in dataset] == [3, 3, 2]
    again = StatisticsDataset(network, samples=8, batch=8, preprocess=UNIT)
    (batch,) = again
    assert (batch.inputs[name] == fit.images[name]).all()


def test_statistics_need_normalisations(network: Network) -> None:
    without = replace(network, model=network.model.clone())
    for node in without.graph:
        node.op_type = node.op_type.replace("BatchNormalization", "Other")
    with pytest.raises(UnsupportedError, match="has no batch normalisation"):
        StatisticsDataset(without)
    assert likely_preprocess(without) is None


def test_normalisations_tell_the_range_of_pixels(network: Network) -> None:
    assert network.preprocess.origin == ""
    found = likely_preprocess(network)
    assert found is not None
    assert found.scale == pytest.approx(1 / 255)
    assert "(unit)" in found.remark
    stated = replace(network, preprocess=replace(UNIT, scale=2.0, origin="a file"))
    assert likely_preprocess(stated) is stated.preprocess
