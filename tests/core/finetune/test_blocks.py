"""Fine-tuning a network without blocks: its teacher still has them, under other numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

import secateur
from secateur.core.data import SyntheticDataset
from secateur.core.finetune.rewind import rewound
from secateur.core.repair.output_error import output_error
from support.residual import conv, darknet, section

pytest.importorskip("torch")


@pytest.mark.parametrize("rate", [None, 0.5])
def test_a_student_without_blocks_learns_from_its_teacher(
    rate: float | None, tmp_path: Path
) -> None:
    block = conv() + conv(activation="linear") + section("shortcut", **{"from": -3})
    body = conv() + block * 3 + conv(filters=6) + conv(filters=5, norm=0, activation="linear")
    network = darknet(tmp_path, body)
    pruned = secateur.prune(network, drop_blocks="6,9", rate=rate, repair=False)
    saved = secateur.save(pruned, tmp_path / "out")
    student = secateur.load(*saved.paths)
    data = SyntheticDataset(network, samples=64, seed=3)
    before = output_error(network, student, data)
    found = secateur.finetune(
        student, data, teacher=network, plan=pruned.plan, steps=60, batch_size=16, match="layers",
        learning_rate=0.01, normalize="stored", seed=1,
    )  # fmt: skip
    assert output_error(network, found.network, data) < 0.9 * before


def test_going_back_to_an_early_model_drops_its_blocks(tmp_path: Path) -> None:
    block = conv() + conv(activation="linear") + section("shortcut", **{"from": -3})
    network = darknet(tmp_path, conv() + block * 2 + conv(filters=5, norm=0, activation="linear"))
    pruned = secateur.prune(network, drop_blocks="3,", rate=0.5, repair=False)
    back = rewound(pruned.network, network, pruned.plan)
    for name in pruned.network.graph.initializers:
        assert back.array(name).shape == pruned.network.array(name).shape
