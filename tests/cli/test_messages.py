"""What people get wrong most: percents, names, weights as text, weights of another net."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.program import one_line, run

ROOT = Path(__file__).resolve().parents[2]
CAFFE = [ROOT / "fixtures/shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [ROOT / "fixtures/shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]


@pytest.mark.parametrize(
    ("command", "flags", "hint"),
    [
        ("prune", ["--rate", "30"], "0.3 for 30 %"),
        ("prune", ["--rate", "30%"], "write 0.3"),
        ("prune", ["--rate", "0.3", "--max-rate", "75"], "0.75 for 75 %"),
        ("prune", ["--rate", "0.3", "--min-keep", "10"], "0.1 for 10 %"),
        ("prune", ["--rate", "0.3", "--layer-rate", "conv4=12.5"], "0.125 for 12.5 %"),
        ("iterate", ["--data", ROOT, "--rates", "10,20"], "0.1 for 10 %"),
        ("iterate", ["--data", ROOT, "--to", "50", "--rounds", "3"], "0.5 for 50 %"),
        ("ana", ["--data", ROOT, "--rates", "10:90:10"], "0.3 for 30 %"),
        ("ana", ["--data", ROOT, "--rates", "10%,20%"], "0.3 for 30 %"),
    ],
)
def test_a_rate_in_percent(command, flags, hint, tmp_path):
    text = one_line(run(command, *CAFFE, *flags, "-o", tmp_path / "out", code=2))
    assert hint in text
    assert text.startswith("error: --")


def test_no_percent_is_meant_where_the_number_says_nothing(tmp_path):
    text = one_line(run("prune", *CAFFE, "--rate", "1", "-o", tmp_path / "out", code=2))
    assert "hint" not in text


@pytest.mark.parametrize(
    ("flag", "value", "known"),
    [
        ("--criterion", "gradient", ["apoz", "auto", "geometric_median", "l1", "obs", "thinet"]),
        ("--criterion", "thinnet", ["did you mean thinet?", "apoz", "auto", "l1", "obs"]),
        ("--allocation", "globl", ["did you mean global?", "auto", "greedy", "uniform"]),
        ("--repair", "refitt", ["did you mean refit?", "absorb", "auto", "none"]),
        ("--budget", "flops", ["operations", "parameters", "latency"]),
    ],
)
def test_an_unknown_name_lists_all(flag, value, known, tmp_path):
    arguments = [*CAFFE, "--rate", "0.3", flag, value, "-o", tmp_path / "out"]
    result = run("prune", *arguments, code=2 if flag == "--budget" else 1)
    text = one_line(result)
    assert [name for name in known if name not in text] == []


def test_a_caffemodel_as_text(tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.write_text(
        'name: "net"\nlayer {\n  name: "conv1"\n  type: "Convolution"\n'
        "  blobs {\n    data: 0.5\n    shape { dim: 1 }\n  }\n}\n"
    )
    text = one_line(run("inspect", CAFFE[0], weights, code=1))
    assert "net.caffemodel: these weights are written as text" in text
    assert "SerializeToString" in text


def test_weights_of_another_caffe_net(shared):
    models = shared / "models"
    lenet = models / "lenet_mnist"
    other = models / "cifar10_quick/cifar10_quick.prototxt"
    resnet = models / "resnet20_cifar10/res20_deploy.prototxt"
    weights = lenet / "lenet_iter_10000.caffemodel"
    for text in (other, resnet):  # with names in common, and without
        assert "do these belong together?" in one_line(run("inspect", text, weights, code=1))


def test_weights_of_another_cfg(shared):
    models = shared / "models"
    fast = next((models / "yolo_fastest_1.1_coco").glob("*.cfg"))
    assert "do these belong together" in one_line(run("inspect", DARKNET[0],
        next((models / "yolo_fastest_1.1_coco").glob("*.weights")), code=1))  # fmt: skip
    assert "do these belong together" in one_line(run("inspect", fast, DARKNET[1], code=1))
