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
from support.devices import installed
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
    assert err.count("-gpus 0,1,2,3 is not used") == 1
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
        printed = capsys.readouterr()
        lines, err = printed.out.splitlines(), printed.err
        main = lines.index("prune main layer 0")
        rate, kept[threshold] = re.findall(r"[\d.]+", lines[main + 1])[1:]
        assert float(rate) == 1 - int(kept[threshold]) / 8
        assert lines[lines.index("prune main layer 1") + 1].endswith("rate:0.0000, keep_num:12")
        assert float(rate) or "nothing was removed" in err
        assert f"threshold={threshold:g} limits what each group costs alone" in err
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


ERRORS: tuple[tuple[str, dict[str, object], str, str], ...] = (
    ("prune", {"datacfg": "x.data"}, "main.cfg:8: field datacfg: ", "there is no file 'x.data'"),
    ("map", {"modelcfg": "x.cfg"}, "main.cfg:8: field modelcfg: ", "there is no file 'x.cfg'"),
    ("prune", {"threshold": None}, "main.cfg:2: field threshold: ", "required, but missing"),
    ("prune", {"threshold": "much"}, "main.cfg:8: field threshold: ", "'much' is no number"),
    ("ana", {"ignore_layer": "0,99"}, "main.cfg:9: field ignore_layer: ",
     "there is no layer 99: the last one is 7"),
    ("ana", {"workspace": "n.names"}, "main.cfg:8: field workspace: ",
     "the folder 'n.names' cannot be made: File exists"),
    ("ana", {"ana_out_file": "n.names/a/ana.out"}, "main.cfg:9: field ana_out_file: ",
     "the folder 'n.names/a' cannot be made: Not a directory"),
    ("prune", {}, "main.cfg:2: field ana_out_file: ", "there is no analysis 'ws/ana.out' (hint: "
     "secateur pruner ana main.cfg model.weights makes it)"),
    ("prune", {"prune_out_weights": "model.weights"}, "main.cfg:9: field prune_out_weights: ",
     "would overwrite the input model.weights"),
    ("finetune", {}, "main.cfg:2: field prunedcfg: ", "there is no pruned network "
     "'ws/model-prune.cfg' (hint: secateur pruner prune main.cfg WEIGHTS makes it)"),
    ("finetune", {"prunedcfg": "model.cfg"}, "main.cfg:2: field prune_out_weights: ",
     "there is no plan 'ws/weights.prune.plan.yaml', which says what was removed"),
    ("transform", {}, "main.cfg:2: field prune_out_weights: ", "there is no plan"),
)  # fmt: skip


@pytest.mark.parametrize(("command", "keys", "place", "message"), ERRORS)
def test_what_is_wrong_is_one_line_with_its_place(project, command, keys, place, message):
    edited(Path("main.cfg"), **keys)
    before = sorted(path.name for path in project.iterdir())
    said = refused(command, "main.cfg", "model.weights")
    assert said.startswith(f"{place}{message}")
    assert "\n" not in said
    assert sorted(path.name for path in project.iterdir()) == before


def test_finetune_says_what_is_missing(project):
    Path("ws").mkdir()
    Path("ws/model-prune.cfg").write_bytes(Path("model.cfg").read_bytes())
    assert refused("finetune", "main.cfg").startswith(
        "main.cfg:2: field prune_out_weights: there are no pruned weights 'ws/weights.prune'"
    )


@pytest.mark.parametrize(
    ("key", "command", "message"),
    [
        ("valid", "ana", "d.data: there is no valid=, which this command needs"),
        ("valid", "map", "d.data: there is no valid=, which this command needs"),
        ("train", "prune", "d.data: there is no train=, which this command needs"),
    ],
)
def test_lists_that_are_not_named(project, key, command, message):
    analysed(project, {})
    edited(Path("d.data"), **{key: None})
    assert refused(command, "main.cfg", "model.weights") == message


def test_lists_that_are_not_there(project):
    edited(Path("d.data"), valid="nothing.txt")
    assert refused("map", "main.cfg", "model.weights") == (
        "d.data:4: field valid: there is no file 'nothing.txt'"
    )


