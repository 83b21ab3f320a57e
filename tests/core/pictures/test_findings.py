"""What networks find in single samples: told, compared and drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import secateur
from secateur.core.data.base import Frame
from secateur.core.evaluation.metrics.decode import Detections
from secateur.core.ir.network import Preprocess
from secateur.core.pictures.drawing import colour_of, drawn, encoded, side_by_side
from secateur.core.pictures.findings import Boxes, Classes, ClassMap, viewer_of
from secateur.core.pictures.images import shown

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64)))


def test_classes_are_told_best_first():
    found = Classes(np.array([0.1, 0.6, 0.3]), top=2)
    assert found.text(["cat", "dog"]) == "dog 60 %, class 2 30 %"
    assert [row["name"] for row in found.rows(["cat", "dog"])] == ["dog", "class 2"]
    assert not found.differs(Classes(np.array([0.0, 0.9, 0.1])))
    assert found.disagreement(found) == 0
    # A network that says something else is worse than any that is only less sure.
    other, unsure = Classes(np.array([0.1, 0.44, 0.46])), Classes(np.array([0.33, 0.34, 0.33]))
    assert found.disagreement(other) > 1 > found.disagreement(unsure)


def test_boxes_find_their_partners():
    a = boxes((0, 0, 10, 10, 0.9, 1), (20, 20, 30, 30, 0.5, 2))
    moved = boxes((1, 0, 11, 10, 0.7, 1), (20, 20, 30, 30, 0.4, 3))
    assert a.alone(moved) == {1}
    assert a.disagreement(moved) == pytest.approx(0.5 + 0.4 + 0.2)
    assert a.differs(moved)
    assert not a.differs(boxes((0, 1, 10, 10, 0.1, 1), (20, 20, 30, 30, 0.9, 2)))
    assert a.disagreement(a) == 0
    assert boxes().disagreement(a) == pytest.approx(1.4)
    assert boxes().text() == "nothing"
    assert a.text(["", "cat"]) == "1 × cat, 1 × class 2"
    assert a.rows()[1] == {"class": 2, "name": "class 2", "score": 0.5, "box": [20, 20, 30, 30]}


def test_one_box_is_the_partner_of_one():
    twice = boxes((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 10, 0.8, 1))
    assert twice.alone(boxes((0, 0, 10, 10, 0.5, 1))) == {1}


def test_maps_differ_by_their_pixels():
    a = np.zeros((10, 10), np.uint16)
    b = a.copy()
    b[0, :5] = 3
    assert ClassMap(a).disagreement(ClassMap(b)) == pytest.approx(0.05)
    assert ClassMap(a).differs(ClassMap(b))
    assert ClassMap(b).rows(["road"])[0] == {"class": 0, "name": "road", "share": 0.95}
    assert ClassMap(b).text(["road"]) == "road 95 %, class 3 5 %"


def test_boxes_are_drawn_where_they_are():
    picture = np.zeros((300, 400, 3), np.uint8)
    image = np.asarray(drawn(picture, boxes((100, 120, 200, 240, 0.9, 4))))
    assert image.shape == (300, 400, 3)
    assert tuple(image[180, 100]) == colour_of(4)
    assert tuple(image[240, 150]) == colour_of(4)
    assert not image[180, 130:195].any()
    assert not image[260:].any()


def test_boxes_outside_and_without_end_are_drawn_at_the_edge():
    picture = np.zeros((300, 300, 3), np.uint8)
    found = boxes((-50, -1e30, np.inf, 100, 0.9, 0), (np.nan, 0, 5, 5, 0.3, 1))
    assert drawn(picture, found).size == (300, 300)


def test_boxes_that_both_find_have_no_name():
    picture = np.zeros((300, 300, 3), np.uint8)
    a, b = boxes((50, 100, 150, 200, 0.9, 4)), boxes((50, 100, 150, 200, 0.8, 4))
    alone, beside = (np.asarray(drawn(picture, a, beside=other)) for other in (None, b))
    assert alone[80:98].any()
    assert not beside[80:98].any()
    assert tuple(beside[150, 50]) == colour_of(4)


def test_small_pictures_are_enlarged_and_large_ones_made_smaller():
    found = Classes(np.array([1.0]))
    assert drawn(np.zeros((28, 14, 3), np.uint8), found).size == (112, 224)
    assert drawn(np.zeros((3000, 1500, 3), np.uint8), found, largest=480).size == (240, 480)


def test_maps_are_laid_over_the_part_that_the_network_saw():
    classes = np.zeros((4, 4), np.uint16)
    classes[1:3] = 7  # the rest is what letterboxing left free
    frame = Frame(width=400, height=200, left=0, top=0.25, right=1, bottom=0.75)
    image = np.asarray(drawn(np.zeros((200, 400, 3), np.uint8), ClassMap(classes, frame)))[:200]
    wanted = [round(0.55 * part) for part in colour_of(7)]
    assert np.abs(image[::50, ::50].astype(int) - wanted).max() <= 2


def test_maps_of_a_crop_leave_the_rest_as_it_is():
    frame = Frame(width=400, height=400, left=-0.5, top=-0.5, right=1.5, bottom=1.5)
    white = np.full((400, 400, 3), 255, np.uint8)
    image = np.asarray(drawn(white, ClassMap(np.full((4, 4), 7, np.uint16), frame)))
    seen = (image[:400] != 255).any(axis=2)
    legend = image[400:]
    assert (legend == colour_of(7)).all(axis=2).any()
    assert seen[100:300, 100:300].all()
    assert seen.sum() == 200 * 200


def test_pictures_stand_beside_each_other():
    images = [Image.new("RGB", (10, 20)), Image.new("RGB", (30, 10))]
    assert side_by_side(images, gap=4).size == (44, 20)
    assert encoded(images[0])[:4] == b"RIFF"


def test_pictures_are_those_of_the_files(tmp_path):
    network = secateur.load(*CAFFE)
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "b photo.png"), image)
    (tmp_path / "a.png").write_bytes(b"broken")
    dataset = secateur.open_dataset(tmp_path, network)
    (batch,) = dataset
    name, picture = shown(dataset, batch, 0, network.preprocess, 0)
    assert np.array_equal(picture, image[:, :, ::-1])
    assert name == "b photo"


@pytest.mark.parametrize(
    ("preprocess", "made"),
    [
        (Preprocess(channels="rgb", mean=(10.0,), scale=0.5), lambda x: (x - 10) * 0.5),
        (Preprocess(channels="bgr"), lambda x: x[::-1]),
        (
            Preprocess(channels="rgb", mean_image=np.full((3, 4, 5), 7, np.float32)),
            lambda x: x - 7,
        ),
    ],
)
def test_inputs_become_pixels_again(preprocess, made):
    pixels = np.random.default_rng(1).integers(0, 255, (3, 4, 5)).astype(np.float32)
    batch = secateur.Batch(inputs={"data": made(pixels)[None].astype(np.float32)})
    name, picture = shown(object(), batch, 0, preprocess, 6)
    assert name == "sample 7"
    assert np.array_equal(picture, pixels.transpose(1, 2, 0).astype(np.uint8))


def test_inputs_that_are_no_pixels_are_stretched():
    values = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    values[0, 0, 0, 0] = np.nan
    _, picture = shown(object(), secateur.Batch(inputs={"data": values}), 0, Preprocess(), 0)
    assert picture.shape == (4, 4, 3)
    assert picture[3, 3, 0] == 255
    assert picture[0, 1, 0] < 20


def test_what_can_be_seen_follows_from_the_outputs(tmp_path):
    assert viewer_of(secateur.load(*CAFFE)).kind == "classes"
    network = secateur.load(*CAFFE)
    inner = secateur.expose(network, ["conv1"])
    assert viewer_of(inner).kind == "classes"
