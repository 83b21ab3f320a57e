"""Scripts for vai_p_darknet: their main cfg, their words, and the files they expect."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

import secateur
from secateur.cli.usage import UsageError
from secateur.cli.vendor import meant, old_words
from support.darknet import with_random_weights
from support.detector import detector, squares
from support.program import one_line, run
from support.training import need_torch

MAIN = """# the main cfg
[pruning]
workspace=ws
datacfg=d.data
modelcfg=model.cfg
kernel_batch=2
is_yolov3=1
threshold=0.02
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a detector, images, a .data file and a main cfg; it is the working folder."""
    detector(tmp_path, batches=3)
    images = sorted(squares(tmp_path / "images", 16).glob("*.png"))
    for name, part in (("train", images[:8]), ("val", images[8:])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{path}\n" for path in part))
    (tmp_path / "n.names").write_text("red\nblue\n")
    (tmp_path / "d.data").write_text("classes=2\ntrain=train.txt\nvalid=val.txt\nnames=n.names\n")
    (tmp_path / "main.cfg").write_text(MAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pruner(*words: object) -> int:
    """Run a command line in this process; errors are raised."""
    arguments = old_words(["pruner", *map(str, words)])
    command = meant(arguments)
    assert command is not None
    return command(arguments)


def refused(*words: object) -> str:
    """Run a command line that is wrong; return what is printed of the error."""
    with pytest.raises((secateur.SecateurError, UsageError)) as caught:
        pruner(*words)
    return str(caught.value)


def own_words(text: str) -> list[str]:
    """Return the line in secateur's own words, without the name of the program."""
    found = re.search(r"^the same in secateur's words: secateur (.*)$", text, re.MULTILINE)
    assert found is not None, text
    return shlex.split(found[1])


def edited(path: Path, **values: object) -> None:
    """Write other values of keys into a cfg; None takes a key out."""
    text = path.read_text()
    for key, value in values.items():
        text = re.sub(rf"^{key}=.*\n", "", text, flags=re.MULTILINE)
        text += "" if value is None else f"{key}={value}\n"
    path.write_text(text)


def analysed(project: Path, losses: dict[str, list[float]], *, weights: str = "model.weights"):
    """Write curves made by hand to where `ana` leaves them."""
    network = secateur.load(project / "model.cfg", project / weights)
    data = secateur.open_dataset(project / "d.data", network)
    found = secateur.analyze(network, data, rates=(0.25, 0.5))
    content: Any = found.to_data()
    for group in content["groups"]:
        own = losses.get(group["name"], [1.0, 1.0])
        for point, loss in zip(group["points"], own, strict=True):
            point["loss"] = loss
    (project / "ws").mkdir(exist_ok=True)
    (project / "ws/ana.out").write_text(json.dumps(content))


def test_the_tutorial_of_old_runs_on_yolo_fastest(shared, tmp_path, monkeypatch, capsys):
    """The commands of the manual, letter by letter but for the program's name."""
    need_torch()
    _tutorial(shared, tmp_path)
    monkeypatch.chdir(tmp_path)
    weights = "pruning/yolo-fastest_final.weights"

    def done(*words: object) -> tuple[str, str]:
        assert pruner(*words) == 0
        printed = capsys.readouterr()
        return printed.out, printed.err

    _, err = done("ana", "pruning/cfg", weights, "–gpus", "0,1,2,3")
    assert err.count("-gpus 0,1,2,3 is not needed") == 1
    assert Path("pruning/ana.out").is_file()
    training = Path("pruning/yolo-fastest-prune.cfg")
    assert training.read_bytes() == Path("pruning/yolo-fastest.cfg").read_bytes()
    assert "next: secateur pruner prune pruning/cfg pruning/yolo-fastest_final" in err

    lines = done("prune", "pruning/cfg", weights)[0].splitlines()
    assert lines[:2] == ["Start pruning ...", "pruning slot: 0,"]
    assert re.fullmatch(r"  kernel_batch:2, rate:0\.\d{4}, keep_num:[2468]", lines[3])
    assert "pruning slot: 37,40,45,50,55," in lines  # a chain of shortcuts
    assert "  prune slave layer 55" in lines
    assert not any("layer 128" in line for line in lines)  # ignored
    assert lines[-3:-1] == ["Saving weights to pruning/weights.prune", "calculate map"]
    assert re.fullmatch(r"mAP: 0\.\d{6}", lines[-1])
    assert Path("pruning/weights.prune").stat().st_size == Path(weights).stat().st_size

    training.write_text(training.read_text().replace("max_batches=50", "max_batches=2"))
    out, _ = done("finetune", "pruning/cfg", "-gpus", "0,1,2,3")
    assert out.splitlines()[:3] == [
        "Workspace exists: pruning",
        "Finetune model  : pruning/yolo-fastest-prune.cfg",
        "Finetune weights: pruning/weights.prune",
    ]
    final = Path("backup/yolo-fastest-prune_final.weights")
    assert f"Saving weights to {final}" in out
    assert int.from_bytes(final.read_bytes()[12:20], "little") <= 2 * 4

    done("transform", "pruning/cfg", final)
    dense = Path("pruning/weights.transform")
    assert dense.stat().st_size < final.stat().st_size

    counted = done("stat", "model-transform.cfg")[0]
    totals = dict(re.findall(r"^Total (\w+): (\d+)$", counted, re.MULTILINE))
    network = secateur.load("pruning/model-transform.cfg", dense)
    assert int(totals["operations"]) == secateur.describe(network).cost.operations

    edited(Path("pruning/cfg"), modelcfg="pruning/model-transform.cfg")
    measured, _ = done("map", "pruning/cfg", "weights.transform")
    found = run("pruner", "valid", "pruning/cfg", "weights.transform")
    assert measured.splitlines()[-1] == found.stdout.splitlines()[-1]
    assert "wrote 80 files results/comp4_det_test_*.txt" in found.stderr


