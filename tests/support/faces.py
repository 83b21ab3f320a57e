"""Photographs with faces in boxes, as the databases of the SSD fork hold them, and a detector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from secateur.proto.caffe import message_class

__all__ = ["Face", "annotated", "faces", "ssd_project", "write_annotated"]

DATA_LAYER = """
layer {{
  name: "data"
  type: "AnnotatedData"
  top: "data"
  top: "label"
  include {{ phase: {phase} }}
  transform_param {{
    mirror: true
    mean_value: 104 mean_value: 117 mean_value: 123
    resize_param {{ prob: 1 resize_mode: WARP height: 240 width: 320 interp_mode: LINEAR }}
  }}
  data_param {{ source: "{source}" batch_size: 2 backend: LMDB }}
  annotated_data_param {{
    batch_sampler {{ max_sample: 1 max_trials: 1 }}
    label_map_file: "labelmap.prototxt"
  }}
}}"""

EVALUATION = """
layer {
  name: "detection_eval"
  type: "DetectionEvaluate"
  bottom: "detection_out"
  bottom: "label"
  top: "detection_eval"
  include { phase: TEST }
  detection_evaluate_param { num_classes: 2 background_label_id: 0 overlap_threshold: 0.5 }
}
"""

CONFIG = """\
workspace: "regular"
test_iter: 2
acc_name: "detection_eval"
model: "train_val.prototxt"
weights: "faces.caffemodel"
rate: 0.2
ssd_ap_version: "{version}"
pruner {{ method: REGULAR }}
"""


@dataclass(frozen=True, slots=True)
class Face:
    """A photograph: its file, its size, and the boxes x0, y0, x1, y1 of faces in pixels."""

    file: Path
    width: int
    height: int
    boxes: tuple[tuple[float, float, float, float], ...]


def faces(shared: Path) -> list[Face]:
    """Return the labelled photographs of the reference data."""
    folder = shared / "data/faces"
    found = []
    for element in ElementTree.parse(folder / "training.xml").getroot().iter("image"):
        boxes = []
        for box in element.iter("box"):
            left, top, width, height = (
                float(box.get(key, "")) for key in ("left", "top", "width", "height")
            )
            boxes.append((left, top, left + width, top + height))
        size = int(element.get("width", "")), int(element.get("height", ""))
        found.append(Face(folder / element.get("file", ""), *size, tuple(boxes)))
    return found


def annotated(face: Face, label: int = 1, difficult: Sequence[bool] = ()) -> Any:
    """Return a photograph as `convert_annoset` writes it."""
    message = message_class("AnnotatedDatum")(type=0)
    message.datum.CopyFrom(
        message_class("Datum")(data=face.file.read_bytes(), encoded=True, label=-1)
    )
    group = message.annotation_group.add(group_label=label)
    for place, (x0, y0, x1, y1) in enumerate(face.boxes):
        group.annotation.add(instance_id=place).bbox.CopyFrom(
            message_class("NormalizedBBox")(
                xmin=x0 / face.width, ymin=y0 / face.height,
                xmax=x1 / face.width, ymax=y1 / face.height,
                difficult=bool(difficult and difficult[place]),
            )
        )  # fmt: skip
    return message


def write_annotated(folder: Path, messages: Sequence[Any]) -> None:
    """Write a database of messages."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=1 << 26) as opened, opened.begin(write=True) as writing:
        for number, message in enumerate(messages):
            writing.put(f"{number:08}".encode(), message.SerializeToString())


def ssd_project(shared: Path, folder: Path, version: str = "11point") -> Path:
    """Write a config of vai_p_caffe for a detector of faces, with its net, weights and data."""
    own = shared / "models/libfacedetection_v1_ssd"
    text = (own / "yufacedetectnet-open-v1.prototxt").read_text()
    rest = re.sub(r'input: "data"\s*input_shape \{[^}]*\}', "", text)
    (folder / "train_val.prototxt").write_text("".join(_net(rest)))
    weights = (own / "yufacedetectnet-open-v1.caffemodel").read_bytes()
    (folder / "faces.caffemodel").write_bytes(weights)
    messages = [annotated(face) for face in faces(shared)]
    for name in ("train_lmdb", "test_lmdb"):
        write_annotated(folder / name, messages)
    (folder / "config.prototxt").write_text(CONFIG.format(version=version))
    return folder / "config.prototxt"


def _net(rest: str) -> Iterator[str]:
    for phase, source in (("TRAIN", "train_lmdb"), ("TEST", "test_lmdb")):
        yield DATA_LAYER.format(phase=phase, source=source)
    yield rest
    yield EVALUATION
