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
from support.page import Page
from support.program import inside as run
from support.training import need_torch

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


PIPELINE = """\
model: [{files}]
data: {{limit: 8, calibration: synthetic}}
prune: {{rate: 0.3, criterion: l1, repair: none}}
"""


def pipeline(folder: Path) -> Path:
    """Write a pipeline file that calibrates on made images, and return it."""
    file = folder / "secateur.yaml"
    file.write_text(PIPELINE.format(files=", ".join(CAFFE)))
    return file


def test_a_pipeline_tells_of_made_images_what_commands_tell(tmp_path: Path) -> None:
    file = pipeline(tmp_path)
    for look in ("--dry-run", "-q"):
        said = run("run", file, look)
        assert "synthetic: no real image was seen: figures on made images" in said.stderr
    assert "accuracy is unknown, no real image was seen: 8 made images (structured)" in said.stderr
    assert "greement" not in said.stdout, "no figure is told of made images"
    alone = ("--data", "synthetic", "--limit", 8, "--criterion", "l1", "--repair", "none", "-q")
    run("prune", *CAFFE, "--rate", 0.3, *alone, "-o", tmp_path / "alone")
    own = tmp_path / "secateur-out/prune/shapes.caffemodel"
    assert own.read_bytes() == (tmp_path / "alone/shapes.caffemodel").read_bytes()


def test_made_images_of_a_pipeline_are_those_of_commands(tmp_path: Path) -> None:
    said = run("run", pipeline(tmp_path), "--set", "prune.repair=bias", "--verbose")
    assert "statistics of batch normalisations expect them (unit)" in said.stderr
    alone = ("--data", "synthetic", "--limit", 8, "--criterion", "l1", "--repair", "bias", "-q")
    run("prune", *CAFFE, "--rate", 0.3, *alone, "-o", tmp_path / "alone")
    own = tmp_path / "secateur-out/prune/shapes.caffemodel"
    assert own.read_bytes() == (tmp_path / "alone/shapes.caffemodel").read_bytes()


def test_a_pipeline_tells_how_far_long_making_is(tmp_path: Path) -> None:
    need_torch()
    settings = ["data.calibration=synthetic:statistics", "data.limit=2", "prune.repair=bias"]
    loaded = secateur.load_pipeline(pipeline(tmp_path), settings=settings)
    calls: list[str] = []
    secateur.run_pipeline(loaded, progress=lambda label, *_: calls.append(label))
    assert any("making images" in label for label in calls)


def test_made_images_limit_nothing_in_a_pipeline(tmp_path: Path) -> None:
    file = pipeline(tmp_path)
    said = run("run", file, "--set", "prune.max-drop=1", code=1)
    told = "a limit on the accuracy drop needs labelled data (hint: data: validation)"
    assert told in said.stderr
    given = ("--set", "prune.max-drop=1", "--set", "data.validation=synthetic:leaves")
    said = run("run", file, *given, code=1)
    assert "a limit on the accuracy drop needs labelled data" in said.stderr
    assert not (tmp_path / "secateur-out/prune").exists()


def test_a_page_over_made_images_says_so(tmp_path: Path) -> None:
    file = pipeline(tmp_path)
    run("run", file, "--report", tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "synthetic: no real image was seen" in page.text
    assert "accuracy is unknown, no real image was seen: 8 made images" in page.text


def test_a_folder_beside_the_pipeline_file_comes_before_made_images(tmp_path: Path) -> None:
    file = pipeline(tmp_path)
    made = secateur.load_pipeline(file).data["calibration"].path
    (tmp_path / "synthetic").mkdir()
    read = secateur.load_pipeline(file).data["calibration"].path
    assert (made, read) == ("synthetic", tmp_path / "synthetic")


def test_a_pipeline_is_not_proposed_on_made_images(tmp_path: Path) -> None:
    out = tmp_path / "p.yaml"
    said = run("init", *CAFFE, "--data", "synthetic", "-o", out, code=1)
    assert "write `calibration: synthetic` into the file" in said.stderr
    run("init", *CAFFE, "-o", out)
    out.write_text(out.read_text().replace("prune:", "data:\n  calibration: synthetic\nprune:", 1))
    assert secateur.load_pipeline(out).data["calibration"].path == "synthetic"


def test_models_that_are_compared_on_made_images(tmp_path: Path) -> None:
    said = run("valid", *CAFFE, *DARKNET, "--data", "synthetic", "--limit", 4, "-q")
    assert "synthetic: no real image was seen: figures on made images" in said.stderr


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
