"""Every kind of dataset: it is recognised, opened, and gives the same samples every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.data import Opening
from secateur.core.synthesis.kind import STATISTICS
from support.contract.registries import DATASETS
from support.contract.samples_of_data import SAMPLES, DataSample, network
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

READ = sorted(name for name, kind in DATASETS.items() if not kind.made)
MADE = sorted(name for name, kind in DATASETS.items() if kind.made)
"""Kinds that are read from a path, and kinds that are made up for a network."""


def classes(batches: Sequence[Any], answers: str) -> list[int]:
    """Return the largest class in the answer of every sample."""
    return [
        int(np.max(answer.classes if answers == "objects" else answer))
        for batch in batches
        for answer in getattr(batch, answers)
    ]


def sample_of(name: str) -> DataSample:
    if name not in SAMPLES:
        pytest.fail(
            f"'{name}' is a kind of dataset without samples: add some to SAMPLES in "
            "tests/support/contract/samples_of_data.py"
        )
    return SAMPLES[name]


@pytest.mark.parametrize("name", READ)
def test_a_kind_of_dataset_gives_the_same_samples_twice(name: str, tmp_path: Path) -> None:
    sample = sample_of(name)
    net = network(detector=sample.detector)
    path = sample.write(tmp_path)
    opening = Opening(network=net, options=secateur.DataOptions())
    claimed = [kind for kind in DATASETS.values() if kind.claims(path, opening)]
    assert min(claimed, key=lambda kind: (kind.rank, kind.name)).name == name
    dataset = secateur.open_dataset(path, net, batch=2)
    assert dataset.samples == sample.samples
    assert dataset.labelled == bool(sample.answers)
    first, second = list(dataset), list(dataset)
    assert [batch.size for batch in first] == [2, 1][-len(first) :]
    assert not dataset.problems
    for one, other in zip(first, second, strict=True):
        assert one.inputs["data"].shape == (one.size, 3, 4, 6)
        assert one.inputs["data"].dtype == np.float32
        np.testing.assert_array_equal(one.inputs["data"], other.inputs["data"])
    pixels = {image.tobytes() for batch in first for image in batch.inputs["data"]}
    assert len(pixels) == sample.samples
    if sample.answers:
        assert sorted(classes(first, sample.answers)) == list(range(sample.samples))
        assert classes(second, sample.answers) == classes(first, sample.answers)


@pytest.mark.parametrize("name", READ)
def test_a_limit_takes_the_first_sample_that_is_read(name: str, tmp_path: Path) -> None:
    sample = sample_of(name)
    net = network(detector=sample.detector)
    path = sample.write(tmp_path)
    (batch,) = secateur.open_dataset(path, net, limit=1)
    assert batch.size == 1
    whole = list(secateur.open_dataset(path, net, batch=1))
    assert any(np.array_equal(batch.inputs["data"], other.inputs["data"]) for other in whole)


@pytest.mark.parametrize("name", MADE)
def test_made_samples_are_the_same_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == STATISTICS:
        need_torch()
        monkeypatch.setattr("secateur.core.synthesis.images.STEPS", 2)
    folder = FIXTURES / "shapes_caffe"
    net = secateur.load(folder / "shapes.prototxt", folder / "shapes.caffemodel")
    (shape,) = (shape[1:] for shape in net.inputs.values())
    opening = Opening(network=net, options=secateur.DataOptions())
    claimed = [kind for kind in DATASETS.values() if kind.claims(Path(name), opening)]
    assert min(claimed, key=lambda kind: (kind.rank, kind.name)).name == name
    first, again = (secateur.open_dataset(name, net, limit=3, batch=2) for _ in range(2))
    assert (first.samples, first.labelled, first.problems) == (3, False, ())
    passes = [[batch.inputs["data"] for batch in data] for data in (first, first, again)]
    assert [array.shape for array in passes[0]] == [(2, *shape), (1, *shape)]
    for one in passes[1:]:
        for array, other in zip(passes[0], one, strict=True):
            np.testing.assert_array_equal(array, other)
    assert len({image.tobytes() for array in passes[0] for image in array}) == 3


def test_no_samples_stand_for_a_kind_that_is_not_there() -> None:
    assert set(SAMPLES) <= set(READ)
