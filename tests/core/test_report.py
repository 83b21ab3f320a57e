"""The table of what pruning saved: what it measures where padding gains something."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from secateur.core.cost.latency import Timing, change, timings
from secateur.core.evaluation.summary import PADDED, SummaryRow, summarize
from support.graphs import Graph

report = importlib.import_module("secateur.core.evaluation.summary")


def network(channels: int):
    g = Graph(seed=2)
    return g.network(y=g.conv("b", g.op("relu", "Relu", g.conv("a", g.data, channels)), 4))


@pytest.mark.parametrize(("padded", "shown"), [(3.0, True), (5.9, False)])
def test_padded_latency_is_told_where_it_gains(monkeypatch, padded, shown):
    seen = []

    def timings(networks, sessions, progress):
        seen.extend(networks)
        return [Timing(((time,),)) for time in [4.0, 6.0, 3.5, padded][: len(networks)]]

    filled = network(16)
    monkeypatch.setattr(report, "timings", timings)
    monkeypatch.setattr(report, "for_speed", lambda one: filled)
    before, after = network(12), network(7)
    rows = {row.item: row for row in summarize(before, after)}
    assert seen == [before, after, filled, filled]
    assert (rows["Latency"].original, rows["Latency"].compressed) == (4.0, 6.0)
    assert (PADDED in rows) == shown
    if shown:
        assert (rows[PADDED].original, rows[PADDED].compressed) == (3.5, 3.0)


def test_no_padded_latency_where_nothing_is_filled_up(monkeypatch):
    seen = []

    def timings(networks, sessions, progress):
        seen.extend(networks)
        return [Timing(((2.0,),)), Timing(((1.0,),))]

    monkeypatch.setattr(report, "timings", timings)
    monkeypatch.setattr(report, "for_speed", lambda one: one)
    before, after = network(12), network(7)
    assert PADDED not in {row.item for row in summarize(before, after)}
    assert seen == [before, after]


def test_the_interval_of_a_change_holds_it_and_no_change_is_told():
    rng = np.random.default_rng(3)
    moments = rng.uniform(1, 3, 100)  # what slows the machine down slows both down

    def of(factor, *offsets):
        noise = [rng.normal(1, 0.02, 100) for _ in offsets]
        return Timing(
            tuple(tuple(moments * factor * o * n) for o, n in zip(offsets, noise, strict=True))
        )

    low, high = change(of(1.0, 1.0, 1.0), of(0.7, 1.0, 1.0))
    assert low < -0.3 < high
    assert high - low < 0.03
    # A session that lies badly in memory is no change of the network.
    low, high = change(of(1.0, 1.0, 1.0), of(1.0, 1.0, 1.086))
    assert low < 0 < high
    row = SummaryRow(item="Latency", original=1, compressed=1.05, unit="ms", interval=(low, high))
    assert row.unchanged
    assert not SummaryRow(item="", original=1, compressed=2, interval=(0.9, 1.1)).unchanged
    assert change(Timing(((1.0, 2.0),)), Timing(((1.1, 1.8),))) == pytest.approx((-0.1, 0.1))


def test_two_sessions_of_each_network_are_timed_in_turn():
    found = timings([network(4), network(8)], sessions=2, repeats=8, seconds=0.2)
    assert [len(timing.sessions) for timing in found] == [2, 2]
    assert len({len(session) for timing in found for session in timing.sessions}) == 1
    assert all(time > 0 for timing in found for session in timing.sessions for time in session)
