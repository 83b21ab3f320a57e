"""Against the Darknet library itself, in a process of its own: it exits and crashes on errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, lacking

import secateur
from secateur.core.errors import SecateurError
from secateur.formats.darknet.reader import load
from support.darknet import (
    difference,
    noise,
    read_document,
    run,
    smaller,
    with_random_weights,
    write,
)
from support.libdarknet import predict

CFGS = Path("/usr/share/darknet/cfg")
ALEXEYAB = sorted((SHARED / "structures" / "AlexeyAB+darknet").glob("*.cfg"))


def assert_same(cfg: Path, weights: Path, tolerance: float) -> None:
    network = load(cfg, weights, flavour="pjreddie")
    data = noise(network, count=1)
    # The library returns the last output that is no cost layer.
    name, value = list(run(network, data).items())[-1]
    found = predict(cfg, weights, data[0], value[0].size)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 1e-6
    print(f"{cfg.name} {name}: {difference(value[0], found):.2g}")
    assert difference(value[0], found) < tolerance


@pytest.mark.parametrize(
    ("model", "side"), [("yolo_fastest_1.1_coco", 0), ("mobilenetv2_yolo_fastest_voc", 0)]
)
def test_real_models(shared: Path, tmp_path: Path, model: str, side: int) -> None:
    (cfg,) = (shared / "models" / model).glob("*.cfg")
    document = read_document(cfg)
    if "scale_x_y" in {key for block in document.sections for key in block.options}:
        document = document.replace(
            {
                (position, "scale_x_y"): 1
                for position, block in enumerate(document.sections)
                if "scale_x_y" in block.options
            }
        )
    single = document.replace({(0, "batch"): 1, (0, "subdivisions"): 1})
    (tmp_path / "model.cfg").write_bytes(bytes(single))
    (tmp_path / "model.weights").write_bytes(cfg.with_suffix(".weights").read_bytes())
    assert_same(tmp_path / "model.cfg", tmp_path / "model.weights", 1e-4)


RECURRENT = {"gru.cfg", "rnn.cfg", "rnn.train.cfg"}
SIDES = {
    "strided.cfg": 256,  # its [crop] cuts 224 pixels
    "vgg-16.cfg": 256,
    "yolov1.cfg": 448,  # its [local] and [detection] are made for one size
    "yolov1-tiny.cfg": 448,
    "go.cfg": 19,
    "go.test.cfg": 19,
    "cifar.cfg": 32,
    "cifar.test.cfg": 32,
    "alexnet.cfg": 227,
}
NARROW = {"darknet9000.cfg": 64, "yolo9000.cfg": 64, "alexnet.cfg": 32, "yolov1.cfg": 32,
          "cifar.cfg": 2}  # fmt: skip
PRUNED = {
    "cifar", "darknet53", "densenet201", "extraction", "go", "jnet-conv", "resnet50", "resnext50",
    "strided", "tiny", "yolov1", "yolov1-tiny", "yolov2", "yolov3-spp", "yolov3-tiny",
}  # fmt: skip
"""One of each kind, which is also pruned, written, and read by the library."""
BROKEN = {"yolo9000.cfg": b"[region]"}
"""Without a GPU the library lays the tree of this head over the wrong memory and gives NaN: the
network is compared without it."""

CFG_FILES = sorted(CFGS.glob("*.cfg"))


def test_cfg_files_are_installed() -> None:
    if not CFG_FILES:
        lacking("Darknet's cfg files are not installed")
    assert len(CFG_FILES) >= 40
    assert RECURRENT | set(SIDES) | set(NARROW) <= {path.name for path in CFG_FILES}
    assert {path.stem for path in CFG_FILES} >= PRUNED


@pytest.mark.parametrize("path", CFG_FILES, ids=lambda path: path.stem)
def test_every_shipped_cfg(path: Path, tmp_path: Path) -> None:
    document = read_document(path)
    if path.name in RECURRENT:
        with pytest.raises(SecateurError, match="remember earlier inputs"):
            load(*write(tmp_path, path.read_bytes()))
        return
    cfg = smaller(document, NARROW.get(path.name, 8), SIDES.get(path.name, 96))
    if path.name in BROKEN:
        load(*with_random_weights(tmp_path, cfg, flavour="pjreddie"), flavour="pjreddie")
        cfg = cfg.rpartition(BROKEN[path.name])[0]
    files = with_random_weights(tmp_path, cfg, flavour="pjreddie")
    assert_same(*files, 1e-4)
    if path.stem not in PRUNED:
        return
    pruned = secateur.prune(load(*files, flavour="pjreddie"), rate=0.4, criterion="l1")
    assert 0.39 <= pruned.plan.provenance["rate"]["achieved"] <= 0.4
    assert_same(*secateur.save(pruned, tmp_path / "pruned").paths, 1e-4)


@pytest.mark.parametrize("path", ALEXEYAB, ids=lambda path: path.stem)
def test_structures_of_alexeyab(path: Path, tmp_path: Path) -> None:
    cfg = smaller(read_document(path), NARROW.get(path.name, 8), SIDES.get(path.name, 96))
    network = load(*with_random_weights(tmp_path, cfg))
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered[".cfg"] == cfg
    assert rendered[".weights"] == (tmp_path / "model.weights").read_bytes()
    for value in run(network, noise(network)).values():
        assert np.isfinite(value).all()
        assert value.std() > 0
