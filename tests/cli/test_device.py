"""`--device` as users meet it, with the ONNX Runtime for processors, and with one that has GPUs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import secateur
from secateur.cli.main import app, main
from support.devices import installed
from support.program import one_line, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
DATA = str(FIXTURES / "shapes.npz")
RUNNING = (
    "ana", "prune", "iterate", "study", "valid", "map", "predict", "compare", "transform", "run",
)  # fmt: skip
NOTE = (
    "note: device cuda:1: this ONNX Runtime has no CUDAExecutionProvider; networks run on the "
    "processor (pip install 'secateur[gpu]', for NVIDIA)"
)

Said = Callable[..., tuple[str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Return what runs the program in this process: what it prints, and its notes."""

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["secateur", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed.out, printed.err

    return run


def lines(tmp_path: Path) -> dict[str, list[str]]:
    """Return a command line for each command that runs networks."""
    data = ["--data", DATA, "--limit", "4"]
    models, other = CAFFE, DARKNET
    pruned = tmp_path / "pruned"
    secateur.save(secateur.prune(secateur.load(*models), rate=0.2, criterion="l1"), pruned)
    return {
        "ana": ["ana", *models, *data, "--rates", "0.5", "-o", f"{tmp_path}/ana"],
        "prune": [
            "prune", *other, *data, "--rate", "0.2", "--criterion", "l1", "-o", f"{tmp_path}/out",
        ],
        "iterate": [
            "iterate", *models, *data, "--rates", "0.2", "--criterion", "l1",
            "-o", f"{tmp_path}/rounds",
        ],
        "study": [
            "study", *models, *data, "--methods", "l1", "--rates", "0.2", "--no-latency",
            "-o", f"{tmp_path}/study",
        ],
        "valid": ["valid", *other, *data],
        "predict": ["predict", *models, *data],
        "compare": ["compare", *models, *models, *data],
        "transform": [
            "transform", *models, *data, "--plan", f"{pruned}/plan.yaml",
            "-o", f"{tmp_path}/dense",
        ],
    }  # fmt: skip


def test_every_command_that_runs_networks_takes_a_device_and_no_other() -> None:
    for names in app:
        if names.startswith("-") or names in ("data", "pruner"):
            continue
        command = app[names]
        flags = {name for one in command.assemble_argument_collection() for name in one.names}
        own = names == "finetune"  # of PyTorch
        wanted = command.name[0] in RUNNING or own
        assert ("--device" in flags) == wanted, names


def test_all_of_them_run_there(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, line in lines(tmp_path).items():
        with monkeypatch.context() as patch:
            runtime = installed(patch)
            _, err = said(*line, "--device", "cuda:1")
            assert "cuda:1" in runtime.devices(), name
            assert "note: device" not in err, name


def test_a_device_that_is_not_there_is_noted_once_and_changes_nothing(tmp_path: Path) -> None:
    arguments = ("ana", *CAFFE, "--data", DATA, "--limit", "8", "--rates", "0.5")
    result = run(*arguments, "-o", tmp_path / "a", "--device", "cuda:1")
    assert result.stderr.splitlines().count(NOTE) == 1
    assert result.stderr.count("note: device") == 1
    quiet = run(*arguments, "-o", tmp_path / "b", "--device", "cuda:1", "--quiet")
    assert quiet.stderr == ""
    plain = run(*arguments, "-o", tmp_path / "c")
    assert "note: device" not in plain.stderr
    assert plain.stdout == result.stdout
    first, *others = ((tmp_path / f"{name}/analysis.json").read_bytes() for name in "abc")
    assert others == [first, first]


def test_a_network_that_the_device_refuses_is_told_of(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, refuses=lambda _: True)
    out, err = said("valid", *CAFFE, "--data", DATA, "--limit", "8", "--device", "cuda", "--json")
    assert json.loads(out)["samples"] == 8
    assert err.count("note: device cuda: network 'shapes' was not accepted there") == 1
    assert "runs on the processor: no such kernel" in err


def test_the_device_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    result = run("valid", "nowhere.prototxt", "--data", DATA, "--device", "cuda:", code=2)
    assert one_line(result).startswith("error: --device: 'cuda:' is no device (hint: ")
    result = run("valid", "nowhere.prototxt", "--data", DATA, "--device", "cudda", code=2)
    assert "did you mean cuda?" in one_line(result)
    (tmp_path / "own.yaml").write_text("data: x\ndevice: cpu:1\n")
    result = run("valid", "nowhere.prototxt", "--config", tmp_path / "own.yaml", code=1)
    assert f"{tmp_path}/own.yaml:2: device: cpu has no numbers" in one_line(result)


def test_devices_are_listed_those_that_are_here_first(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = said("valid", "--device", "help")
    assert out.splitlines()[0].startswith("auto ")
    assert "which is not here: pip install 'secateur[gpu]'" in " ".join(out.split())
    installed(monkeypatch, offered=("OpenVINOExecutionProvider", "CPUExecutionProvider"))
    out, _ = said("run", "--device", "help")
    names = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert names[:4] == ["auto", "cpu", "openvino", "cuda"]


def _pipeline(folder: Path, device: str) -> Path:
    model = ", ".join(CAFFE)
    text = f"model: [{model}]\ndata: {{test: {DATA}, limit: 4}}\nvalid:\n{device}\n"
    (folder / "secateur.yaml").write_text(text)
    return folder


def test_a_pipeline_file_names_its_device(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _pipeline(tmp_path, "device: cuda:1")
    with monkeypatch.context() as patch:
        runtime = installed(patch)
        said("run", folder)
        assert runtime.devices() == {"cuda:1"}
        said("run", folder, "--restart", "--device", "cuda:0")
        assert runtime.devices() == {"cuda:0"}
        said("run", folder, "--restart", "--set", "device=cpu")
        assert runtime.devices() == {None}
        _, err = said("run", folder)
        assert "valid: nothing changed" in err
    _, err = said("run", folder, "--restart")
    assert err.count(NOTE) == 1
    _, err = said("run", folder, "--restart", "--dry-run")
    assert err.count(NOTE) == 1
    _, err = said("run", _pipeline(tmp_path, "device: cuda:x"), code=1)
    assert err == (
        f"error: {tmp_path}/secateur.yaml:4: 'cuda:x' is no device "
        "(hint: auto, cpu, cuda, cuda:1 or cuda:0,1)\n"
    )
    _, err = said("run", _pipeline(tmp_path, ""), "--device", "cuda:x", code=2)
    assert err.startswith("error: --device: 'cuda:x' is no device")


def test_training_follows_the_device_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    need_torch()
    from secateur.core.finetune.finetune import _device
    from secateur.core.training.framework import torch
    from secateur.core.training.team import Team

    installed(monkeypatch)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: np.zeros(1))
    assert _device("auto") == "cuda"
    with secateur.using_device("cuda:1"):
        assert _device("auto") == "cuda:1"
        assert _device("cpu") == "cpu"
        assert _device("cuda:0") == "cuda:0"
    with secateur.using_device("cuda:0,1"):
        assert _device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with secateur.using_device("cuda:1"):
        assert _device("auto") == "cuda"
    with secateur.using_device("cuda:0"):  # processes of torchrun have one each
        assert _device("auto", Team(rank=1, size=2)) == "cuda:1"


def test_the_runtime_of_the_tests_has_no_gpu() -> None:
    """Else the tests above would not try what they say."""
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
