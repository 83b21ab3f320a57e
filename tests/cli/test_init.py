"""`secateur init`: a file with what was found, which runs as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import secateur
from secateur.core.errors import DataError, FormatError
from support.detector import detector, squares
from support.mnist import lenet_project
from support.pipelines import lenet_pipeline
from support.program import one_line, run
from support.training import need_torch


def voc_like(folder: Path) -> list[Path]:
    """Write a detector, squares to train and to measure on, and a .data file; return the files."""
    files = detector(folder)
    for name, count, seed in (("train", 40, 0), ("valid", 12, 1)):
        images = sorted(squares(folder / name, count, seed).glob("*.png"))
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in images))
    (folder / "obj.names").write_text("red\nblue\n")
    (folder / "obj.data").write_text(
        f"classes = 2\ntrain = {folder}/train.txt\nvalid = {folder}/valid.txt\n"
        f"names = {folder}/obj.names\n"
    )
    return files


def test_a_detector_with_a_data_file(tmp_path):
    """What `init` writes runs as it is, but for the time of training."""
    need_torch()
    files = voc_like(tmp_path)
    file = tmp_path / "secateur.yaml"
    told = run("init", *files, "--data", tmp_path / "obj.data", "-o", file).stderr
    assert "a detector of 2 classes" in told
    assert "measured by: mAP" in told
    text = file.read_text()
    assert "files: [model.cfg, model.weights]" in text
    assert "# model: Darknet, input data 3×64×64" in text
    found = secateur.load_pipeline(file)
    assert found.steps == ("prune", "finetune", "valid")
    paths = {role: Path(source.path).name for role, source in found.data.items()}
    assert paths == {
        "calibration": "train.txt", "training": "train.txt", "validation": "valid.txt",
        "test": "valid.txt",
    }  # fmt: skip
    assert found.prune.rate == 0.3
    result = run("run", file, "--set", "finetune={steps: 2, batch-size: 8}", "--json", "-q")
    content = json.loads(result.stdout)
    assert [step["step"] for step in content["steps"]] == ["prune", "finetune", "valid"]
    assert [Path(path).name for path in content["model"]] == ["model.cfg", "model.weights"]
    models = content["steps"][-1]["figures"]["models"]
    assert [model["name"] for model in models] == ["original", "prune", "finetune"]
    assert all(model["metric"] == "mAP" for model in models)
    # Another name of a class makes other data.
    (tmp_path / "obj.names").write_text("rot\nblue\n")
    again = run("run", file, "--set", "finetune={steps: 2, batch-size: 8}", "--dry-run")
    assert "what it depends on changed" in again.stdout


def test_folders_are_parts_of_data(shared, tmp_path):
    lenet_pipeline(shared, tmp_path)
    files = [tmp_path / "lenet.prototxt", tmp_path / "lenet.caffemodel"]
    found = secateur.propose_pipeline(*files, data=tmp_path)
    assert {role: Path(source.path).name for role, source in found.data.items()} == {
        "calibration": "train", "training": "train", "validation": "val", "test": "test",
    }  # fmt: skip
    assert not found.same
    assert found.task == "classification"
    alone = secateur.propose_pipeline(*files, data=tmp_path / "train", test=tmp_path / "test")
    assert sorted(alone.data) == ["calibration", "test", "training"]
    assert not alone.same
    assert secateur.propose_pipeline(*files, data=tmp_path / "train").same


def test_a_train_val_names_data_and_preprocessing(shared, tmp_path):
    lenet_project(shared, tmp_path, 40, 20)
    deploy = tmp_path / "lenet.prototxt"
    deploy.write_bytes((shared / "models/lenet_mnist/lenet.prototxt").read_bytes())
    found = secateur.propose_pipeline(
        deploy, tmp_path / "lenet.caffemodel", data=tmp_path / "train_val.prototxt"
    )
    paths = {role: Path(source.path).name for role, source in found.data.items()}
    assert paths == {
        "calibration": "train_lmdb", "training": "train_lmdb", "validation": "test_lmdb",
        "test": "test_lmdb",
    }  # fmt: skip
    assert found.preprocess.scale == 0.00390625
    for source in found.data.values():
        assert source.options.scale in (None, 0.00390625)
    run("init", deploy, tmp_path / "lenet.caffemodel", "--data", tmp_path / "train_val.prototxt",
        "-o", tmp_path / "a.yaml")  # fmt: skip
    content = json.loads(
        run("run", tmp_path / "a.yaml", "--set", "finetune=false", "--set", "prune.criterion=l1",
            "--set", "prune.repair=none", "--json", "-q").stdout
    )  # fmt: skip
    original, _ = content["steps"][-1]["figures"]["models"]
    assert original["value"] == 1.0  # 20 digits, with the scale of the train_val


def test_the_config_of_a_predecessor(shared, tmp_path, monkeypatch):
    folder = lenet_project(shared, tmp_path, 60, 40)
    monkeypatch.chdir(folder)
    file = folder / "secateur.yaml"
    run("init", folder / "config.prototxt", "-o", file)
    found = secateur.load_pipeline(file)
    assert [Path(path).name for path in found.model] == ["train_val.prototxt", "lenet.caffemodel"]
    assert found.prune.rate == 0.4
    assert (found.prune.sparse, found.prune.budget) == (True, "convolutions")
    assert found.prune.limits.round_to == 2
    assert Path(found.finetune.solver).name == "solver.prototxt"
    assert found.finetune.options.batch_size == 64
    assert found.data["test"].options.limit == 200  # 2 iterations of 100
    assert found.steps == ("prune", "finetune", "transform", "valid")
    shown = run("run", file, "--dry-run")
    assert "asked is 0.4" in shown.stdout


def test_the_main_cfg_of_a_predecessor(tmp_path):
    cfg, weights = voc_like(tmp_path)
    main = tmp_path / "main.cfg"
    main.write_text(
        f"[pruning]\nworkspace={tmp_path}/work\ndatacfg={tmp_path}/obj.data\nmodelcfg={cfg}\n"
        "kernel_batch=4\nignore_layer=0,1\nthreshold=0.01\ncriteria=0\n"
    )
    found = secateur.propose_pipeline(main, weights)
    assert found.model == (cfg, weights)
    assert found.steps["prune"]["threshold"] == 0.01
    assert found.steps["ana"] == {"threshold": 0.01}
    assert found.steps["prune"]["exclude"] == ("0", "1")
    assert found.steps["prune"]["round_to"] == 4
    with pytest.raises(FormatError, match="the weights are missing"):
        secateur.propose_pipeline(main)
    file = tmp_path / "secateur.yaml"
    run("init", main, weights, "-o", file)
    assert secateur.load_pipeline(file).steps[:2] == ("ana", "prune")


def test_without_data_only_pruning_is_left(shared, tmp_path):
    own = shared / "models/lenet_mnist"
    file = tmp_path / "lenet.yaml"
    for name in ("lenet.prototxt", "lenet_iter_10000.caffemodel"):
        shutil.copyfile(own / name, tmp_path / name)
    model = (tmp_path / "lenet.prototxt", tmp_path / "lenet_iter_10000.caffemodel")
    arguments = (*model, "-o", file)
    run("init", *arguments)
    text = file.read_text()
    assert "# Left out: there is no data" in text
    assert "no file says it, so that raw pixels are taken" in text
    assert secateur.load_pipeline(file).steps == ("prune",)
    told = one_line(run("init", *arguments, code=1))
    assert "it is there already (hint: --force writes over it" in told
    assert file.read_text() == text
    file.write_text("mine")
    run("init", *arguments, "--force", "-q")
    assert file.read_text() == text
    beside = tmp_path / "lenet_train_test.prototxt"
    shutil.copyfile(own / beside.name, beside)
    run("init", *arguments, "--force", "-q")
    assert beside.name in file.read_text()
    assert "scale: 0.00390625" in file.read_text()


def test_a_rate_that_can_be_reached(tmp_path):
    """With two layers that keep all channels, little can go."""
    files = detector(tmp_path)
    network = secateur.load(*files)
    found = secateur.propose_pipeline(*files)
    assert found.steps["prune"]["rate"] == 0.3
    assert found.most > 0.43
    assert secateur.prune(network, rate=found.steps["prune"]["rate"], criterion="l1")


def test_data_that_does_not_fit_writes_nothing(shared, tmp_path):
    own = shared / "models/lenet_mnist"
    files = [own / "lenet.prototxt", own / "lenet_iter_10000.caffemodel"]
    with pytest.raises(DataError, match="there is no data at"):
        secateur.propose_pipeline(*files, data=tmp_path / "none")
    for data in (tmp_path / "none", tmp_path):
        told = one_line(
            run("init", *files, "--data", data, "-o", tmp_path / "a.yaml", code=1)
        )  # fmt: skip
        assert told.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_what_the_test_data_is_also_used_for_stands_beside_it(tmp_path):
    fixtures = Path(__file__).resolve().parents[2] / "fixtures"
    model = [fixtures / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
    first, second = fixtures / "calibration.npz", fixtures / "shapes.npz"
    for given, told in (
        (["--data", first], "These samples also choose channels or train"),
        (["--data", first, "--val", second], "Fine-tuning and limits look at these samples, too"),
        (["--data", first, "--test", second], "The figures of valid; nothing else looks at it"),
    ):
        run("init", *model, *given, "-o", tmp_path / "a.yaml", "--force")
        text = " ".join((tmp_path / "a.yaml").read_text().replace("#", "").split())
        assert told in text
        assert ("nothing else looks at it" in text) == ("--test" in given)