def _tutorial(shared: Path, folder: Path) -> None:
    """Write the files of the manual's tutorial, for YOLO-Fastest on a few small images."""
    model, data = shared / "models/yolo_fastest_1.1_coco", shared / "data/coco"
    (folder / "pruning").mkdir()
    for name, count in (("train2017", 4), ("val2017", 2)):
        images = sorted((data / name / "images").iterdir())[:count]
        (folder / f"pruning/{name}.txt").write_text("".join(f"{path}\n" for path in images))
    (folder / "pruning/coco.data").write_text(
        "classes= 80\ntrain  = pruning/train2017.txt\nvalid  = pruning/val2017.txt\n"
        f"names = {model}/coco.names\nbackup = backup\n"
    )
    text = (model / "yolo-fastest-1.1.cfg").read_text()
    for key, value in (("width", 96), ("height", 96), ("batch", 4), ("max_batches", 50)):
        text = re.sub(rf"^{key}=.*", f"{key}={value}", text, count=1, flags=re.MULTILINE)
    (folder / "pruning/yolo-fastest.cfg").write_text(text)
    (folder / "pruning/yolo-fastest_final.weights").write_bytes(
        (model / "yolo-fastest-1.1.weights").read_bytes()
    )
    (folder / "pruning/cfg").write_text(
        "# a cfg example to prune YOLO-Fastest\n[pruning]\nworkspace=pruning\n"
        "datacfg=pruning/coco.data\nmodelcfg=pruning/yolo-fastest.cfg\n"
        "prunedcfg=pruning/yolo-fastest-prune.cfg\nana_out_file=pruning/ana.out\n"
        "prune_out_weights=pruning/weights.prune\ncriteria=0\nkernel_batch=2\n"
        "ignore_layer=12,17,22,25,30,48,53,58,61,66,71,76,81,84,89,94,99,120,121,128,129,130\n"
        "yolov3=1\nthreshold=0.005\n"
    )


def test_all_four_steps_in_own_words_do_the_same(project, capsys):
    """What is printed as the equivalent gives the same plan and the same network."""
    need_torch()
    weights = "model.weights"
    assert pruner("ana", "main.cfg", weights) == 0
    prune = own_words(capsys.readouterr().err)
    assert pruner("prune", "main.cfg", weights) == 0
    finetune = own_words(capsys.readouterr().err)
    run(*prune)
    plans = [yaml.safe_load(Path(name).read_text())["groups"]
             for name in ("ws/weights.prune.plan.yaml", "ws/sparse/plan.yaml")]  # fmt: skip
    assert plans[0] == plans[1]
    assert any(group["removed"] for group in plans[0])
    assert Path("ws/weights.prune").read_bytes() == Path("ws/sparse/model.weights").read_bytes()
    assert pruner("finetune", "main.cfg") == 0
    transform = own_words(capsys.readouterr().err)
    run(*finetune)
    final = Path("backup/model-prune_final.weights")
    trained = [np.frombuffer(path.read_bytes()[20:], "<f4")
               for path in (final, Path("ws/finetune/weights.prune"))]  # fmt: skip
    np.testing.assert_allclose(*trained, atol=1e-5)  # sums of threads differ by rounding
    assert pruner("transform", "main.cfg", final) == 0
    run(*transform)
    small = Path("ws/weights.transform")
    assert small.read_bytes() == Path("ws/dense/model-prune_final.weights").read_bytes()
    cfg = Path("ws/model-transform.cfg")
    assert cfg.read_bytes() == Path("ws/dense/model-prune.cfg").read_bytes()
    capsys.readouterr()
    Path("main.cfg").write_text(MAIN.replace("model.cfg", str(cfg)))
    assert pruner("map", "main.cfg", "weights.transform") == 0
    printed = capsys.readouterr()
    value = float(re.findall(r"^mAP: (.*)$", printed.out, re.MULTILINE)[0])
    result = json.loads(run(*own_words(printed.err), "--json").stdout)
    assert result["models"][0]["map"] == pytest.approx(value, abs=1e-6)


