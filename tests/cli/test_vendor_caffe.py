"""Command lines of vai_p_caffe with its own configs: old scripts run as they are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import secateur
from support.cifar import resnet_project
from support.devices import installed
from support.mnist import digits, lenet_project
from support.program import ENVIRONMENT, command, inside, one_line
from support.training import need_torch

OWN = "the same in secateur's own words: "
WEIGHTS = "regular/regular_rate_0.4/snapshots/_iter_8.caffemodel"


def old(folder: Path, line: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a line of a script in a folder."""
    program, *words = shlex.split(line)
    assert program == "secateur"
    result = subprocess.run(
        command(*words), capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=folder
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def own_words(result: subprocess.CompletedProcess[str]) -> str:
    """Return the command that a command names as the same."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(OWN)]
    return line.removeprefix(OWN)


def summary(text: str) -> dict[str, list[str]]:
    """Return the rows of the vendor's table by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


@pytest.fixture(scope="module")
def done(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The script of a tutorial, run on LeNet: its folder, and what each line printed."""
    need_torch()
    folder = lenet_project(shared, tmp_path_factory.mktemp("lenet"), 120, 200)
    lines = {
        "ana": "secateur ana –config config.prototxt",
        "prune": "secateur prune -config config.prototxt",
        "finetune": "secateur finetune --config=config.prototxt -gpu 0,1",
        "transform": f"secateur transform –model train_val.prototxt -weights {WEIGHTS}",
        "stat": "secateur stat -model regular/regular_rate_0.4/final.prototxt",
    }
    return folder, {name: old(folder, line) for name, line in lines.items()}


def test_an_old_script_on_lenet(done: tuple[Path, dict[str, object]], shared: Path) -> None:
    folder, results = done
    rate = folder / "regular/regular_rate_0.4"
    assert results["ana"].stdout.startswith("Accuracy 100.00 % on 200 samples of data/test_lmdb")
    assert "Analysis completed 100%" in results["ana"].stderr
    for result in results.values():
        assert result.stderr.count("has no provider for GPUs") <= 1
    assert "has no provider for GPUs" in results["finetune"].stderr
    assert (folder / "regular/.ana.regular").is_file()

    pruned = results["prune"]
    assert "Analysis info found." in pruned.stderr
    assert "summary of REGULAR compression with rate 0.4:" in pruned.stdout
    rows = summary(pruned.stdout)
    assert list(rows) == ["Item", "Accuracy", "Weights", "Operations"]
    assert rows["Item"] == ["Baseline", "Compressed", "Delta"]
    assert (rows["Weights"][0], rows["Operations"][0]) == ("25.6 k", "3.79 Mop")
    assert rows["Accuracy"][0] == "1.0000"
    assert -40.0 <= float(rows["Operations"][2].rstrip("%")) < -36.0
    assert "next: secateur finetune -config config.prototxt" in pruned.stderr
    assert "next: secateur prune -config config.prototxt" in results["ana"].stderr
    names = {"sparse.caffemodel", "final.prototxt", "net_finetune.prototxt", "plan.yaml"}
    assert {path.name for path in rate.iterdir()} == names | {"snapshots", "finetune"}
    assert {path.name for path in (rate / "snapshots").iterdir()} >= {
        "_iter_4.caffemodel", "_iter_8.caffemodel",
    }  # fmt: skip
    assert (rate / "net_finetune.prototxt").read_bytes() == (
        folder / "train_val.prototxt"
    ).read_bytes()
    assert "8 steps of 64" in results["finetune"].stderr
    assert "next: secateur transform -model train_val.prototxt" in results["finetune"].stderr
    assert not (folder / "transformed.prototxt").exists()  # final.prototxt is the same

    shapes = {"data": (1, 28, 28)}
    pairs = {
        "original": (folder / "train_val.prototxt", folder / "lenet.caffemodel"),
        "sparse": (folder / "train_val.prototxt", folder / WEIGHTS),
        "small": (rate / "final.prototxt", folder / "transformed.caffemodel"),
    }
    networks = {name: secateur.load(*files, input_shapes=shapes) for name, files in pairs.items()}
    assert secateur.compare(networks["sparse"], networks["small"]).worst.relative < 1e-4
    images, labels = digits(shared, "t10k", 2000)
    np.savez(folder / "t10k.npz", x=images[:, None].astype(np.float32) / 256, y=labels)
    values = {
        name: secateur.evaluate(network, secateur.open_dataset(folder / "t10k.npz", network)).value
        for name, network in networks.items()
    }
    assert values["small"] > values["original"] - 0.01
    total = re.search(r"^Total operations: (\d+)$", results["stat"].stdout, re.MULTILINE)
    assert total is not None
    assert (
        int(total[1])
        == secateur.measure_cost(
            networks["small"], secateur.find_groups(networks["small"])
        ).convolution_operations
    )
    assert re.search(r"^Convolution layer conv2 ops: \d+$", results["stat"].stdout, re.MULTILINE)
    assert "ip1" not in results["stat"].stdout


def test_the_same_in_our_own_words(done: tuple[Path, dict[str, object]]) -> None:
    folder, results = done
    plan = folder / "regular/regular_rate_0.4/plan.yaml"
    for name, output in (("prune", "p"), ("transform", "t"), ("stat", "")):
        line = own_words(results[name])
        if output:
            line = re.sub(r"-o \S+$", f"-o {output}", line)
            assert line.endswith(f"-o {output}")
        old(folder, line)
    mine, theirs = (secateur.load_plan(path) for path in (folder / "p/plan.yaml", plan))
    assert [(g.name, g.kept) for g in mine.groups] == [(g.name, g.kept) for g in theirs.groups]


@pytest.mark.parametrize(("words", "place"), [((), "cuda:0"), (("-gpu", "1"), "cuda:1")])
def test_gpus_are_taken_where_onnx_runtime_has_them(
    words: tuple[str, ...],
    place: str,
    done: tuple[Path, dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The config names the first one, and the command line wins."""
    monkeypatch.chdir(done[0])
    with monkeypatch.context() as patch:
        runtime = installed(patch)
        result = inside("prune", "-config", "config.prototxt", *words)
        places = runtime.devices()
    assert place in places
    assert places <= {place, None}  # verifications stay on the processor
    number = place[-1]
    assert result.stderr.count(f"note: gpu {number}: networks run on {place}\n") == 1


def test_a_later_round_begins_with_a_snapshot(done: tuple[Path, dict[str, object]]) -> None:
    """The manuals leave the folder `snapshots` out, and the analysis of the first round counts."""
    folder, _ = done
    text = (folder / "config.prototxt").read_text()
    weights = WEIGHTS.replace("snapshots/", "")
    text = text.replace("rate: 0.4", "rate: 0.6").replace("lenet.caffemodel", weights)
    (folder / "second.prototxt").write_text(text)
    measured = (folder / "regular/.ana.regular").read_bytes()
    again = old(folder, "secateur ana -config second.prototxt")
    assert "Analysis info found." in again.stderr
    rows = summary(old(folder, "secateur prune -config second.prototxt").stdout)
    assert (folder / "regular/.ana.regular").read_bytes() == measured
    assert rows["Accuracy"][0] == "1.0000"  # the baseline stays
    assert -60.0 <= float(rows["Operations"][2].rstrip("%")) < -54.0
    plans = [folder / f"regular/regular_rate_{rate}/plan.yaml" for rate in ("0.4", "0.6")]
    first, second = (
        {g.name: set(g.removed) for g in secateur.load_plan(path).groups} for path in plans
    )
    assert first["conv2"] <= second["conv2"]


def test_transform_without_a_plan_and_with_the_small_text(
    done: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder, _ = done
    rate = folder / "regular/regular_rate_0.4"
    for path in (rate / "final.prototxt", rate / "net_finetune.prototxt", folder / WEIGHTS):
        shutil.copyfile(path, tmp_path / path.name)
    result = old(
        tmp_path, "secateur transform -model final.prototxt -weights _iter_8.caffemodel "
        "-output small.caffemodel", code=1,
    )  # fmt: skip
    assert "--input-shape data=C,H,W" in one_line(result)
    (tmp_path / "data").symlink_to(folder / "data")
    result = old(
        tmp_path, "secateur transform -model final.prototxt -weights _iter_8.caffemodel "
        "-output out/small.caffemodel",
    )  # fmt: skip
    assert "they were read with net_finetune.prototxt" in result.stderr
    assert "the zeros of the weights" in result.stderr
    mine, theirs = tmp_path / "out/small.caffemodel", folder / "transformed.caffemodel"
    assert mine.read_bytes() == theirs.read_bytes()
    again = old(
        tmp_path, "secateur transform -model final.prototxt -weights out/small.caffemodel", code=1
    )
    assert "no channel of 'LeNet' is zero" in one_line(again)
    assert not (tmp_path / "transformed.caffemodel").exists()


CHANGES = [
    ("model:", "modle:", r"config\.prototxt:6: there is no field 'modle' .*did you mean model\?"),
    ('weights: "lenet.caffemodel"\n', "", r"config\.prototxt:1: field weights: required"),
    ("rate: 0.4", "rate: 30", r"config\.prototxt:9: field rate: .* got 30 \(hint: 0.3 for 30 %\)"),
    ("rate: 0.4\n", "", r"config\.prototxt: field rate: required, but missing"),
    ("rate: 0.4", 'rate: "x"', r"config\.prototxt:9: field rate: a number is expected"),
    ('"accuracy"', '"acc"', r"config\.prototxt:5: field acc_name: .*no Accuracy 'acc'.*accuracy"),
    ("lenet.caff", "lent.caff", r"config\.prototxt:7: field weights: there is no file 'lent.caff"),
    ("train_val", "none", r"config\.prototxt:6: field model: there is no file 'none.prototxt'"),
    ("REGULAR", "HARD", r"config\.prototxt:11: field pruner.method: 'HARD' is none of REGULAR"),
    ("REGULAR", 'REGULAR exclude { layer_top: "conv9" }', r"config\.prototxt:11: .*'conv9'"),
    ("test_iter: 2", "test_iter: 0", r"config\.prototxt:4: field test_iter: .* at least 1"),
    ("}\n", "", r"config\.prototxt:12: the file ends where"),
    ('"regular"', '"lenet.caffemodel"', r"lenet\.caffemodel: cannot be written"),
]


@pytest.fixture(scope="module")
def ready(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lenet_project(shared, tmp_path_factory.mktemp("lenet"), 60, 100)


@pytest.mark.parametrize(("before", "after", "told"), CHANGES)
def test_what_is_wrong_is_told_in_one_line(ready: Path, before: str, after: str, told: str) -> None:
    text = (ready / "config.prototxt").read_text()
    assert before in text
    (ready / "bad").mkdir(exist_ok=True)
    path = ready / "bad/config.prototxt"
    path.write_text(text.replace(before, after))
    result = old(ready, "secateur prune -config bad/config.prototxt", code=1)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert re.search(told, lines[0]), lines
    assert not (ready / "regular").exists() or not any((ready / "regular").iterdir())


def test_command_lines_that_make_no_sense(ready: Path) -> None:
    for line, told in (
        ("secateur prune -config", "-config needs a value"),
        ("secateur prune -confg x -config config.prototxt", r"no option -confg \(.* -config\?"),
        ("secateur transform -model train_val.prototxt", "-weights is missing"),
        ("secateur stat -model", "-model needs a value"),
        ("secateur ana -config config.prototxt x", "nothing takes 'x'"),
        ("secateur stat -model train_val.prototxt --input-shape 3", "'3' is no shape"),
    ):
        assert re.search(told, one_line(old(ready, line, code=2)))


def test_finetune_comes_after_prune(ready: Path) -> None:
    result = old(ready, "secateur finetune -config config.prototxt", code=1)
    last = result.stderr.strip().splitlines()[-1]
    assert "there is no file 'regular/regular_rate_0.4/sparse.caffemodel'" in last
    assert "secateur prune -config config.prototxt" in last


def test_data_that_is_not_there(ready: Path) -> None:
    text = (ready / "train_val.prototxt").read_text().replace("data/test_lmdb", "data/tst")
    (ready / "other.prototxt").write_text(text)
    config = (ready / "config.prototxt").read_text().replace("train_val", "other")
    (ready / "nodata.prototxt").write_text(config)
    told = one_line(old(ready, "secateur ana -config nodata.prototxt", code=1))
    assert re.search(r"other\.prototxt:31: .*field source: there is no data at 'data/tst'", told)


def test_an_analysis_is_taken_again_where_it_belongs(ready: Path) -> None:
    """Of another net or other data it is made anew; an unreadable one is told."""
    config = (ready / "config.prototxt").read_text().replace('"regular"', '"again"')
    config = config.replace("REGULAR", 'REGULAR exclude { layer_top: "ip1" layer_top: "conv2" }')
    (ready / "again.prototxt").write_text(config)
    line = "secateur ana -config again.prototxt"
    assert "Analysis info found." not in old(ready, line).stderr
    found = old(ready, line)
    assert "Analysis info found." in found.stderr
    assert "conv1" in found.stdout
    assert "conv2" not in found.stdout
    (ready / "again.prototxt").write_text(config.replace(' layer_top: "conv2"', ""))
    more = old(ready, line)  # a group more has no curve yet
    assert "Analysis info found." not in more.stderr
    assert "conv2" in more.stdout
    path = ready / "again/.ana.regular"
    path.write_text(path.read_text().replace('"channels": 20', '"channels": 21'))
    assert "Analysis info found." not in old(ready, line).stderr
    path.write_text("{")
    told = old(ready, line, code=1).stderr.splitlines()
    assert "again/.ana.regular:1: not valid JSON" in told[-1]


def test_our_own_config_stays_ours(ready: Path) -> None:
    (ready / "own.yaml").write_text("rate: 2\n")
    told = one_line(old(ready, "secateur prune a b --config own.yaml -o x", code=1))
    assert "own.yaml:1" in told


def test_an_old_script_on_resnet(shared: Path, tmp_path: Path) -> None:
    """Mean images, a crop in training alone, sums, and layers to exclude by their tops."""
    folder = resnet_project(shared, tmp_path)
    measured = old(folder, "secateur ana -config config.prototxt").stdout
    assert measured.startswith("Accuracy 94.00 % on 50 samples of test_lmdb")
    rows = summary(old(folder, "secateur prune -config config.prototxt").stdout)
    assert rows["Weights"][0] == "274 k"
    assert rows["Operations"][0] == "81.8 Mop"
    assert -10.0 <= float(rows["Operations"][2].rstrip("%")) < -8.0
    rate = folder / "regular/regular_rate_0.1"
    plan = secateur.load_plan(rate / "plan.yaml")
    lost = {layer for group in plan.groups if group.removed for layer in group.layers}
    assert len(lost) > 3
    # The top of a sum stands for all that it adds.
    assert lost.isdisjoint({"Convolution1", "Convolution15", "Convolution17", "Convolution19"})
    assert all(group.kept % 2 == 0 for group in plan.groups)
    old(
        folder, "secateur transform –model train_val.prototxt –weights "
        "regular/regular_rate_0.1/sparse.caffemodel",
    )  # fmt: skip
    small = secateur.load(
        rate / "final.prototxt", folder / "transformed.caffemodel",
        input_shapes={"Data1": (3, 32, 32)},
    )  # fmt: skip
    sparse = secateur.load(
        folder / "train_val.prototxt", rate / "sparse.caffemodel",
        input_shapes={"Data1": (3, 32, 32)},
    )  # fmt: skip
    assert secateur.compare(sparse, small).worst.relative < 1e-4


def test_stat_takes_a_text_alone(shared: Path, tmp_path: Path) -> None:
    model = shared / "models/resnet20_cifar10/res20_deploy.prototxt"
    result = old(tmp_path, f"secateur stat -model {model}")
    lines = result.stdout.splitlines()
    assert lines[0] == "Convolution layer Convolution1 ops: 901120"  # 2·27·16·32² + 16·32²
    assert lines[1] == "Convolution layer Convolution1 params: 448"
    assert "InnerProduct" not in result.stdout
    ours = old(tmp_path, f"secateur stat {model}")
    assert "81.8 M" in ours.stdout
