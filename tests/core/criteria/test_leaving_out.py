"""The oracle and Shapley values, against masked networks and all orders of removal."""

from __future__ import annotations

from itertools import permutations
from math import factorial
from pathlib import Path

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask
from secateur.core.criteria import CRITERIA, ScoreContext, removal, shapley_estimators
from secateur.core.criteria.oracle import loss_changes
from secateur.core.criteria.shapley import shapley_values
from secateur.core.criteria.shapley_estimators import Shapley, exact, least_squares
from secateur.core.data import NpzDataset
from secateur.core.engine.session import Session
from secateur.core.ir.network import Network
from support.graphs import Graph, classes_of

SAMPLES, CLASSES = 12, 3


def classifier() -> Network:
    """A residual sum, a depthwise layer, a concatenation; groups of 4, 3 and 5 channels."""
    g = Graph(channels=2, size=4, seed=4)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 4))
    b = g.conv("b", g.conv("d", a, 4, group=4), 4, kernel=1)
    total = g.op("relu2", "Relu", g.op("sum", "Add", a, b))
    e = g.conv("e", total, 3)
    both = g.op("flat", "Flatten", g.op("cat", "Concat", total, e, axis=1))
    fc = g.op("relu3", "Relu", g.gemm("fc", both, 5))
    out = g.op("prob", "Softmax", g.gemm("out", fc, CLASSES), axis=1)
    return classes_of(g.network(prob=out), 0.4)


def plain() -> Network:
    """A network with two outputs that are no classes; the second does not depend on `b`."""
    g = Graph(channels=2, size=4, seed=6)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 4))
    b = g.op("relu2", "Relu", g.conv("b", a, 3))
    return g.network(first=g.conv("one", b, 2), second=g.conv("two", a, 2))


