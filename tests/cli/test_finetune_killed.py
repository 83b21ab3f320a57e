"""A training that is killed, stopped or out of disk goes on to the very bytes of a whole one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core import files as core_files
from secateur.core.errors import FormatError
from secateur.core.finetune.lessons import Lessons
from support.program import ENVIRONMENT, command
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
KILLS = int(os.environ.get("SECATEUR_KILLS", "2"))
"""How often the long test kills: 50 for a thorough look."""

ONE_THREAD = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A pruned model with its plan."""
    folder = tmp_path_factory.mktemp("pruned")
    result = secateur.prune(secateur.load(*CAFFE), rate=0.5, criterion="l1", repair="none")
    return list(secateur.save(result, folder).paths)


def training(small: list[Path], out: Path, *more: object) -> list[str]:
    """Return the command of a training with a teacher, augmentation, and many checkpoints."""
    return command(
        "finetune", *small, "--teacher", *CAFFE, "--plan", small[0].parent / "plan.yaml",
        "--data", FIXTURES / "shapes.npz", "--limit", 120, "--distill", 1, "--augment", "usual",
        "--steps", 40, "--batch-size", 8, "--measurements", 4, "--checkpoint", 1e-3,
        "--learning-rate", 1e-3, "-o", out, *more,
    )  # fmt: skip


def written(out: Path) -> dict[str, bytes]:
    """Return what a model's files hold."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.stem == "shapes"}


@pytest.fixture(scope="module")
def whole(small: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of a run that nothing broke, and the seconds that its training took."""
    out = tmp_path_factory.mktemp("whole") / "tuned"
    _finish(training(small, out))
    return out, json.loads((out / "finetune.json").read_text())["history"][-1]["seconds"]


def _finish(arguments: list[str]) -> str:
    """Run a training to its end; return what it told."""
    ended = subprocess.run(arguments, check=False, capture_output=True, text=True, env=ONE_THREAD)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def _stopped(arguments: list[str], out: Path, number: int, seconds: float) -> tuple[int, str]:
    """Send a signal some seconds after the first new checkpoint; return how the run ended."""
    before = _checkpoints(out)
    child = subprocess.Popen(
        arguments, env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while child.poll() is None and _checkpoints(out) <= before:
        time.sleep(0.002)
    time.sleep(seconds)
    child.send_signal(number)
    _, told = child.communicate(timeout=300)
    assert "Traceback" not in told
    return child.returncode, told


def _checkpoints(out: Path) -> set[str]:
    return {path.name for path in out.glob("checkpoint-*.npz")} if out.is_dir() else set()


def test_a_stopped_training_is_resumed_to_the_same_bytes(
    small: list[Path], whole: tuple[Path, float], tmp_path: Path
) -> None:
    """Ctrl-C, SIGTERM, and SIGKILL at random moments."""
    draw = random.Random(11)
    reference, seconds = whole
    out = tmp_path / "tuned"
    code, told = _stopped(training(small, out), out, signal.SIGINT, 0.0)
    assert code == 130, told
    (line,) = told.strip().splitlines()
    assert line.startswith("training stopped at step ")
    assert line.endswith("; --resume goes on from there")
    assert 1 <= len(_checkpoints(out)) <= 2
    code, told = _stopped(training(small, out, "--resume"), out, signal.SIGTERM, 0.0)
    assert code == 143, told
    assert 1 <= len(_checkpoints(out)) <= 2
    kills = {"amid": 0, "before": 0}
    ends = 0
    while sum(kills.values()) < KILLS:
        early = draw.random() < 0.1
        code, told = _stopped(
            training(small, out, "--resume"), tmp_path if early else out, signal.SIGKILL,
            draw.uniform(0.0, seconds),
        )  # fmt: skip
        assert code in (0, -signal.SIGKILL), told
        if code:
            kills["amid" if _checkpoints(out) else "before"] += 1
            continue
        assert written(out) == written(reference)
        ends += 1
        out = tmp_path / f"tuned{ends}"
    _finish(training(small, out, "--resume"))
    assert written(out) == written(reference)
    assert not [path.name for path in out.iterdir() if "checkpoint" in path.name]
    print(f"killed {kills}, {ends + 1} trainings ended with the same bytes")


def test_a_given_time_is_measured_once(small: list[Path], tmp_path: Path) -> None:
    """A resumed training keeps the steps that were found when it began."""
    out = tmp_path / "tuned"
    arguments = training(small, out)
    place = arguments.index("--steps")
    arguments[place : place + 2] = ["--time", "3"]
    assert _stopped(arguments, out, signal.SIGKILL, 0.0)[0] == -signal.SIGKILL
    planned = _steps(out)
    assert f"{planned} steps of 8" in _finish([*arguments, "--resume"])


def _steps(out: Path) -> int:
    """Return the steps of the whole training that a checkpoint speaks of."""
    with np.load(max(out.glob("checkpoint-*.npz"))) as content:
        return int(json.loads(content["plain"].tobytes())["steps"])


class Full:
    """A disk that is full from one write on, for files of some names."""

    def __init__(self, name: str, after: int):
        self.name, self.after, self.count = name, after, 0
        self.real = core_files.write_synced

    def __call__(self, path: Path, parts: object) -> None:
        if self.name in path.name:
            self.count += 1
            if self.count > self.after:
                path.write_bytes(b"half of it")
                raise OSError(28, "No space left on device")
        self.real(path, parts)  # type: ignore[arg-type]


def test_a_full_disk_costs_no_training(
    small: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = secateur.FinetuneOptions(
        steps=20, batch_size=16, measurements=2, checkpoint=1e-9, learning_rate=1e-3
    )
    start = secateur.begin(*small)
    data = secateur.open_dataset(FIXTURES / "shapes.npz", start.network, limit=120)
    whole = secateur.finetune_files(
        small, data, tmp_path / "whole", options, lessons=Lessons(), start=start
    )
    out = tmp_path / "tuned"
    monkeypatch.setattr(core_files, "write_synced", Full("checkpoint-", 3))
    tuned = secateur.finetune_files(small, data, out, options, lessons=Lessons(), start=start)
    assert written(out) == written(tmp_path / "whole")
    (note,) = [note for note in tuned.result.notes if "no checkpoint" in note]
    assert "No space left on device" in note
    assert whole.result.best.step == tuned.result.best.step


def test_the_older_checkpoint_makes_room_and_the_newest_stays(
    small: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = secateur.FinetuneOptions(
        steps=20, batch_size=16, measurements=2, checkpoint=1e-9, learning_rate=1e-3
    )
    start = secateur.begin(*small)
    data = secateur.open_dataset(FIXTURES / "shapes.npz", start.network, limit=120)
    out = tmp_path / "tuned"
    monkeypatch.setattr(core_files, "write_synced", Full("checkpoint-", 6))
    monkeypatch.setattr(secateur.workflows.finetuning, "save", _refusing)
    with pytest.raises(FormatError, match="disk full"):
        secateur.finetune_files(small, data, out, options, lessons=Lessons(), start=start)
    left = [path.name for path in out.iterdir()]
    assert left == ["checkpoint-00000006.npz"]
    monkeypatch.undo()
    secateur.finetune_files(small, data, out, options, lessons=Lessons(), start=start, resume=True)
    again = tmp_path / "whole"
    secateur.finetune_files(small, data, again, options, lessons=Lessons(), start=start)
    assert written(out) == written(again)


def _refusing(*_: object, **__: object) -> None:
    raise FormatError("disk full")
