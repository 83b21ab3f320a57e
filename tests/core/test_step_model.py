"""The steps of an engine are found from times, and estimates rise in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secateur
from secateur.core.cost import latency, measured_steps
from secateur.core.cost.blocks import blocks_of
from secateur.core.cost.budget import make_costs
from secateur.core.cost.budgets import LATENCY
from secateur.core.cost.latency_steps import fitted_steps
from secateur.core.cost.layer_models import _counts, layer_models
from secateur.core.cost.layer_times import Point, plain_times, times_of, whole_time
from secateur.core.cost.step_model import BLOCKS, CONVOLUTION, DEPTHWISE, Layer, fit_steps
from secateur.core.plan.plan import removed_units

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NETWORK = secateur.load(FIXTURES / "shapes_caffe")
GROUPS = secateur.find_groups(NETWORK)


def counts(channels: int) -> list[int]:
    return [channels, *(channels - one for one in BLOCKS), channels // 2]


def synthetic(
    sizes: tuple[int, int], blocks: tuple[int, int], cost: tuple[float, float], noise: float
) -> tuple[Point, ...]:
    """Return the times of a layer whose engine has blocks."""
    ins, outs = counts(sizes[0]), counts(sizes[1])
    pairs = dict.fromkeys([(ins[0], one) for one in outs] + [(one, outs[0]) for one in ins])
    random = np.random.default_rng(0)
    return tuple(
        Point(i, o, (cost[0] + cost[1] * -(-i // blocks[0]) * -(-o // blocks[1]))
              * (1 + noise * random.uniform(-1, 1)))
        for i, o in pairs
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    block_in=st.sampled_from(BLOCKS),
    block_out=st.sampled_from(BLOCKS),
    share=st.floats(0.0, 0.5),
    noise=st.sampled_from([0.0, 0.002]),
)
def test_known_blocks_are_recovered(block_in, block_out, share, noise):
    blocks = (block_in, block_out)
    layers = {}
    for name, sizes in (("a", (64, 128)), ("b", (128, 96)), ("c", (96, 160))):
        whole = (sizes[0] / block_in) * (sizes[1] / block_out)
        points = synthetic(sizes, blocks, (share, (1 - share) / whole), noise)
        layers[name] = Layer(kind=CONVOLUTION, groups=1, points=points)
    found = fit_steps(layers)
    assert found.blocks == {CONVOLUTION: blocks}
    assert found.error <= noise + 1e-9
    for name, layer in layers.items():
        a, b = found.layers[name]
        assert a == pytest.approx(share, abs=0.02 + 10 * noise)
        assert b > 0
        assert a + b * 128 * 64 > 0
        assert whole_time(layer.points) == pytest.approx(1.0, rel=0.01)


def test_depthwise_layers_have_blocks_of_their_own():
    points = tuple(Point(c, c, 0.1 + 0.01 * -(-c // 8)) for c in counts(96))
    found = fit_steps({"dw": Layer(kind=DEPTHWISE, groups=1, points=points)})
    assert found.blocks == {DEPTHWISE: (1, 8)}
    a, b = found.layers["dw"]
    assert (a, b) == pytest.approx((0.1, 0.01 / 8))


def test_times_that_fall_with_channels_promise_no_saving():
    points = tuple(Point(16, c, 1.0 + 1.0 / c) for c in counts(64))
    found = fit_steps({"odd": Layer(kind=CONVOLUTION, groups=1, points=points)})
    assert found.layers["odd"][1] == 0.0
    assert found.layers["odd"][0] == pytest.approx(1.02, abs=0.05)


def test_groups_pay_whole_blocks_each():
    pairs = blocks_of(np.array([24]), np.array([24]), 2, (8, 16), depthwise=False)
    assert pairs.tolist() == [2 * 16 * 16]


def in_steps(name: str, block: int) -> tuple[Point, ...]:
    """Return times of a layer of the fixture on an engine that computes whole blocks."""
    (layer,) = (one for one in layer_models(NETWORK, GROUPS) if name in one.layers)
    return tuple(
        Point(i, o, 0.05 + 0.001 * -(-i // block) * -(-o // block)) for i, o in layer.counts()
    )


def test_a_fitted_table_costs_what_it_says_and_falls_in_steps():
    times = {"res2a": in_steps("res2a", 8), "res2b": in_steps("res2b", 8), "pool1": 0.5}
    costs = make_costs(NETWORK, GROUPS, LATENCY, times)
    assert costs.in_blocks
    whole = sum(whole_time(time) for time in times.values())
    assert costs.total() == pytest.approx(whole, rel=1e-6)
    group = next(one for one in GROUPS.groups if one.name == "res2a")
    saved = [costs.total() - costs.total(GROUPS.mask(group.units[:n])) for n in (1, 7, 8, 15, 16)]
    assert saved[0] == pytest.approx(0.0, abs=1e-12)
    assert saved[1] == pytest.approx(0.0, abs=1e-12)
    assert saved[2] > 0.001
    assert saved[3] == pytest.approx(saved[2])
    assert saved[4] == pytest.approx(2 * saved[2])


def test_one_time_falls_alike_beside_layers_in_steps_and_without_them():
    plain = {"conv1": 0.4, "pool1": 0.5, "drop5": 0.25, "res2a": 0.3}
    even = make_costs(NETWORK, GROUPS, LATENCY, plain)
    assert not even.in_blocks
    assert even.total() == pytest.approx(sum(plain.values()))
    assert even.constant == 0.25  # a dropout of the file is no node that channels pass
    mixed = {**plain, "res2b": in_steps("res2b", 1)}
    stepped = make_costs(NETWORK, GROUPS, LATENCY, mixed)
    assert all(term.blocks is not None for term in stepped.terms)
    alone = make_costs(NETWORK, GROUPS, LATENCY, {"res2b": mixed["res2b"]})
    for group in (one for one in GROUPS.groups if one.prunable):
        gone = GROUPS.mask(group.units[: len(group.units) // 2])
        assert stepped.total(gone) == pytest.approx(even.total(gone) + alone.total(gone), rel=1e-6)


def test_a_rate_of_the_latency_leaves_no_incomplete_block():
    times = {
        name: in_steps(name, 8)
        for layer in layer_models(NETWORK, GROUPS) for name in layer.layers if "ip" not in name
    }  # fmt: skip
    found = secateur.prune(NETWORK, rate=0.2, budget="latency", latencies=times, repair=False)
    left = {group.name: group.kept for group in found.plan.groups}
    assert left["res2a"] % 8 == 0
    assert left["conv4"] % 8 == 0
    assert "blocks of 8 inputs × 8 outputs" in found.plan.provenance["engine_steps"]
    again = secateur.prune(NETWORK, plan=found.plan, repair=False)
    assert again.plan.groups == found.plan.groups
    costs = make_costs(NETWORK, GROUPS, LATENCY, times)
    saved = 1.0 - costs.total(removed_units(found.plan, GROUPS)) / costs.total()
    assert found.plan.provenance["rate"]["achieved"] == pytest.approx(saved, abs=1e-6)
    assert 0.1 < saved <= 0.2 + 1e-9


def test_values_between_convolutions_are_of_whole_blocks():
    found = fitted_steps(NETWORK, GROUPS, {"res2a": in_steps("res2a", 16)})
    assert found.blocks[CONVOLUTION] == (16, 16)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ({"nothere": (Point(1, 1, 1.0),)}, "no such layer"),
        ({"pool1": (Point(1, 1, 1.0),)}, "does not multiply channels once"),
        ({"conv1": (Point(1, 24, float("nan")),)}, "must be milliseconds"),
        ({"conv4": (Point(40, 64, 1.0), Point(40, 32, 2.0))}, "no layer with a latency has"),
    ],
)
def test_tables_that_do_not_fit_are_refused(times, told):
    with pytest.raises(secateur.PlanError, match=told):
        make_costs(NETWORK, GROUPS, LATENCY, times)


def test_times_survive_plain_values():
    times = {"a": 0.5, "b": (Point(1, 2, 0.25), Point(1, 1, 0.125))}
    assert times_of(plain_times(times)) == times


@pytest.mark.parametrize("folder", ["shapes_caffe", "shapes_darknet"])
def test_a_layer_alone_has_the_shapes_of_its_place(folder):
    network = secateur.load(FIXTURES / folder)
    found = layer_models(network, secateur.find_groups(network))
    assert found
    for layer in found:
        points = layer.counts()
        assert points[0] == (layer.inputs, layer.outputs)
        assert len(set(points)) == len(points)
        for inputs, outputs in (points[0], points[-1]):
            model = layer.model(inputs, outputs)
            weight = model.graph.initializer[0]
            assert weight.name == "weight"
            assert layer.weight_bytes(inputs, outputs) == len(weight.raw_data)
            made = model.graph.output[0].type.tensor_type.shape.dim
            axis = 1 if len(made) == 4 else -1
            assert made[axis].dim_value == outputs


def test_layers_with_much_weight_are_loaded_a_few_at_once(monkeypatch):
    (layer,) = (one for one in layer_models(NETWORK, GROUPS) if "res2a" in one.layers)
    sizes = [layer.weight_bytes(*pair) for pair in layer.counts()]
    monkeypatch.setattr(latency, "MOST_LOADED", 3 * max(sizes))
    together: list[int] = []

    def turns(timed: object, count: int, **settings: object) -> list[list[float]]:
        together.append(count - 1)  # one of them computes nothing
        return [[float(number)] for number in range(1, count)] + [[0.0]]

    monkeypatch.setattr(measured_steps, "interleaved", turns)
    points = measured_steps._points(layer, 1)
    assert [(point.inputs, point.outputs) for point in points] == list(layer.counts())
    assert sum(together) == len(sizes)
    assert 1 < len(together) < len(sizes)
    places = iter(range(len(sizes)))
    for count in together:
        assert sum(sizes[next(places)] for _ in range(count)) <= 3 * max(sizes)


def test_a_load_holds_one_network_at_least(monkeypatch):
    monkeypatch.setattr(latency, "MOST_LOADED", 10)
    assert latency.loads([11, 4, 6, 1, 30, 30]) == [[0], [1, 2], [3], [4], [5]]
    assert latency.loads([]) == []


def test_blocks_that_do_not_show_are_not_timed():
    assert _counts(3200) == [3200, *(3200 - one for one in BLOCKS), 1600]
    assert _counts(25088) == [25088, 12544]
    assert _counts(2) == [2, 1]
