"""Ctrl-C in long commands: exit code 130, one line, and what is finished stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secateur.core.sensitivity.state import STATE_FILE
from support.program import ENVIRONMENT, command

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = ("--data", FIXTURES / "shapes.npz")

LOADED = 3.5
"""Seconds of processor time after which a command has loaded its libraries and is at work."""

PATIENCE = 300
"""Seconds after which a test gives up: far more than any of them takes."""


def processor_time(process: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stopped(arguments: tuple[object, ...], ready: Callable[[int], bool]) -> list[str]:
    """Run the program, interrupt it once it is ready, and return what it said."""
    child = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE
        while not ready(child.pid):
            assert child.poll() is None, f"it ended before: {child.communicate()}"
            assert time.monotonic() < end
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    assert child.returncode == 130, told
    assert "Traceback" not in told
    assert "terminate called" not in told
    return told.strip().splitlines()


def test_curves_that_are_finished_stay(tmp_path: Path) -> None:
    state = tmp_path / "ana" / STATE_FILE

    def ready(_: int) -> bool:
        return state.is_file() and state.stat().st_size > 0

    arguments = ("ana", *CAFFE, *DATA, "--rates", "0.02:0.98:0.01", "-o", tmp_path / "ana")
    assert stopped(arguments, ready)[-1] == "stopped"
    assert state.stat().st_size > 0
    assert not (tmp_path / "ana/analysis.json").exists()


def test_rounds_that_are_finished_stay(tmp_path: Path) -> None:
    rates = ",".join(f"{k / 50:g}" for k in range(1, 30))
    arguments = ("iterate", *CAFFE, *DATA, "--rates", rates, "--criterion", "l1", "--no-repair",
                 "-o", tmp_path)  # fmt: skip
    assert stopped(arguments, lambda _: (tmp_path / "round-01").is_dir())[-1] == "stopped"
    assert (tmp_path / "round-01/plan.yaml").is_file()
    assert not (tmp_path / "rounds.json").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs the times of a process")
@pytest.mark.parametrize("name", ["ana", "prune", "finetune", "valid", "map", "compare"])
def test_work_in_libraries_is_stopped(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "models/yolo_fastest_1.1_coco"
    model = (folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    images = sorted((shared / "data/coco/val2017/images").iterdir())
    (tmp_path / "many.txt").write_text("".join(f"{path}\n" for path in images * 5))
    data = ("--data", tmp_path / "many.txt")
    out = ("-o", tmp_path / "out")
    arguments: dict[str, tuple[object, ...]] = {
        "ana": (*model, *data, *out),
        "prune": (*model, *data, "--rate", 0.4, *out),
        "finetune": (*model, *data, "--teacher", *model, "--epochs", 9, *out),
        "valid": (*model, *data),
        "map": (*model, *data),
        "compare": (*model * 2, *data),
    }

    def ready(process: int) -> bool:
        return processor_time(process) > LOADED

    stopped((name, *arguments[name]), ready)
    assert not list(tmp_path.glob("out/*.weights"))


def test_what_is_done_is_done_though_ctrl_c_comes_late() -> None:
    code = (
        "import atexit, os, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "from secateur.cli.main import program\n"
        "sys.argv = ['secateur', '--version']; program()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("secateur ")
