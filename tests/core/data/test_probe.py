"""What can be known of data in a moment is known before the work begins."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

import secateur
from secateur.core.data import Dataset
from secateur.core.data.probe import LABEL_FILES, found_labels, probe, spread, without_labels
from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import BoxHead, Head
from secateur.core.ir.network import Caution, Network

COUNT = 24


def network(classes: int = 3, heads: tuple[Head, ...] = ()) -> Network:
    b = Builder("net")
    flat = b.op("Flatten", b.input("data", ("N", 3, 4, 6)), axis=1)
    out = b.op("MatMul", flat, b.parameter(np.eye(72, classes, dtype=np.float32)))
    return Network(name="net", model=b.finish({"out": out}), heads=heads)


CLASSIFIER = network()
DETECTOR = network(heads=(BoxHead(output="out", classes=3),))


def image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 6, 3), value, np.uint8))
    return path


def images(folder: Path) -> list[Path]:
    return [image(folder / f"{number:03}.png") for number in range(COUNT)]


def listed(folder: Path, wrong: int | None = None) -> Path:
    lines = [f"{path.name} {9 if k == wrong else k % 3}" for k, path in enumerate(images(folder))]
    path = folder / "list.txt"
    path.write_text("\n".join(lines))
    return path


def with_label_files(folder: Path, wrong: int | None = None, text: str = "7 .5 .5 .2 .2") -> Path:
    for number, path in enumerate(images(folder)):
        path.with_suffix(".txt").write_text(text if number == wrong else "1 .5 .5 .2 .2")
    return folder


def not_decoded(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where the positions of images that are read will stand."""
    seen: list[int] = []
    source = dataset.source  # type: ignore[attr-defined]
    read = source.read

    def watched(index: int, *, gray: bool) -> object:
        seen.append(index)
        return read(index, gray=gray)

    monkeypatch.setattr(source, "read", watched)
    return seen


def test_all_labels_of_a_list_are_checked_and_two_images_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = secateur.open_dataset(listed(tmp_path / "good"), CLASSIFIER)
    seen = not_decoded(dataset, monkeypatch)
    secateur.fit_data(CLASSIFIER, dataset)
    assert seen == [0, COUNT - 1]
    secateur.fit_data(CLASSIFIER, dataset)
    assert len(seen) == 2
    for wrong in range(COUNT):
        path = listed(tmp_path / str(wrong), wrong)
        with pytest.raises(secateur.DataError) as caught:
            secateur.fit_data(CLASSIFIER, secateur.open_dataset(path, CLASSIFIER))
        assert f"{path}:{wrong + 1}: the label is 9, but the network tells 3" in str(caught.value)


def test_labels_beyond_the_limit_do_not_count(tmp_path: Path) -> None:
    path = listed(tmp_path, wrong=20)
    found = secateur.fit_data(CLASSIFIER, secateur.open_dataset(path, CLASSIFIER, limit=20))
    assert found.dataset.labelled


@pytest.mark.parametrize("wrong", [0, 13, COUNT - 1])
def test_labels_of_archives(wrong: int, tmp_path: Path) -> None:
    labels = np.arange(COUNT) % 3
    labels[wrong] = 3
    x = np.zeros((COUNT, 3, 4, 6), np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=labels)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = x, labels
    for name, place in (("a.npz", f"y[{wrong}]"), ("a.h5", f"label[{wrong}]")):
        dataset = secateur.open_dataset(tmp_path / name, CLASSIFIER)
        with pytest.raises(secateur.DataError) as caught:
            secateur.fit_data(CLASSIFIER, dataset)
        assert f"{name}: {place}: the label is 3, but" in str(caught.value)
        plain = without_labels(dataset)
        assert not plain.labelled
        assert sum(batch.size for batch in plain) == COUNT


def test_maps_of_an_archive(tmp_path: Path) -> None:
    b = Builder("maps")
    x = b.input("data", ("N", 3, 4, 6))
    net = Network(name="maps", model=b.finish({"out": b.op("Relu", x)}))
    maps = np.zeros((COUNT, 4, 6), np.int64)
    maps[20, 1, 2] = 8
    np.savez(tmp_path / "a.npz", x=np.zeros((COUNT, 3, 4, 6), np.float32), y=maps)
    dataset = secateur.open_dataset(tmp_path / "a.npz", net)
    with pytest.raises(secateur.DataError, match=r"y\[20\]: a pixel of the map is of class 8"):
        secateur.fit_data(net, dataset)
    ignoring = secateur.open_dataset(tmp_path / "a.npz", net, ignore_label=8)
    assert secateur.fit_data(net, ignoring).dataset is ignoring


def test_found_labels_that_fit_are_used_with_a_note(tmp_path: Path) -> None:
    dataset = secateur.open_dataset(with_label_files(tmp_path), DETECTOR, scale=1)
    fitted = secateur.fit_data(DETECTOR, dataset)
    assert fitted.dataset is dataset
    assert fitted.task.name == "detection"
    (note,) = fitted.notes
    assert not isinstance(note, Caution)
    assert "labels were found (the label files beside the images) and are used" in note
    assert not secateur.fit_data(DETECTOR, dataset, asked=True).notes


