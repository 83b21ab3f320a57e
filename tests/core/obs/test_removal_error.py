"""What an output lacks once cheap channels are removed, and how much of that comes through."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.data import Batch, SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.ir.rebuild import rebuild
from secateur.core.obs.consumers import readers
from secateur.core.obs.output_sensitivity import DISTURBANCE_SIZE, measure_output_sensitivities
from secateur.core.obs.removal_error import find_removal_errors
from secateur.core.plan.state import PruningState
from secateur.core.statistics.moments import gather_moments
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph

PART = DISTURBANCE_SIZE**2


def removal_errors(net, data, part=PART):
    operators, state = find_operators(net), PruningState.start(net, find_groups(net))
    read = readers(state, operators)
    moments = gather_moments(net, operators, data)
    return read, find_removal_errors(state, read, moments, part)


def around(x):
    return x - x.mean(axis=(0, 2, 3), keepdims=True)


@pytest.mark.parametrize("group", [1, 2])
def test_it_is_what_the_other_channels_cannot_make_up_for(group):
    g = Graph(seed=3)
    x = g.op("relu", "Relu", g.conv("first", g.data, 12, kernel=1))
    net = g.network(y=g.conv("second", x, 8, kernel=1, group=group))
    data = SyntheticDataset(net, samples=40)
    (second,), found = removal_errors(net, data, 0.02)
    stored = net.array(second.weight)
    missing = found[second.key]
    assert missing.shape == stored.shape
    session = Session(net, 1, fetch=[second.x])
    x = around(np.concatenate([session.run(batch.inputs)[second.x] for batch in data]))
    each = x.shape[1] // group
    for part in range(group):
        rows = slice(part * len(stored) // group, (part + 1) * len(stored) // group)
        inputs = x[:, part * each : (part + 1) * each].transpose(1, 0, 2, 3).reshape(each, -1)
        weight, v = (a[rows].reshape(-1, each) for a in (stored, missing))
        # Where nothing makes up for a channel its weight is lacking as it is, but for the ridge.
        away = np.isclose(weight, v, rtol=1e-5).all(axis=0)
        assert 1 <= away.sum() < each
        told, *_ = np.linalg.lstsq(inputs[~away].T, (weight[:, away] @ inputs[away]).T)
        best = weight[:, away] @ inputs[away] - told.T @ inputs[~away]
        error = np.square(v @ inputs).sum()
        assert np.square(best).sum() <= error <= 1.1 * np.square(best).sum()


def test_the_cheapest_channels_go_until_they_cost_enough():
    g = Graph(seed=5)
    x = g.op("relu", "Relu", g.conv("first", g.data, 24, kernel=1))
    net = g.network(y=g.conv("second", x, 8, kernel=1))
    data = SyntheticDataset(net, samples=40)
    counts = []
    for part in (0.0, 0.01, 0.1, 10.0):
        (second,), found = removal_errors(net, data, part)
        weight, v = net.array(second.weight)[:, :, 0, 0], found[second.key][:, :, 0, 0]
        counts.append(int(np.isclose(weight, v, rtol=1e-5).all(axis=0).sum()))
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[1] < counts[2]
    assert counts[-1] == 24


class Dead:
    """Samples of which one channel alone ever moves."""

    name, samples, labelled, problems = "dead", 32, False, ()

    def __iter__(self):
        values = np.random.default_rng(5).standard_normal((32, 3, 8, 8), dtype=np.float32)
        values[:, 1:] = 0
        yield Batch(inputs={"data": values})


def test_channels_that_never_move_do_not_make_an_operator_worth_nothing():
    """Most of what is cheap may be dead; what the others do must still be seen."""
    g = Graph(seed=7)
    first = g.conv("first", g.data, 16, kernel=1)
    net = g.network(y=g.conv("second", g.op("relu", "Relu", first), 4, kernel=1))
    weight = next(o for o in find_operators(net) if o.key.startswith("first")).weight
    array = net.array(weight).copy()
    array[:12] = 0
    net = rebuild(net, tensors={weight: array})
    (second,), found = removal_errors(net, Dead())
    moving = np.abs(found[second.key][:, 12:]).sum()
    assert moving > 0
    weights = measure_output_sensitivities(net, [second], Dead(), found)
    assert weights[second.key] == pytest.approx(1.0, rel=0.1)


def test_errors_between_places_count_less_than_those_that_are_smooth():
    """Behind a mean over the image, what differs from place to place matters little."""
    effects = []
    for smooth in (True, False):
        g = Graph(seed=9)
        x = g.op("relu", "Relu", g.conv("first", g.data, 8, kernel=1))
        y = g.op("pool", "GlobalAveragePool", g.conv("second", x, 8))
        net = g.network(y=g.gemm("out", g.op("flat", "Flatten", y), 5))
        second = next(o for o in find_operators(net) if o.key.startswith("second"))
        taps = np.zeros_like(net.array(second.weight))
        taps[:, :, 1, 1] = 1.0
        if not smooth:
            taps[:, :, 1, 0] = -1.0  # the difference of neighbours
        data = SyntheticDataset(net, samples=32)
        effects.append(
            measure_output_sensitivities(net, [second], data, {second.key: taps})[second.key]
        )
    assert effects[1] < 0.5 * effects[0], effects


def test_what_never_moves_gives_way_to_the_output_itself():
    g = Graph(seed=11)
    x = g.op("relu", "Relu", g.conv("first", g.data, 8, kernel=1))
    net = g.network(y=g.conv("second", x, 4, kernel=1))
    second = find_operators(net)[-1]
    nothing = {second.key: np.zeros_like(net.array(second.weight))}
    data = SyntheticDataset(net, samples=16)
    weights = measure_output_sensitivities(net, [second], data, nothing)
    assert weights[second.key] == pytest.approx(1.0, rel=0.1)
