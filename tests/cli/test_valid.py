"""valid, map, stat and data check as users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.program import one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
DATA = str(FIXTURES / "shapes.npz")


def test_two_models_side_by_side() -> None:
    data = json.loads(run("valid", *CAFFE, *DARKNET, "--data", DATA, "--json").stdout)
    assert data["samples"] > 100
    for model in data["models"]:
        assert 0.9 < model["top_1"] <= 1
        assert model["top_1"] <= model.get("top_5", 1)
        assert 0 < model["loss"] < 1
    text = run("valid", *CAFFE, "--data", DATA, "--per-class", "--top-k", "1,2").stdout
    assert "Top-1" in text
    assert "Top-2" in text
    assert "class 0" in text


def test_a_model_without_labels_against_another(tmp_path: Path) -> None:
    with np.load(DATA) as archive:
        np.savez(tmp_path / "x.npz", x=archive["x"][:32])
    data = json.loads(run("valid", *CAFFE, *CAFFE, "--data", tmp_path / "x.npz", "--json").stdout)[
        "models"
    ][0]
    assert data["agreement"] == 1
    assert data["divergence"] == pytest.approx(0, abs=1e-9)
    assert data["cosine"] == pytest.approx(1)
    result = run("valid", *CAFFE, "--data", tmp_path / "x.npz", code=1)
    assert "there are no labels in" in one_line(result)


def test_map_needs_a_detector() -> None:
    result = run("map", *DARKNET, "--data", DATA, code=1)
    assert "has no head that finds boxes" in one_line(result)


def test_map_of_a_detector(tmp_path: Path, shared: Path) -> None:
    folder = shared / "models/yolo_fastest_1.1_coco"
    files = (folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    images = sorted((shared / "data/coco/val2017/images").iterdir())[:8]
    (tmp_path / "val.txt").write_text("".join(f"{path}\n" for path in images))
    (tmp_path / "coco.data").write_text(
        f"classes=80\nvalid={tmp_path}/val.txt\nnames={folder}/coco.names\n"
    )
    result = run("map", *files, *files, "--data", tmp_path / "coco.data", "--score", 0.01)
    assert "mAP@0.5" in result.stdout
    assert "person" in result.stdout
    assert result.stderr.startswith("8 samples of")
    data = json.loads(
        run("map", *files, "--data", tmp_path / "coco.data", "--json", "--iou", 0.3).stdout
    )["models"][0]
    assert 0.1 < data["map"] < 1
    assert data["coco"] < data["coco_50"] < data["map"]


def test_counts_add_up() -> None:
    data = json.loads(run("stat", *CAFFE, "--json").stdout)
    for key in ("parameters", "operations", "vendor_operations", "macs"):
        assert data["totals"][key] == sum(layer[key] for layer in data["layers"]) > 0
    assert data["totals"]["operations"] > 2 * data["totals"]["macs"]
    assert data["totals"]["vendor_operations"] < data["totals"]["operations"]
    every = json.loads(run("stat", *CAFFE, "--json", "--all").stdout)
    assert len(every["layers"]) > len(data["layers"])
    text = run("stat", *DARKNET).stdout
    assert "Total" in text
    assert "MACs" in text


def image(path: Path, height: int = 4, width: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def test_data_check_tells_what_is_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path / "set/images" / f"{name}.png")
        (tmp_path / "set/labels").mkdir(exist_ok=True)
    (tmp_path / "set/labels/a.txt").write_text("3 .5 .5 1 1\n0 .5 .5 1 1\n")
    (tmp_path / "set/labels/b.txt").write_text("")
    data = json.loads(run("data", "check", tmp_path / "set", "--json").stdout)
    assert (data["samples"], data["labels"], data["without_objects"]) == (2, "objects", 1)
    assert data["classes"] == {"0": 1, "3": 1}
    assert data["sizes"] == [{"height": 4, "width": 6, "samples": 2}]
    (tmp_path / "set/labels/b.txt").write_text("3 x .5 1 1\n")
    result = run("data", "check", tmp_path / "set", code=1)
    assert "Broken:   1" in result.stdout
    assert "b.txt:1: '3 x .5 1 1' is not class" in one_line(result)
    text = run("data", "check", DATA, *CAFFE).stdout
    assert "one class each" in text
    assert "for a network" in one_line(run("data", "check", DATA, code=1))


def test_data_check_of_folders_and_lists(tmp_path: Path) -> None:
    for name in ("1_a/x.png", "2_b/y.png"):
        image(tmp_path / "set" / name)
    image(tmp_path / "set/2_b/z.png", height=9)
    data = json.loads(run("data", "check", tmp_path / "set", "--json").stdout)
    assert (data["labels"], data["classes"]) == ("label", {"0": 1, "1": 2})
    (tmp_path / "list.txt").write_text("set/1_a/x.png 7\nset/gone.png 7\n")
    data = json.loads(run("data", "check", tmp_path / "list.txt", "--json", code=1).stdout)
    assert (data["classes"], data["broken"]) == ({"7": 1}, 1)
    assert "list.txt:2: there is no image" in data["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resize", "x"], "SHORT_SIDE"),
        (["--channels", "xyz"], "must be bgr, rgb or gray"),
        (["--top-k", "0"], "at least 1"),
    ],
)
def test_wrong_flags(arguments: list[str], message: str) -> None:
    assert message in run("valid", *CAFFE, "--data", DATA, *arguments, code=2).stderr


def test_prune_takes_every_kind_of_data(tmp_path: Path) -> None:
    with np.load(DATA) as archive:
        pixels, labels = archive["x"][:24, 0], archive["y"][:24]
    lines = []
    for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        scaled = np.clip((picture - picture.min()) / np.ptp(picture) * 255, 0, 255)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), scaled.astype(np.uint8))
        lines.append(f"{number}.png {label}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    result = run(
        "prune", *CAFFE, "--rate", 0.2, "--data", tmp_path / "list.txt", "-o", tmp_path / "out"
    )
    assert "Accuracy" in result.stdout
    assert "24 samples" in result.stderr or "samples of" in result.stderr


def test_the_value_of_a_named_accuracy_layer(tmp_path: Path, shared: Path) -> None:
    folder = shared / "models/lenet_mnist"
    files = (folder / "lenet_train_test.prototxt", folder / "lenet_iter_10000.caffemodel")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 256, (200, 28, 28), np.uint8),
             y=rng.integers(0, 10, 200))  # fmt: skip
    common = ("--data", tmp_path / "x.npz", "--input-shape", "data=1,28,28", "--json")
    named = json.loads(run("valid", *files, *common, "--accuracy", "accuracy").stdout)["models"][0]
    plain = json.loads(run("valid", *files, *common).stdout)["models"][0]
    assert named["top_1"] == plain["top_1"]
    result = run("valid", *files, *common, "--accuracy", "nonsense", code=1)
    assert "has no Accuracy 'nonsense' (hint: it has accuracy)" in one_line(result)
