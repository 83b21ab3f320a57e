"""Files for training of real models: read again, one pass of the loss forward and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from support.training_step import begin, step

CASES = {
    "lenet_mnist": ("lenet.prototxt", "softmax over 10 classes"),
    "resnet20_cifar10": ("res20_deploy.prototxt", "softmax over 10 classes"),
    "squeezenet_v1.1_imagenet": ("deploy.prototxt", "softmax over 1000 classes"),
    "libfacedetection_v1_ssd": ("yufacedetectnet-open-v1.prototxt", "boxes and 2 classes"),
    "vanilla_landmarks": ("vanilla_deploy.prototxt", "half the squared difference"),
    "vww_mobilenet_v1_025": ("vww.prototxt", "softmax over 2 classes"),
    "tiny_darknet_imagenet": ("tiny.cfg", "that of [softmax], [cost]"),
    "yolo_fastest_1.1_coco": ("yolo-fastest-1.1.cfg", "that of [yolo]"),
    "mobilenetv2_yolo_fastest_voc": ("MobileNetV2-YOLO-Fastest-voc.cfg", "that of [yolo]"),
    "yolo_lite_voc_nobn": ("tiny-yolov2-trial3-noBatch.cfg", "that of [region]"),
}
REFUSED = {
    "mtcnn_det1_det2_det3": "det1.prototxt",
    "retinaface_mnet_deconv": "mnet-deconv-0517.prototxt",
    "ultraface_slim_320": "slim-320.prototxt",
}


def opened(folder: Path, text: str) -> secateur.Network:
    own = sorted(folder.glob(f"{Path(text).stem}.caffemodel"))
    (weights, *_) = own or sorted([*folder.glob("*.caffemodel"), *folder.glob("*.weights")])
    return secateur.load(folder / text, weights)


@pytest.mark.parametrize("name", CASES)
def test_real_models_train_with_what_is_written(name: str, shared: Path, tmp_path: Path) -> None:
    text, loss = CASES[name]
    network = opened(shared / "models" / name, text)
    pruned = secateur.prune(network, rate=0.3, criterion="l1", repair="none")
    files = secateur.emit_training(pruned, tmp_path / "train")
    assert files.loss.startswith(loss)
    shape = next(iter(network.inputs.values()))[1:]  # not every data layer states it
    losses, trained = step(begin(files, input_shapes={"data": shape}), passes=1)
    assert np.isfinite(losses).all()
    assert losses[0] > 0
    assert all(np.isfinite(trained.array(name)).all() for name in trained.graph.initializers)


@pytest.mark.parametrize("name", REFUSED)
def test_real_models_whose_loss_no_file_tells(name: str, shared: Path, tmp_path: Path) -> None:
    network = opened(shared / "models" / name, REFUSED[name])
    with pytest.raises(secateur.UnsupportedError, match=r"no loss can be derived: the net ends in"):
        secateur.check_training(network, tmp_path / "train")
