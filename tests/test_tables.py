"""The support tables in docs/ say what the code says."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "docs" / "make_tables.py"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_tables"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_noticed(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "layers.md"
    stale.write_text("old\n")
    monkeypatch.setattr(tables, "PAGE", stale)
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    assert tables.main(["--check"]) == 0


def refused(name: str) -> set[str]:
    """Return the set REFUSED of a test module, read from its text."""
    (path,) = (ROOT / "tests" / "formats").rglob(f"{name}.py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REFUSED":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{name} has no REFUSED")


def test_refused_cases_are_listed(tables: ModuleType) -> None:
    assert set(tables.REFUSED["caffe"]) == refused("test_caffe_golden")
    assert set(tables.REFUSED["darknet"]) == refused("test_darknet_golden")
