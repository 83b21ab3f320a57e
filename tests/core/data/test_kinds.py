"""Class folders, pixels in archives, annotations: what is found, and errors that say where."""

from __future__ import annotations

import json
import re
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from secateur.core.data import Batch, Dataset, Frame, Objects, open_dataset
from secateur.core.data.images import read_map
from secateur.core.data.labels import check_labels, check_objects
from secateur.core.data.prefetch import SWITCH_SECONDS, ahead, prefetched
from secateur.core.data.preprocess import frame_of, labels_to_input, to_input
from secateur.core.errors import DataError
from secateur.core.evaluation.evaluate import evaluate
from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import BoxHead, Head
from secateur.core.ir.network import Network, Preprocess


def network(
    classes: int = 3, size: tuple[int, ...] = (3, 4, 6), heads: tuple[Head, ...] = ()
) -> Network:
    b = Builder("net")
    x = b.input("data", ("N", *size))
    flat = b.op("Flatten", x, axis=1)
    weight = np.zeros((int(np.prod(size)), classes), np.float32)
    weight[:classes] = np.eye(classes)
    out = b.op("MatMul", flat, b.parameter(weight))
    return Network(name="net", model=b.finish({"out": out}), heads=heads)


DETECTOR = network(heads=(BoxHead(output="out", classes=3),))


def image(path: Path, value: int = 0, height: int = 4, width: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))
    return path


def labels_of(dataset: Dataset) -> list[int]:
    return [int(label) for batch in dataset for label in batch.labels]


def objects_of(dataset: Dataset) -> list[Objects]:
    return [objects for batch in dataset for objects in batch.objects]


def test_folders_of_classes_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10_c/x.png", "2_b/x.png", "2_b/deep/y.png", "1_a/x.png"):
        image(tmp_path / name)
    dataset = open_dataset(tmp_path, network())
    assert dataset.labelled
    assert dataset.classes == ("1_a", "2_b", "10_c")
    assert sorted(labels_of(dataset)) == [0, 1, 1, 2]
    assert not open_dataset(tmp_path, network(classes=4)).labelled
    assert not open_dataset(tmp_path, DETECTOR).labelled


def test_names_give_folders_their_classes(tmp_path: Path) -> None:
    image(tmp_path / "set/dog/x.png")
    image(tmp_path / "set/cat/x.png")
    names = tmp_path / "names.txt"
    names.write_text("bird\ncat\ndog\n")
    assert labels_of(open_dataset(tmp_path / "set", network(), names=names)) == [1, 2]
    names.write_text("bird\ndog\n")
    with pytest.raises(DataError, match=r"x\.png: the folder 'cat' is none of the 2 classes"):
        open_dataset(tmp_path / "set", network(), names=names)
    names.write_text("\n")
    with pytest.raises(DataError, match=r"names\.txt: there are no names of classes"):
        open_dataset(tmp_path / "set", network(), names=names)


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6)).astype(np.uint8)
HALF = Preprocess(mean=(1.0, 2.0, 3.0), scale=0.5)
WANTED = (PIXELS - np.reshape((1, 2, 3), (3, 1, 1))).astype(np.float32) * 0.5


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("last", [False, True])
def test_pixels_of_an_archive_get_mean_and_scale(tmp_path: Path, suffix: str, last: bool) -> None:
    pixels = PIXELS.transpose(0, 2, 3, 1) if last else PIXELS
    path = tmp_path / f"x{suffix}"
    np.savez(path, x=pixels) if suffix == ".npz" else np.save(path, pixels)
    batches = list(open_dataset(path, network(), preprocess=HALF, batch=2))
    data = np.concatenate([batch.inputs["data"] for batch in batches])
    np.testing.assert_array_equal(data, WANTED)


def test_digits_without_an_axis_of_channels(tmp_path: Path) -> None:
    digits = PIXELS[:, 0]
    np.savez(tmp_path / "keras.npz", x_test=digits, y_test=np.arange(5) % 3, x_train=digits)
    grey = network(size=(1, 4, 6))
    (batch,) = open_dataset(tmp_path / "keras.npz", grey, preprocess=Preprocess(scale=1 / 256))
    np.testing.assert_array_equal(batch.inputs["data"][:, 0], digits / np.float32(256))
    assert batch.labels.tolist() == [0, 1, 2, 0, 1]
    np.savez(tmp_path / "small.npz", x=digits[:, :3])
    with pytest.raises(DataError, match="array 'x' is 5×3×6, but input 'data' takes N×1×4×6"):
        open_dataset(tmp_path / "small.npz", grey)


