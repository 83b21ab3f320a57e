"""The particle filter: weights, resampling, perturbation, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria import particle as own
from secateur.core.data import Batch, SyntheticDataset
from secateur.core.data.held import held
from secateur.core.engine.session import Session
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph
from support.rich import rich


def test_half_of_the_particles_are_effective():
    losses = np.random.default_rng(0).random(20)
    weights = own.weights_of(losses)
    assert weights.sum() == pytest.approx(1.0)
    assert 1 / np.square(weights).sum() == pytest.approx(10.0, rel=1e-6)
    # exp(−a · loss): logarithms are on a line.
    slope = np.diff(np.log(weights)) / np.diff(losses)
    np.testing.assert_allclose(slope, slope[0], rtol=1e-6)
    np.testing.assert_allclose(own.weights_of(losses * 1e4 + 7), weights, rtol=1e-6)


def test_equal_losses_and_losses_that_are_no_numbers():
    np.testing.assert_allclose(own.weights_of(np.ones(4)), 0.25)
    np.testing.assert_allclose(
        own.weights_of(np.array([np.inf, 1.0, np.nan, 1.0])), [0, 0.5, 0, 0.5]
    )
    np.testing.assert_allclose(own.weights_of(np.full(3, np.nan)), 1 / 3)
    assert own.weights_of(np.array([0.0, 1.0, 1.0, 1.0]))[0] > 0.5


def test_particles_are_drawn_as_often_as_their_weights_say():
    weights = np.array([0.5, 0.25, 0.0, 0.25])
    for seed in range(20):
        chosen = own.resampled(weights, np.random.default_rng(seed))
        assert np.bincount(chosen, minlength=4).tolist() == [2, 1, 0, 1]


def test_a_perturbation_keeps_the_number_of_every_share():
    network = rich()
    groups = find_groups(network)
    shares, random = own._shares(groups), np.random.default_rng(0)
    before = own._drawn(groups, shares, random)
    after = own.perturbed(before, shares, random)
    for units in shares:
        assert 0 < before[units].sum() == after[units].sum() < len(units)
        assert (before[units] != after[units]).any()
    fixed = ~groups.mask(unit for group in groups.groups for unit in group.removable())
    assert not after[fixed].any()


def separable():
    """A classifier of which half of the channels do nothing."""
    g = Graph(channels=4, size=2, seed=5)
    a = g.op("act", "Relu", g.conv("a", g.data, 12, kernel=1, bias=False))
    flat = g.op("flat", "Flatten", g.op("mean", "GlobalAveragePool", a))
    network = g.network(y=g.op("soft", "Softmax", g.gemm("fc", flat, 3), axis=1))
    weight = network.array("fc/weight").copy()
    weight[:, 6:] = 0
    return rebuild(network, tensors={"fc/weight": weight * np.float32(4)})


class Labelled:
    """Noise with the classes that a network finds in it."""

    labelled, name, samples, problems = True, "noise", 200, ()
    target_kind = "label"

    def __init__(self, network):
        x = np.random.default_rng(1).normal(size=(self.samples, 4, 2, 2)).astype(np.float32)
        labels = Session(network).run({"data": x})["y"].argmax(axis=1)
        self.batch = Batch(inputs={"data": x}, labels=labels)

    def __iter__(self):
        yield self.batch


@pytest.mark.parametrize("labelled", [True, False])
def test_channels_that_do_nothing_are_kept_less_often(labelled):
    network = separable()
    groups = find_groups(network)
    data = Labelled(network) if labelled else SyntheticDataset(network, samples=100)
    context = ScoreContext(network=network, groups=groups, data=data)
    scores = CRITERIA["particle"].score(context)
    found = scores[list(groups.by_name("a").units)]
    assert found[:6].mean() > found[6:].mean() + 0.05
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(CRITERIA["particle"].score(context), scores)


def test_scores_are_the_weighted_means_of_the_masks_that_were_measured(monkeypatch):
    network = separable()
    groups = find_groups(network)
    measured = []
    weights_of = own.weights_of

    def weighed(losses):
        measured.append(losses)
        return weights_of(losses)

    masks = []
    masked = own.mask

    def seen(network, groups, removed):
        masks.append(removed.copy())
        return masked(network, groups, removed)

    monkeypatch.setattr(own, "weights_of", weighed)
    monkeypatch.setattr(own, "mask", seen)
    data = SyntheticDataset(network, samples=20)
    context = ScoreContext(network=network, groups=groups, data=data, jobs=1)
    scores = CRITERIA["particle"].score(context)
    assert len(masks) == own.PARTICLES * own.ROUNDS
    expected = np.zeros(groups.unit_count)
    for number, losses in enumerate(measured):
        for place, weight in enumerate(weights_of(losses)):
            expected += weight * ~masks[number * own.PARTICLES + place] / own.ROUNDS
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_held_samples_are_read_once():
    network = separable()
    passes = []

    class Watched(Labelled):
        def __iter__(self):
            passes.append(1)
            yield from super().__iter__()

    data = held(Watched(network), network)
    assert [batch.size for batch in data] == [batch.size for batch in data] == [200]
    assert data.target_kind == "label"
    assert len(passes) == 1
