"""The examples of docs/workflows/python.md on what users bring: they run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import secateur

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/workflows/python.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    start, end = PAGE.index("## Your own data"), PAGE.index("## Errors")
    return BLOCK.findall(PAGE[start:end])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for file in ("shapes.npz", "shapes_caffe/shapes.prototxt", "shapes_caffe/shapes.caffemodel"):
        shutil.copy(ROOT / "fixtures" / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(folder, capsys):
    names: dict[str, object] = {}
    for block in blocks():
        exec(compile(block, "python.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert float(printed[0]) > 0.8
    assert printed[2] == "largest_weight"
    assert printed[3].split()[0] == "rescale"
    assert float(printed[4]) > 0.9
    plan = names["result"].plan.provenance
    assert plan["criterion"] == "l1"
    rounds = names["rounds"].rounds
    assert round(rounds[0].rate, 2) == 0.2
    assert (folder / "rounds/round-01/plan.yaml").is_file()


def test_every_own_thing_has_an_example():
    text = "".join(blocks())
    for word in ("data=", "criterion=", "allocation=", "repair=", "task="):
        assert word in text
    assert "class Shapes" in text
    used = set(re.findall(r"\bsecateur\.(\w+)", text))
    assert used <= set(secateur.__all__)
