"""Training in 16 bits: it learns, says what it left out, and goes on after a stop bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.finetune.checkpoint import Checkpoints
from secateur.core.finetune.finetune import finetune as train
from secateur.core.training import precision

pytestmark = pytest.mark.usefixtures("one_thread")

LABELLED = Path(__file__).resolve().parents[3] / "fixtures/shapes.npz"
QUICK = {"steps": 20, "batch_size": 16, "measurements": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def pruned(network: secateur.Network) -> secateur.Network:
    return secateur.prune(network, rate=0.6, criterion="l1", repair="none").network


def labelled(network: secateur.Network) -> secateur.Dataset:
    return secateur.open_dataset(LABELLED, network, limit=120)


def left_out(notes: tuple[str, ...]) -> int:
    found = [int(note.split()[1]) for note in notes if note.startswith("float16:")]
    return sum(found)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_16_bits_learn(kind: str, pruned: secateur.Network) -> None:
    result = secateur.finetune(pruned, labelled(pruned), precision=kind, **QUICK)
    assert result.best.held_out < 0.9 * result.start.held_out
    assert left_out(result.notes) <= 4
    assert result.network.array(next(iter(pruned.graph.initializers))).dtype == np.float32


def test_updates_left_out_are_counted_also_over_a_stop(
    pruned: secateur.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.Scaling, "__init__", starting(2.0**20))
    options = secateur.FinetuneOptions(**QUICK, precision="float16", checkpoint=1e-9)
    whole = train(pruned, labelled(pruned), options)
    assert 4 <= left_out(whole.notes) < 20
    assert any(f"of {QUICK['steps']} updates were left out" in note for note in whole.notes)
    assert (whole.history[-1].loss or 9) < (whole.history[1].loss or 0)
    kept = Checkpoints(tmp_path)

    def stop(entry: secateur.FinetuneEntry, network: secateur.Network) -> None:
        if entry.step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pruned, labelled(pruned), options, checkpoints=kept, tell=stop)
    again = train(pruned, labelled(pruned), options, checkpoints=kept, resume=True)
    assert left_out(again.notes) == left_out(whole.notes)
    for name in whole.network.graph.initializers:
        np.testing.assert_array_equal(again.network.array(name), whole.network.array(name))


def starting(first: float):  # type: ignore[no-untyped-def]
    made = precision.Scaling.__init__

    def begin(self: precision.Scaling, factor: float = first, *rest: int, **named: float) -> None:
        made(self, factor, *rest, **named)

    return begin


def test_gradients_without_end_end_training(
    pruned: secateur.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = precision.gradients

    def endless(module, *rest, **named):  # type: ignore[no-untyped-def]
        loss = made(module, *rest, **named)
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.fill_(math.inf)
        return loss

    monkeypatch.setattr("secateur.core.finetune.loop.gradients", endless)
    result = secateur.finetune(pruned, labelled(pruned), precision="float16", **QUICK)
    assert result.best.step == 0
    (note,) = [n for n in result.notes if "gradients became too large for float16" in n]
    assert note.endswith("a lower --learning-rate or --precision bfloat16 helps")
    for name in pruned.graph.initializers:
        np.testing.assert_array_equal(result.network.array(name), pruned.array(name))


def test_the_test_of_rates_bears_16_bits(
    pruned: secateur.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.Scaling, "__init__", starting(2.0**20))
    options = {**QUICK, "learning_rate": None, "steps": 2}
    found, wanted = (
        secateur.finetune(pruned, labelled(pruned), precision=kind, **options).history[-1].rate
        for kind in ("float16", "float32")
    )
    assert found == pytest.approx(wanted, rel=0.7)
