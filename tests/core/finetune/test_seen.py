"""What is seen of a training while it runs: the line of progress, and TensorBoard."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

import secateur
from secateur.cli.terminal import Bars
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
QUICK: dict[str, Any] = {
    "steps": 6, "batch_size": 16, "measurements": 2, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _torch() -> None:
    need_torch()


def trained(**more: Any) -> secateur.FinetuneResult:
    network = secateur.load(*CAFFE)
    data = secateur.open_dataset(FIXTURES / "shapes.npz", network, limit=80)
    return secateur.finetune(network, data, validation=data, **QUICK, **more)


def test_progress_tells_loss_metric_and_speed() -> None:
    told: list[tuple[str, int, int]] = []
    trained(progress=lambda *call: told.append(call))
    steps = [call for call in told if call[0].startswith("training labels · ")]
    assert [done for _, done, _ in steps] == [1, 2, 3, 4, 5, 6]
    for label, _, total in steps:
        assert total == 6
        assert "Accuracy " in label
        assert label.endswith(" images/s")
    assert "loss " in steps[0][0]


def test_a_job_whose_words_change_has_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.cli.terminal.PATIENCE", 0.0)
    bars = Bars(Console(file=io.StringIO(), force_terminal=True), shown=True)
    for done in range(3):
        bars(f"training labels · loss {done}", done, 3)
    (task,) = bars._progress.tasks
    assert (task.description, task.completed) == ("training labels 2/3 · loss 2", 2 / 3)
    bars("another", 1, 2)
    (task,) = bars._progress.tasks
    bars.close()
    assert (task.description, task.completed) == ("another 1/2", 1 / 2)


class Writer:
    """Stands for TensorBoard's."""

    written: list[tuple[str, float, int]] = []  # noqa: RUF012 (emptied by the test)

    def __init__(self, folder: str):
        self.folder = folder

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.written.append((name, value, step))

    def flush(self) -> None:
        pass

    close = flush


def test_tensorboard_gets_every_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    Writer.written.clear()
    with secateur.board(tmp_path) as tell:
        result = trained(tell=tell)
    for name, field in (("loss/held out", "held_out"), ("metric/validation", "value")):
        expected = [(getattr(entry, field), entry.step) for entry in result.history]
        assert [(value, step) for each, value, step in Writer.written if each == name] == expected
    losses = [step for each, _, step in Writer.written if each == "loss/training"]
    assert losses == [3, 6]


def test_a_missing_tensorboard_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    message = "TensorBoard is not installed"
    with pytest.raises(secateur.UnsupportedError, match=message), secateur.board("x"):
        pass
    with secateur.board(None) as tell:
        assert trained(tell=tell).history