def test_targets_of_an_archive(tmp_path: Path) -> None:
    x = PIXELS.astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=x.reshape(5, -1)[:, :3] + np.float32(2))
    result = evaluate(network(), open_dataset(tmp_path / "d.npz", network(), batch=2))
    assert (result.metric, result.mse) == ("Explained variance", 4)


def test_maps_of_an_archive(tmp_path: Path) -> None:
    b = Builder("net")
    out = b.op("Identity", b.input("data", ("N", 3, 4, 6)))
    maps = Network(name="net", model=b.finish({"out": out}))
    np.savez(tmp_path / "d.npz", x=PIXELS.astype(np.float32), y=PIXELS.argmax(axis=1))
    result = evaluate(maps, open_dataset(tmp_path / "d.npz", maps))
    assert (result.metric, result.value, result.samples) == ("Mean IoU", 1, 5)


COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
    "categories": [{"id": 90, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 1.5]},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 6, 4], "iscrowd": 1},
    ],
}


def coco(folder: Path, **changes: object) -> Path:
    for name in ("a.png", "b.png"):
        image(folder / "images" / name)
    path = folder / "annotations" / "instances_val.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**COCO, **changes}))
    return path


def test_coco(tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path), DETECTOR)
    assert (dataset.samples, dataset.labelled, dataset.classes) == (2, True, ("cat", "dog"))
    first, second = objects_of(dataset)
    assert first.boxes.tolist() == [[1, 2, 4, 3.5], [0, 0, 6, 4]]
    assert (first.classes.tolist(), first.crowd.tolist()) == ([1, 0], [False, True])
    assert second.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "there is no list 'images'"),
        ({"images": []}, "the list 'images' is empty"),
        ({"images": [{"id": 1}]}, r"images\[0\], field file_name: required, but missing"),
        ({"images": [{"id": 7, "file_name": "z.png"}], "annotations": []}, "'z.png' is not found"),
        ({"categories": []}, r"annotations\[0\]: category 90 is not in the list"),
        ({"annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}]},
         r"annotations\[0\]: image 1 is not in the list"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [0, "x"]}]},
         r"the bbox \[0, 'x'\] is not x, y, width, height"),
    ],
)  # fmt: skip
def test_broken_coco(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = coco(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as raised:
        open_dataset(path, DETECTOR)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_json_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"images":\n [,]}')
    with pytest.raises(DataError, match=r"a\.json:2: this is no JSON"):
        open_dataset(path, DETECTOR)


def check(dataset: Dataset, classes: int) -> None:
    for batch in dataset:
        if batch.objects is not None:
            check_objects(batch.objects, classes, batch.places)
        else:
            assert batch.labels is not None
            check_labels(batch.labels, classes, batch.places)


def refused(dataset: Dataset, classes: int) -> str:
    """Return what is said where a network tells so few classes apart."""
    with pytest.raises(DataError) as raised:
        check(dataset, classes)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_labels_of_other_classes_are_told_where_they_stand(tmp_path: Path) -> None:
    path = coco(tmp_path)
    said = refused(open_dataset(path, DETECTOR), 1)
    assert said.startswith(f"{path}: image 'a.png': object 1 is of class 1, but the network tells")
    path = voc(tmp_path, ("cat", 0, 1, 1, 6, 4), ("dog", 0, 1, 1, 6, 4))
    dataset = open_dataset(tmp_path / "Annotations", DETECTOR)
    number = dataset.classes.index("dog")
    assert refused(dataset, number).startswith(f"{path}: object 2 is of class {number}, but")
    np.savez(tmp_path / "d.npz", x=PIXELS.astype(np.float32), y=np.array([0, 1, 2, 0, 1]))
    said = refused(open_dataset(tmp_path / "d.npz", network(), batch=2), 2)
    assert said.startswith(f"{tmp_path / 'd.npz'}: y[2]: the label is 2, but")
    for name in "abc":
        image(tmp_path / "folder" / name / "x.png")
    said = refused(open_dataset(tmp_path / "folder", network()), 2)
    assert said.startswith(f"{tmp_path / 'folder/c/x.png'}: the label is 2, but")


OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def voc(folder: Path, *objects: tuple[object, ...], name: str = "a") -> Path:
    image(folder / "JPEGImages" / f"{name}.png")
    path = folder / "Annotations" / f"{name}.xml"
    path.parent.mkdir(exist_ok=True)
    rows = "\n".join(OBJECT.format(*o) for o in objects)
    path.write_text(f"<annotation>\n<filename>{name}.png</filename>\n{rows}</annotation>")
    return path


def test_voc(tmp_path: Path) -> None:
    voc(tmp_path, ("dog", 0, 1, 1, 6, 4), ("car", 1, 2, 2, 3, 3))
    voc(tmp_path, name="b")
    dataset = open_dataset(tmp_path, DETECTOR)
    first, second = objects_of(dataset)
    assert first.boxes.tolist() == [[0, 0, 6, 4], [1, 1, 3, 3]]
    assert (first.classes.tolist(), first.ignored.tolist()) == ([11, 6], [False, True])
    assert len(second.classes) == 0
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("b\n")
    assert open_dataset(tmp_path / "ImageSets/Main/val.txt", DETECTOR).samples == 1
    (tmp_path / "ImageSets/Main/val.txt").write_text("b\nc\n")
    with pytest.raises(DataError, match=r"val\.txt:2: there is no annotation '.*c\.xml'"):
        open_dataset(tmp_path / "ImageSets/Main/val.txt", DETECTOR)


def test_other_names_than_those_of_voc(tmp_path: Path) -> None:
    voc(tmp_path, ("zebra", 0, 1, 1, 6, 4), ("ant", 0, 1, 1, 6, 4))
    dataset = open_dataset(tmp_path, DETECTOR)
    assert dataset.classes == ("ant", "zebra")
    assert objects_of(dataset)[0].classes.tolist() == [1, 0]
    names = tmp_path / "x.names"
    names.write_text("zebra\n")
    dataset = open_dataset(tmp_path, DETECTOR, names=names)
    with pytest.raises(DataError, match=r"a\.xml: object 2: class 'ant' is none of the 1"):
        list(dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>\n<object>\n</annotation>", r"a\.xml:3: this is no XML"),
        (f"<annotation>{OBJECT.format('dog', 0, 'x', 1, 2, 2)}</annotation>", "is no number: 'x'"),
        ("<annotation><object><name>dog</name></object></annotation>", "bndbox/xmin> is missing"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "have no entities"),
    ],
)
def test_broken_voc(tmp_path: Path, text: str, message: str) -> None:
    path = voc(tmp_path)
    path.write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        list(open_dataset(tmp_path, DETECTOR))
    assert str(path) in str(raised.value)


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))  # fmt: skip
"""First row, first column, and steps of the seven passes of an interlaced PNG."""


