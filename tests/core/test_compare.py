"""Comparisons: how large a difference is, where it is, and which outputs belong together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from secateur.core.data import Batch, SyntheticDataset
from secateur.core.errors import DataError, VerificationError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network
from secateur.core.progress import tracked
from secateur.core.verify.compare import Comparison, compare, pair


class Given:
    """Arrays as a dataset, in batches of two."""

    name = "given"
    labelled = False
    problems: tuple[str, ...] = ()

    def __init__(self, **inputs: object):
        self.inputs = {name: np.asarray(x, np.float32) for name, x in inputs.items()}
        self.samples = len(next(iter(self.inputs.values())))

    def __iter__(self):  # type: ignore[no-untyped-def]
        for start in range(0, self.samples, 2):
            yield Batch(inputs={name: x[start : start + 2] for name, x in self.inputs.items()})


def adding(
    outputs: Mapping[str, object], *, input_name: str = "x", batch: int | str = "N", size: int = 3
) -> Network:
    """A network whose every output is its input (N×size) plus a constant."""
    b = Builder("adding")
    x = b.input(input_name, (batch, size))
    found = {
        name: b.op("Add", x, b.parameter(np.asarray(value, np.float32)))
        for name, value in outputs.items()
    }
    return Network(name="adding", model=b.finish(found))


X = Given(x=[[1, 2, 3], [4, 5, 6], [0, 1, 2], [7, -20, 9]])


def test_equal_networks_do_not_differ() -> None:
    result = compare(adding({"y": 0}), adding({"y": 0}), X)
    assert (result.samples, result.notes) == (4, ())
    assert (result.worst.absolute, result.worst.relative) == (0, 0)
    assert result.within(0)


def test_the_largest_difference_and_where_it_is() -> None:
    a = adding({"y": 0, "z": 0})
    b = Builder("clipped")
    x = b.input("x", ("N", 3))
    low = b.op("Clip", x, b.constant(-10, np.float32))
    model = b.finish(
        {"y": b.op("Add", x, b.parameter(np.array([0, 0.5, 0], np.float32))), "z": low}
    )
    result = compare(a, Network(name="clipped", model=model), X)
    y, z = result.outputs
    assert (y.a, y.b, y.shape, y.absolute, y.relative) == ("y", "y", ("N", 3), 0.5, 0.5 / 20)
    assert (y.sample, y.index) == (0, (1,))
    assert (z.absolute, z.relative, z.peak, z.sample, z.index) == (10, 0.5, 20, 3, (1,))
    assert result.worst == z
    assert result.within(0.5)
    assert not result.within(0.49)


def test_relative_to_the_peak_of_all_data() -> None:
    # the difference is in the first batch, the peak in the second
    result = compare(adding({"y": 0}), adding({"y": [1, 0, 0]}), X)
    assert result.worst.relative == pytest.approx(1 / 20)


def test_a_difference_from_nothing_is_infinite() -> None:
    zeros = Given(x=np.zeros((2, 3)))
    assert compare(adding({"y": 0}), adding({"y": 1e-9}), zeros).worst.relative == np.inf
    assert compare(adding({"y": 0}), adding({"y": 0}), zeros).worst.relative == 0


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_nan_meets_nan_and_infinity_itself(strange: float) -> None:
    odd, plain = adding({"y": [0, strange, 0]}), adding({"y": 0})
    assert compare(odd, odd, X).within(0)
    for result in (compare(odd, plain, X), compare(plain, odd, X)):
        assert result.worst.absolute == np.inf
        assert result.worst.relative == np.inf
        assert result.worst.index == (1,)
        assert not result.within(1e9)
    other = adding({"y": [0, -np.inf if strange == np.inf else np.inf, 0]})
    assert compare(odd, other, X).worst.absolute == np.inf


def test_outputs_find_each_other_by_name() -> None:
    a, b = adding({"one": 1, "two": 2}), adding({"two": 2, "one": 1})
    result = compare(a, b, X)
    assert [(o.a, o.b) for o in result.outputs] == [("one", "one"), ("two", "two")]
    assert result.within(0)
    assert result.notes == ()


def test_other_names_are_paired_in_order_and_noted() -> None:
    a = adding({"same": 1, "p": 2, "q": 3})
    b = adding({"r": 2, "same": 1, "s": 3}, input_name="image")
    result = compare(a, b, X)
    assert result.within(0)
    assert [(o.a, o.b) for o in result.outputs] == [("same", "same"), ("p", "r"), ("q", "s")]
    assert result.notes == (
        "input 'x' is paired with 'image' by its order",
        "output 'p' is paired with 'r' by its order",
        "output 'q' is paired with 's' by its order",
    )


def test_only_the_outputs_asked_for() -> None:
    a, b = adding({"one": 1, "two": 2}), adding({"one": 1, "three": 9, "four": 4})
    assert [o.a for o in compare(a, b, X, outputs=["one"]).outputs] == ["one"]
    with pytest.raises(VerificationError, match=r"outputs of the one are 'one' \(N×3\), 'two'"):
        compare(a, b, X, outputs=["two"])
    with pytest.raises(DataError, match=r"no output 'none' .*it has one, two"):
        compare(a, b, X, outputs=["none"])
    with pytest.raises(DataError, match="no output to compare"):
        compare(a, b, X, outputs=[])


def test_networks_that_cannot_be_compared() -> None:
    for other in (adding({"one": 1}), adding({"one": 1, "two": 2, "three": 3})):
        with pytest.raises(VerificationError, match="cannot be compared: the outputs of the one"):
            pair(adding({"one": 1, "two": 2}), other)
    with pytest.raises(VerificationError, match="input 'x' is N×3 in the one, but 'x' is N×4"):
        pair(adding({"y": 0}), adding({"y": 0}, size=4))
    b = Builder("flat")
    flat = b.op("Flatten", b.input("x", ("N", 3)), axis=0)
    with pytest.raises(VerificationError, match="'y' is 1×"):
        compare(Network(name="flat", model=b.finish({"y": flat})), adding({"y": 0}), X)
    assert VerificationError.exit_code == 3


def test_fixed_batches_meet_free_ones() -> None:
    data = Given(x=np.arange(12).reshape(4, 3))
    a, b = adding({"y": 1}, batch=2), adding({"y": 1}, batch=1)
    assert compare(a, b, data).samples == 4
    assert compare(a, adding({"y": 1}), data).within(0)


def test_progress_counts_samples() -> None:
    seen: list[tuple[int, int]] = []

    def note(label: str, done: int, total: int) -> None:
        seen.append((done, total))

    network = adding({"y": 0})
    result = compare(network, network, SyntheticDataset(network, samples=5, batch=2), progress=note)
    assert isinstance(result, Comparison)
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_tracked_work_reports_each_item_after_it_is_done() -> None:
    seen: list[tuple[int, int]] = []

    def note(label: str, done: int, total: int) -> None:
        seen.append((done, total))

    for number in tracked(range(3), "job", 3, note):
        assert seen[-1] == (number, 3)
    assert seen[-1] == (3, 3)
    assert list(tracked("ab", "job", 0, note)) == ["a", "b"]
    assert seen[4:] == [(0, 0), (1, 0), (2, 0), (2, 2)]
    assert list(tracked("a", "job", 5, note)) == ["a"]
    assert seen[-1] == (1, 1)


def test_no_data_proves_nothing() -> None:
    with pytest.raises(DataError, match="no samples in given"):
        compare(adding({"y": 0}), adding({"y": 0}), Given(x=np.zeros((0, 3))))
