"""Rules of the project itself: imports, words, packaging, sizes, tests that can fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "formats", "proto", "workflows", "cli")
LONGEST = 600


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_the_floors_hold():
    """Folders import only from folders below them; pyproject.toml lists the floors."""
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_core_names_no_file_format():
    words = re.compile(r"caffe|darknet|yolo|prototxt|\bcfg\b", re.IGNORECASE)
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources("core")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert wrong == []


def test_no_file_is_too_long():
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in sources(*PACKAGES, "tests")
        if (count := len(path.read_text().splitlines())) > LONGEST
    ]
    assert long == []


def test_every_test_asserts_something():
    def asserts(function: ast.FunctionDef) -> bool:
        return any(
            isinstance(node, ast.Assert)
            or (isinstance(node, ast.Call) and "raises" in ast.unparse(node.func))
            or (
                isinstance(node, ast.Call)
                and re.search(r"assert|prove|check", ast.unparse(node.func))
            )
            for node in ast.walk(function)
        )

    idle = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts(node)
    ]
    assert idle == []


def test_the_public_names_are_all_there():
    import secateur

    assert len(set(secateur.__all__)) == len(secateur.__all__)
    for name in secateur.__all__:
        assert getattr(secateur, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = secateur.nonsense


def test_every_folder_is_in_the_wheel(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {f"secateur/{path.relative_to(ROOT)}" for path in sources(*PACKAGES)}
    assert expected <= packed
    # Lazy packages read their stubs when they run.
    stubs = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.pyi")]
    assert {f"secateur/{path.relative_to(ROOT)}" for path in stubs} <= packed
    assert "secateur/__init__.pyi" in packed
    assert "secateur/py.typed" in packed
    assert not any(
        name.startswith(("core/", "formats/", "tests/", "secateur/tests")) for name in packed
    )


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from secateur.cli.main import app; app.resolved_commands(); "
        "print([m for m in ('onnx', 'onnx_ir', 'onnxruntime', 'cv2', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
