"""Random sizes of the input: drawn as Darknet draws them, for network, teacher and labels alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.data.augment.sizes import FactorSizes, SquareSizes
from secateur.core.data.augment.training import TrainingSamples
from secateur.core.finetune.checkpoint import Checkpoints
from secateur.core.finetune.finetune import finetune as train
from secateur.core.finetune.lessons import Lessons
from secateur.core.training.framework import torch
from secateur.core.training.losses.anchors import AnchorLoss
from secateur.core.training.module import TrainingModule
from secateur.formats.darknet.resize import at_size
from support.detector import detector, squares
from support.training import need_torch

OPTIONS: dict[str, Any] = {
    "steps": 24, "batch_size": 8, "measurements": 2, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    need_torch()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("photos"))


def lessons_of(start: secateur.Start, **more: Any) -> Lessons:
    return Lessons(
        recipe=start.recipe, augmentation=start.augmentation, resize=start.resize, **more
    )


def test_sizes_are_those_of_darknet() -> None:
    """416 with random=1: 320 to 608 (AlexeyAB's README and pjreddie's code)."""
    sizes = FactorSizes()
    own = (416, 416)
    drawn = [sizes.size(own, update, seed=3) for update in range(5000)]
    assert (min(drawn), max(drawn)) == ((320, 320), (608, 608))
    assert all(height == width and height % 32 == 0 for height, width in drawn)
    assert all(len(set(drawn[k : k + 10])) == 1 for k in range(0, 5000, 10))
    assert len(set(drawn)) == 10
    assert drawn[0] == (608, 608)
    assert sizes.size((320, 640), 0, seed=3) == (480, 928)
    squares_drawn = {SquareSizes().size(own, update, seed=3)[0] for update in range(0, 5000, 10)}
    assert squares_drawn == set(range(320, 609, 32))


def test_the_end_of_a_schedule_has_the_largest_size() -> None:
    sizes = FactorSizes(last=100)
    total = 400
    drawn = [sizes.size((416, 416), update, 1, total - update) for update in range(total)]
    assert set(drawn[-90:]) == {(608, 608)}
    assert len(set(drawn[10:300])) > 5


def test_a_module_at_another_size_computes_what_darknet_would(files: list[Path]) -> None:
    network = secateur.begin(*files).network
    module = TrainingModule(network)
    other = at_size(network, 96, 80)
    assert next(iter(other.inputs.values()))[2:] == (96, 80)
    data = torch.from_numpy(np.random.default_rng(0).random((2, 3, 96, 80), np.float32))
    shared = module.sharing(other)
    with torch.no_grad():
        module.tensor(next(name for name, _ in module.named_parameters())).mul_(1.5)
        module.eval()
        found = shared(data)
        changed = module.network()
        expected = TrainingModule(at_size(changed, 96, 80)).eval()(data)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert [p is q for p, q in zip(module.parameters(), shared.parameters(), strict=True)]


def test_losses_know_the_size(files: list[Path]) -> None:
    """Anchors are pixels: a box of 16 pixels fits the anchor of 16 at every size."""
    loss = secateur.begin(*files).recipe.objectives[0].loss
    assert isinstance(loss, AnchorLoss)
    for side in (64, 128):
        cells = side // 8
        x = torch.zeros(1, 14, cells, cells)
        truth = torch.tensor([[[8.0 / side, 8.0 / side, 16.0 / side, 16.0 / side, 0.0]]])
        output = torch.full_like(x, 0.5)
        output[:, [2, 3, 9, 10]] = 0.0  # widths and heights stay raw
        right = loss.at(side, side).deltas(x, output, truth).own[0, :, 1, 1]
        wrong = loss.at(3 * side, 3 * side).deltas(x, output, truth).own[0, :, 1, 1]
        assert right[2:4].abs().max() < 1e-6
        assert wrong[9:11].min() > 0.1  # 48 pixels, beside an anchor of 32
        assert right[0] == pytest.approx(-0.5 * loss.box_factor * (2 - (16 / side) ** 2))


class Watched:
    """Notes the sizes of the batches that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.seen: dict[tuple[int, int], int] = {}
        real = TrainingSamples.batch_of

        def batch_of(samples: TrainingSamples, *place: Any) -> Any:
            batch = real(samples, *place)
            height, width = batch.inputs["data"].shape[2:]
            self.seen[height, width] = self.seen.get((height, width), 0) + 1
            assert batch.objects is None or all(
                found.boxes.max(initial=0) <= max(height, width) for found in batch.objects
            )
            return batch

        monkeypatch.setattr(TrainingSamples, "batch_of", batch_of)


@pytest.mark.parametrize("taught", [False, True])
def test_a_resumed_training_goes_on_with_the_same_sizes(
    files: list[Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: bool
) -> None:
    start = secateur.begin(*files)
    data = secateur.open_dataset(photos, start.network)
    teacher = secateur.load(*files) if taught else None
    lessons = lessons_of(start, teacher=teacher)
    options = secateur.FinetuneOptions(**OPTIONS, checkpoint=1e-9)
    watched = Watched(monkeypatch)
    whole = train(start.network, data, options, lessons=lessons)
    assert len(watched.seen) >= 3
    assert max(watched.seen) == (112, 112)

    class Stopped(Exception):
        pass

    def tell(entry: secateur.FinetuneEntry, *_: Any) -> None:
        if entry.step >= 12:
            raise Stopped

    kept = Checkpoints(tmp_path)
    with pytest.raises(Stopped):
        train(start.network, data, options, lessons=lessons, checkpoints=kept, tell=tell)
    again = train(start.network, data, options, lessons=lessons, checkpoints=kept, resume=True)
    for name in whole.network.graph.initializers:
        np.testing.assert_array_equal(again.network.array(name), whole.network.array(name))
    assert whole.best.held_out < whole.start.held_out


def test_a_layer_that_reads_all_positions_keeps_the_size(photos: Path, tmp_path: Path) -> None:
    middle = "\n[connected]\noutput=1024\nactivation=leaky\n"
    files = detector(tmp_path / "fixed", middle=middle)
    start = secateur.begin(*files)
    data = secateur.open_dataset(photos, start.network)
    result = train(
        start.network, data, secateur.FinetuneOptions(**{**OPTIONS, "steps": 2}),
        lessons=lessons_of(start),
    )  # fmt: skip
    (note,) = [note for note in result.notes if "the size of the input stays" in note]
    assert "random" in note


def test_none_of_the_files_augmentation_means_no_other_sizes(
    files: list[Path], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = secateur.begin(*files)
    data = secateur.open_dataset(photos, start.network)
    watched = Watched(monkeypatch)
    options = secateur.FinetuneOptions(**{**OPTIONS, "steps": 2}, augment="none")
    train(start.network, data, options, lessons=lessons_of(start))
    assert set(watched.seen) == {(64, 64)}


def test_a_model_read_for_training_is_one_argument(files: list[Path], photos: Path) -> None:
    start = secateur.begin(*files)
    data = secateur.open_dataset(photos, start.network)
    options = {**OPTIONS, "steps": 2, "measurements": 1}
    result = secateur.finetune(start, data, **options)
    assert any("the keys of" in note for note in result.notes)  # the augmentation of the files
    with pytest.raises(TypeError):
        secateur.finetune(start.network, data, start=start, **options)
    with pytest.raises(secateur.DataError, match="the loss of these boxes stands in files"):
        secateur.finetune(start.network, data, **options)
