"""Classes that form a tree: step by step as the C sources go, and by Darknet's own library."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError
from secateur.core.evaluation.metrics.decode import decode
from secateur.core.evaluation.metrics.tree import absolute, deepest, last_sure, sibling_counts
from secateur.core.ir.heads import box_heads
from support.darknet_images import boxes_of

CLASSES, ANCHORS, SIDE = 40, 2, 96


def random_tree(seed: int, count: int = CLASSES) -> tuple[int, ...]:
    """Parents of a few roots and of groups of siblings below classes that stand before them."""
    rng = np.random.default_rng(seed)
    parents = [-1] * 3
    while len(parents) < count:
        parents += [int(rng.integers(len(parents)))] * int(rng.integers(1, 5))
    return tuple(parents[:count])


def given(rng: np.random.Generator, parents: tuple[int, ...], boxes: int) -> np.ndarray:
    """Probabilities among siblings, most of them clear."""
    parts = []
    for size in sibling_counts(parents):
        values = np.exp(rng.standard_normal((boxes, size)) * 4)
        parts.append(values / values.sum(axis=1, keepdims=True))
    return np.concatenate(parts, axis=1).astype(np.float32)


def slow_walk(probabilities: np.ndarray, parents: tuple[int, ...]) -> int:
    offsets = np.cumsum([0, *sibling_counts(parents)])
    child = {parents[start]: k for k, start in enumerate(offsets[:-1])}
    p, group = np.float32(1), 0
    while True:
        largest, best = np.float32(0), 0
        for index in range(offsets[group], offsets[group + 1]):
            if probabilities[index] > largest:
                largest, best = probabilities[index], index
        if p * largest > 0.5:
            p = p * largest
            if best not in child:
                return best
            group = child[best]
        elif group == 0:
            return best
        else:
            return parents[offsets[group]]


@pytest.mark.parametrize("seed", range(8))
def test_step_by_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = random_tree(seed)
    relative = given(rng, parents, 50)
    found = absolute(relative, parents)
    for row, mine in zip(relative, found, strict=True):
        wanted = row.copy()
        for j, parent in enumerate(parents):
            if parent >= 0:
                wanted[j] *= wanted[parent]
        np.testing.assert_array_equal(mine, wanted)
        assert deepest(mine, parents) == slow_walk(mine, parents)
    for mine, row in zip(last_sure(found), found, strict=True):
        sure = [j for j in range(CLASSES) if row[j] > 0.5]
        assert np.flatnonzero(mine).tolist() == sure[-1:]


def test_roots_that_nothing_is_known_of_and_broken_numbers() -> None:
    parents = (-1, -1, 0, 0)
    assert deepest(np.array([0.4, 0.45, 0.4, 0], np.float32), parents) == 1
    assert deepest(np.array([0.9, 0.1, 0.3, 0.6], np.float32), parents) == 3
    # 0.9 · 0.55 is below one half once more: the walk stops above.
    assert deepest(np.array([0.9, 0.1, 0.0, 0.55], np.float32), parents) == 0
    assert deepest(np.full(4, np.nan, np.float32), parents) == 0


@pytest.fixture
def detector(tmp_path: Path) -> tuple[Path, Path]:
    """A network of one convolution whose boxes are sure of what they are."""
    channels = ANCHORS * (5 + CLASSES)
    (tmp_path / "model.cfg").write_text(
        f"[net]\nbatch=1\nwidth={SIDE}\nheight={SIDE}\nchannels=3\n\n"
        f"[convolutional]\nfilters={channels}\nsize=3\nstride=16\npad=1\nactivation=linear\n\n"
        f"[region]\nanchors=1,2, 3,1.5\nclasses={CLASSES}\ncoords=4\nnum={ANCHORS}\nsoftmax=1\n"
        "tree=model.tree\n"
    )
    (tmp_path / "model.tree").write_text(
        "".join(f"c{k} {parent}\n" for k, parent in enumerate(random_tree(1)))
    )
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(channels * 28).astype("<f4")
    numbers[channels:].reshape(ANCHORS, 5 + CLASSES, 27)[:, 5:] *= 4
    (tmp_path / "model.weights").write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + numbers.tobytes())
    return tmp_path / "model.cfg", tmp_path / "model.weights"


def test_a_detector_by_the_boxes_of_darknet(detector: tuple[Path, Path], tmp_path: Path) -> None:
    network = secateur.load(*detector, flavour="pjreddie")
    images = np.random.default_rng(2).random((4, 3, SIDE, SIDE), np.float32)
    outputs = secateur.Session(network).run({"data": images})
    ((name, values),) = outputs.items()
    assert np.isfinite(values).all()
    # The library looks for the tree where it stands.
    cfg = detector[0].read_text().replace("model.tree", str(tmp_path / "model.tree"))
    (tmp_path / "absolute.cfg").write_text(cfg)
    theirs = boxes_of(tmp_path / "absolute.cfg", detector[1], values, tmp_path,
                      size=(SIDE, SIDE), score=0.3, classes=CLASSES)  # fmt: skip
    found = decode(box_heads(network), outputs, score=0.3, suppress=False)
    ours = np.array([
        (number, c, s, *box)
        for number, one in enumerate(found)
        for box, s, c in zip(one.boxes, one.scores, one.classes, strict=True)
    ])  # fmt: skip
    assert len(theirs) > 50
    assert len(set(theirs[:, 1])) > 8, "several depths of the tree"

    def order(rows: np.ndarray) -> np.ndarray:
        return rows[np.lexsort(rows.round(4).T[::-1])]

    np.testing.assert_allclose(order(ours), order(theirs), rtol=1e-4, atol=1e-4)
    assert name == network.heads[0].output


def test_the_other_flavour_counts_the_last_sure_class(detector: tuple[Path, Path]) -> None:
    network = secateur.load(*detector, flavour="alexeyab")
    images = np.random.default_rng(2).random((2, 3, SIDE, SIDE), np.float32)
    outputs = secateur.Session(network).run({"data": images})
    (values,) = outputs.values()
    parents = random_tree(1)
    wanted = []
    for number, sample in enumerate(values):
        for cell in sample.reshape(-1, ANCHORS, 5 + CLASSES):
            for box in cell:
                probabilities = absolute(box[5:], parents)
                sure = [j for j in range(CLASSES) if probabilities[j] > 0.5]
                if box[4] > 0.3 and sure:
                    wanted.append((number, sure[-1], probabilities[sure[-1]]))
    found = decode(box_heads(network), outputs, score=0.3, suppress=False)
    ours = [
        (number, c, s)
        for number, one in enumerate(found)
        for s, c in zip(one.scores, one.classes, strict=True)
    ]
    assert len(wanted) > 20
    np.testing.assert_allclose(sorted(ours), sorted(wanted), rtol=1e-6)


def test_the_average_precision_of_such_a_detector(detector: tuple[Path, Path]) -> None:
    network = secateur.load(*detector, flavour="pjreddie")
    images = np.random.default_rng(2).random((6, 3, SIDE, SIDE), np.float32)
    outputs = secateur.Session(network).run({"data": images})
    (first, *_) = decode(box_heads(network), outputs)
    assert len(first)
    assert first.classes.max() < CLASSES
    result = secateur.fidelity(
        network, network, secateur.open_dataset(images_file(detector[0].parent, images), network)
    )
    assert result.detections is not None
    assert result.detections.value == 1


def images_file(folder: Path, images: np.ndarray) -> Path:
    np.savez(folder / "images.npz", x=images)
    return folder / "images.npz"


def test_a_parent_behind_its_child_is_refused(detector: tuple[Path, Path]) -> None:
    tree = detector[0].parent / "model.tree"
    lines = tree.read_text().splitlines()
    lines[5] = "c5 7"
    tree.write_text("\n".join(lines))
    with pytest.raises(FormatError, match="class 5 has parent 7, which does not come before it"):
        secateur.load(*detector, flavour="pjreddie")
