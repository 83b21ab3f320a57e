"""Blocks of real models: which there are, what is left, and what a repair brings back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.blocks import dropped, find_blocks, layer_names
from secateur.core.data import SyntheticDataset
from secateur.core.ir.network import Network
from secateur.core.repair.output_error import output_error
from support.residual import silenced


def resnet(shared: Path) -> Network:
    folder = shared / "models/resnet20_cifar10"
    return secateur.load(
        folder / "res20_deploy.prototxt", folder / "cifar10_res20_iter_64000.caffemodel",
        companions=[folder / "res20_cifar_train_test.prototxt"],
    )  # fmt: skip


def mobilenet(shared: Path) -> Network:
    folder = shared / "models/mobilenetv2_yolo_fastest_voc"
    return secateur.load(*(next(folder.glob(f"*.{end}")) for end in ("cfg", "weights")))


BLOCKS = {
    resnet: ["Eltwise1", "Eltwise2", "Eltwise3", "Eltwise5", "Eltwise6", "Eltwise8", "Eltwise9"],
    mobilenet: ["9", "16", "20", "27", "31", "35", "42", "46", "53", "57"],
}


@pytest.mark.parametrize("make", [resnet, mobilenet])
def test_the_files_without_two_blocks(make, shared: Path, tmp_path: Path) -> None:
    network = make(shared)
    blocks = find_blocks(network)
    assert [block.name for block in blocks] == BLOCKS[make]
    result = secateur.prune(network, drop_blocks=(blocks[0].name, blocks[3].name))
    saved = secateur.save(result, tmp_path / "out")
    small = secateur.load(*saved.paths, companions=saved.companions)
    chosen = [blocks[0], blocks[3]]
    gone = {name for block in chosen for name in layer_names(network, block)}
    assert len(network.layers) - len(small.layers) == len(gone) + 2
    name, shape = next(iter(network.inputs.items()))
    x = np.random.default_rng(1).random((1, *shape[1:])).astype(np.float32)  # type: ignore[arg-type]
    wanted = secateur.Session(silenced(network, chosen)).run({name: x})
    found = secateur.Session(small).run({name: x})
    for mine, theirs in zip(found.values(), wanted.values(), strict=True):
        assert np.abs(mine - theirs).max() <= 1e-4 * np.abs(theirs).max()
    first, second = map(str, saved.paths)
    reader = cv2.dnn.readNetFromDarknet if make is mobilenet else cv2.dnn.readNetFromCaffe
    other = reader(first, second)
    other.setInput(x)
    seen = other.forward(other.getUnconnectedOutLayersNames())
    assert len(seen) == len(found)
    if make is resnet:
        assert np.abs(seen[0] - next(iter(found.values()))).max() < 1e-4


def test_a_repair_brings_most_of_a_block_back(shared: Path) -> None:
    network = resnet(shared)
    data = SyntheticDataset(network, samples=24, seed=2)
    plain = dropped(network, find_blocks(network)[:1]).network
    result = secateur.prune(network, drop_blocks="Eltwise1", data=data, repair="refit")
    assert output_error(network, result.network, data) < 0.3 * output_error(network, plain, data)
    (record,) = result.repairs
    assert record.kept
