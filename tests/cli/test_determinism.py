"""The same command gives the same bytes: in another process, with other hash seeds and threads.

The sums of OBS depend on how many threads the linear algebra library has, so that it has one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import secateur

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
DATA = FIXTURES / "calibration.npz"
ALGEBRA = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def run(folder: Path, arguments: list[object], seed: int, algebra: int) -> dict[str, bytes]:
    """Run the program in a process of its own and return what it wrote.

    Args:
        folder: where it writes.
        arguments: what it is given.
        seed: of the hashes of strings; 0 also means one core instead of all.
        algebra: threads of the linear algebra library.
    """
    limit: Callable[[], None] | None = one_core if seed == 0 else None
    fixed = dict.fromkeys(ALGEBRA, str(algebra)) | {"PYTHONHASHSEED": str(seed), "COLUMNS": "80"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-m", "secateur.cli.main", *map(str, arguments), "-o", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env=kept | fixed,
    )
    assert result.returncode == 0, result.stderr
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def models(kind: str, folder: Path) -> list[Path]:
    if kind == "caffe":
        return CAFFE
    if kind == "darknet":
        return DARKNET
    path = folder / "shapes.onnx"
    secateur.save(secateur.load(*CAFFE), path)
    return [path]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call on this system")
@pytest.mark.parametrize("kind", ["caffe", "darknet", "onnx"])
@pytest.mark.parametrize(
    ("choice", "algebra"),
    [(["--criterion", "l1"], 4), (["--data", DATA, "--limit", 64], 1)],
    ids=["l1", "obs"],
)
def test_the_same_command_gives_the_same_bytes(
    kind: str, choice: list[object], algebra: int, tmp_path: Path
) -> None:
    arguments = ["prune", *models(kind, tmp_path), "--rate", "0.5", *choice]
    first = run(tmp_path / "a", arguments, 0, 1)
    second = run(tmp_path / "b", arguments, 4711, algebra)
    assert len(first) >= 2
    assert sorted(first) == sorted(second)
    for name, content in first.items():
        assert content == second[name], name
