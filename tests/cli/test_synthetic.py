"""Pruning on made images: asked for by name, or because there are no others."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network, Preprocess
from support.program import inside as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
FEW = ("--limit", 64, "-q")


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_made_images_leave_more_than_the_norm_of_weights(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("prune", *files, "--rate", 0.3, "--data", "synthetic", *FEW, "-o", out)
    assert "synthetic: no real image was seen" in said.stderr
    assert "accuracy is unknown, no real image was seen: channels left by obs" in said.stderr
    assert "greement" not in said.stdout, "no figure is told of made images"
    small = secateur.load(*sorted(out.glob("shapes.*"), reverse=files is CAFFE))
    weights = secateur.prune(secateur.load(*files), rate=0.3).network
    data = secateur.open_dataset(FIXTURES / "shapes.npz", small, limit=200)
    accuracy = secateur.evaluate(small, data).value
    assert accuracy > secateur.evaluate(weights, data).value
    assert accuracy > 0.9


def test_without_data_made_images_stand_in(tmp_path: Path) -> None:
    said = run("prune", *CAFFE, "--rate", 0.3, "--limit", 16, "-o", tmp_path / "a")
    assert "channels left by obs" in said.stderr
    assert "16 made images (structured) (a hundred as --data" in said.stderr
    assert "statistics of batch normalisations expect them (unit)" in said.stderr
    plan = secateur.load_plan(tmp_path / "a/plan.yaml")
    assert plan.provenance["data"] == {"name": "made images (structured)", "samples": 16}
    said = run("prune", *CAFFE, "--rate", 0.3, "--criterion", "l1", "-q", "-o", tmp_path / "b")
    assert "channels left by l1, not repaired, since there were no images" in said.stderr


def test_nothing_stands_in_where_nobody_tells_the_range() -> None:
    b = Builder("net")
    net = Network(name="net", model=b.finish({"y": b.op("Relu", b.input("x", ("N", 3, 16, 16)))}))
    options = secateur.PruneOptions(rate=0.3)
    found = secateur.stand_in(net, options)
    assert found.dataset is None
    assert "nothing says how images become inputs" in found.why
    told = replace(net, preprocess=Preprocess(origin="options"))
    assert secateur.stand_in(told, options, samples=3).dataset is not None
    flat = Builder("flat")
    rows = Network(name="f", model=flat.finish({"y": flat.op("Relu", flat.input("x", ("N", 9)))}))
    assert secateur.stand_in(rows, options).dataset is None


@pytest.mark.parametrize("asked", [{"criterion": "l1"}, {"steps": 3}, {"normalize": "max"}])
def test_nothing_stands_in_where_options_say_how(asked: dict[str, Any]) -> None:
    network = secateur.load(*DARKNET)
    options = secateur.PruneOptions(rate=0.3, **asked)
    assert secateur.stand_in(network, options) == secateur.StandIn()


def test_large_networks_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    network = secateur.load(*DARKNET)
    options = secateur.PruneOptions(rate=0.3)
    assert secateur.stand_in(network, options).dataset is not None
    monkeypatch.setattr("secateur.core.pruning.stand_in.MOST_WORK", 1e6)
    found = secateur.stand_in(network, options)
    assert found.dataset is None
    assert "--data synthetic does it all the same" in found.why


def test_a_name_that_is_none(tmp_path: Path) -> None:
    said = run(
        "prune", *CAFFE, "--rate", 0.3, "--data", "synthetic:x", "-o", tmp_path / "o", code=1
    )
    assert "there is no data at 'synthetic:x' (hint: images are made by synthetic:" in said.stderr


def test_made_images_measure_nothing(tmp_path: Path) -> None:
    said = run(
        "prune", *CAFFE, "--rate", 0.3, "--data", "synthetic", "--max-drop", 1, "-q",
        "-o", tmp_path / "out", code=1,
    )  # fmt: skip
    assert "a limit on the accuracy drop needs labelled data" in said.stderr


def test_statistics_need_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.core.training import framework

    for lazy in (framework.torch, framework.functional):
        for name in [name for name in vars(lazy) if name != "_name"]:
            monkeypatch.delitem(vars(lazy), name)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = run(
        "prune", *DARKNET, "--rate", 0.3, "--data", "synthetic:statistics", "-q",
        "-o", tmp_path / "out", code=1,
    )  # fmt: skip
    assert "needs PyTorch (hint: pip install 'secateur[train]')" in said.stderr
    assert not (tmp_path / "out").exists()
