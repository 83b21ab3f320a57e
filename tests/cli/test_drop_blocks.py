"""Dropping blocks by the command line: what is listed, written, taken again and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from support.program import one_line, run
from support.residual import three_blocks


def test_from_the_list_to_files_and_back(tmp_path: Path) -> None:
    three_blocks(tmp_path)
    files = [tmp_path / "net.prototxt", tmp_path / "net.caffemodel"]
    listed = run("inspect", *files).stdout
    assert "3 can be dropped (--drop-blocks): one (" in listed
    found = json.loads(run("inspect", *files, "--json").stdout)["blocks"]
    assert [row["name"] for row in found] == ["one", "two", "three"]
    out = tmp_path / "out"
    said = run("prune", *files, "--drop-blocks", "one,two", "-o", out)
    assert "dropped blocks: one, two" in said.stdout + said.stderr
    plan = out / "plan.yaml"
    again = tmp_path / "again"
    run("transform", *files, "--plan", plan, "-o", again)
    for name in ("net.prototxt", "net.caffemodel"):
        assert (out / name).read_bytes() == (again / name).read_bytes()
    taken = run(
        "transform", *(out / path.name for path in files), "--plan", plan, "-o", tmp_path / "c"
    )
    assert "gone already" in taken.stdout + taken.stderr


def test_refusals_are_one_line(tmp_path: Path) -> None:
    three_blocks(tmp_path)
    files = [tmp_path / "net.prototxt", tmp_path / "net.caffemodel"]
    for value, text in (
        ("7", "3 may leave"),
        ("fc", "those that may leave"),
        ("2", "blocks are chosen"),
    ):
        said = one_line(run("prune", *files, "--drop-blocks", value, "-o", tmp_path / "x", code=1))
        assert text in said
    assert not (tmp_path / "x").exists()


def test_a_plan_with_repairs_of_blocks_is_taken_and_forgets_them(tmp_path: Path) -> None:
    network = three_blocks(tmp_path)
    shape = next(iter(network.inputs.values()))[1:]
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=random.normal(size=(64, *shape)).astype(np.float32))
    files = [tmp_path / "net.prototxt", tmp_path / "net.caffemodel"]
    out, again = tmp_path / "out", tmp_path / "again"
    run("prune", *files, "--drop-blocks", 1, "--data", tmp_path / "data.npz", "-o", out)
    assert yaml.safe_load((out / "plan.yaml").read_text())["block_repair"]
    run("transform", *files, "--plan", out / "plan.yaml", "--repair", "none", "-o", again)
    assert "block_repair" not in yaml.safe_load((again / "plan.yaml").read_text())
