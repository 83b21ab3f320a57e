"""What notebooks show of networks, groups, plans and results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur.core.finetune.result import FinetuneEntry
from secateur.core.markup import Table
from secateur.core.pruning.rounds import Iteration, Round
from support.page import Page

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]

NETWORK = secateur.load(*CAFFE)
SAMPLES = secateur.open_dataset(FIXTURES / "shapes.npz", NETWORK, limit=20)
PRUNED = secateur.prune(NETWORK, rate=0.3, data=SAMPLES)


def rounds() -> Iteration:
    one = Round(number=1, rate=0.3, achieved=0.31, operations=700, parameters=50, value=0.875,
                loss=12.5, passed=False)  # fmt: skip
    return Iteration(
        model="net", data="images", samples=8, metric="Accuracy", original_value=1.0,
        operations=1000, parameters=60, rounds=(one,),
    )  # fmt: skip


def tuned() -> secateur.FinetuneResult:
    entry = FinetuneEntry(
        step=7, stage="all", loss=None, held_out=0.25, value=0.5, rate=0.01, seconds=3, best=True
    )
    return secateur.FinetuneResult(
        network=NETWORK, history=(entry,), best=entry, metric="Accuracy", samples=10, held_out=2,
        steps=7, batch=4, images=1.0,
    )  # fmt: skip


SHOWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "network": (lambda: NETWORK, ["Network 'shapes': from data N×1×28×28", "conv1 Convolution"]),
    "groups": (
        lambda: secateur.find_groups(NETWORK),
        ["6 of 7 groups of channels can be pruned", "mixed by 'prob' (Softmax)"],
    ),
    "plan": (lambda: PRUNED.plan, [f"{g.name} {', '.join(g.layers)} {g.channels} {g.kept}"
                                   for g in PRUNED.plan.groups]),
    "open plan": (
        lambda: secateur.Plan.from_yaml(
            "version: 1\ngroups: [{name: a, channels: 8, rate: 0.5}, "
            "{name: b, channels: 4, kept: 2}]"
        ),
        ["a 8 rate 0.5 open", "b 4 2 open"],
    ),
    "pruned": (
        lambda: PRUNED,
        [f"{PRUNED.verification.difference:.1e}", *(r.method for r in PRUNED.repairs)],
    ),
    "analysis": (
        lambda: secateur.analyze(NETWORK, SAMPLES, rates=[0.5]),
        ["20 samples of", "Group Channels 0.5", "conv4 64"],
    ),
    "rounds": (rounds, ["none passed", "1 (did not pass) 0.3 700 -31.0 % 50 0.875 +12.5"]),
    "tuned": (tuned, ["step 7", "7 (kept) all 0.25 0.5 0.01 3.0 s"]),
    "accuracy": (
        lambda: secateur.evaluate(NETWORK, SAMPLES),
        ["Accuracy 0.95", "correct 19", "samples 20"],
    ),
    "fidelity": (
        lambda: secateur.fidelity(NETWORK, PRUNED.network, SAMPLES),
        ["Output prob", "agreement"],
    ),
    "comparison": (
        lambda: secateur.compare(NETWORK, PRUNED.network, SAMPLES),
        ["Differences on 20 samples", "prob N×10"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_notebooks_show_tables(name):
    make, texts = SHOWN[name]
    text = make()._repr_html_()
    page = Page(text)
    assert page.faults == []
    assert page.tables
    assert all(page.tables)
    for wanted in texts:
        assert wanted in page.text


def test_texts_are_no_markup():
    table = Table(caption="<b>", columns=("A", "<i>"), rows=[("x & y", "</table>")])
    page = Page(table.__html__())
    assert page.faults == []
    assert page.text == "<b> A <i> x & y </table>"


def test_long_tables_are_shortened():
    table = Table(caption="c", columns=("A", "B"), rows=[(f"{k}", "") for k in range(5)])
    assert table.shortened(5) is table
    short = table.shortened(2)
    assert list(short.rows) == [("0", ""), ("1", ""), ("… and 3 more", "")]
