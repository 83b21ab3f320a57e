"""How images become inputs, where files do not say it: said, looked for, asked for, remembered."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from support.program import inside as run
from support.program import one_line

SAMPLES = 100
SCALE = 0.00390625
"""What lenet_train_test.prototxt multiplies pixels by."""

ASSUMED = "do not say how images become inputs: grey, from 0 to 255 is assumed"


@pytest.fixture(scope="module")
def lenet(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A deploy file and weights without anything beside them."""
    folder = tmp_path_factory.mktemp("lenet")
    for name in ("lenet.prototxt", "lenet_iter_10000.caffemodel"):
        shutil.copyfile(shared / "models/lenet_mnist" / name, folder / name)
    return folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel"


@pytest.fixture(scope="module")
def digits(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of digits, as pixels, with labels."""
    folder = shared / "data/mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + SAMPLES * 784)[16:], np.uint8)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + SAMPLES)[8:], np.uint8)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x=pixels.reshape(SAMPLES, 28, 28), y=labels.astype(np.int64))
    return path


def beside(shared: Path, lenet: tuple[Path, ...], folder: Path, **changes: str) -> tuple[Path, ...]:
    """Copy the model to a folder, with its train_val changed."""
    text = (shared / "models/lenet_mnist/lenet_train_test.prototxt").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / "lenet_train_test.prototxt").write_text(text)
    return tuple(Path(shutil.copy(path, folder)) for path in lenet)


def test_assumed_preprocessing_is_said(
    lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    data = ("--data", digits)
    for command in (
        ("valid", *lenet, *data, "-q"),
        ("compare", *lenet, *lenet, *data, "-q"),
        ("predict", *lenet, *data, "-q"),
        ("ana", *lenet, *data, "-q", "--rates", 0.5, "--limit", 20, "-o", tmp_path / "ana"),
        ("prune", *lenet, *data, "-q", "--rate", 0.2, "--criterion", "l1", "-o", tmp_path / "p"),
    ):
        stderr = run(*command).stderr
        assert stderr.count(ASSUMED) == 1, command[0]
        assert stderr.startswith("warning: "), command[0]
    assert ASSUMED not in run("valid", *lenet, *data, "--scale", SCALE).stderr
    assert ASSUMED not in run("valid", *lenet, *data, "--preprocess", "raw").stderr
    kept = yaml.safe_load((tmp_path / "p/plan.yaml").read_text())
    assert kept["preprocess"] == {"channels": "gray", "from": "assumed"}


def test_inputs_that_are_no_pixels_need_no_preprocessing(
    lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    with np.load(digits) as archive:
        np.savez(tmp_path / "x.npz", x=archive["x"][:, None] * np.float32(SCALE), y=archive["y"])
    assert "assumed" not in run("valid", *lenet, "--data", tmp_path / "x.npz").stderr


def test_a_train_val_beside_the_model_is_used(
    shared: Path, lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    model = beside(shared, lenet, tmp_path / "both")
    found = run("valid", *model, "--data", digits, "--json")
    assert (
        "images become inputs as 'lenet_train_test.prototxt' beside the model says: grey, "
        "times 0.003906" in found.stderr
    )
    told = run("valid", *lenet, "--data", digits, "--json", "--scale", SCALE)
    assert json.loads(found.stdout)["models"] == json.loads(told.stdout)["models"]
    raw = run("valid", *lenet, "--data", digits, "--json")
    assert json.loads(raw.stdout)["models"] != json.loads(told.stdout)["models"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("num_output: 500", "num_output: 400", ASSUMED),
        ('name: "conv2"', 'name: "other"', ASSUMED),
        ("scale: 0.00390625", 'mean_file: "gone.binaryproto"', "'gone.binaryproto', which is not"),
    ],
)
def test_a_file_beside_the_model_that_does_not_fit_is_not_used(
    old: str, new: str, why: str, shared: Path, lenet: tuple[Path, ...], digits: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    model = beside(shared, lenet, tmp_path / "both", **{old: new})
    line = run("valid", *model, "--data", digits, "-q").stderr
    assert why in line
    assert line.startswith("warning: ")


def test_files_that_contradict_each_other_are_not_used(
    shared: Path, lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    model = beside(shared, lenet, tmp_path / "both")
    text = (tmp_path / "both/lenet_train_test.prototxt").read_text()
    (tmp_path / "both/other.prototxt").write_text(text.replace("0.00390625", "0.5"))
    stderr = run("valid", *model, "--data", digits, "-q").stderr
    assert "'lenet_train_test.prototxt', 'other.prototxt' say different things" in stderr


def test_a_file_can_be_named(
    shared: Path, lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    like = f"like={shared}/models/lenet_mnist/lenet_train_test.prototxt"
    told = run("valid", *lenet, "--data", digits, "--json", "--preprocess", like)
    assert "assumed" not in told.stderr
    assert json.loads(told.stdout)["models"][0]["top_1"] > 0.95
    other = f"like={lenet[0]}"
    line = one_line(run("valid", *lenet, "--data", digits, "--preprocess", other, code=1))
    assert "it has no data layer that says how images become inputs" in line
    gone = f"like={tmp_path}/gone.prototxt"
    assert "no such file" in one_line(
        run("valid", *lenet, "--data", digits, "--preprocess", gone, code=1)
    )
    wrong = run("valid", *lenet, "--data", digits, "--preprocess", "imagnet", code=2)
    assert "there is no preprocessing 'imagnet' (hint: did you mean imagenet?)" in one_line(wrong)


def test_auto_tries_the_usual_ones_and_says_the_figures(
    shared: Path, digits: Path, tmp_path: Path
) -> None:
    folder = shared / "models/resnet20_cifar10"
    model = folder / "res20_deploy.prototxt", folder / "cifar10_res20_iter_64000.caffemodel"
    lenet = shared / "models/lenet_mnist"
    found = run("valid", lenet / "lenet.prototxt", lenet / "lenet_iter_10000.caffemodel",
                "--data", digits, "--preprocess", "auto", "--json")  # fmt: skip
    lines = [line for line in found.stderr.splitlines() if line.startswith("Accuracy")]
    figures = [float(line.split()[1]) for line in lines]
    assert figures == sorted(figures, reverse=True)
    assert {"unit", "raw", "signed", "imagenet"} <= {line.split(": ")[1] for line in lines}
    best = f"images become inputs as fits {digits} best: {lines[0].split(': ')[1]} (Accuracy "
    assert best in found.stderr
    assert json.loads(found.stdout)["models"][0]["top_1"] == pytest.approx(figures[0] / 100)
    with np.load(digits) as archive:
        np.savez(tmp_path / "x.npz", x=np.zeros((4, 3, 32, 32), np.uint8))
        np.savez(tmp_path / "f.npz", x=archive["x"][:, None] / np.float32(255), y=archive["y"])
    without = run("valid", *model, "--data", tmp_path / "x.npz", "--preprocess", "auto", code=1)
    assert "x.npz has no labels: which preprocessing fits cannot be found" in one_line(without)
    floats = run("valid", *model, "--data", tmp_path / "f.npz", "--preprocess", "auto", code=1)
    assert "input" in one_line(floats)
    pruned = run("prune", *model, "--rate", 0.1, "-o", tmp_path / "p", "--preprocess", "auto",
                 code=1)  # fmt: skip
    assert "there is none (hint: give --data with labels, or like=FILE)" in one_line(pruned)


def test_a_plan_remembers_what_was_used(
    lenet: tuple[Path, ...], digits: Path, tmp_path: Path
) -> None:
    out, data = tmp_path / "out", ("--data", digits)
    run("prune", *lenet, *data, "--scale", SCALE, "--rate", 0.2, "--criterion", "l1", "-o", out)
    plan = out / "plan.yaml"
    kept = yaml.safe_load(plan.read_text())["preprocess"]
    assert kept == {"channels": "gray", "scale": SCALE, "from": "options"}
    said = "images become inputs as {} remembers: grey, times 0.003906"
    again = run("transform", *lenet, *data, "--plan", plan, "-o", tmp_path / "again")
    assert said.format(plan) in again.stderr
    kept = yaml.safe_load((tmp_path / "again/plan.yaml").read_text())["preprocess"]
    assert kept["scale"] == SCALE
    # The pruned model has the plan beside it, and a plan can be named.
    model = tuple(out / path.name for path in lenet)
    found = run("valid", *model, *data, "--json")
    assert said.format(plan) in found.stderr
    named = run("valid", *lenet, *data, "--json", "--preprocess", f"like={plan}")
    assert "assumed" not in named.stderr
    assert json.loads(named.stdout)["models"][0]["top_1"] > 0.95
    # What is given on the command line counts more.
    told = run("prune", *lenet, *data, "--keep", plan, "--scale", 1, "-o", tmp_path / "raw")
    assert "inputs as" not in told.stderr
    kept = yaml.safe_load((tmp_path / "raw/plan.yaml").read_text())["preprocess"]
    assert kept == {"channels": "gray", "from": str(plan)}


def test_a_broken_memory_is_refused(lenet: tuple[Path, ...], tmp_path: Path) -> None:
    run("prune", *lenet, "--rate", 0.2, "-o", tmp_path / "out")
    plan = tmp_path / "out/plan.yaml"
    text = plan.read_text()
    none = run("prune", *lenet, "--rate", 0.2, "-o", tmp_path / "b", "--preprocess",
               f"like={plan}", code=1)  # fmt: skip
    assert "the plan remembers no preprocessing" in one_line(none)
    for broken, message in (
        ("{scle: 1}", "preprocess has no 'scle' (hint: did you mean scale?)"),
        ("{scale: x}", "preprocess.scale cannot be 'x'"),
        ("[1]", "preprocess must be a mapping"),
    ):
        plan.write_text(f"{text}preprocess: {broken}\n")
        result = run("prune", *lenet, "--keep", plan, "-o", tmp_path / "b", code=1)
        assert message in one_line(result)
