"""Databases of the SSD fork (`AnnotatedDatum`), and configs that measure detectors by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import DataError, SecateurError
from secateur.formats.caffe.data.lmdb_data import LmdbData
from secateur.formats.caffe.data.named import named_data
from support.faces import Face, annotated, faces, ssd_project, write_annotated
from support.program import inside


def detector(shared: Path) -> secateur.Network:
    own = shared / "models/libfacedetection_v1_ssd"
    return secateur.load(
        own / "yufacedetectnet-open-v1.prototxt", own / "yufacedetectnet-open-v1.caffemodel"
    )


def voc(folder: Path, photographs: list[Face]) -> Path:
    """Write the same objects as annotations of Pascal VOC."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for face in photographs:
        (folder / "JPEGImages" / face.file.name).write_bytes(face.file.read_bytes())
        objects = "".join(
            f"<object><name>face</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for x0, y0, x1, y1 in face.boxes
        )
        text = f"<annotation><filename>{face.file.name}</filename>{objects}</annotation>"
        (folder / "Annotations" / f"{face.file.stem}.xml").write_text(text)
    return folder


def test_objects_are_those_that_were_written(shared, tmp_path):
    photographs = faces(shared)
    difficult = [place % 2 == 0 for place in range(len(photographs[0].boxes))]
    messages = [annotated(photographs[0], label=3, difficult=difficult)]
    messages += [annotated(face) for face in photographs[1:]]
    write_annotated(tmp_path / "lmdb", messages)
    images = LmdbData(tmp_path / "lmdb")
    assert images.target_kind == "objects"
    assert len(images) == len(photographs)
    for place, face in enumerate(photographs):
        found = images.read(place, gray=False)
        assert found.image.shape == (face.height, face.width, 3)
        np.testing.assert_allclose(found.objects.boxes, face.boxes, atol=1e-3)
        assert set(found.objects.classes.tolist()) == {2 if place == 0 else 0}
        assert images.classes_in(place) == tuple(found.objects.classes.tolist())
    assert images.read(0, gray=False).objects.ignored.tolist() == difficult
    alone = images.unlabelled()
    assert alone.read(0, gray=False).objects is None
    # Where no class is the background, labels are classes.
    assert LmdbData(tmp_path / "lmdb", background=-1).classes_in(0)[0] == 3
    assert LmdbData(tmp_path / "lmdb", background=5).classes_in(0)[0] == 3


def test_the_same_figures_as_by_annotations_of_voc(shared, tmp_path):
    photographs = faces(shared)
    write_annotated(tmp_path / "lmdb", [annotated(face) for face in photographs])
    network = detector(shared)
    reading = {"mean": (104.0, 117.0, 123.0)}
    figures = [
        secateur.evaluate(network, secateur.open_dataset(path, network, **reading))
        for path in (tmp_path / "lmdb", voc(tmp_path / "voc", photographs))
    ]
    assert figures[0].value == pytest.approx(figures[1].value, abs=1e-9)
    assert figures[0].value == pytest.approx(0.901, abs=0.03)  # that of OpenCV


@pytest.mark.parametrize(
    ("label", "box", "told"),
    [
        (0, 0.5, "an object has the label 0, which is that of the background"),
        (-2, 0.5, "the label -2 is negative"),
        (1, float("nan"), "a box has a corner that is no number"),
    ],
)
def test_what_is_no_object_is_told_with_its_place(shared, tmp_path, label, box, told):
    face = faces(shared)[0]
    message = annotated(face, label=label)
    message.annotation_group[0].annotation[0].bbox.xmax = box
    write_annotated(tmp_path / "lmdb", [annotated(face), message])
    images = LmdbData(tmp_path / "lmdb")
    for read in (lambda: images.read(1, gray=False), lambda: images.classes_in(1)):
        with pytest.raises(DataError) as error:
            read()
        assert told in str(error.value)
        assert "key '00000001'" in str(error.value)
        assert "annotation_group[0]" in str(error.value)


def test_values_that_are_none(shared, tmp_path):
    write_annotated(tmp_path / "lmdb", [annotated(faces(shared)[0])])
    images = LmdbData(tmp_path / "lmdb")
    images.value = lambda index: b"\x0a\xff"
    with pytest.raises(DataError, match="the value is no AnnotatedDatum"):
        images.read(0, gray=False)


def test_the_layer_names_the_data_and_the_size(shared, tmp_path):
    ssd_project(shared, tmp_path)
    found = named_data(tmp_path / "train_val.prototxt", "TEST")
    assert found.path.name == "test_lmdb"
    assert found.shape == (3, 240, 320)
    assert found.preprocess.mean == (104, 117, 123)
    assert found.preprocess.resize == (240, 320)


def test_a_config_measures_a_detector(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ssd_project(shared, tmp_path)
    project = secateur.open_caffe_project(config)
    _, task = project.measure
    assert task.metric == "mAP, 11 points"
    figure = project.figure(project.network)
    data = secateur.open_dataset(tmp_path / "test_lmdb", project.network, mean=(104, 117, 123))
    plain = secateur.evaluate(project.network, data)
    assert figure == pytest.approx(plain.map_11, abs=1e-9)
    values = {}
    for version in ("MaxIntegral", "Integral", ""):
        other = replace(project.config, ssd_ap_version=version)
        changed = replace(project, config=other)
        values[version] = changed.figure(project.network)
    assert values["MaxIntegral"] == values[""] == pytest.approx(plain.value, abs=1e-9)
    assert values["Integral"] < values["MaxIntegral"]  # the curve lies below its envelope


def test_a_detector_is_pruned_by_its_config(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ssd_project(shared, tmp_path)
    told = inside("prune", "-config", "config.prototxt").stdout
    project = secateur.open_caffe_project(config)
    folder = tmp_path / "regular/regular_rate_0.2"
    net, sparse = tmp_path / "train_val.prototxt", folder / "sparse.caffemodel"
    inside("transform", "-model", net, "-weights", sparse, "-output", tmp_path / "small.caffemodel")
    small = secateur.load(folder / "final.prototxt", tmp_path / "small.caffemodel")
    cost = [secateur.describe(one).cost.operations for one in (project.network, small)]
    assert 0.7 < cost[1] / cost[0] < 0.85
    before = project.figure(project.network)
    assert f"{before:.4f}" in told


def test_a_net_without_boxes_is_told(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ssd_project(shared, tmp_path)
    net = tmp_path / "train_val.prototxt"
    net.write_text(net.read_text().replace('type: "DetectionEvaluate"', 'type: "SegAccuracy"'))
    with pytest.raises(SecateurError, match=r"config\.prototxt:3: .*no Accuracy 'detection_eval'"):
        secateur.open_caffe_project(config)
