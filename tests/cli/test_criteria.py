"""`secateur prune --criterion`: gradients, leaving units out, and one ranking of all groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from support.program import ENVIRONMENT, inside, one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
LABELLED, PLAIN = FIXTURES / "shapes.npz", FIXTURES / "calibration.npz"
QUICK = ("--limit", 16, "--no-repair")
FILES = {"caffe": CAFFE, "darknet": DARKNET}


def plan_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "plan.yaml").read_text())


def removed(plan: dict) -> dict[str, list[int]]:
    return {group["name"]: group["removed"] for group in plan["groups"] if group.get("removed")}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("criterion", ["taylor", "taylor-weight", "bn-taylor", "oracle-signed"])
def test_a_network_is_pruned_by_a_criterion(kind, criterion, tmp_path):
    inside("prune", *FILES[kind], "--data", LABELLED, "--rate", 0.3, "--criterion", criterion,
           *QUICK, "-o", tmp_path / "out")  # fmt: skip
    plan = plan_of(tmp_path / "out")
    assert plan["criterion"] == criterion
    assert 0.25 <= plan["rate"]["achieved"] <= 0.3


def test_labels_decide_where_there_are_some(tmp_path):
    plans = []
    for name, data in (("with", LABELLED), ("without", PLAIN)):
        inside("prune", *CAFFE, "--data", data, "--rate", 0.3, "--criterion", "taylor", *QUICK,
               "-o", tmp_path / name)  # fmt: skip
        plans.append(removed(plan_of(tmp_path / name)))
    assert plans[0] != plans[1]


def test_an_onnx_network_is_pruned_by_gradients(tmp_path):
    inside("convert", *CAFFE, "-o", tmp_path / "net.onnx")
    plans = {}
    for name, files in (("onnx", [tmp_path / "net.onnx"]), ("caffe", CAFFE)):
        inside("prune", *files, "--data", LABELLED, "--rate", 0.3, "--criterion", "taylor",
               *QUICK, "-o", tmp_path / name)  # fmt: skip
        plans[name] = removed(plan_of(tmp_path / name))
    assert list(plans["onnx"].values()) == list(plans["caffe"].values())


def test_one_ranking_takes_losses_as_they_are_unless_another_scale_is_asked_for(tmp_path):
    counts = {}
    for scale in ("auto", "none", "mean", "layer-l2", "max"):
        inside("prune", *CAFFE, "--data", LABELLED, "--rate", 0.3, "--criterion", "taylor",
               "--allocation", "global", "--normalize", scale, *QUICK,
               "-o", tmp_path / scale)  # fmt: skip
        plan = plan_of(tmp_path / scale)
        assert plan.get("normalize") == (None if scale == "auto" else scale)
        counts[scale] = {name: len(gone) for name, gone in removed(plan).items()}
    assert counts["auto"] == counts["none"]
    assert len({tuple(sorted(own.items())) for own in counts.values()}) > 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--normalize", "max"), "only compared where one ranking takes them all"),
        (
            ("--normalize", "most", "--allocation", "global"),
            "scores are normalised by auto or none",
        ),
        (("--criterion", "taylor"), "criterion 'taylor' needs data"),
        (("--criterion", "oracle"), "criterion 'oracle' needs data"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, message, tmp_path):
    given = flags if "--criterion" in flags else ("--criterion", "l1", *flags)
    done = inside("prune", *CAFFE, "--rate", 0.3, *given, "-o", tmp_path / "out",
                  code=2 if "most" in flags else 1)  # fmt: skip
    assert message in one_line(done)
    assert not (tmp_path / "out").exists()


def test_help_says_what_each_criterion_needs_and_costs():
    page = inside("prune", "--criterion", "help").stdout
    assert max(map(len, page.splitlines())) <= 80
    said = " ".join(page.split())
    for name in ("taylor", "taylor-second", "obd", "oracle", "shapley", "shapley-permutation"):
        assert any(line.startswith(f"{name} ") for line in page.splitlines()), name
    assert "Needs --data and PyTorch. Reads labels where there are any. Cost: 1 pass" in said
    assert "Cost: a pass for each channel" in said


def test_pytorch_is_missed_before_data_is_read(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('none')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from secateur.cli.main import main; main()\n"
    )
    for criterion, ended in (("taylor", 1), ("oracle", 0)):
        arguments = ("prune", *CAFFE, "--data", LABELLED, "--rate", "0.3", "--criterion",
                     criterion, *QUICK, "-o", tmp_path / criterion)  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], env=ENVIRONMENT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == ended, done.stderr
        assert "Traceback" not in done.stderr
        assert (tmp_path / criterion).exists() == (ended == 0)
        if ended:
            wanted = "criterion 'taylor' needs PyTorch (hint: pip install 'secateur[train]')"
            assert wanted in done.stderr


def test_an_analysis_takes_its_order_from_gradients(tmp_path):
    inside("ana", *CAFFE, "--data", LABELLED, "--limit", 16, "--criterion", "taylor", "--rates",
           "0.5", "-o", tmp_path / "ana")  # fmt: skip
    run("prune", *CAFFE, "--analysis", tmp_path / "ana", "--rate", 0.3, "--no-repair",
        "-o", tmp_path / "out")  # fmt: skip
    assert plan_of(tmp_path / "out")["criterion"] == "taylor"


def test_images_of_one_class_alone_are_no_reason_to_fail(tmp_path):
    random = np.random.default_rng(0)
    x = np.load(LABELLED)["x"][:8] + random.normal(size=1).astype(np.float32)
    np.savez(tmp_path / "one.npz", x=x, y=np.zeros(8, np.int64))
    inside("prune", *CAFFE, "--data", tmp_path / "one.npz", "--rate", 0.2, "--criterion", "taylor",
           "--no-repair", "-o", tmp_path / "out")  # fmt: skip
    assert removed(plan_of(tmp_path / "out"))
