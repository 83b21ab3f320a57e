"""Data and models as people have them: MNIST's files, archives, tables, folders."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.mnist import lenet_project
from support.program import one_line, run

ROOT = Path(__file__).resolve().parents[2]
CAFFE = [ROOT / "fixtures/shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]


def figures(*arguments: object) -> dict[str, float]:
    return json.loads(run("valid", *arguments, "--json").stdout)["models"][0]


@pytest.fixture
def lenet(shared):
    folder = shared / "models/lenet_mnist"
    return folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel"


def test_mnist_as_it_comes(lenet, shared, tmp_path):
    images = shared / "data/mnist/t10k-images-idx3-ubyte.gz"
    flags = ("--scale", "0.00390625", "--limit", "200")
    assert figures(*lenet, "--data", images, *flags)["top_1"] > 0.97
    alone = shutil.copy(images, tmp_path)
    text = one_line(run("valid", *lenet, "--data", alone, *flags, code=1))
    assert "there are no labels" in text
    pruned = run("prune", *lenet, "--data", alone, *flags, "--rate", "0.3", "-o", tmp_path / "out")
    assert "200 samples of" in pruned.stdout + pruned.stderr
    assert {path.name for path in tmp_path.iterdir()} == {images.name, "out"}


def test_a_folder_of_idx_files_lists_them(lenet, shared):
    text = one_line(run("valid", *lenet, "--data", shared / "data/mnist", code=1))
    assert "t10k-images-idx3-ubyte.gz, train10k-images-idx3-ubyte.gz" in text


def test_a_list_with_three_columns(shared):
    folder = shared / "models/squeezenet_v1.1_imagenet"
    files = folder / "train_val.prototxt", folder / "squeezenet_v1.1.caffemodel"
    data = shared / "data/imagenet200/labels.txt"  # file, number, name
    assert figures(*files, "--data", data, "--limit", "20")["top_1"] > 0.5


def test_an_archive_of_class_folders(shared, tmp_path):
    folder = shared / "models/resnet20_cifar10"
    files = folder / "res20_deploy.prototxt", next(folder.glob("*.caffemodel"))
    part = tmp_path / "part"
    with tarfile.open(shared / "data/cifar10/test3000.tar.gz") as archive:
        some = [m for m in archive if m.isfile() and m.name.endswith(("1.jpg", "01.jpg"))]
        archive.extractall(part, members=some, filter="data")
    (whole,) = part.iterdir()
    with zipfile.ZipFile(tmp_path / "part.zip", "w", strict_timestamps=False) as archive:
        for file in sorted(whole.rglob("*.jpg")):
            archive.write(file, file.relative_to(part))
    with tarfile.open(tmp_path / "part.tgz", "w:gz") as archive:
        archive.add(whole, "part")
    flags = ("--mean-file", shared / "data/cifar10/mean.binaryproto")
    found = [
        figures(*files, "--data", data, *flags)
        for data in (whole, tmp_path / "part.zip", tmp_path / "part.tgz")
    ]
    assert found[0]["top_1"] > 0.3
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_an_archive_of_images_with_label_files(shared, tmp_path):
    folder = shared / "models/yolo_fastest_1.1_coco"
    files = next(folder.glob("*.cfg")), next(folder.glob("*.weights"))
    source = shared / "data/coco/val2017"
    part = tmp_path / "part"
    for image in sorted((source / "images").iterdir())[:4]:
        for kind, name in (("images", image.name), ("labels", f"{image.stem}.txt")):
            (part / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(source / kind / name, part / kind)
    shutil.make_archive(str(tmp_path / "part"), "zip", tmp_path, "part")
    assert figures(*files, "--data", tmp_path / "part.zip") == figures(*files, "--data", part)


def test_an_archive_with_a_name_that_leads_out(lenet, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../../out.png", b"x")
    text = one_line(run("valid", *lenet, "--data", tmp_path / "bad.zip", code=1))
    assert "bad.zip: '../../out.png' would lie outside" in text
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_a_folder_of_images_with_a_stray_xml(lenet, shared, tmp_path):
    images = sorted((shared / "data/imagenet200").glob("*.jpg"))[:4]
    for image in images:
        shutil.copy(image, tmp_path)
    (tmp_path / "project.xml").write_text("<project/>")
    text = run("data", "check", tmp_path).stdout
    assert text.splitlines()[0].split() == ["Samples:", "4"]
    compared = run("compare", *lenet, *lenet, "--data", tmp_path)
    assert "4 samples" in compared.stdout + compared.stderr


def test_a_train_val_as_data(lenet, shared, tmp_path):
    folder = lenet_project(shared, tmp_path, train=20, test=200)
    named = figures(*lenet, "--data", folder / "train_val.prototxt")
    plain = ("--data", folder / "data/test_lmdb")
    assert named == figures(*lenet, *plain, "--scale", "0.00390625")  # as the data layer says
    assert named["top_1"] > 0.97
    raw = figures(*lenet, "--data", folder / "train_val.prototxt", "--scale", "1")
    assert raw == figures(*lenet, *plain, "--scale", "1")  # what is asked for goes before it
    text = one_line(run("valid", *lenet, "--data", lenet[0], code=1))
    assert "no layer of phase TEST reads data from files" in text
    shutil.rmtree(folder / "data")
    text = one_line(run("valid", *lenet, "--data", folder / "train_val.prototxt", code=1))
    assert "train_val.prototxt:31: layer 'mnist' (Data), field source: there is no data at" in text


def test_a_folder_as_model(shared, tmp_path):
    for file in CAFFE:
        shutil.copy(file, tmp_path)
    assert run("inspect", tmp_path).stdout == run("inspect", *CAFFE).stdout
    pruned = tmp_path / "pruned"
    run("prune", tmp_path, "--rate", "0.3", "-o", pruned)
    assert run("stat", pruned).stdout  # what was written is a folder with one model, too
    text = one_line(run("inspect", shared / "models/lenet_mnist", code=1))
    assert "lenet.prototxt, lenet_train_test.prototxt" in text
