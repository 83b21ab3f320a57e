"""Every broken reference case through the command line: one line, exit code 1, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from support import caffe, darknet

CAFFE = SHARED / "golden" / "caffe" / "malformed"
DARKNET = SHARED / "golden" / "darknet" / "malformed"
LONGEST, LARGEST = 5.0, 500_000_000
"""Seconds of processor time for each case, and bytes of resident memory for all of them."""

DRIVER = """
import contextlib, io, json, resource, sys, time
from secateur.cli.main import main


def peak_bytes():
    # Linux counts what the parent had before the program was loaded in ru_maxrss, not in VmHWM.
    if sys.platform == "linux":
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line[:6] == "VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


for line in sys.stdin:
    case = json.loads(line)
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["secateur", *case["arguments"]]
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exit:
            code = exit.code or 0
    seconds = time.process_time() - start
    peak = peak_bytes()
    print(json.dumps({"name": case["name"], "code": code, "out": out.getvalue(),
                      "err": err.getvalue(), "seconds": seconds, "peak": peak}), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """Files to convert, and what must come of it: "refuse", "refuse_or_warn" or "any"."""

    name: str
    expected: str
    files: tuple[Path, ...]
    output: Path

    @property
    def arguments(self) -> list[str]:
        return ["convert", *map(str, self.files), "-o", str(self.output)]


def cases(folder: Path) -> list[Case]:
    """Return all cases, those of Darknet unpacked below `folder`."""
    found = []
    for name, told in caffe.malformed().items():
        files = (CAFFE / name / "model.prototxt", CAFFE / name / "model.caffemodel")
        expected = "refuse" if told["must_refuse"] else "any"
        found.append(Case(f"caffe {name}", expected, files, folder / "out" / f"caffe_{name}"))
    for case in sorted(DARKNET.iterdir()) if DARKNET.is_dir() else ():
        unpacked = folder / case.name
        unpacked.mkdir()
        files = darknet.unpack(case, unpacked)
        expected = json.loads((case / "expected.json").read_text())["expect"]
        found.append(Case(f"darknet {case.name}", expected, files, folder / "out" / case.name))
    return found


NAMES = [f"caffe {name}" for name in caffe.malformed()] + (
    [f"darknet {case.name}" for case in sorted(DARKNET.iterdir())] if DARKNET.is_dir() else []
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Case, dict[str, Any]]]:
    """Run all cases one after another in one process."""
    every = cases(tmp_path_factory.mktemp("malformed"))
    lines = [json.dumps({"name": case.name, "arguments": case.arguments}) for case in every]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input="\n".join(lines), capture_output=True, text=True,
        timeout=LONGEST * len(every), check=True,
    )  # fmt: skip
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["name"] for report in reports] == [case.name for case in every]
    return {case.name: (case, report) for case, report in zip(every, reports, strict=True)}


@pytest.mark.parametrize("name", NAMES)
def test_malformed_case(name: str, results: dict[str, tuple[Case, dict[str, Any]]]) -> None:
    case, report = results[name]
    # What loads may take as long as it needs: one of the cases has 100,000 layers.
    assert report["seconds"] < (4 * LONGEST if report["code"] == 0 else LONGEST)
    assert report["peak"] < LARGEST
    assert "Traceback" not in report["err"]
    assert "internal error" not in report["err"]
    if report["code"] == 0:
        assert case.expected != "refuse"
        assert case.expected == "any" or "warning: " in report["err"]
        return
    assert report["code"] == 1
    assert report["out"] == ""
    (line,) = report["err"].splitlines()
    assert line.startswith("error: ")
    assert len(line) < 1000
    assert any(str(file) in line for file in case.files)
    assert not case.output.exists()


def test_the_program_itself(tmp_path: Path) -> None:
    """The same from outside: exit code, one line, nothing left."""
    (tmp_path / "net.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
    (tmp_path / "net.weights").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "secateur.cli.main", "prune", "net.cfg", "net.weights",
         "--rate", "0.5", "-o", "out"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["error: net.weights: the file is empty"]
    assert not (tmp_path / "out").exists()
