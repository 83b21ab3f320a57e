"""A moving average of weights is what is measured and kept, and becomes the weights in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError
from secateur.core.finetune.checkpoint import Checkpoints
from secateur.core.finetune.finetune import finetune as train
from secateur.core.finetune.lessons import Lessons
from secateur.core.ir.network import blob_refs
from secateur.formats.training import begin

pytestmark = pytest.mark.usefixtures("one_thread")

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
BATCH, ALPHA = 20, 0.75
LENGTH = 2008
FIRST, APPLIED = LENGTH // 2, LENGTH - 1000
BEFORE, STEPS = FIRST - 3, 10
"""Training goes on after 1001 updates; at 1004 averaging begins, at 1008 it ends."""
OPTIONS = secateur.FinetuneOptions(
    steps=STEPS, measurements=STEPS, own_solver=True, checkpoint=1e-9, device="cpu"
)


def begun(folder: Path, keys: str) -> secateur.Start:
    text = (FIXTURES / "shapes_darknet/shapes.cfg").read_text()
    text = text.replace("max_batches=6000", f"max_batches={LENGTH}")
    keys = f"[net]\nbatch={BATCH}\nlearning_rate=0.02\npolicy=constant\n{keys}"
    text = text.replace("[net]\nbatch=1\n", keys, 1).replace("learning_rate=0.004\n", "")
    (folder / "train.cfg").write_text(text.replace("policy=poly\n", ""))
    return begin(
        folder / "train.cfg", FIXTURES / "shapes_darknet/shapes.weights", flavour="alexeyab"
    )


def lessons(start: secateur.Start, before: int = BEFORE) -> Lessons:
    return Lessons(recipe=start.recipe, seen=before * BATCH)


def run(start: secateur.Start, **more: Any) -> tuple[secateur.FinetuneResult, list[Any]]:
    """The result, and the network of each measurement."""
    data = secateur.open_dataset(FIXTURES / "shapes.npz", start.network, limit=100)
    told: list[Any] = []
    more = {"lessons": lessons(start), **more}
    result = train(
        start.network, data, OPTIONS, tell=lambda entry, network: told.append(network), **more
    )
    return result, told


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> secateur.Start:
    return begun(tmp_path_factory.mktemp("averaged"), f"ema_alpha={ALPHA}\n")


def test_the_average_is_measured_and_becomes_the_weights(
    averaged: secateur.Start, tmp_path: Path
) -> None:
    result, shown = run(averaged)
    _, plain = run(begun(tmp_path, ""))
    names = [
        name for name, value in averaged.network.graph.initializers.items() if blob_refs(value)
    ]
    trained = [name for name in names if "rolling" not in name]
    assert averaged.recipe.settings is not None
    assert averaged.recipe.settings.average is not None
    assert set(averaged.recipe.settings.average.names) == set(trained)
    kept: dict[str, np.ndarray] = {}
    for step in range(APPLIED - BEFORE + 1):
        update = BEFORE + step
        for name in names:
            live = plain[step].array(name)
            wanted = live
            if name in trained and FIRST <= update <= APPLIED:
                kept.setdefault(name, live)
                if update < APPLIED:  # at the last one, the average takes the weights' place
                    kept[name] = ALPHA * kept[name] + (1 - ALPHA) * live
                wanted = kept[name]
            found = shown[step].array(name)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7, err_msg=f"{update}")
    weight = "layer_0/weight"
    assert np.abs(shown[-1].array(weight) - plain[-1].array(weight)).max() > 1e-5
    assert np.abs(shown[-1].array(weight) - kept[weight]).max() > 1e-5  # training went on
    assert (
        f"from update {FIRST} on, a moving average of the weights was measured and kept; at "
        f"{APPLIED} it became the weights"
    ) in result.notes


@pytest.mark.parametrize("after", [2, 4, 6, 8])
def test_a_resumed_run_ends_with_the_same_bytes(
    averaged: secateur.Start, after: int, tmp_path: Path
) -> None:
    whole, _ = run(averaged)
    kept = Checkpoints(tmp_path)
    data = secateur.open_dataset(FIXTURES / "shapes.npz", averaged.network, limit=100)

    def stop(entry: secateur.FinetuneEntry, network: secateur.Network) -> None:
        if entry.step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(averaged.network, data, OPTIONS, lessons=lessons(averaged), checkpoints=kept,
              tell=stop)  # fmt: skip
    again, _ = run(averaged, checkpoints=kept, resume=True)
    assert [entry.held_out for entry in again.history] == [e.held_out for e in whole.history]
    assert again.notes == whole.notes
    for name in whole.network.graph.initializers:
        np.testing.assert_array_equal(again.network.array(name), whole.network.array(name))


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (10, f"the files average weights from update {FIRST} on, and this training ended at 20"),
        (1050, f"the files average weights until update {APPLIED}, before this training"),
    ],
)
def test_averages_that_are_not_reached_are_told(
    averaged: secateur.Start, before: int, told: str
) -> None:
    result, _ = run(averaged, lessons=lessons(averaged, before))
    assert told in result.notes


def test_a_schedule_too_short_for_averages(tmp_path: Path) -> None:
    start = begun(tmp_path, "ema_alpha=0.9\nmax_batches=2000\n")  # the first max_batches counts
    assert start.recipe.settings is not None
    assert start.recipe.settings.average is None
    assert any(note.startswith("ema_alpha=0.9 has no effect") for note in start.recipe.notes)


def test_a_share_beyond_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"ema_alpha=1\.5 is no share from 0 to 1"):
        begun(tmp_path, "ema_alpha=1.5\n")