def palette_png(pixels: np.ndarray, depth: int, *, interlaced: bool = False) -> bytes:
    """A PNG of colour type 3, with every filter that lines can have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    height, width = pixels.shape
    passes = [pixels[i::down, j::right] for i, j, down, right in ADAM7] if interlaced else [pixels]
    lines = b"".join(filtered_lines(part, depth) for part in passes if part.size)
    head = struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", bytes(range(3 * 2**depth))
        if depth < 8 else bytes(768)) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )  # fmt: skip


def filtered_lines(pixels: np.ndarray, depth: int) -> bytes:
    """The lines of one pass, each with the next filter."""
    bits = ((pixels[..., None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
    rows = np.packbits(bits.reshape(len(pixels), -1), axis=1).astype(np.int64)
    above = np.zeros(rows.shape[1], np.int64)
    lines = []
    for number, row in enumerate(rows):
        left, corner = np.roll(row, 1), np.roll(above, 1)
        left[0] = corner[0] = 0
        guess = left + above - corner
        near = np.stack([np.abs(guess - left), np.abs(guess - above), np.abs(guess - corner)])
        paeth = np.choose(near.argmin(axis=0), [left, above, corner])
        kind = number % 5
        minus = (0 * row, left, above, (left + above) // 2, paeth)[kind]
        lines.append(bytes([kind]) + ((row - minus) & 255).astype(np.uint8).tobytes())
        above = row
    return b"".join(lines)


@pytest.mark.parametrize("interlaced", [False, True], ids=["", "interlaced"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_maps_with_a_palette_are_read_as_numbers(
    tmp_path: Path, depth: int, interlaced: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**depth, (11, 13))
    written = palette_png(pixels, depth, interlaced=interlaced)
    path = tmp_path / "map.png"
    path.write_bytes(written)
    colours = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert colours is not None
    assert colours.shape == (11, 13, 3)
    found = read_map(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)
    if depth < 8:  # the palette is 0 1 2, 3 4 5, …: red tells the number
        np.testing.assert_array_equal(colours[..., 2], 3 * pixels)
    for size in (30, 45, 60):
        path.write_bytes(written[:size])
        with pytest.raises(DataError, match=r"map\.png.* broken"):
            read_map(path)


@pytest.mark.parametrize("size", [(0, 4), (2**31, 2**31), (8192, 8193)], ids=str)
def test_a_map_of_impossible_size_is_refused_by_its_header(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    written = bytearray(palette_png(np.zeros((4, 4), np.int64), 8))
    written[16:24] = struct.pack(">II", *size)
    written[29:33] = struct.pack(">I", zlib.crc32(written[12:29]))
    (tmp_path / "map.png").write_bytes(written)
    with pytest.raises(DataError, match=f"map of {size[0]}×{size[1]} pixels cannot be"):
        read_map(tmp_path / "map.png")


def test_broken_maps_with_a_palette_are_errors_that_name_the_file(tmp_path: Path) -> None:
    written = palette_png(np.arange(64).reshape(8, 8), 8)
    random = np.random.default_rng(0)
    refused = []
    for _ in range(200):
        broken = bytearray(written)
        for place in random.integers(8, len(broken), 3):
            broken[place] = random.integers(0, 256)
        (tmp_path / "map.png").write_bytes(broken)
        try:
            found = read_map(tmp_path / "map.png")
        except DataError as error:
            refused.append(str(error))
        else:
            assert found.ndim == 2
    assert len(refused) > 100
    assert all("map.png: " in message for message in refused)


def test_maps_of_grey_values_and_of_colours(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert cv2.imwrite(str(tmp_path / "grey.png"), pixels)
    np.testing.assert_array_equal(read_map(tmp_path / "grey.png"), pixels)
    with pytest.raises(DataError, match="this is a colour image"):
        read_map(image(tmp_path / "colour.png", 3))


def test_a_crop_takes_the_middle(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    mean = np.random.default_rng(1).random((3, 9, 12)).astype(np.float32)
    whole = pixels.transpose(2, 0, 1).astype(np.float32)
    crop = Preprocess(crop=True, mean_image=mean, scale=2)
    wanted = (whole - mean)[:, 2:6, 3:9] * 2
    np.testing.assert_array_equal(to_input(pixels, (3, 4, 6), crop), wanted)
    small = Preprocess(crop=True, mean_image=mean[:, :4, :6])
    np.testing.assert_array_equal(
        to_input(pixels, (3, 4, 6), small), whole[:, 2:6, 3:9] - mean[:, :4, :6]
    )
    with pytest.raises(DataError, match="mean image is 3×8×12, but the image 3×4×6"):
        to_input(pixels, (3, 4, 6), Preprocess(crop=True, mean_image=mean[:, :8]))
    with pytest.raises(DataError, match="9×12, too small to cut 10×6 out"):
        to_input(pixels, (3, 10, 6), Preprocess(crop=True))
    short = Preprocess(crop=True, resize=(18,))
    resized = cv2.resize(pixels, (24, 18)).transpose(2, 0, 1)
    np.testing.assert_array_equal(to_input(pixels, (3, 4, 6), short), resized[:, 7:11, 9:15])
    labels = pixels[..., 0]
    np.testing.assert_array_equal(
        labels_to_input(labels, 4, 6, Preprocess(crop=True)), labels[2:6, 3:9]
    )


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(),
        Preprocess(letterbox=True),
        Preprocess(crop=True),
        Preprocess(crop=True, resize=(40,)),
    ],
)
def test_boxes_find_their_way_back(preprocess: Preprocess) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[16:24, 24:36] = 255
    made = to_input(pixels, (3, 20, 20), preprocess)[0]
    rows, columns = np.nonzero(made > 200)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]) / 20
    frame = frame_of(pixels, 20, 20, preprocess)
    np.testing.assert_allclose(frame.to_image(box)[0], [24, 16, 36, 24], atol=3.1)


def test_a_frame_that_was_stretched() -> None:
    frame = Frame(width=100, height=50)
    assert frame.to_image(np.array([[0.1, 0.2, 0.5, 1]])).tolist() == [[10, 10, 50, 50]]


def test_the_mean_of_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((1, 3, 4, 6)))
    np.save(tmp_path / "v.npy", np.array([1.0, 2, 3]))
    np.save(tmp_path / "bad.npy", np.ones((2, 2)))
    (tmp_path / "text.npy").write_text("no")
    path = image(tmp_path / "i.png", 9)
    for name, expected in (("m.npy", (8, 8, 8)), ("v.npy", (8, 7, 6))):
        preprocess = Preprocess(mean_file=str(tmp_path / name))
        (batch,) = open_dataset(path, network(), preprocess=preprocess)
        assert batch.inputs["data"][0, :, 0, 0].tolist() == list(expected)
    for name, message in (("bad.npy", "2 axes"), ("text.npy", "no array"), ("no.npy", "cannot")):
        with pytest.raises(DataError, match=rf"{re.escape(name)}: .*{message}"):
            open_dataset(path, network(), preprocess=Preprocess(mean_file=str(tmp_path / name)))


def test_working_ahead_keeps_order_and_stops(tmp_path: Path) -> None:
    before = threading.active_count()
    assert list(prefetched(range(10))) == list(range(10))
    made = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    stream = prefetched(numbers())
    assert [next(stream), next(stream)] == [0, 1]
    stream.close()
    assert len(made) < 10
    assert threading.active_count() == before

    def failing() -> Iterator[int]:
        yield 1
        raise DataError("broken")

    seen = []
    with pytest.raises(DataError, match="broken"):
        seen.extend(prefetched(failing()))
    stream = prefetched(failing())
    assert next(stream) == 1
    with pytest.raises(DataError, match="broken"):
        next(stream)


def test_threads_switch_often_only_while_some_work_ahead() -> None:
    before = sys.getswitchinterval()
    first, second = (ahead(lambda k: k, range(5), 2) for _ in range(2))
    assert (next(first), next(second)) == (0, 0)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS, rel=0.01)
    first.close()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS, rel=0.01)
    assert list(second) == [1, 2, 3, 4]
    assert sys.getswitchinterval() == pytest.approx(before)


def test_batches_know_their_size() -> None:
    assert Batch(inputs={"x": np.zeros((3, 2))}).size == 3


def test_a_stray_xml_does_not_make_annotations_of_a_folder_of_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        image(tmp_path / name)
    for text in ("<project><name>x</name></project>", "no XML at all", ANNOTATION):
        (tmp_path / "stray.xml").write_text(text)
        found = open_dataset(tmp_path, network())
        assert found.samples == 3
        assert not found.labelled


def test_a_stray_xml_among_annotations_is_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(ANNOTATION)
    (tmp_path / "project.xml").write_text("<?xml version='1.0'?><!-- mine --><project/>")
    assert open_dataset(tmp_path, DETECTOR).samples == 2
    (tmp_path / "c.xml").write_text("cut sho")  # may have been one
    with pytest.raises(DataError, match="this is no XML"):
        open_dataset(tmp_path, DETECTOR)


@pytest.mark.parametrize(
    "lines",
    ["b\na\nc\n", "b bear, brown\na ant\nc cat\n", "0 b bear\n1 a ant\n2 c cat\n",
     "b,0,bear\nc,2,cat\na,1,ant\n", "ant\ta\t1\nbear\tb\t0\ncat\tc\t2\n"],
)  # fmt: skip
def test_a_list_of_classes_may_have_columns(lines: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path / "set" / name / "x.png")
    names = tmp_path / "classes.txt"
    names.write_text(lines)
    assert labels_of(open_dataset(tmp_path / "set", network(), names=str(names))) == [1, 0, 2]


ANNOTATION = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax>"
    "<ymax>2</ymax></bndbox></object></annotation>"
)
