"""Accuracy by labels, fidelity without, and time side by side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from secateur.core.cost.latency import latency
from secateur.core.data import Batch
from secateur.core.errors import DataError, VerificationError
from secateur.core.evaluation.evaluate import evaluate
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import ClassifierHead, classifier_output
from secateur.core.ir.network import Network


class Given:
    """Samples N×3 with or without labels, in batches of two."""

    name = "given"
    problems: tuple[str, ...] = ()

    def __init__(self, x: object, labels: object = None):
        self.x = np.asarray(x, np.float32)
        self.labels = None if labels is None else np.asarray(labels)
        self.samples = len(self.x)
        self.labelled = labels is not None

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.samples, 2):
            part = slice(start, start + 2)
            labels = None if self.labels is None else self.labels[part]
            yield Batch(inputs={"x": self.x[part]}, labels=labels)


def linear(*weights: object, shape: tuple[int, ...] = (), batch: int | str = "N") -> Network:
    """x (N×3) times each matrix; outputs y0, y1, …; the last reshaped to `shape` where given."""
    b = Builder("linear")
    x = b.input("x", (batch, 3))
    outputs = [b.op("MatMul", x, b.parameter(np.asarray(w, np.float32))) for w in weights]
    if shape:
        outputs[-1] = b.op("Reshape", outputs[-1], b.constant([-1, *shape]))
    return Network(
        name="linear", model=b.finish({f"y{i}": value for i, value in enumerate(outputs)})
    )


ONE_HOT = np.eye(3)[[0, 1, 2, 2, 1]]


def test_accuracy_counts_the_highest_scores() -> None:
    result = evaluate(linear(np.eye(3)), Given(ONE_HOT, [0, 1, 2, 0, 0]))
    assert (result.output, result.correct, result.samples, result.value) == ("y0", 3, 5, 0.6)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3), (3,)])
def test_scores_are_flattened(shape: tuple[int, ...]) -> None:
    network = linear(np.zeros((3, 3)), np.eye(3), shape=shape)
    result = evaluate(network, Given(ONE_HOT, [0, 1, 2, 2, 1]))
    assert (result.output, result.value) == ("y1", 1)


def test_a_classifier_head_says_which_output_counts() -> None:
    network = linear(np.eye(3), np.zeros((3, 3)))
    assert classifier_output(network) == "y1"
    headed = Network(name="headed", model=network.model, heads=(ClassifierHead(output="y0"),))
    assert evaluate(headed, Given(ONE_HOT, [0, 1, 2, 2, 1])).value == 1


def test_nan_is_never_right() -> None:
    weight = np.eye(3)
    weight[0, 0] = np.nan
    assert evaluate(linear(weight), Given(ONE_HOT, [0, 0, 0, 0, 0])).correct == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3, 0], r"given: the label is 3, but the network tells 3 classes apart \(0…2\)"),
        ([0, 1, 2, 2, -1], "the label is -1"),
        (None, "no labels in given"),
    ],
)
def test_labels_that_do_not_fit(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(linear(np.eye(3)), Given(ONE_HOT, labels))


def test_labels_need_a_classifier() -> None:
    with pytest.raises(DataError, match=r"'y0' \(.*×2×2\) of network 'linear' is no vector"):
        evaluate(linear(np.ones((3, 4)), shape=(2, 2)), Given(ONE_HOT, [0] * 5))
    with pytest.raises(DataError, match="is no vector"):
        classifier_output(linear(np.ones((3, 1))))


def test_a_network_is_true_to_itself() -> None:
    network = linear(np.eye(3), np.ones((3, 4)), shape=(2, 2))
    result = fidelity(network, network, Given(ONE_HOT))
    vector, grid = result.outputs
    assert (vector.agreement, grid.agreement) == (1, None)
    assert result.cosine == pytest.approx(1)
    assert (result.error, result.agreement, result.samples) == (0, 1, 5)


def test_fidelity_in_numbers() -> None:
    before, after = linear(np.eye(3)), linear([[1, 0, 0], [0, 0, 1], [0, 0, 2]])
    result = fidelity(before, after, Given(ONE_HOT))
    (output,) = result.outputs
    # classes 0, 1, 2, 2, 1: class 0 as before, 1 turned into 2, 2 doubled
    assert output.agreement == pytest.approx(3 / 5)
    assert output.cosine == pytest.approx(3 / 5)
    assert output.error == pytest.approx(np.sqrt((0 + 2 + 1 + 1 + 2) / 5))


def test_a_scaled_output_keeps_its_direction() -> None:
    (output,) = fidelity(linear(np.eye(3)), linear(np.eye(3) * -2), Given(ONE_HOT)).outputs
    assert output.cosine == pytest.approx(-1)
    assert output.error == pytest.approx(3)
    assert output.agreement == 0


def test_dead_networks() -> None:
    dead, live = linear(np.zeros((3, 3))), linear(np.eye(3))
    same = fidelity(dead, dead, Given(ONE_HOT))
    assert (same.cosine, same.error) == (1, 0)
    gone = fidelity(live, dead, Given(ONE_HOT))
    assert (gone.cosine, gone.error) == (0, 1)
    assert fidelity(dead, live, Given(ONE_HOT)).error == np.inf


def test_nan_counts_as_nothing_alike() -> None:
    weight = np.eye(3)
    weight[0, 0] = np.nan
    result = fidelity(linear(np.eye(3)), linear(weight), Given(np.eye(3)[[1, 0]] * [0, 1, 0] + 1))
    assert (result.cosine, result.agreement, result.error) == (0, 0, np.inf)


def test_outputs_must_match() -> None:
    with pytest.raises(VerificationError, match="output 'y0' is N×3 in the one, but 'y0' is N×2"):
        fidelity(linear(np.eye(3)), linear(np.ones((3, 2))), Given(ONE_HOT))


def test_latency_tells_a_large_network_from_a_small_one() -> None:
    small = linear(np.ones((3, 4)))
    b = Builder("large")
    x = b.input("x", ("N", 3))
    y = b.op("MatMul", x, b.parameter(np.ones((3, 1500), np.float32)))
    for _ in range(3):
        y = b.op("MatMul", y, b.parameter(np.ones((1500, 1500), np.float32)))
    large = Network(name="large", model=b.finish({"y": y}))
    seen: list[tuple[int, int]] = []

    def note(label: str, done: int, total: int) -> None:
        seen.append((done, total))

    times = latency([large, small], seconds=0.3, repeats=50, progress=note)
    assert len(times) == 2
    assert times[0] > 3 * times[1] > 0
    assert seen[0] == (0, 50)
    assert seen[-1] == (50, 50)


def test_latency_is_that_of_one_sample() -> None:
    one, many = (linear(np.ones((3, 4)), batch=batch) for batch in (1, 256))
    times = latency([one, many], seconds=0.2)
    assert 0 < times[1] < times[0] / 4


def test_latency_stays_within_its_time() -> None:
    rounds: list[int] = []

    def note(label: str, done: int, total: int) -> None:
        rounds.append(done)

    (time,) = latency([linear(np.ones((3, 4)), batch=4)], seconds=0, repeats=10**9, progress=note)
    assert time > 0
    assert rounds[0] == 0
    assert rounds[-1] == 10**9
    assert len(rounds) <= 5  # three rounds at most, and their ends
    assert latency([]) == []
