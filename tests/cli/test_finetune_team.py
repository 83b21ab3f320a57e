"""Training by several processes: the same weights as one process with the whole batch."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import UnsupportedError
from secateur.core.ir.network import blob_refs
from secateur.core.training.team import ALONE, team_place
from support.detector import detector, squares
from support.program import ENVIRONMENT, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
            "-m", "secateur"]  # fmt: skip
ONE_THREAD = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
LABELS = ("--data", FIXTURES / "shapes.npz", "--limit", 120, "--steps", 12, "--batch-size", 16,
          "--measurements", 2, "--learning-rate", 1e-3, "--method", "sgd",
          "--augment", "usual")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


@pytest.fixture(scope="module")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A classifier without its Dropout, which draws in each process for itself."""
    folder = tmp_path_factory.mktemp("caffe")
    text = CAFFE[0].read_text()
    files = [folder / path.name for path in CAFFE]
    dropout = r'layer \{[^{}]*"Dropout"[^{}]*\{[^{}]*\}\s*\}\n'
    files[0].write_text(re.sub(dropout, "", text))
    assert "Dropout" not in files[0].read_text()
    files[1].write_bytes(CAFFE[1].read_bytes())
    return files


def together(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program in two processes."""
    result = subprocess.run(
        [sys.executable, *TORCHRUN, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=ONE_THREAD, timeout=300,
    )  # fmt: skip
    assert (result.returncode == 0) == (code == 0), result.stderr
    return result


def weights(files: list[Path], folder: Path) -> dict[str, np.ndarray]:
    network = secateur.load(*(folder / path.name for path in files))
    return {
        name: network.array(name)
        for name, value in network.graph.initializers.items()
        if blob_refs(value)
    }


def assert_same(files: list[Path], one: Path, other: Path) -> None:
    before, first, second = (
        weights(files, files[0].parent),
        weights(files, one),
        weights(files, other),
    )
    for name, array in first.items():
        moved = np.abs(array - before[name]).max()
        np.testing.assert_allclose(second[name], array, rtol=1e-4, atol=1e-3 * moved + 1e-7)
    assert any((first[name] != before[name]).any() for name in first)


def test_channels_leave_alike_in_two_processes(caffe: list[Path], tmp_path: Path) -> None:
    leaving = ("--sparsify", "spp", "--rate", 0.4, "--normalize", "stored", "-o")
    run("finetune", *caffe, *LABELS, *leaving, tmp_path / "one")
    together("finetune", *caffe, *LABELS, *leaving, tmp_path / "two")
    plans = [(tmp_path / name / "plan.yaml").read_text() for name in ("one", "two")]
    assert plans[0] == plans[1]
    assert_same(caffe, tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    "norm", [("--normalize", "stored"), ("--sync-norm",)], ids=["stored", "sync"]
)
def test_two_processes_train_like_one(
    caffe: list[Path], tmp_path: Path, norm: tuple[str, ...]
) -> None:
    run(
        "finetune",
        *caffe,
        *LABELS,
        *(n for n in norm if n != "--sync-norm"),
        "-o",
        tmp_path / "one",
    )
    told = together("finetune", *caffe, *LABELS, *norm, "-o", tmp_path / "two")
    assert told.stderr.count("12 steps of 16") == 1
    assert told.stdout.count("Held out") == 1
    assert_same(caffe, tmp_path / "one", tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert names == ["finetune.json", "history.csv", "shapes.caffemodel", "shapes.prototxt"]


def test_sums_of_darknet_are_summed(tmp_path: Path) -> None:
    """The files' own solver divides the sum over all processes by the whole batch."""
    files = detector(tmp_path / "model", batches=100, net="momentum=0.5")
    photos = squares(tmp_path / "photos")
    options = ("--data", photos, "--own-solver", "--steps", 12, "--measurements", 1,
               "--normalize", "stored")  # fmt: skip
    run("finetune", *files, *options, "-o", tmp_path / "one")
    together("finetune", *files, *options, "-o", tmp_path / "two")
    assert_same(files, tmp_path / "one", tmp_path / "two")


def test_a_stopped_team_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    options = ("finetune", *CAFFE, *LABELS, "--steps", 40, "--checkpoint", 1e-3)
    together(*options, "-o", tmp_path / "whole")
    out = tmp_path / "broken"
    child = subprocess.Popen(
        [sys.executable, *TORCHRUN, *map(str, (*options, "-o", out))], env=ONE_THREAD,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while child.poll() is None and not list(out.glob("checkpoint-*.npz")):
        time.sleep(0.005)
    child.send_signal(signal.SIGTERM)  # torchrun hands it on
    assert child.wait() != 0
    assert 1 <= len(list(out.glob("checkpoint-*.npz"))) <= 2
    assert not (out / "finetune.json").exists()
    refused = run(*options, "--resume", "-o", out, code=1)  # by one process alone
    assert "the checkpoint belongs to another training" in refused.stderr
    together(*options, "--resume", "-o", out)
    for path in CAFFE:
        assert (out / path.name).read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


def test_a_batch_that_cannot_be_shared_is_refused_once(tmp_path: Path) -> None:
    told = together("finetune", *CAFFE, *LABELS, "--batch-size", 15, "-o", tmp_path / "two", code=1)
    message = "error: a batch of 15 samples cannot be shared evenly by 2 processes"
    assert told.stderr.count(message) == 1
    assert "--batch-size 16" in told.stderr


def test_the_place_of_a_process_is_what_torchrun_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert team_place() == (ALONE.rank, ALONE.size) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some queues of clusters set it
    assert team_place() == (0, 1)
    for name, value in (("RANK", "3"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    assert team_place() == (3, 8)
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(UnsupportedError, match="RANK=8 is no process of WORLD_SIZE=8"):
        team_place()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UnsupportedError, match="must be whole numbers"):
        team_place()