def test_an_analysis_of_another_program_is_neither_read_nor_lost(project):
    Path("ws").mkdir()
    Path("ws/ana.out").write_text("layer 0: 0.1 0.2\n")
    assert refused("ana", "main.cfg", "model.weights") == (
        "ws/ana.out: this is no analysis of secateur, and would be overwritten (hint: rename it, "
        "or give another ana_out_file=)"
    )
    assert refused("prune", "main.cfg", "model.weights") == (
        "ws/ana.out:1: not valid JSON (hint: is it from another program? secateur pruner ana "
        "main.cfg model.weights makes it)"
    )
    assert Path("ws/ana.out").read_text() == "layer 0: 0.1 0.2\n"


def test_an_interrupted_analysis_goes_on(project, capsys):
    assert pruner("ana", "main.cfg", "model.weights") == 0
    whole = Path("ws/ana.out").read_bytes()
    network = secateur.load("model.cfg", "model.weights")
    state = Path("ws/ana.out.state.jsonl")
    assert not state.exists()
    data = secateur.open_dataset("d.data", network)
    secateur.analyze(network, data, task=secateur.find_task(network, data), state=state)
    lines = state.read_text().splitlines()
    assert len(lines) > 8
    entry = {**json.loads(lines[1]), "loss": 0.123}  # what is known is not measured again
    state.write_text("".join(f"{line}\n" for line in (lines[0], json.dumps(entry), *lines[2:5])))
    assert pruner("ana", "main.cfg", "model.weights") == 0
    assert not state.exists()
    found, wanted = json.loads(Path("ws/ana.out").read_text()), json.loads(whole)
    points = [point["loss"] for group in found["groups"] for point in group["points"]]
    before = [point["loss"] for group in wanted["groups"] for point in group["points"]]
    assert points.count(0.123) == 1
    assert sum(a != b for a, b in zip(points, before, strict=True)) == 1

    state.write_text("".join(f"{line}\n" for line in lines[:3]))
    edited(Path("d.data"), valid="train.txt")
    said = refused("ana", "main.cfg", "model.weights")
    assert said.startswith("ws/ana.out.state.jsonl:1: belongs to another model, other data or")
    assert "--restart" in said
    assert pruner("ana", "main.cfg", "model.weights", "--restart") == 0


def test_the_cfg_for_finetuning_is_the_user_s(project):
    analysed(project, {"0": [0.0, 0.0]})
    mine = Path("model.cfg").read_text().replace("learning_rate=0.001", "learning_rate=0.5")
    Path("ws/model-prune.cfg").write_text(mine)
    assert pruner("prune", "main.cfg", "model.weights") == 0
    assert Path("ws/model-prune.cfg").read_text() == mine
    other = mine.replace("filters=8", "filters=9")
    Path("ws/model-prune.cfg").write_text(other)
    said = refused("prune", "main.cfg", "model.weights")
    assert said.endswith("(hint: is it of another network? without the file, it is made anew)")
    assert Path("ws/model-prune.cfg").read_text() == other


def test_weights_of_an_earlier_training_stay(project, capsys):
    need_torch()
    analysed(project, {"0": [0.0, 0.0]})
    assert pruner("prune", "main.cfg", "model.weights") == 0
    assert pruner("finetune", "main.cfg") == 0
    final = Path("backup/model-prune_final.weights")
    first = final.read_bytes()
    plan = secateur.load_plan("ws/weights.prune.plan.yaml")
    removed = next(list(group.removed) for group in plan.groups if group.name == "0")
    assert removed
    network = secateur.load("model.cfg", final)
    kernels = network.array("layer_0.weights" if "layer_0.weights" in network.graph.initializers
                            else next(iter(network.graph.initializers)))  # fmt: skip
    assert not kernels[removed].any()
    assert pruner("finetune", "main.cfg") == 0
    assert Path(f"{final}.old").read_bytes() == first
    assert "are backup/model-prune_final.weights.old now" in capsys.readouterr().err
    # The next round: from these weights, with the curves of before.
    Path("main.cfg").write_text(f"{MAIN}prune_out_weights=ws/weights.prune2\n")
    assert pruner("prune", "main.cfg", final) == 0
    printed = capsys.readouterr()
    assert "Saving weights to ws/weights.prune2" in printed.out
    assert "note: ws/ana.out was measured with other weights" in printed.err
    assert Path("ws/weights.prune2").read_bytes()[12:20] == bytes(8)  # counts images anew
    again = secateur.load_plan("ws/weights.prune2.plan.yaml")
    assert next(list(g.removed) for g in again.groups if g.name == "0") == removed


