"""The section `[pruning]` of a main cfg: keys, spellings, usual names, and what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.core.errors import FormatError
from secateur.core.ir.network import Caution
from secateur.formats.darknet.pruning_section import (
    PruningSection,
    is_pruning_cfg,
    read_pruning_section,
)

MANUAL = """# a cfg example to prune YoloV3
[pruning]
workspace=pruning
datacfg=pruning/voc.data
modelcfg=pruning/yolov3-voc.cfg
prunedcfg=pruning/own-prune.cfg
ana_out_file=pruning/own.out
prune_out_weights=pruning/own.prune
criteria=0
kernel_batch=4
ignore_layer=80,81,92,93,104,105
yolov3=1
threshold=0.005
"""
LEAST = "[pruning]\nworkspace=w\ndatacfg=d.data\nmodelcfg=models/a.b.cfg\n"


def read(folder: Path, text: str | bytes) -> PruningSection:
    path = folder / "main.cfg"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_pruning_section(path)


def test_the_manual_s_example_is_read_whole(tmp_path):
    found = read(tmp_path, MANUAL)
    assert found == PruningSection(
        file=tmp_path / "main.cfg", line=2, workspace=Path("pruning"),
        datacfg=Path("pruning/voc.data"), modelcfg=Path("pruning/yolov3-voc.cfg"),
        prunedcfg=Path("pruning/own-prune.cfg"), ana_out_file=Path("pruning/own.out"),
        prune_out_weights=Path("pruning/own.prune"), criteria=0, kernel_batch=4,
        ignore_layer=(80, 81, 92, 93, 104, 105), yolov3=True, threshold=0.005,
        lines={key: line for line, key in enumerate(
            ("workspace", "datacfg", "modelcfg", "prunedcfg", "ana_out_file", "prune_out_weights",
             "criteria", "kernel_batch", "ignore_layer", "yolov3", "threshold"), 3)},
    )  # fmt: skip
    assert str(found.where("threshold")) == f"{tmp_path}/main.cfg:13: field threshold"


def test_names_in_the_workspace_follow_from_the_model(tmp_path):
    found = read(tmp_path, LEAST)
    assert found.prunedcfg == Path("w/a.b-prune.cfg")
    assert found.ana_out_file == Path("w/ana.out")
    assert found.prune_out_weights == Path("w/weights.prune")
    assert (found.criteria, found.kernel_batch, found.ignore_layer) == (0, 2, ())
    assert found.threshold is None
    assert not found.yolov3
    assert found.where("threshold").line == 1


@pytest.mark.parametrize("key", ["yolov3", "is_yolov3", "yolo_v3v4"])
def test_both_spellings_and_that_of_v4_mean_the_same(tmp_path, key):
    found = read(tmp_path, f"{LEAST}{key}=1\n")
    assert found.yolov3
    assert found.notes == ()


def test_it_is_read_as_darknet_reads_its_files(tmp_path):
    text = (
        "; first\r\n [ pruning ] \r\nwork space = w\r\nworkspace=other\r\ndatacfg = d\r\n"
        "modelcfg=m.cfg\r\nthreshold = .01 # small\r\nignore_layer = 1, 2,\r\ncriteria\r\n"
    )
    found = read(tmp_path, text)
    assert found.workspace == Path("w")
    assert found.threshold == 0.01
    assert found.ignore_layer == (1, 2)
    assert found.criteria == 0


def test_what_is_not_used_is_told_with_its_line(tmp_path):
    found = read(tmp_path, f"{LEAST}treshold=0.1\ncolour=red\n[net]\nwidth=3\n")
    place = f"{tmp_path}/main.cfg"
    assert found.notes[0] == f"{place}:7: section [net] changes nothing here"
    assert found.notes[1] == f"{place}:5: unused key 'treshold' (did you mean threshold?)"
    assert found.notes[2].startswith(f"{place}:6: unused key 'colour' (keys are workspace, ")
    assert all(isinstance(note, Caution) for note in found.notes)
    assert found.threshold is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": there is no section [pruning] (hint: the main cfg begins with it)"),
        ("[net]\nwidth=3\n", ": there is no section [pruning] (hint: this is the cfg of a network"),
        ("\n[prunning]\n", ":2: there is no section [pruning] (hint: did you mean it by [prun"),
        ("workspace=w\n", ":1: the first line that is no comment must be [pruning]"),
        ("[pruning]\nworkspace=w\nmodelcfg=m\n", ":1: field datacfg: required, but missing"),
        (f"{LEAST}threshold=abc", ":5: field threshold: 'abc' is no number"),
        (f"{LEAST}threshold=nan", ":5: field threshold: 'nan' is no number"),
        (f"{LEAST}threshold=1_0", ":5: field threshold: '1_0' is no number"),
        (f"{LEAST}threshold=5", ":5: field threshold: the threshold must be from 0 to below 1, "
         "got 5 (hint: it is a loss of accuracy: 0.05 for 5 %)"),
        (f"{LEAST}threshold=-1", ":5: field threshold: the threshold must be from 0 to below 1"),
        (f"{LEAST}threshold=inf", ":5: field threshold: the threshold must be from 0 to below 1"),
        (f"{LEAST}kernel_batch=0", ":5: field kernel_batch: it must be at least 1, got 0"),
        (f"{LEAST}kernel_batch=2.5", ":5: field kernel_batch: '2.5' is no whole number"),
        (f"{LEAST}ignore_layer=1,-2", ":5: field ignore_layer: layers count from 0, got -2"),
        (f"{LEAST}ignore_layer=1,x", ":5: field ignore_layer: 'x' is no whole number"),
        (f"{LEAST}is_yolov3=yes", ":5: field is_yolov3: 'yes' is no whole number"),
        (f"{LEAST}criteria=99999999999", ":5: field criteria: '99999999999' is no whole number"),
        ("[pruning]\nworkspace=\0\n", ":2: the line holds a NUL byte; this is no text file"),
    ],
)  # fmt: skip
def test_errors_are_one_line_with_the_place(tmp_path, text, message):
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/main.cfg{message}")


def test_files_that_are_none(tmp_path):
    (tmp_path / "main.cfg").mkdir()
    with pytest.raises(FormatError, match=r"main\.cfg: cannot be read: Is a directory"):
        read_pruning_section(tmp_path / "main.cfg")
    huge = tmp_path / "huge.cfg"
    with huge.open("wb") as file:
        file.write(b"[pruning]\n")
        file.truncate(1 << 33)
    with pytest.raises(FormatError, match=r"huge\.cfg"):
        read_pruning_section(huge)


def test_a_main_cfg_is_told_from_others(tmp_path):
    for text, found in ((MANUAL, True), ("[net]\nwidth=3\n[conv]\n", False), ("# [pruning]", False),
                        ("\0\1\2", False), ("[ pru ning ]\n", True)):  # fmt: skip
        (tmp_path / "some").write_text(text)
        assert is_pruning_cfg(tmp_path / "some") is found
    assert not is_pruning_cfg(tmp_path)
    assert not is_pruning_cfg(tmp_path / "nothing")
