"""Label files, `.data` files and lists of Darknet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.data.labels import check_objects
from secateur.core.errors import DataError
from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import BoxHead
from secateur.core.ir.network import Network
from secateur.formats.darknet.data.labels import label_path, read_labels


def network(*, detector: bool) -> Network:
    b = Builder("net")
    out = b.op("GlobalAveragePool", b.input("data", ("N", 3, 4, 6)))
    head = BoxHead(output="out", classes=3)
    return Network(name="net", model=b.finish({"out": out}), heads=(head,) if detector else ())


DETECTOR, CLASSIFIER = network(detector=True), network(detector=False)


def image(path: Path, height: int = 40, width: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def labelled(folder: Path, *lines: str, name: str = "a") -> Path:
    path = image(folder / "images" / f"{name}.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("image_path", "expected"),
    [
        ("/d/images/val2017/a.jpg", "/d/labels/val2017/a.txt"),
        ("/d/VOC2007/JPEGImages/0.1.JPG", "/d/VOC2007/labels/0.1.txt"),
        ("/d/img/a.png", "/d/img/a.txt"),
        ("/d/images/x/images/a.jpeg", "/d/labels/x/images/a.txt"),
    ],
)
def test_where_labels_stand(image_path: str, expected: str) -> None:
    assert str(label_path(Path(image_path))) == expected


def test_boxes_in_pixels(tmp_path: Path) -> None:
    labelled(tmp_path, "2 0.5 0.5 0.5 0.25", "", "0 0.1 0.2 0.2 0.4 ")
    objects = read_labels(tmp_path / "labels/a.txt", 40, 60, 3)
    assert objects.classes.tolist() == [2, 0]
    np.testing.assert_allclose(objects.boxes, [[15, 15, 45, 25], [0, 0, 12, 16]], atol=1e-9)
    assert len(read_labels(labelled(tmp_path, name="b").parents[1] / "labels/b.txt", 1, 1)
               .classes) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.5 0.5 0.5", "is not class, x, y, width, height"),
        ("dog 0.5 0.5 0.5 0.5", "is not class"),
        ("3 0.5 0.5 0.5 0.5", r"class 3 is none of 0…2"),
        ("-1 0.5 0.5 0.5 0.5", r"class -1 is none of 0…2"),
        ("1 0.5 0.5 -0.5 0.5", "is no box"),
        ("1 nan 0.5 0.5 0.5", "is no box"),
    ],
)
def test_broken_labels(tmp_path: Path, line: str, message: str) -> None:
    labelled(tmp_path, "0 0.5 0.5 0.5 0.5", line)
    with pytest.raises(DataError, match=rf"a\.txt:2: .*{message}"):
        read_labels(tmp_path / "labels/a.txt", 40, 60, 3)


def test_objects_of_other_classes(tmp_path: Path) -> None:
    labelled(tmp_path, "0 0.5 0.5 0.5 0.5", "4 0.5 0.5 0.5 0.5")
    (batch,) = secateur.open_dataset(tmp_path, DETECTOR)
    with pytest.raises(DataError, match=r"labels/a\.txt: object 2 is of class 4, but the network"):
        check_objects(batch.objects, 3, batch.places)


def data_file(folder: Path, text: str, name: str = "x.data") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_data_file_of_a_detector(tmp_path: Path) -> None:
    first, second = (labelled(tmp_path, "1 .5 .5 1 1", name=name) for name in "ab")
    (tmp_path / "val.txt").write_text(f"{first}\nimages/b.png\n")
    (tmp_path / "x.names").write_text("cat\ndog\nbird\n")
    text = "# set\nclasses = 3\nvalid = val.txt\nnames=x.names\nbackup = gone/\nvalid=other\n"
    (tmp_path / "cfg").mkdir()
    for path in (data_file(tmp_path, text), data_file(tmp_path / "cfg", text)):
        (tmp_path / "val.txt").write_text("images/a.png\nimages/b.png\n")
        dataset = secateur.open_dataset(path, DETECTOR)
        assert (dataset.samples, dataset.classes) == (2, ("cat", "dog", "bird"))
        (batch,) = dataset
        assert [o.classes.tolist() for o in batch.objects] == [[1], [1]]
        assert batch.objects[0].boxes.tolist() == [[0, 0, 60, 40]]
    assert second.is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes=3\nvalid val.txt\n", r"x\.data:2: 'valid val.txt' is no 'key = value'"),
        ("classes=3\nvalid=gone.txt\n", r"x\.data:2: field valid: there is no file 'gone.txt'"),
        ("classes=three\nvalid=val.txt\n", r"x\.data:1: field classes: 'three' is no number"),
        ("names=x.names\n", r"x\.data: there is neither valid= nor train="),
        ("classes=9\nvalid=val.txt\nnames=x.names", r"x\.names: 3 names for 9 classes"),
    ],
)
def test_broken_data_files(tmp_path: Path, text: str, message: str) -> None:
    labelled(tmp_path, "1 .5 .5 1 1")
    (tmp_path / "val.txt").write_text("images/a.png\n")
    (tmp_path / "x.names").write_text("cat\ndog\nbird\n")
    with pytest.raises(DataError, match=message) as raised:
        secateur.open_dataset(data_file(tmp_path, text), DETECTOR)
    assert "\n" not in str(raised.value)


def test_classes_of_a_classifier_stand_in_the_path(tmp_path: Path) -> None:
    for name in ("n01_tench_1.png", "n02_tenches_2.png", "n03_dog_cat.png"):
        image(tmp_path / name)
    names = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "val.list").write_text("\n".join(names))
    (tmp_path / "labels.list").write_text("tench\ntenches\ndog\ncat\n")
    path = data_file(tmp_path, "classes=4\nvalid=val.list\nlabels=labels.list\n")
    dataset = secateur.open_dataset(path, CLASSIFIER)
    (batch,) = dataset
    assert batch.labels.tolist() == [0, 1]
    (problem,) = dataset.problems
    assert "val.list" not in problem
    assert "x.data:3: " in problem
    assert "n03_dog_cat.png' names dog, cat of the classes, not one" in problem


def test_folders_and_lists_with_label_files(tmp_path: Path) -> None:
    labelled(tmp_path, "1 .5 .5 1 1")
    (tmp_path / "val.txt").write_text(str(tmp_path / "images/a.png"))
    for path in (tmp_path, tmp_path / "images", tmp_path / "val.txt"):
        assert secateur.open_dataset(path, DETECTOR).labelled
        assert not secateur.open_dataset(path, CLASSIFIER).labelled
    image(tmp_path / "images/b.png")
    dataset = secateur.open_dataset(tmp_path, DETECTOR)
    assert sum(batch.size for batch in dataset) == 1
    assert "b.txt: there is no such label file" in dataset.problems[0]


def test_a_list_whose_images_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("gone/a.png\ngone/b.png\n")
    with pytest.raises(DataError, match=r"val\.txt:1: there is no image 'gone/a\.png'"):
        secateur.open_dataset(tmp_path / "val.txt", DETECTOR)