def test_transform_refuses_weights_that_grew_again(project):
    analysed(project, {"0": [0.0, 0.0]})
    assert pruner("prune", "main.cfg", "model.weights") == 0
    (project / "other").mkdir()
    with_random_weights(
        project / "other", Path("model.cfg").read_text(), flavour="alexeyab", seed=7
    )
    said = refused("transform", "main.cfg", "other/model.weights")
    assert said.startswith("channels that the plan removes carry weight in ")
    assert not Path("ws/weights.transform").exists()


def test_zeros_say_what_is_gone_where_no_plan_does(project, capsys):
    """Weights that another program pruned have no plan beside them."""
    analysed(project, {"0": [0.0, 0.0]})
    assert pruner("prune", "main.cfg", "model.weights") == 0
    assert pruner("transform", "main.cfg", "weights.prune") == 0
    small = Path("ws/weights.transform").read_bytes()
    Path("ws/weights.prune.plan.yaml").unlink()
    capsys.readouterr()
    assert pruner("transform", "main.cfg", "weights.prune") == 0
    assert Path("ws/weights.transform").read_bytes() == small
    assert "channels are gone whose weights are zero" in capsys.readouterr().err
    assert "no channel of 'model-prune' is zero" in refused(
        "transform", "main.cfg", "model.weights"
    )


def test_paths_start_where_the_network_is(project, capsys, monkeypatch):
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert pruner("map", "../main.cfg", "../model.weights") == 0
    assert f"warning: ../main.cfg: its paths start from {project}" in capsys.readouterr().err


def test_notes_are_told_once(project, capsys):
    edited(Path("main.cfg"), criteria=1, colour="red")
    edited(Path("d.data"), train="val.txt")
    assert pruner("map", "main.cfg", "model.weights", "-gpus", "0,1") == 0
    said = capsys.readouterr().err
    for text in (
        "note: -gpus 0,1 is not used: this ONNX Runtime has no provider for GPUs",
        "warning: main.cfg:10: unused key 'colour'",
        "note: criteria=1 is not needed",
        "warning: d.data: train= and valid= are the same images",
    ):
        assert said.count(text) == 1


@pytest.mark.parametrize("gpus", [("-gpus", "0,1"), ("-gpu", "1"), ("-i", "0")])
def test_gpus_are_taken_where_onnx_runtime_has_them(gpus, project, capsys, monkeypatch):
    runtime = installed(monkeypatch)
    assert pruner("map", "main.cfg", "model.weights", *gpus) == 0
    wanted = [f"cuda:{number}" for number in gpus[1].split(",")]
    assert runtime.devices() <= set(wanted)
    err = capsys.readouterr().err
    assert err.count(f"note: -gpus {gpus[1]}: networks run on {' and '.join(wanted)}\n") == 1


def test_gpus_that_are_not_there_or_have_nothing_to_do_are_noted(project, capsys, monkeypatch):
    assert pruner("map", "main.cfg", "model.weights", "-gpus", "all") == 0
    assert "note: -gpus all is not used: it is no list of numbers" in capsys.readouterr().err
    assert pruner("stat", "model.cfg", "-gpus", "0") == 0
    assert "note: -gpus 0 is not used: no network runs here" in capsys.readouterr().err
    runtime = installed(monkeypatch, count=1)
    assert pruner("map", "main.cfg", "model.weights", "-gpus", "3") == 0
    assert runtime.devices() == {None}
    err = capsys.readouterr().err
    assert "note: device cuda:3 does not work: CUDA failure 101" in err
    assert "networks run on cuda" not in err


def test_counts_are_those_of_the_manual(tmp_path, capsys):
    """Layers 104 and 105 of the pruned YOLOv3 of UG1333."""
    (tmp_path / "model-transform.cfg").write_text(
        "[net]\nwidth=52\nheight=52\nchannels=128\n"
        "[convolutional]\nbatch_normalize=1\nfilters=256\nsize=3\npad=1\nactivation=leaky\n"
        "[convolutional]\nfilters=75\nsize=1\nactivation=linear\n"
    )
    assert pruner("stat", tmp_path / "model-transform.cfg") == 0
    assert capsys.readouterr().out.splitlines() == [
        "layer 0, ops:1595576320", "layer 0, params:295168",
        "layer 1, ops:104036400", "layer 1, params:19275",
        f"Total operations: {1595576320 + 104036400}", f"Total params: {295168 + 19275}",
    ]  # fmt: skip