def test_an_analysis_serves_every_threshold(project, capsys):
    """The curve of layer 0 costs 0.01 at a quarter of its channels and 0.03 at half of them."""
    analysed(project, {"0": [0.01, 0.03]})
    kept = {}
    before = Path("ws/ana.out").read_bytes()
    for threshold in (0.001, 0.01, 0.03):
        Path("main.cfg").write_text(MAIN.replace("0.02", str(threshold)))
        assert pruner("prune", "main.cfg", "model.weights") == 0
        lines = capsys.readouterr().out.splitlines()
        main = lines.index("prune main layer 0")
        rate, kept[threshold] = re.findall(r"[\d.]+", lines[main + 1])[1:]
        assert float(rate) == 1 - int(kept[threshold]) / 8
        assert lines[lines.index("prune main layer 1") + 1].endswith("rate:0.0000, keep_num:12")
    assert kept == {0.001: "8", 0.01: "6", 0.03: "4"}
    assert Path("ws/ana.out").read_bytes() == before


def test_kept_channels_are_multiples_of_kernel_batch(project, capsys):
    analysed(project, {"1": [-0.1, -0.1]})
    Path("main.cfg").write_text(MAIN.replace("kernel_batch=2", "kernel_batch=4"))
    assert pruner("prune", "main.cfg", "model.weights") == 0
    assert "  kernel_batch:4, rate:0.3333, keep_num:8" in capsys.readouterr().out


def test_layers_that_share_channels_are_one_slot(project, capsys):
    """A sum ties its two convolutions: one leads, the other follows."""
    middle = (
        "\n[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\npad=1\nactivation=leaky\n"
        "\n[shortcut]\nfrom=-2\nactivation=linear\n"
    )
    detector(project, batches=3, middle=middle)
    analysed(project, {"2": [0.0, 0.0]})
    assert pruner("prune", "main.cfg", "model.weights") == 0
    assert (
        "pruning slot: 2,3,\nprune main layer 2\n  kernel_batch:2, rate:0.5000, keep_num:8\n"
        "  prune slave layer 3\n"
    ) in capsys.readouterr().out


def test_ignored_layers_keep_their_channels(project, capsys):
    analysed(project, {"0": [0.0, 0.0], "1": [0.0, 0.0]})
    Path("main.cfg").write_text(f"{MAIN}ignore_layer=0\n")
    assert pruner("prune", "main.cfg", "model.weights") == 0
    printed = capsys.readouterr()
    assert "pruning slot: 0," not in printed.out
    assert "pruning slot: 1," in printed.out
    plan = secateur.load_plan("ws/weights.prune.plan.yaml")
    assert {group.name: bool(group.removed) for group in plan.groups}["0"] is False
    assert "--exclude 0" not in printed.err  # finetune follows, which needs no such word


def test_train_calibrates_and_valid_measures(project, capsys):
    """Without labels for train= pruning goes on; without those of valid= it ends at once."""
    analysed(project, {"0": [0.0, 0.0]})
    for line in Path("train.txt").read_text().splitlines():
        Path(line).with_suffix(".txt").unlink()
    assert pruner("prune", "main.cfg", "model.weights") == 0
    plan = yaml.safe_load(Path("ws/weights.prune.plan.yaml").read_text())
    assert plan["data"] == {"name": "train.txt", "samples": 8}
    for line in Path("val.txt").read_text().splitlines():
        Path(line).with_suffix(".txt").unlink()
    capsys.readouterr()
    with pytest.raises(secateur.DataError):
        pruner("prune", "main.cfg", "model.weights")
    assert "Start pruning" not in capsys.readouterr().out