@pytest.fixture
def x(tmp_path: Path) -> np.ndarray:
    """Write samples with labels and without, and return their inputs."""
    random = np.random.default_rng(2)
    x = random.normal(size=(SAMPLES, 2, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "labelled.npz", x=x, y=random.integers(0, CLASSES, SAMPLES))
    np.savez(tmp_path / "plain.npz", x=x)
    return x


def context(network: Network, data: Path, **more: object) -> ScoreContext:
    groups = find_groups(network)
    return ScoreContext(network=network, groups=groups, data=NpzDataset(data, network), **more)


def masked_loss(own: ScoreContext, x: np.ndarray, units: list[int], labels: object) -> float:
    """Return what the loss grows by without some units, from a network with zeros for them."""
    before, after = (
        {k: v.astype(np.float64) for k, v in Session(network).run({"data": x}).items()}
        for network in (own.network, mask(own.network, own.groups, own.groups.mask(units)))
    )
    if "prob" not in before:
        return sum(
            np.square(after[k] - before[k]).sum() / np.square(before[k]).sum() for k in before
        )
    p, q = before["prob"], after["prob"]
    if labels is None:
        return float((p * np.log(p / q)).sum(axis=1).mean())
    rows = np.arange(SAMPLES)
    return float((np.log(p[rows, labels]) - np.log(q[rows, labels])).mean())


CASES = [(classifier, "labelled"), (classifier, "plain"), (plain, "plain")]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_the_oracle_is_the_loss_of_the_masked_network(make, name, x, tmp_path):
    own = context(make(), tmp_path / f"{name}.npz")
    labels = np.load(tmp_path / "labelled.npz")["y"] if name == "labelled" else None
    signed, sizes = (CRITERIA[k].score(own) for k in ("oracle-signed", "oracle"))
    units = [unit for group in own.groups.groups for unit in group.removable()]
    assert len(units) in (12, 7)
    expected = [masked_loss(own, x, [unit], labels) for unit in units]
    np.testing.assert_allclose(signed[units], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_array_equal(sizes, np.abs(signed))
    assert len(set(np.round(expected, 9))) == len(units)
    if name == "labelled":
        assert min(expected) < 0 < max(expected)


def test_the_oracle_is_the_same_where_samples_are_read_again_for_each_group(
    x, tmp_path, monkeypatch
):
    kept = loss_changes(context(classifier(), tmp_path / "labelled.npz"))
    monkeypatch.setattr(removal, "MEMORY", 0)
    again = loss_changes(context(classifier(), tmp_path / "labelled.npz"))
    np.testing.assert_allclose(again, kept, rtol=1e-5, atol=1e-6)


def test_the_oracle_tells_how_far_it_is(x, tmp_path):
    told: list[tuple[str, int, int]] = []
    own = context(classifier(), tmp_path / "labelled.npz", progress=lambda *one: told.append(one))
    loss_changes(own)
    steps = [(done, total) for label, done, total in told if label == "oracle"]
    assert steps[0] == (0, 12)
    assert steps[-1] == (12, 12)
    assert steps == sorted(steps)
    assert len({done for done, _ in steps}) > 3


@pytest.mark.parametrize(("make", "name"), CASES)
@pytest.mark.parametrize("criterion", ["shapley", "shapley-permutation"])
def test_small_groups_get_their_exact_shapley_values(make, name, criterion, x, tmp_path):
    """By definition: what each unit adds, the mean over all orders; masked networks give losses."""
    own = context(make(), tmp_path / f"{name}.npz")
    labels = np.load(tmp_path / "labelled.npz")["y"] if name == "labelled" else None
    scores = CRITERIA[criterion].score(own)
    for group in own.groups.groups:
        if not group.prunable:
            continue
        units = group.removable()
        known: dict[tuple[int, ...], float] = {}
        expected = dict.fromkeys(units, 0.0)
        for order in permutations(units):
            for k, unit in enumerate(order):
                pair = [tuple(sorted(order[:end])) for end in (k + 1, k)]
                for missing in pair:
                    if missing not in known:
                        known[missing] = masked_loss(own, x, list(missing), labels)
                expected[unit] += (known[pair[0]] - known[pair[1]]) / factorial(len(units))
        assert len(known) == 2 ** len(units)
        np.testing.assert_allclose(
            scores[units], [expected[unit] for unit in units], rtol=1e-5, atol=1e-5
        )


# -- estimators -------------------------------------------------------------------------------

PLAYERS = 10

ESTIMATORS = pytest.mark.parametrize(
    "estimate", [least_squares, shapley_estimators.permutations], ids=lambda each: each.__name__
)


def game(absent: np.ndarray) -> np.ndarray:
    """A game that is far from linear: products of pairs and threes, and a cliff at the end."""
    random = np.random.default_rng(8)
    alone = random.normal(size=PLAYERS)
    pairs = random.normal(size=(PLAYERS, PLAYERS)) * 0.2
    threes = random.normal(size=(PLAYERS, PLAYERS, PLAYERS)) * 0.05
    x = absent.astype(np.float64)
    curved = np.einsum("mi,ij,mj->m", x, pairs, x) + np.einsum("mi,mj,mk,ijk->m", x, x, x, threes)
    return x @ alone + curved + 5.0 * (x.sum(axis=1) / PLAYERS) ** 6


def test_exact_values_of_a_game_that_is_solved_by_hand():
    """Two players share a prize of 6 that takes both; the third adds −2 whoever is there."""

    def prize(absent: np.ndarray) -> np.ndarray:
        return 6.0 * (absent[:, 0] & absent[:, 1]) - 2.0 * absent[:, 2]

    found = exact(prize, 3)
    np.testing.assert_allclose(found.values, [3, 3, -2])
    assert found.passes == 8
    assert found.settled


@ESTIMATORS
def test_an_estimate_adds_up_and_says_how_sure_it_is(estimate):
    truth = exact(game, PLAYERS).values
    covered, errors = [], []
    for seed in range(20):
        found = estimate(game, PLAYERS, np.random.default_rng(seed), 16)
        assert found.passes <= 16 * PLAYERS + 1
        whole = game(np.ones((1, PLAYERS), dtype=bool))[0]
        assert found.values.sum() == pytest.approx(whole)
        covered.append(np.abs(found.values - truth) <= found.half_widths)
        errors.append(found.values - truth)
    assert np.mean(covered) > 0.85
    assert np.abs(np.mean(errors, axis=0)).max() < 0.5 * np.std(errors, axis=0).mean()


def test_least_squares_are_the_better_estimator_at_equal_passes(monkeypatch):
    monkeypatch.setattr(shapley_estimators, "TOLERANCE", 0.0)
    truth = exact(game, PLAYERS).values
    ours, other = (
        np.sqrt(np.mean([
            np.square(estimate(game, PLAYERS, np.random.default_rng(seed), 16).values - truth)
            for seed in range(20)
        ]))
        for estimate in (least_squares, shapley_estimators.permutations)
    )  # fmt: skip
    assert ours < other


@ESTIMATORS
def test_an_estimate_is_the_same_by_its_seed_and_ends_when_it_is_settled(estimate):
    first, second, other = (
        estimate(game, PLAYERS, np.random.default_rng(seed), 400) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.values, second.values)
    assert (first.values != other.values).any()
    assert first.settled
    assert first.passes < 400 * PLAYERS


def test_players_that_were_never_told_apart_are_not_settled():
    unknown = Shapley(
        values=np.array([1.0, 2.0]), deviations=np.full(2, np.inf), passes=5, freedom=1.0
    )
    assert not unknown.settled


def test_values_of_groups_come_with_intervals_and_progress(x, tmp_path):
    g = Graph(channels=2, size=4, seed=9)
    hidden = g.op("relu", "Relu", g.conv("a", g.data, 12))
    network = g.network(y=g.conv("out", hidden, 2))
    told: list[tuple[str, int, int]] = []
    own = context(network, tmp_path / "plain.npz", progress=lambda *one: told.append(one))
    (found,) = shapley_values(own)
    assert (found.group, len(found.units)) == ("a", 12)
    assert (found.found.half_widths > 0).all()
    scores = CRITERIA["shapley"].score(own)
    np.testing.assert_array_equal(scores[list(found.units)], found.found.values)
    of_group = [(done, total) for label, done, total in told if label.startswith("shapley")]
    assert of_group[-1] == (of_group[-1][1], of_group[-1][1])
    everything = masked_loss(own, x, list(found.units), None)
    assert found.found.values.sum() == pytest.approx(everything, rel=1e-5)
    np.testing.assert_array_equal(CRITERIA["shapley"].score(own), scores)


@pytest.mark.parametrize("name", ["taylor", "oracle", "shapley"])
def test_a_batch_that_the_network_insists_on_is_taken_whole(name, tmp_path, monkeypatch):
    """Limits of samples are no multiples of it; samples are read in whole batches all the same."""
    g = Graph(channels=2, size=4, seed=9, batch=3)
    hidden = g.op("relu", "Relu", g.conv("a", g.data, 4))
    network = g.network(y=g.conv("out", hidden, 2))
    x = np.random.default_rng(1).normal(size=(12, 2, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "six.npz", x=x[:6])
    for module, limit in (("gradients", "CALIBRATION_SAMPLES"), ("oracle", "CALIBRATION_SAMPLES"),
                          ("shapley", "SAMPLES")):  # fmt: skip
        monkeypatch.setattr(f"secateur.core.criteria.{module}.{limit}", 7)
    if name == "taylor":
        pytest.importorskip("torch")
    found, six = (
        CRITERIA[name].score(context(network, tmp_path / file)) for file in ("x.npz", "six.npz")
    )
    np.testing.assert_array_equal(found, six)
    assert found.any()
