"""Arrays and iterables of batches, wherever data is taken."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import secateur
from secateur.core.data import Objects
from secateur.core.data.arrays import as_dataset
from secateur.core.errors import DataError
from secateur.core.ir.network import Preprocess

from .test_kinds import DETECTOR, network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3, 4, 6)).astype(np.float32)
Y = np.arange(20) % 3
NET = network()


class Loader:
    """Yields batches anew, as loaders of training programs do."""

    def __init__(self, *, size: int = 8, labels: bool = True):
        self.size, self.labels = size, labels

    def __iter__(self) -> Iterator[object]:
        for start in range(0, 20, self.size):
            x = X[start : start + self.size]
            yield (x, Y[start : start + self.size]) if self.labels else x


class Tensor:
    """An array of another library."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.values


def inputs(dataset) -> np.ndarray:
    return np.concatenate([batch.inputs["data"] for batch in dataset])


LABELLED = {
    "a pair": (X, Y),
    "a pair with a list": (X, Y.tolist()),
    "a mapping": {"x": X, "y": Y},
    "a mapping by name": {"data": X.astype(np.float64), "y": Y[:, None]},
    "tensors": (Tensor(X), Tensor(Y)),
    "a list of pairs": [(X[:13], Y[:13]), (X[13:], Y[13:])],
    "a list of mappings": [{"x": X, "y": Y}],
    "a loader": Loader(),
    "batches": [secateur.Batch(inputs={"data": X}, labels=Y)],
}


@pytest.mark.parametrize("data", LABELLED.values(), ids=LABELLED)
def test_labelled_arrays(data):
    plain = secateur.open_dataset(data, NET)
    assert (plain.samples, plain.labelled) == (20, True)
    for _ in range(2):  # any number of times
        np.testing.assert_array_equal(inputs(plain), X)
        assert np.concatenate([batch.labels for batch in plain]).tolist() == Y.tolist()
    assert secateur.evaluate(NET, data).samples == 20
    assert secateur.find_task(NET, data).name == "classification"


@pytest.mark.parametrize("data", [X, [X[:3], X[3:]], Loader(labels=False), Tensor(X)])
def test_arrays_without_labels(data):
    found = secateur.open_dataset(data, NET)
    assert not found.labelled
    np.testing.assert_array_equal(inputs(found), X)


def test_an_iterator_is_kept_and_one_too_large_is_refused(monkeypatch):
    found = as_dataset(iter([(X, Y)]), NET)
    np.testing.assert_array_equal(inputs(found), X)
    np.testing.assert_array_equal(inputs(found), X)
    monkeypatch.setattr("secateur.core.data.arrays.MOST_KEPT", X.nbytes)
    with pytest.raises(DataError, match="an iterator can be read once"):
        as_dataset(iter([(X, Y)]), NET)
    as_dataset([(X, Y)], NET)  # can be read again


def test_pixels_are_preprocessed():
    pixels = RNG.integers(0, 256, (2, 4, 6, 3)).astype(np.uint8)
    net = secateur.with_preprocess(NET, mean=[1.0], scale=0.5)
    assert net.preprocess == Preprocess(mean=(1.0,), scale=0.5)
    wanted = (pixels.transpose(0, 3, 1, 2) - 1.0) * 0.5
    np.testing.assert_allclose(inputs(secateur.open_dataset(pixels, net)), wanted)
    np.testing.assert_allclose(inputs(secateur.open_dataset([pixels], net)), wanted)
    other = secateur.open_dataset(pixels, net, mean=[2.0])
    np.testing.assert_allclose(inputs(other), (pixels.transpose(0, 3, 1, 2) - 2.0) * 0.5)


@pytest.mark.parametrize("data", [(X, Y), Loader()])
def test_limit(data):
    found = secateur.open_dataset(data, NET, limit=11)
    assert found.samples == 11
    np.testing.assert_array_equal(inputs(found), X[:11])


def test_objects_for_a_detector():
    objects = [Objects.of([(number % 3, 0, 0, 3, 2)]) for number in range(20)]
    found = secateur.open_dataset((X, objects), DETECTOR)
    assert found.target_kind == "objects"
    (batch, *_) = found
    assert (batch.frames[0].width, batch.frames[0].height) == (6, 4)
    assert batch.objects[1].classes.tolist() == [1]
    with pytest.raises(DataError, match="objects of 2 images for 20"):
        secateur.open_dataset((X, objects[:2]), DETECTOR)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("images/", "a path is no data yet: 'images/'"),
        (7, "an object of type int is no data"),
        ([], "there are no samples"),
        ([7], "batch 0: an object of type int is no batch"),
        (X[:, :2], "'x' is 20×2×4×6, but input 'data' takes N×3×4×6"),
        ([X, X[:, :2]], "batch 1: array 'x' is 20×2×4×6"),
        (X.astype(np.int64), "holds int64, not float32"),
        ((X, Y[:3]), "'x' has 20, 'y' has 3"),
        ((X, Y.astype(str)), "not integer labels"),
        ((X, [object()] * 20), "is no array"),
        ([X, (X, Y)], "all batches need labels of one kind, or none: they have label and nothing"),
        ([secateur.Batch(inputs={"x": X})], "batch 0: there is no input 'data' in it"),
        ([secateur.Batch(inputs={"data": X[:, 0]})], "batch 0: input 'data' is float32 of 20×4×6"),
        ([(X, Y + 9)], "the label is 9, but the network tells 3"),
    ],
)
def test_what_is_no_data(data, message):
    with pytest.raises(DataError, match=message):
        secateur.evaluate(NET, data)


def test_all_functions_take_arrays(tmp_path):
    g = secateur.load(FIXTURE[0], FIXTURE[1])
    x = RNG.normal(size=(24, *next(iter(g.inputs.values()))[1:])).astype(np.float32)
    y = np.arange(24) % 10
    result = secateur.prune(g, rate=0.2, data=x, repair="refit")
    pruned = result.network
    assert secateur.compare(g, pruned, x).samples == 24
    assert secateur.fidelity(g, pruned, [x]).samples == 24
    assert secateur.fit_data(g, (x, y)).task.name == "classification"
    assert next(row.item for row in secateur.summarize(g, pruned, data=(x, y))) == "Accuracy"
    assert secateur.analyze(g, x[:8], rates=[0.5]).groups
    secateur.save(result, tmp_path / "a", data=x)
    secateur.apply_plan(g, result.plan, data=x)
    secateur.densify(g, result.plan, data=x)
    secateur.check_drop(g, g, (x, y), 1.0)
    rounds = secateur.iterate(g, (x, y), tmp_path / "rounds", rates=[0.1], validation=(x, y))
    assert rounds.rounds
    with pytest.raises(DataError, match="rounds"):  # other arrays are other data
        secateur.iterate(g, (x + 1, y), tmp_path / "rounds", rates=[0.1])


FIXTURE = [f"fixtures/shapes_caffe/shapes.{end}" for end in ("prototxt", "caffemodel")]
