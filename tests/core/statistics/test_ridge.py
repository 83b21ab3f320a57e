"""Ridges by cross-validation: the arithmetic, and that few samples are not believed too much."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.obs.consumers import find_consumers, readers
from secateur.core.plan.state import PruningState
from secateur.core.pruning.prune import prune
from secateur.core.repair import fitting
from secateur.core.repair.refit import refit
from secateur.core.statistics.moments import MomentAccumulator, SplitHalf, gather_moments
from secateur.core.statistics.operators import find_operators
from secateur.core.statistics.ridge import (
    DEFAULT_RIDGE,
    RIDGES_TRIED_WHEN_WIDE,
    WIDE_COLUMNS,
    best_ridge,
    by_turns,
)
from support.graphs import Graph
from support.normed import removal, state_of


@pytest.mark.parametrize("target", [1e-3, 3e-2, 1.0, 3e2])
def test_the_best_ridge_is_found(target):
    found = best_ridge(lambda ridge: abs(np.log(ridge / target)), 10)
    assert target / 2 < found < target * 2


def test_a_valley_before_a_deeper_one_does_not_hold_it():
    errors = {1e-3: 3.0, 1e-2: 2.0, 1e-1: 4.0, 1.0: 3.0, 1e1: 1.0, 1e2: 5.0}
    assert best_ridge(lambda ridge: errors.get(ridge, 9.0), 10) == 1e1


def test_large_operators_are_tried_less_often():
    tried = []
    best_ridge(lambda ridge: tried.append(ridge) or 0.0, WIDE_COLUMNS + 1)
    assert tried == list(RIDGES_TRIED_WHEN_WIDE)


def test_where_nothing_is_gained_the_first_is_taken():
    assert best_ridge(lambda ridge: 0.0, 10) == DEFAULT_RIDGE
    assert best_ridge(lambda ridge: float("nan"), 10) == DEFAULT_RIDGE


@pytest.mark.parametrize("start", [0, 3])
def test_halves_take_turns_by_sample_not_by_position(start):
    rows = np.repeat(np.arange(start, start + 5), 2).reshape(1, 10, 1)
    even, odd = by_turns(rows, 5, start)
    assert not (even % 2).any()
    assert (odd % 2).all()
    assert even.shape[1] + odd.shape[1] == 10


def test_halves_together_are_the_whole():
    random = np.random.default_rng(3)
    halves, whole = SplitHalf(), MomentAccumulator()
    for samples in (3, 1, 4):
        x, y = (random.standard_normal((2, samples * 5, n)) for n in (7, 3))
        halves.add(samples, x, y)
        whole.add(x, y)
    both = halves.even.joined(halves.odd)
    whole.moments(centred=True)
    assert both.count == whole.count == 40
    for name in ("x", "xx", "y", "yx"):
        assert np.allclose(getattr(both, name), getattr(whole, name))
    moments, plain = halves.moments(centred=True), whole.moments(centred=True)
    assert np.allclose(moments.covariance, plain.covariance)
    assert len(moments.halves) == 2
    assert not plain.halves


def test_one_sample_has_no_other_half():
    halves = SplitHalf()
    halves.add(1, np.ones((1, 6, 4)))
    assert halves.moments(centred=True).halves == ()


def wide_network(channels: int = 8):
    """Return a network whose last layer reads more columns than there will be samples."""
    g = Graph(seed=8)
    x = g.op("relu", "Relu", g.conv("a", g.data, channels))
    return g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 6))


# 24 channels have too many columns for a covariance, and little to gain.
@pytest.mark.parametrize(("channels", "part"), [(8, 0.9), (24, 1.0)])
def test_a_refit_to_few_samples_holds_for_others(monkeypatch, channels, part):
    net = wide_network(channels)
    groups = find_groups(net)
    removed = removal(groups, a=range(channels // 3))
    few, other = SyntheticDataset(net, samples=60), SyntheticDataset(net, samples=300, seed=9)
    state = state_of(net, groups, removed, few)
    errors = {}
    for ridge in (None, 1e-3):
        if ridge is not None:
            monkeypatch.setattr(fitting, "best_ridge", lambda error, columns, ridge=ridge: ridge)
        small = refit(state, state.dense())
        errors[ridge] = [fidelity(net, small, data).error for data in (few, other)]
    assert errors[None][1] < part * errors[1e-3][1]
    assert errors[None][0] > errors[1e-3][0]  # what was given up for it


def test_losses_of_a_layer_fitted_to_few_samples_count_more():
    net = wide_network()
    (fc,) = [o for o in find_operators(net) if o.op_type == "Gemm"]
    state = PruningState.start(net, find_groups(net))
    scales = {}
    for samples in (60, 6000):
        moments = gather_moments(net, [fc], SyntheticDataset(net, samples=samples))
        (found,) = find_consumers(state, [fc], moments, {fc.key: 1.0})
        scales[samples] = found.scale
    assert scales[60] > 1.2 * scales[6000]


def test_only_operators_that_read_prunable_channels_are_measured():
    g = Graph(seed=3)
    x = g.op("relu", "Relu", g.conv("first", g.data, 8))
    x = g.conv("depthwise", x, 8, group=8)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 4))
    groups = find_groups(net)
    nothing = PruningState.start(net, groups)
    everything = nothing.after(np.ones(groups.unit_count, bool))
    operators = find_operators(net)
    assert [operator.op_type for operator in readers(nothing, operators)] == ["Gemm"]
    assert readers(everything, operators) == []


def test_one_image_is_enough_to_prune_with():
    net = wide_network()
    data = SyntheticDataset(net, samples=1)
    small = prune(net, rate=0.3, data=data).network
    assert np.isfinite(fidelity(net, small, data).error)