@pytest.mark.parametrize("text", ["7 .5 .5 .2 .2", "polygon 1 2"])
def test_found_labels_that_do_not_fit_are_left_out_with_a_caution(
    text: str, tmp_path: Path
) -> None:
    folder = with_label_files(tmp_path, wrong=11, text=text)
    if "polygon" in text:  # a few broken ones are left out with their images
        for path in folder.glob("*.txt"):
            path.write_text(text)
    dataset = secateur.open_dataset(folder, DETECTOR, scale=1)
    fitted = secateur.fit_data(DETECTOR, dataset)
    (note,) = fitted.notes
    assert isinstance(note, Caution)
    assert "do not fit and are not used: " in note
    assert ".txt" in note
    assert not fitted.dataset.labelled
    assert fitted.task.needs_original
    assert sum(batch.size for batch in fitted.dataset) == COUNT
    for settings in ({"asked": True}, {"task": "detection"}):
        with pytest.raises(secateur.DataError):
            secateur.fit_data(DETECTOR, dataset, **settings)


def test_labels_that_the_user_named_end_the_work(tmp_path: Path) -> None:
    folder = with_label_files(tmp_path, wrong=11)
    (tmp_path / "list.txt").write_text("".join(f"{k:03}.png\n" for k in range(COUNT)))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    (tmp_path / "x.data").write_text("classes=3\nvalid=list.txt\nnames=names.txt\n")
    for path, settings in ((folder / "x.data", {}),
                           (folder / "list.txt", {"names": folder / "names.txt"})):  # fmt: skip
        dataset = secateur.open_dataset(path, DETECTOR, **settings)
        assert not found_labels(dataset)
        with pytest.raises(secateur.DataError, match=r"011\.txt: object 1 is of class 7"):
            secateur.fit_data(DETECTOR, dataset)


def test_folders_of_classes_are_found_and_those_with_names_are_asked_for(tmp_path: Path) -> None:
    for name in "abc":
        image(tmp_path / "data" / name / "1.png")
    (tmp_path / "names").write_text("a\nb\nc\n")
    assert found_labels(secateur.open_dataset(tmp_path / "data", CLASSIFIER))
    named = secateur.open_dataset(tmp_path / "data", network(2), names=tmp_path / "names")
    assert not found_labels(named)
    with pytest.raises(secateur.DataError, match="the label is 2, but the network tells 2"):
        secateur.fit_data(network(2), named)


VOC = "<annotation><filename>{0}.png</filename><object><name>{1}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object></annotation>"  # noqa: E501


def test_annotations_of_a_folder_are_found(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.xml").write_text(VOC.format(number, "tvmonitor"))
    fitted = secateur.fit_data(DETECTOR, secateur.open_dataset(tmp_path, DETECTOR))
    assert "object 1 is of class 19" in fitted.notes[0]
    assert sum(batch.size for batch in fitted.dataset) == 3


def test_labels_of_a_database_are_left_out_where_the_network_has_no_such(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    from secateur.proto.caffe import message_class

    datum = message_class("Datum")
    with lmdb.open(str(tmp_path), map_size=1 << 20) as database, database.begin(write=True) as t:
        for number in range(COUNT):
            pixels = bytes(72)
            label = 500 if number == 23 else 0
            one = datum(channels=3, height=4, width=6, data=pixels, label=label)
            t.put(f"{number:08}".encode(), one.SerializeToString())
    for net in (CLASSIFIER, DETECTOR):
        fitted = secateur.fit_data(net, secateur.open_dataset(tmp_path, net))
        assert isinstance(fitted.notes[0], Caution)
        assert sum(batch.size for batch in fitted.dataset) == COUNT
    with pytest.raises(secateur.DataError, match="key '00000023': the label is 500"):
        secateur.fit_data(CLASSIFIER, secateur.open_dataset(tmp_path, CLASSIFIER), asked=True)


def test_images_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    for path in images(tmp_path):
        path.write_bytes(b"<!DOCTYPE html>")
    dataset = secateur.open_dataset(tmp_path, CLASSIFIER)
    with pytest.raises(secateur.DataError, match="11 of 11 images cannot be read; the last"):
        secateur.fit_data(CLASSIFIER, dataset)


def test_a_few_broken_images_are_left_out_as_before(tmp_path: Path) -> None:
    for path in images(tmp_path)[:5]:
        path.write_bytes(b"broken")
    dataset = secateur.open_dataset(tmp_path, CLASSIFIER)
    assert secateur.fit_data(CLASSIFIER, dataset).dataset is dataset
    assert sum(batch.size for batch in dataset) == COUNT - 5


def test_preprocessing_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    images(tmp_path)
    with pytest.raises(secateur.DataError, match="mean"):
        secateur.fit_data(CLASSIFIER, secateur.open_dataset(tmp_path, CLASSIFIER, mean=(1.0, 2.0)))


def test_a_dataset_of_another_package_is_looked_at_by_its_first_batch() -> None:
    class Other:
        name, samples, labelled, problems = "other", 2, True, ()
        target_kind = "label"

        def __iter__(self):
            x = np.zeros((2, 3, 4, 6), np.float32)
            yield secateur.Batch(inputs={"data": x}, labels=np.array([0, 5]))

    with pytest.raises(secateur.DataError, match="the label is 5"):
        secateur.fit_data(CLASSIFIER, Other())
    probe(Other(), 6)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 999, 100_000])
def test_positions_are_spread_over_the_data(count: int) -> None:
    found = list(spread(count, LABEL_FILES))
    assert len(found) == len(set(found)) == min(count, LABEL_FILES)
    assert found[:2] == [0, count - 1][: min(count, 2)]
    assert all(0 <= place < count for place in found)
    if count > LABEL_FILES:
        assert np.diff(sorted(found)).max() <= count // LABEL_FILES + 1