def test_detections_are_written_as_darknet_writes_them(project):
    for command in ("map", "valid"):
        assert pruner(command, "main.cfg", "model.weights") == 0
        assert Path("results").exists() is (command == "valid")
    names = ["comp4_det_test_blue.txt", "comp4_det_test_red.txt"]
    assert sorted(path.name for path in Path("results").iterdir()) == names
    network = secateur.load("model.cfg", "model.weights")
    data = secateur.open_dataset("d.data", network)
    found = list(secateur.find_objects(network, data, score=0.005, suppress=0.45))
    images = Path("val.txt").read_text().splitlines()
    rows = [row.split() for row in Path("results", names[1]).read_text().splitlines()]
    assert len(rows) == sum(int((one.classes == 0).sum()) for one in found) > 0
    stem, score, *corners = rows[0]
    place = next(k for k, one in enumerate(found) if (one.classes == 0).any())
    first = found[place]
    box = first.boxes[first.classes == 0][0]
    height, width = cv2.imread(images[place]).shape[:2]
    assert stem == Path(images[place]).stem
    assert float(score) == pytest.approx(first.scores[first.classes == 0][0], abs=1e-6)
    wanted = [max(box[0] + 1, 1), max(box[1] + 1, 1), min(box[2] + 1, width),
              min(box[3] + 1, height)]  # fmt: skip
    assert [float(side) for side in corners] == pytest.approx(wanted, abs=1e-5)
    edited(Path("d.data"), eval="coco", results="coco")
    assert pruner("valid", "main.cfg", "model.weights") == 0
    entries = json.loads(Path("coco/coco_results.json").read_text())
    assert len(entries) == sum(len(one) for one in found)
    assert entries[0]["image_id"] == int(Path(images[0]).stem)
    assert {entry["category_id"] for entry in entries} <= {1, 2}


def test_detections_of_images_that_cannot_be_read(project):
    Path(Path("val.txt").read_text().splitlines()[3]).write_bytes(b"no image")
    said = refused("valid", "main.cfg", "model.weights")
    assert "1 of 8 images cannot be read" in said
    assert not Path("results/comp4_det_test_red.txt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("anna", "main.cfg"), "there is no command 'pruner anna' (hint: did you mean ana?)"),
        (("ana", "main.cfg"), "pruner ana takes 2 files, not 1 (hint: secateur pruner ana MAIN.CFG "
         "WEIGHTS)"),
        (("transform", "main.cfg", "a", "b"), "pruner transform takes 2 files, not 3 (hint: "
         "secateur pruner transform MAIN.CFG WEIGHTS; a pattern may match several files)"),
        (("map", "main.cfg", "w", "-gpsu", "0"), "there is no option -gpsu (hint: did you mean "
         "-gpu or -gpus?)"),
        (("map", "main.cfg", "w", "-clear"), "-clear: it goes with finetune"),
        (("ana", "main.cfg", "w", "-gpus"), "-gpus needs a value"),
        (("map", "main.cfg", "w"), "w: no such file"),
        (("map", "model.cfg", "w"), "model.cfg: there is no section [pruning] (hint: this is the "
         "cfg of a network: give the main cfg, whose modelcfg= names it)"),
        (("stat", "x.cfg"), "x.cfg: no such file"),
    ],
)  # fmt: skip
def test_command_lines_that_make_no_sense(project, words, message):
    assert refused(*words) == message


def test_the_program_knows_the_words(project):
    assert "finetune   MAIN.CFG [WEIGHTS]" in run("pruner", "--help").stdout
    assert max(map(len, run("pruner", code=2).stdout.splitlines())) <= 80
    Path("main.cfg").write_text(MAIN.replace("0.02", "x"))
    said = one_line(run("pruner", "prune", "main.cfg", "model.weights", code=1))
    assert said == "error: main.cfg:8: field threshold: 'x' is no number"
    assert one_line(run("pruner", "an", "main.cfg", "model.weights", code=2)).startswith("error: ")
    said = one_line(run("ana", "main.cfg", "model.weights", "--data", "d.data", code=1))
    assert said.endswith("(hint: this is a main cfg of vai_p_darknet: `secateur pruner` takes it)")
