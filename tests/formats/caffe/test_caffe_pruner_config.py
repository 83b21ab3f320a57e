"""Configs of vai_p_caffe, in every spelling that its manuals have."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.core.errors import FormatError
from secateur.formats.caffe.pruner_config import read_pruner_config

SSD = """\
workspace: "examples/decent_p/"
gpu: "0,1,2,3"
test_iter: 10
acc_name: "detection_eval"

model: "examples/decent_p/float.prototxt"
weights: "examples/decent_p/float.caffemodel"
solver: "examples/decent_p/solver.prototxt"

rate: 0.15
ssd_ap_version: "11point"
pruner {
  method: REGULAR

  exclude {
    layer_top: "conv4_3_norm_mbox_loc"
    layer_top: "conv4_3_norm_mbox_conf"
  }
  exclude { layer_top: 'fc7_mbox_loc', layer_top: "fc7_" "mbox_conf" }  # joined
}
"""
SHORT = 'workspace: "w" acc_name: "a" model: "m" weights: "c"'


def read(folder: Path, text: str):
    path = folder / "config.prototxt"
    path.write_text(text)
    return read_pruner_config(path)


def test_all_fields(tmp_path: Path) -> None:
    config = read(tmp_path, SSD)
    assert (config.workspace, config.gpu, config.test_iter) == ("examples/decent_p/", "0,1,2,3", 10)
    assert (config.acc_name, config.rate) == ("detection_eval", 0.15)
    assert (config.model, config.weights, config.solver) == tuple(
        f"examples/decent_p/{name}"
        for name in ("float.prototxt", "float.caffemodel", "solver.prototxt")
    )
    assert config.ssd_ap_version == "11point"
    assert config.exclude == (
        ("conv4_3_norm_mbox_loc", 16), ("conv4_3_norm_mbox_conf", 17),
        ("fc7_mbox_loc", 19), ("fc7_mbox_conf", 19),
    )  # fmt: skip
    assert str(config.where("rate")) == f"{config.path}:10: field rate"


def test_what_a_config_leaves_out(tmp_path: Path) -> None:
    config = read(tmp_path, SHORT)
    assert (config.gpu, config.test_iter, config.solver, config.rate) == ("0", 100, "", None)
    assert config.exclude == ()
    with pytest.raises(FormatError, match="field rate: required, but missing"):
        config.required("rate")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SHORT + "\nrat: 0.3", r":2: there is no field 'rat' .*did you mean rate\?"),
        (SHORT + "\npruner { exclud { } }", r":2: there is no field 'exclud' .*exclude"),
        (SHORT + "\nrate: 1.0", r":2: field rate: .* below 1, got 1"),
        (SHORT + "\nrate: 70", r"got 70 \(hint: 0.7 for 70 %\)"),
        (SHORT + "\nrate: -0.1", "over 0"),
        (SHORT + "\nrate: nan", "no finite number"),
        (SHORT + "\nrate: 0.1 rate: 0.2", "given twice"),
        (SHORT + "\ntest_iter: 1.5", "field test_iter: '1.5' is not a whole number"),
        (SHORT + "\nacc_name: 3", "given twice"),
        (SHORT + "\npruner: 3", "a message in { } is expected"),
        (SHORT + "\npruner { exclude { layer_top: 3 } }", "a string in quotes"),
        (SHORT + '\nssd_ap_version: "12point"', "12point' is none of 11point"),
        (SHORT.replace('"w"', '""'), "field workspace: required, but missing"),
        ('name: "net" layer { }', "this is a net, not a config"),
        (SHORT + "\npruner {", ":2: the file ends"),
        ("", "field workspace: required"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FormatError, match=told) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'config.prototxt'}")


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FormatError, match=r"directory|cannot be read"):
            read_pruner_config(path)
