"""The examples of CONTRIBUTING.md are a package; it is installed, and everything in it is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.program import ENVIRONMENT, command

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ROOT / "fixtures" / "shapes_caffe"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of processes that find the package of the examples."""
    project = tmp_path_factory.mktemp("project")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, content in BLOCK.findall(text):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(content, encoding="utf-8")
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", target, project],
        check=True,
    )  # fmt: skip
    return ENVIRONMENT | {"PYTHONPATH": f"{target}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}


def contract(environment: dict[str, str], file: str, *names: str) -> str:
    """Run the tests of the contract for entries of these names, and return what pytest says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         f"tests/contract/{file}", "-k", " or ".join(names)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_layer_is_held_to_the_contract(installed: dict[str, str]) -> None:
    assert "passed" in contract(installed, "test_layers.py", "LearnedSwish")


def test_criterion_and_repair_are_held_to_the_contract(installed: dict[str, str]) -> None:
    assert "passed" in contract(installed, "test_choices.py", "peak", "rescale")


def test_the_command_knows_all_of_them(installed: dict[str, str], tmp_path: Path) -> None:
    with np.load(ROOT / "fixtures" / "shapes.npz") as arrays:
        x, y = arrays["x"][:48], arrays["y"][:48]
    rows = tmp_path / "rows.csv"
    np.savetxt(rows, np.column_stack([y, x.reshape(len(x), -1)]), delimiter=",", fmt="%g")
    done = subprocess.run(
        command(
            "iterate", *SHAPES.glob("shapes.*"), "--data", rows, "--to", 0.3, "--rounds", 1,
            "--criterion", "peak", "--repair", "rescale", "--task", "balanced",
            "-o", tmp_path / "rounds",
        ),
        env=installed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Balanced accuracy" in done.stdout
    plan = (tmp_path / "rounds" / "round-01" / "plan.yaml").read_text(encoding="utf-8")
    assert "criterion: peak" in plan
    assert "method: rescale" in plan
