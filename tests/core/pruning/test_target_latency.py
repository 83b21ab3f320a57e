"""Pruning to a latency, with an engine whose times are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import secateur
from secateur.core.cost import latency
from secateur.core.cost.latency import Measured, Timing, interleaved
from secateur.core.cost.latency_goal import LatencyGoal
from secateur.core.pruning import demand
from secateur.core.pruning import latency as searched

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
NETWORK = secateur.load(FIXTURES / "shapes_caffe")
WHOLE = secateur.measure_cost(NETWORK, secateur.find_groups(NETWORK)).operations


def operations(network: secateur.Network) -> int:
    return secateur.measure_cost(network, secateur.find_groups(network)).operations


def weights(network: secateur.Network) -> bytes:
    """Return a text that tells networks apart by what they keep."""
    stored = (value.const_value for value in network.graph.initializers.values())
    return b"".join(one.numpy().tobytes() for one in stored if one is not None)


@dataclass
class FakeEngine:
    """Takes as long as a function of the operations says."""

    time: Callable[[float], float] = lambda share: 10.0 * share
    takes: Callable[[float], bool] = lambda share: True
    asked: list[int] = field(default_factory=list)
    seen: list[list[bytes]] = field(default_factory=list)
    name: str = "fake"

    def __call__(self, networks: Sequence[secateur.Network], **settings: object) -> Measured:
        self.asked.append(len(networks))
        self.seen.append([weights(network) for network in networks])
        shares = [operations(network) / WHOLE for network in networks]
        return Measured(
            engine=self.name, version="1",
            timings=tuple(
                Timing(((self.time(share),) * 7,)) if self.takes(share) else None
                for share in shares
            ),
            notes=("it is too large",) if not all(map(self.takes, shares)) else (),
        )  # fmt: skip


def pruned(latency_asked: str, engine: FakeEngine, **settings: object) -> secateur.PruneResult:
    return secateur.prune(
        NETWORK,
        target_latency=latency_asked,
        engine=engine,
        criterion="l1",
        repair=False,
        **settings,
    )


@pytest.mark.parametrize(("target", "share"), [("6ms", 0.6), ("0.6x", 0.6), ("8000us", 0.8)])
def test_the_smallest_rate_is_found_and_recorded(target, share):
    result = pruned(target, FakeEngine())
    left = operations(result.network) / WHOLE
    assert left <= share
    assert left == pytest.approx(share, abs=0.03)
    found = result.plan.provenance["target_latency"]
    assert found["engine"] == "fake 1"
    assert found["before"] == 10.0
    assert found["after"] == pytest.approx(10 * left, rel=1e-3)
    assert found["change"] == pytest.approx([left - 1] * 2, abs=1e-3)
    assert "asked" not in result.plan.provenance["rate"]
    again = secateur.prune(NETWORK, plan=reread(result), repair=False)
    assert operations(again.network) == operations(result.network)


def reread(result: secateur.PruneResult) -> secateur.Plan:
    return secateur.Plan.from_yaml(result.plan.to_yaml(), "plan.yaml")


def test_large_steps_do_not_slow_the_search():
    """Many rates come to one network: a scan leaves a sixth of the interval all the same."""
    engine = FakeEngine()
    pruned("0.35x", engine, limits=secateur.Limits(round_to=16, min_keep=0.0))
    scans = [count for count in engine.asked if count > 2]
    tries = [count for count in engine.asked if count == 2]
    assert len(scans) <= 3  # 1/6³ of all rates is below the last interval
    assert len(tries) == 1


def test_layers_are_timed_once_for_all_rates(monkeypatch):
    calls: list[secateur.Network] = []
    times = {layer.name: 0.1 for layer in NETWORK.layers if layer.type == "Convolution"}

    def measured(network: secateur.Network, **settings: object) -> dict[str, float]:
        calls.append(network)
        return times

    monkeypatch.setattr(demand, "measured_times", measured)
    # What was chosen is slower than on its path for once, so that several rates are tried.
    engine = FakeEngine()
    answer = engine.__call__

    def moody(networks: Sequence[secateur.Network], **settings: object) -> Measured:
        found = answer(networks, **settings)
        if engine.asked.count(2) != 1 or len(networks) != 2:
            return found
        return replace(found, timings=(found.timings[0], found.timings[0]))

    result = pruned("0.7x", moody, budget="latency")  # type: ignore[arg-type]
    assert engine.asked.count(2) > 1
    assert len(calls) == 1
    assert result.plan.provenance["latencies"] == times


@pytest.mark.parametrize(
    "settings",
    [{"allocation": "one-step", "candidates": 8}, {"allocation": "global", "steps": 3}],
)
def test_methods_that_depend_on_the_rate_are_followed_at_each(settings, monkeypatch):
    """The network that is written is one of those that the search timed."""
    monkeypatch.setattr(searched, "WIDTH", 2)
    monkeypatch.setattr(searched, "NARROW", 0.3)
    engine = FakeEngine()
    data = secateur.open_dataset(FIXTURES / "calibration.npz", NETWORK, limit=16)
    result = pruned("0.6x", engine, data=data, **settings)
    assert operations(result.network) / WHOLE <= 0.6
    *scans, last = engine.seen
    assert len(last) == 2
    assert any(last[1] in scan for scan in scans)


def test_nobody_is_told_of_a_rate_that_nobody_asked_for():
    result = pruned("0.35x", FakeEngine(), limits=secateur.Limits(round_to=16, min_keep=0.0))
    assert not [note for note in result.notes if "was asked" in note]
    asked = secateur.prune(
        NETWORK, rate=0.5, criterion="l1", repair=False,
        limits=secateur.Limits(round_to=16, min_keep=0.0),
    )  # fmt: skip
    assert [note for note in asked.notes if "rate 0.5 was asked" in note]


def test_a_slow_stretch_does_not_hide_what_is_fast():
    """Odd widths are slow between: the first rate that is fast enough counts."""
    engine = FakeEngine(time=lambda share: 10 * share + (4 if 0.5 < share < 0.99 else 0))
    left = operations(pruned("5ms", engine).network) / WHOLE
    assert left == pytest.approx(0.5, abs=0.03)
    assert left <= 0.5


def test_what_is_out_of_reach_says_how_far_it_got():
    engine = FakeEngine(time=lambda share: 4.0 + 6.0 * share)
    with pytest.raises(secateur.PlanError) as raised:
        pruned("3ms", engine)
    assert raised.value.exit_code == 1
    assert raised.value.option == "target_latency"
    assert "latency 3ms is out of reach: at rate 0." in str(raised.value)
    assert "ms of 10 ms" in str(raised.value)
    assert "fake 1" in str(raised.value)
    assert "is the most that can leave" in str(raised.value)
    assert len(engine.asked) == 1  # a single scan tells


def test_a_network_that_is_fast_enough_is_not_pruned():
    with pytest.raises(secateur.PlanError, match="takes 10 ms on fake 1 as it is"):
        pruned("10ms", FakeEngine())


def test_an_engine_that_cannot_take_the_original_says_so():
    with pytest.raises(secateur.UnsupportedError, match="cannot time the network: it is too large"):
        pruned("5ms", FakeEngine(takes=lambda share: share < 1.0))


def test_networks_that_the_engine_cannot_take_are_too_slow():
    engine = FakeEngine(takes=lambda share: not 0.4 < share < 0.9)
    left = operations(pruned("0.6x", engine).network) / WHOLE
    assert left <= 0.4


def test_obs_and_targets_reach_it_too():
    result = secateur.prune(
        NETWORK, target_latency="0.8x", engine=FakeEngine(), repair="none",
        limits=secateur.Limits(max_rate=0.3),
        data=secateur.open_dataset(FIXTURES / "calibration.npz", NETWORK, limit=32),
    )  # fmt: skip
    assert result.plan.provenance["criterion"] == "obs"
    assert operations(result.network) / WHOLE <= 0.8
    result = pruned("0.7x", FakeEngine(), target=secateur.find_target("ncnn"))
    assert operations(result.network) / WHOLE <= 0.7


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5ms", 5.0), ("0.5x", 10.0), (" 250 us ", 0.25), ("1S", 1000.0), ("3µs", 0.003)],
)
def test_latencies_are_read_as_people_write_them(text, milliseconds):
    assert LatencyGoal.of(text).milliseconds(20.0) == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "text", ["5", "", "ms", "-1ms", "0x", "infms", "nanx", "1x", "1.5x", "5 m"]
)
def test_what_is_no_latency_is_refused(text):
    with pytest.raises(secateur.PlanError) as raised:
        secateur.PruneOptions(target_latency=text)
    assert raised.value.option == "target_latency"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rate": 0.3, "target_latency": "5ms"}, "give one of"),
        ({"rate": 0.3, "engine": FakeEngine()}, "an engine times what a target latency asks for"),
        ({"target_latency": "5ms", "drop_blocks": 1}, "reached by channels alone"),
        ({"target_latency": "5ms", "as_far_as_possible": True}, "goes with a rate only"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, told):
    with pytest.raises(secateur.PlanError, match=told):
        secateur.PruneOptions(**settings)


def test_runs_take_turns_and_end_in_time():
    orders: list[list[int]] = []
    now = 0.0

    def timed(order: Sequence[int]) -> list[float]:
        nonlocal now
        orders.append(list(order))
        now += 1.0
        return [10.0 * number for number in order]

    times = interleaved(timed, 3, repeats=100, warmup=1, seconds=6.0, clock=lambda: now)
    assert orders[:4] == [[0, 1, 2], [0, 1, 2], [2, 1, 0], [0, 1, 2]]
    assert len(times[0]) == 6
    assert times[2] == [20.0] * 6  # each time is that of its own run, whatever the order


def test_large_networks_are_loaded_less_often(monkeypatch):
    assert latency.sessions_for([NETWORK, NETWORK]) == 2
    monkeypatch.setattr(latency, "MOST_LOADED", 3 * latency.stored_bytes_of(NETWORK))
    assert latency.sessions_for([NETWORK]) == 2
    assert latency.sessions_for([NETWORK, NETWORK]) == 1
