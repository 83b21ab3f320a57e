"""`secateur study` as users meet it: tables, best models, resuming after SIGKILL, errors."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import secateur
from support.page import Page, faults
from support.program import ENVIRONMENT, command, inside, one_line

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
LABELLED = str(FIXTURES / "shapes.npz")
UNLABELLED = str(FIXTURES / "calibration.npz")
DATA = ("--data", UNLABELLED, "--val", LABELLED, "--limit", 60)
QUICK = ("--methods", "l1,l2+uniform", "--rates", "0.2,0.5", "--repair", "none,bias")


def study(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return inside("study", *arguments, code=code)


def rows(folder: Path, name: str = "study.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / name).read_text().splitlines()))


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_it_writes_tables_a_plot_and_the_best_models(files, tmp_path):
    out = tmp_path / "study"
    result = study(*files, *DATA, *QUICK, "-o", out)
    found = rows(out)
    assert [(r["method"], r["repair"], r["rate"]) for r in found] == [
        (method, repair, rate)
        for method in ("l1", "l2+uniform")
        for repair in ("none", "bias")
        for rate in ("0.2", "0.5")
    ]
    assert all(float(r["value_low"]) <= float(r["value"]) <= float(r["value_high"]) for r in found)
    assert (out / "study.svg").read_text().startswith("<svg ")
    assert "var(--" not in (out / "study.svg").read_text()
    data = json.loads((out / "study.json").read_text())
    assert [point["front"] for point in data["points"]] == [r["front"] == "yes" for r in found]
    best = rows(out, "pareto.csv")
    assert len(best) == [r["front"] for r in found].count("yes")
    assert {path.name for path in (out / "best").iterdir() if path.is_dir()} == {
        Path(r["model"]).name for r in best
    }
    assert {*json.loads((out / "best/best.json").read_text())} == {r["model"] for r in best}
    for entry in best:
        assert float(entry["latency"]) > 0
        assert float(entry["latency_low"]) <= float(entry["latency_high"])
        assert f"wrote {out / entry['model']}" in result.stderr
        assert entry["method"] in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 120
    (again,) = [r for r in best if r["model"] == best[0]["model"]]
    criterion, _, allocation = again["method"].partition("+")
    inside(
        "prune", *files, *DATA, "--rate", again["rate"], "--criterion", criterion,
        "--allocation", allocation or "auto", "--repair", again["repair"], "-o", tmp_path / "one",
    )  # fmt: skip
    for path in (tmp_path / "one").iterdir():
        assert (out / again["model"] / path.name).read_bytes() == path.read_bytes()
    assert sum(p.stat().st_size for p in (tmp_path / "one").iterdir() if p.suffix != ".yaml") == (
        int(again["size"])
    )


def test_other_methods_are_added_to_what_is_known(tmp_path):
    arguments = (*CAFFE, *DATA, "--repair", "none", "--no-latency", "-o", tmp_path)
    study(*arguments, "--methods", "l1", "--rates", "0.2,0.5")
    before = (tmp_path / "state.jsonl").read_text()
    first = rows(tmp_path)
    study(*arguments, "--methods", "random,l1", "--rates", "0.2:0.8:0.3")
    after = (tmp_path / "state.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") == before.count("\n") + 4
    known = [r for r in rows(tmp_path) if r["method"] == "l1" and r["rate"] in ("0.2", "0.5")]
    assert [{**r, "front": ""} for r in known] == [{**r, "front": ""} for r in first]
    assert all(not r["latency"] for r in rows(tmp_path, "pareto.csv"))
    study(*arguments, "--methods", "l1", "--rates", "0.5", "--restart")
    assert (tmp_path / "state.jsonl").read_text().count("\n") == 2
    assert [path.name for path in (tmp_path / "best").iterdir() if path.is_dir()] == ["0.5-l1-none"]


def test_killed_in_the_middle_it_comes_to_the_same_table(tmp_path):
    arguments = (
        *DARKNET, *DATA, "--methods", "l1,l2", "--rates", "0.2,0.4,0.6", "--repair", "bias",
        "--jobs", 1,
        "--no-latency",
    )  # fmt: skip
    folder, state = tmp_path / "killed", tmp_path / "killed/state.jsonl"
    process = subprocess.Popen(
        command("study", *arguments, "-o", folder),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
    )  # fmt: skip
    while process.poll() is None and lines(state) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = lines(state)
    assert 3 <= done < 7
    assert not (folder / "study.csv").exists()
    assert not (folder / "best").exists()
    with state.open("ab") as file:  # what a kill in the middle of a write leaves behind
        file.write(b'{"point": "0123", "mea')
        os.fsync(file.fileno())
    study(*arguments, "-o", folder)
    study(*arguments, "-o", tmp_path / "whole")
    assert lines(state) == 7
    for name in ("study.csv", "pareto.csv", "study.json", "study.svg"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    best = {p.relative_to(folder): p.read_bytes() for p in files_of(folder / "best")}
    whole = tmp_path / "whole"
    assert best == {p.relative_to(whole): p.read_bytes() for p in files_of(whole / "best")}
    assert not list(folder.glob(".point-*"))


def test_a_best_model_that_is_lost_is_made_again(tmp_path):
    arguments = (*CAFFE, *DATA, *QUICK, "--no-latency", "-o", tmp_path)
    study(*arguments)
    before = {p: p.read_bytes() for p in files_of(tmp_path / "best")}
    lost = next((tmp_path / ".models").glob("*/shapes.caffemodel"))
    lost.unlink()
    study(*arguments)
    assert {p: p.read_bytes() for p in files_of(tmp_path / "best")} == before


def lines(state: Path) -> int:
    """How many whole lines a state file has."""
    return state.read_bytes().count(b"\n") if state.exists() else 0


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_models_are_fine_tuned(tmp_path):
    pytest.importorskip("torch")
    arguments = (
        *CAFFE, "--data", LABELLED, "--val", LABELLED, "--limit", 60, "--methods", "l1", "--rates",
        "0.5", "--repair", "none", "--finetune", "6steps", "--finetune-learning-rate", 0.001,
        "--seeds", 2, "--no-latency",
    )  # fmt: skip
    study(*arguments, "-o", tmp_path)
    first, second = rows(tmp_path)
    assert first["pruned_value"] == second["pruned_value"]
    assert float(first["value"]) > float(first["pruned_value"])
    assert first["seed"] == "0"
    assert second["seed"] == "1"
    (entry,) = rows(tmp_path, "pareto.csv")
    folder = tmp_path / entry["model"]
    network = secateur.load(*sorted(folder.glob("shapes.*")))
    data = secateur.open_dataset(LABELLED, network, limit=60)
    assert secateur.evaluate(network, data).value == pytest.approx(float(entry["value"]))
    assert not list(tmp_path.glob(".point-*"))
    study(*arguments, "-o", tmp_path, "--json")
    assert lines(tmp_path / "state.jsonl") == 3


def test_without_labels_outputs_are_compared(tmp_path):
    arguments = (*DARKNET, "--data", UNLABELLED, "--val", UNLABELLED, "--limit", 40)
    result = study(*arguments, *QUICK, "--no-latency", "-o", tmp_path, "--json")
    data = json.loads(result.stdout)
    assert data == json.loads((tmp_path / "study.json").read_text())
    assert (data["metric"], data["original"]["value"]) == ("Output error", None)
    for row in rows(tmp_path):
        assert row["value"] == row["loss"]
        assert 0 < float(row["value_low"]) <= float(row["value"]) <= float(row["value_high"])
    best = rows(tmp_path, "pareto.csv")
    assert [r["value"] for r in best] == sorted((r["value"] for r in best), key=float, reverse=True)


def test_a_report_tells_of_it(tmp_path):
    out = tmp_path / "out"
    study(*CAFFE, *DATA, *QUICK, "--methods", "l1,l1+threshold", "--no-latency", "-o", out,
          "--report", tmp_path / "page.html")  # fmt: skip
    text = (tmp_path / "page.html").read_text()
    assert faults(text) == []
    page = Page(text)
    told = [name for _, name in page.headings]
    assert told[0] == "Methods compared: shapes"
    assert "Methods" in told
    assert len([name for name in page.tables if name == "Accuracy by the rate"]) == 1
    assert "Models that no other one beats in operations and quality at once" in page.tables
    assert "Models that could not be made" in page.tables
    assert "takes a threshold, not a rate" in page.text or "needs an analysis" in page.text


def test_the_commands_of_a_report_make_the_best_models_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study(*CAFFE, "--data", LABELLED, "--val", LABELLED, "--limit", 60, "--methods",
          "random,activation_mean", "--rates", "0.2,0.5", "--repair=none,bias", "--budget",
          "parameters", "--exclude", "conv1", "--min-keep", 0.2, "--round-to", 1,
          "--low-data", "1,2", "--seeds", 2, "--no-latency", "--restart",
          "-o", "out", "--report", "page.html")  # fmt: skip
    (own,) = [panel for panel in panels_of(tmp_path / "page.html") if "again/" in panel]
    commands = [shlex.split(line) for line in own.replace("\\\n", " ").splitlines()]
    best = rows(tmp_path / "out", "pareto.csv")
    folders = {re.sub(r"seed\d+", "seed0", Path(r["model"]).name) for r in best}
    assert {Path(words[-1]).name for words in commands} == folders
    assert {r["images"] for r in best} == {"all", "2"}, "both kinds are tried here"
    for words in commands:
        assert words[0] == "secateur"
        study(*words[2:])
        again = Path(words[-1])
        for model in rows(again, "pareto.csv"):
            old = tmp_path / "out" / model["model"]
            if not old.exists():  # beaten by a model of another method
                continue
            folders.discard(again.name)
            for path in (again / model["model"]).iterdir():
                assert (old / path.name).read_bytes() == path.read_bytes()
    assert not folders


def panels_of(page: Path) -> list[str]:
    """Return the texts of the commands of a page."""
    found = re.findall(r"<pre[^>]*>(?:<code>)?(.*?)(?:</code>)?</pre>", page.read_text(), re.DOTALL)
    return [html.unescape(text) for text in found]


def test_a_report_tells_of_few_images(tmp_path):
    study(*CAFFE, "--data", LABELLED, "--val", LABELLED, "--limit", 60, "--methods", "l1",
          "--rates", "0.2,0.4,0.6", "--repair", "bias", "--low-data", 1, "--seeds", 2,
          "--no-latency", "-o", tmp_path, "--report", tmp_path / "page.html")  # fmt: skip
    page = Page((tmp_path / "page.html").read_text())
    assert "Accuracy by images of each class, at rate 0.4" in page.text
    assert "1 a class" in page.text
    assert "±" in page.text
    assert "Bars are intervals over samples (95 %) where a family has one seed, and else" in (
        page.text
    )


def test_without_the_extra_the_plot_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.core.report.study_plot.find_spec", lambda name: None)
    result = study(*CAFFE, *DATA, "--methods", "l1", "--rates", "0.2", "--no-latency",
                   "-o", tmp_path)  # fmt: skip
    assert "note: study.svg is left out: pip install 'secateur[report]'" in result.stderr
    assert not (tmp_path / "study.svg").exists()
    assert (tmp_path / "study.json").exists()


def test_a_study_of_nothing_says_why(tmp_path):
    result = study(*CAFFE, *DATA, "--methods", "l1", "--rates", "0.99", "-o", tmp_path, code=3)
    assert "warning: 1 of 1 models could not be made: rate 0.99 is out of reach" in result.stderr
    (row,) = rows(tmp_path)
    assert row["reason"].startswith("rate 0.99 is out of reach")
    assert rows(tmp_path, "pareto.csv") == []
    assert not (tmp_path / "study.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--rates", "0.1:2:0.1"), "--rates: '0.1:2:0.1' must rise from over 0 to below 1", 2),
        (("--rates", "0.3,30"), "--rates: rates must be over 0 and below 1, got 30", 2),
        (("--methods", ","), "--methods: there are none, or one has no name", 2),
        (("--methods", "l1,l4"), "unknown criterion 'l4'", 1),
        (("--repair", "glue"), "unknown repair 'glue'", 1),
        (("--seeds", 3), "--seeds: seeds would repeat the same: nothing here is drawn", 2),
        (("--low-data", "0"), "--low-data: there must be at least one image of each class", 2),
        (("--low-data", "2"), "calibration.npz: images have no labels of one class each", 1),
        (("--finetune-seed", 1), "--finetune-seed: it goes with --finetune", 2),
        (("--cluster", "tcp://127.0.0.1:1"), "no Dask scheduler answers at", 1),
    ],
)
def test_impossible_studies_are_told_in_one_line(arguments, message, code, tmp_path):
    result = study(*CAFFE, *DATA, "-q", "-o", tmp_path / "out", *arguments, code=code)
    assert message in one_line(result)
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_written(tmp_path):
    arguments = (*CAFFE, *DATA, "--methods", "l1", "--rates", "0.2", "-q", "--no-latency")
    (tmp_path / "a/best").mkdir(parents=True)
    told = one_line(study(*arguments, "-o", tmp_path / "a", code=1))
    assert f"{tmp_path}/a/best: is in the way: no study made it" in told
    (tmp_path / "file").write_text("")
    told = one_line(study(*arguments, "-o", tmp_path / "file", code=1))
    assert f"{tmp_path}/file/best: cannot be written: Not a directory" in told
    (tmp_path / "b/study.csv").mkdir(parents=True)
    told = one_line(study(*arguments, "-o", tmp_path / "b", code=1))
    assert f"{tmp_path}/b/study.csv: cannot be written: a folder has this name" in told
    study(*arguments, "-o", tmp_path / "c")
    told = one_line(study(*arguments, "--limit", 50, "-o", tmp_path / "c", code=1))
    assert "state.jsonl:1: belongs to another model, other data or other settings" in told


def test_a_model_that_cannot_be_written_ends_no_study(tmp_path, monkeypatch):
    from secateur.workflows import study_points

    def refusing(result, folder, **settings):
        if result.plan.provenance["criterion"] == "l2":
            raise secateur.VerificationError("written = dense: outputs differ")
        return secateur.save(result, folder, **settings)

    monkeypatch.setattr(study_points, "save", refusing)
    arguments = (*CAFFE, *DATA, "--methods", "l2,l1", "--rates", "0.2,0.4", "--repair", "none")
    result = study(*arguments, "--no-latency", "-o", tmp_path)
    assert "warning: 2 of 4 models could not be made: written = dense: outputs" in result.stderr
    assert {r["method"] for r in rows(tmp_path, "pareto.csv")} == {"l1"}
    assert [r["reason"] for r in rows(tmp_path)] == ["written = dense: outputs differ"] * 2 + [
        ""
    ] * 2


def test_low_data_says_how_many_images_are_too_many(tmp_path):
    with np.load(LABELLED) as archive:
        np.savez(tmp_path / "some.npz", x=archive["x"][:60], y=archive["y"][:60])
    told = one_line(
        study(*CAFFE, "--data", tmp_path / "some.npz", "--val", LABELLED, "--low-data", "1,40",
              "-q", "-o", tmp_path / "out", code=1)
    )  # fmt: skip
    assert "images, and 40 of each class are asked for" in told
    assert "(hint: fewer images a class, or more data)" in told
