"""`--report`: pages that commands write beside what they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import secateur
from secateur.workflows.pipeline.report import _asked
from support.page import Page, faults
from support.program import one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = ["--data", str(FIXTURES / "shapes.npz"), "--limit", "40"]


def read(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    assert faults(text) == []
    return Page(text)


def test_prune(tmp_path):
    output = tmp_path / "pruned"
    result = run("prune", *CAFFE, *DATA, "--rate", 0.3, "-o", output, "--report", output)
    assert f"wrote {output / 'report.html'}" in result.stderr.replace("\n", "")
    page = read(output / "report.html")
    told = " ".join(page.text.replace("\\", "").split())  # long commands stand in several lines
    assert f"secateur prune {CAFFE[0]} {CAFFE[1]}" in told
    assert "Measured on 40 samples" in page.text
    assert "the same samples" in page.text
    assert "Where they disagree most" in page.text
    assert str(output / "shapes.caffemodel") in page.text
    assert len(page.images) == 12


def test_prune_without_data(tmp_path):
    run("prune", *CAFFE, "--rate", 0.3, "-o", tmp_path / "out", "--report", tmp_path / "a.html")
    page = read(tmp_path / "a.html")
    assert page.images == []
    assert "made images (structured)" in page.text
    assert "accuracy is unknown, no real image was seen" in page.text


def test_ana(tmp_path):
    run("ana", *CAFFE, *DATA, "-o", tmp_path / "ana", "--report", tmp_path / "new" / "a.html")
    page = read(tmp_path / "new" / "a.html")
    assert "Sensitivity: shapes" in page.text
    assert "Efficiency and quality" in page.text
    assert "measured on 40 samples" in page.text


def test_iterate(tmp_path):
    rounds = tmp_path / "rounds"
    run(
        "iterate",
        *CAFFE,
        *DATA,
        "--rates",
        "0.2,0.4",
        "--criterion",
        "l1",
        "-o",
        rounds,
        "--report",
        rounds,
    )
    page = read(rounds / "report.html")
    assert "2 rounds were made; the last one that passed is round 2." in page.text
    assert "Efficiency and quality" in page.text
    assert "round 1" in page.text
    assert "Before and after" in page.text
    kept = json.loads((rounds / "rounds.json").read_text(encoding="utf-8"))
    assert f"{100 * kept['baseline']:.2f} %" in page.text
    assert f"{100 * kept['rounds'][1]['value']:.2f} %" in page.text
    assert "Where they disagree most" in page.text


def test_iterate_where_no_round_passes(tmp_path):
    run(
        "iterate", *CAFFE, *DATA, "--rates", "0.9", "--max-drop", 0, "--criterion", "l1",
        "-o", tmp_path, "--report", tmp_path, code=3,
    )  # fmt: skip
    page = read(tmp_path / "report.html")
    assert "none of them" in page.text
    assert "did not pass" in page.text


def test_finetune(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "tuned"
    run(
        "finetune", *CAFFE, *DATA, "--steps", 4, "--teacher", *CAFFE, "--val", DATA[1], "-o", out,
        "--report", out,
    )  # fmt: skip
    page = read(out / "report.html")
    assert "Fine-tuned: shapes" in page.text
    assert "4 updates of" in page.text
    assert "Accuracy on the validation data" in page.text
    assert "Where they disagree most" in page.text


@pytest.mark.parametrize("command", ["prune", "ana", "iterate"])
def test_a_place_that_cannot_be_is_told_before_the_work(command, tmp_path):
    output = tmp_path / "out"
    extra = {"prune": ["--rate", 0.3], "ana": [], "iterate": ["--rates", "0.3"]}[command]
    result = run(
        command, *CAFFE, *DATA, *extra, "-o", output, "--report", tmp_path / "a.pdf", code=1
    )
    assert one_line(result) == (
        "error: a report is an HTML file, not '.pdf' (hint: give a name that ends in .html, or a "
        "folder)"
    )
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": secateur.find_engine("opencv")}, {"engine": "opencv"}),
        ({"engine": secateur.find_engine("opencv", 2)}, {"engine": "opencv, threads 2"}),
        ({"target": secateur.find_target("ncnn")}, {"target": "ncnn, inputs 8, outputs 8"}),
        ({"limits": secateur.Limits(round_to=4)}, {"round-to": "4"}),
    ],
)
def test_engines_and_targets_are_told_by_name(options, told):
    step = secateur.PruneStep(target_latency="0.6x", **options)
    assert dict(_asked(step)) == {"target-latency": "0.6x", **told}
