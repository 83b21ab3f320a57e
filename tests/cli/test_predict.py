"""`secateur predict` and `secateur detect`: pictures, tables and plain values of what is found."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import secateur
from support.detector import detector, squares
from support.page import Page
from support.program import one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = str(FIXTURES / "shapes.npz")


def test_classes_are_those_with_the_highest_scores():
    data = json.loads(
        run("predict", *CAFFE, "--data", DATA, "--limit", 20, "--top-k", 2, "--json").stdout
    )
    network = secateur.load(*CAFFE)
    output = secateur.classifier_output(network)
    session = secateur.Session(network)
    dataset = secateur.open_dataset(DATA, network, limit=20)
    scores = np.concatenate([session.run(b.inputs)[output] for b in dataset]).reshape(20, -1)
    assert data["models"] == ["shapes"]
    for sample, row in zip(data["samples"], scores, strict=True):
        (found,) = sample["found"]
        best = np.argsort(-row, kind="stable")[:2]
        assert [entry["class"] for entry in found] == best.tolist()
        assert found[0]["score"] == pytest.approx(float(row[best[0]]), abs=1e-5)
    assert [sample["name"] for sample in data["samples"]][:2] == ["sample 1", "sample 2"]


def test_two_classifiers_side_by_side(tmp_path):
    run("prune", *CAFFE, "--rate", 0.7, "-o", tmp_path / "small")
    small = [tmp_path / "small" / Path(file).name for file in CAFFE]
    result = run("predict", *CAFFE, *small, "--data", DATA, "--limit", 30, "-o", tmp_path / "out")
    assert "shapes (1)" in result.stdout
    out = tmp_path / "out"
    data = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    apart = {sample["name"]: sample["disagreement"] for sample in data["samples"]}
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    # The page is for a folder of pictures: it asks for these, and for nothing else.
    assert {fault for fault in page.faults if ".jpg" not in fault} == set()
    order = [image["src"].removesuffix(".jpg").replace("-", " ") for image in page.images]
    assert sorted(order) == sorted(apart)
    assert [apart[name] for name in order] == sorted(apart.values(), reverse=True)
    assert all((out / image["src"]).is_file() and image["alt"] for image in page.images)
    changed = sum(sample["differs"] for sample in data["samples"])
    assert f"tell something else in {changed} of 30 samples" in result.stderr
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30 * 2 * 5
    assert {row["model"] for row in rows} == {"shapes (1)", "shapes (2)"}


@pytest.fixture(scope="module")
def yolo(tmp_path_factory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("yolo")
    return detector(folder), squares(folder)


def test_boxes_are_those_that_are_found(yolo, tmp_path):
    files, photos = yolo
    out = tmp_path / "out"
    names = tmp_path / "names.txt"
    names.write_text("red\ngrün\n", encoding="utf-8")
    run("detect", *files, "--data", photos, "--score", 0.05, "--names", names, "-o", out, "--quiet")
    data = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    network = secateur.load(*files)
    dataset = secateur.open_dataset(photos, network)
    expected = list(secateur.find_objects(network, dataset, score=0.05))
    assert len(data["samples"]) == len(expected)
    assert sum(map(len, expected)) > 0
    for sample, found in zip(data["samples"], expected, strict=True):
        assert (out / sample["picture"]).is_file()
        (boxes,) = sample["found"]
        order = np.argsort(-found.scores, kind="stable")
        assert [box["score"] for box in boxes] == pytest.approx(found.scores[order], abs=1e-5)
        wanted = found.boxes[order].ravel().tolist()
        assert [edge for box in boxes for edge in box["box"]] == pytest.approx(wanted, abs=0.01)
        assert {box["name"] for box in boxes} <= {"red", "grün"}


def test_pictures_have_the_names_of_their_images(yolo, tmp_path):
    files, _ = yolo
    photos = tmp_path / "photos"
    for name in ("a/cat.png", "b/cat.jpg", "b/a dog.png"):
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((40, 60, 3), 99, np.uint8))
    (photos / "b" / "broken.jpg").write_bytes(b"no image")
    out = tmp_path / "out"
    result = run("detect", *files, "--data", photos, "-o", out)
    assert "left out" in result.stderr
    pictures = sorted(path.name for path in out.glob("*.jpg"))
    assert pictures == ["a-dog.jpg", "cat-2.jpg", "cat.jpg"]
    assert [path.name for path in photos.rglob("*.png")]  # nothing is written there


def test_pictures_of_an_earlier_run_are_replaced(yolo, tmp_path):
    files, photos = yolo
    out = tmp_path / "out"
    run("detect", *files, "--data", photos, "-o", out)
    many = len(list(out.glob("*.jpg")))
    run("detect", *files, "--data", photos, "--limit", 1, "-o", out)
    assert many > len(list(out.glob("*.jpg"))) == 1


@pytest.mark.parametrize("content", [None, "{}", '{"models": 1, "samples": []}', "[1]"])
def test_a_folder_of_the_users_is_left_alone(content, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    if content is not None:
        (tmp_path / "predictions.json").write_text(content)
    result = run("predict", *CAFFE, "--data", DATA, "-o", tmp_path, code=1)
    assert "the folder is not empty" in one_line(result)
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_names_in_a_file_lead_nowhere_else(tmp_path):
    out, mine = tmp_path / "out", tmp_path / "mine.jpg"
    out.mkdir()
    mine.write_bytes(b"mine")
    samples = [{"picture": name} for name in ("../mine.jpg", str(mine), 3, "")]
    (out / "predictions.json").write_text(json.dumps({"models": [], "samples": samples}))
    run("predict", *CAFFE, "--data", DATA, "--limit", 1, "-o", out)
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--score", "1.5"], "--score: score must be from 0 to 1, got 1.5"),
        (["--nms", "-1"], "--nms: suppress must be from 0 to 1, got -1"),
        (["--top-k", "0"], "--top-k: at least one class must be told, not 0"),
    ],
)
def test_impossible_options(flags, text):
    result = run("predict", *CAFFE, "--data", DATA, *flags, code=2)
    assert one_line(result) == f"error: {text}"


def test_models_that_find_different_things(yolo, tmp_path):
    files, photos = yolo
    result = run("predict", *files, *CAFFE, "--data", photos, code=1)
    assert "finds boxes, but 'shapes' classes" in one_line(result)
    result = run("predict", *CAFFE, *CAFFE, *CAFFE, "--data", DATA, code=1)
    assert "one model or two can be shown, got 3" in one_line(result)


def convolution(folder: Path, classes: int) -> Path:
    """Write a network that makes a map of classes, as ONNX; return its file."""
    weights = np.random.default_rng(0).standard_normal((classes, 3, 3, 3), np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["data", "w"], ["map"], pads=[1, 1, 1, 1])],
        f"maps{classes}",
        [onnx.helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["N", 3, 8, 12])],
        [onnx.helper.make_tensor_value_info("map", onnx.TensorProto.FLOAT, ["N", classes, 8, 12])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    path = folder / f"maps{classes}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.fixture
def photo(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), image)
    return folder


def test_maps_are_coloured(photo, tmp_path):
    out = tmp_path / "out"
    run("predict", convolution(tmp_path, 4), "--data", photo, "-o", out)
    data = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    (rows,) = data["samples"][0]["found"]
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-5)
    picture = cv2.imread(str(out / "a.jpg"))
    assert picture.shape[1] == 224
    assert picture.shape[0] > 224 * 40 // 60  # the legend is below


def test_outputs_that_nobody_can_see(photo, tmp_path):
    result = run("predict", convolution(tmp_path, 1), "--data", photo, code=1)
    assert "finds nothing that can be shown" in one_line(result)
    files = [convolution(tmp_path, count) for count in (4, 5)]
    result = run("predict", *files, "--data", photo, code=1)
    assert "'maps4' tells 4 classes apart, but 'maps5' 5" in one_line(result)
