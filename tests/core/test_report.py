"""The table of what pruning saved: what it measures where padding gains something."""

from __future__ import annotations

import importlib

import pytest

from secateur.core.evaluation.summary import PADDED, summarize
from support.graphs import Graph

report = importlib.import_module("secateur.core.evaluation.summary")


def network(channels: int):
    g = Graph(seed=2)
    return g.network(y=g.conv("b", g.op("relu", "Relu", g.conv("a", g.data, channels)), 4))


@pytest.mark.parametrize(("padded", "shown"), [(3.0, True), (5.9, False)])
def test_padded_latency_is_told_where_it_gains(monkeypatch, padded, shown):
    seen = []

    def latency(networks, progress):
        seen.extend(networks)
        return [4.0, 6.0, 3.5, padded][: len(networks)]

    filled = network(16)
    monkeypatch.setattr(report, "latency", latency)
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
    monkeypatch.setattr(report, "latency", lambda ns, progress: seen.extend(ns) or [2.0, 1.0])
    monkeypatch.setattr(report, "for_speed", lambda one: one)
    before, after = network(12), network(7)
    assert PADDED not in {row.item for row in summarize(before, after)}
    assert seen == [before, after]
