"""Training of [detection]: Darknet's library makes the same update from the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secateur.core.errors import FormatError, UnsupportedError
from secateur.core.training.criterion import Criterion
from secateur.core.training.losses.detection import EARLY, DetectionLoss
from secateur.core.training.module import TrainingModule
from secateur.core.training.solvers.solver import Solver
from secateur.formats.darknet.augmentation import augmentation_of
from secateur.formats.darknet.flavour import Flavour
from secateur.formats.darknet.reader import load
from secateur.formats.darknet.recipe import TRUTH, recipe
from support import libdarknet
from support.darknet import with_random_weights
from support.training import need_torch

CLASSES, SIDE, NUM, IMAGES = 3, 2, 2, 3
LENGTH = SIDE**2 * (5 * NUM + CLASSES)
NET = (
    f"[net]\nwidth=4\nheight=4\nchannels=3\nbatch={IMAGES}\nsubdivisions=1\n"
    "learning_rate=0.05\nmomentum=0\ndecay=0\nmax_batches=10\n"
)
BODY = f"[connected]\noutput={LENGTH}\nactivation=ACTIVATION\n"
HEAD = f"[detection]\nclasses={CLASSES}\ncoords=4\nside={SIDE}\nnum={NUM}\n"
ROWS = np.array(
    [
        [[0.2, 0.3, 0.5, 0.4, 1], [0.8, 0.9, 0.25, 0.125, 2], [0.6, 0.2, 0.004, 0.3, 0]],
        [[0.7, 0.1, 0.9, 0.2, 7], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ],
    np.float32,
)
"""Truths as rows; one is too small, the class of one is none of the head, an image has none."""


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def cells() -> np.ndarray:
    """The truths as the engine reads them: for each cell 1, the classes and the box."""
    found = np.zeros((IMAGES, SIDE, SIDE, 5 + CLASSES), np.float32)
    for image, column, row, label, box in (
        (0, 0, 0, 1, (0.4, 0.6, 0.5, 0.4)),
        (0, 1, 1, 2, (0.6, 0.8, 0.25, 0.125)),
        (1, 1, 0, None, (0.4, 0.2, 0.9, 0.2)),
    ):
        found[image, row, column, 0] = 1
        if label is not None:
            found[image, row, column, 1 + label] = 1
        found[image, row, column, 1 + CLASSES :] = box
    return found.reshape(IMAGES, -1)


def trained(files, truths, torch):
    """The cost and the weights after one update."""
    network = load(*files, flavour="pjreddie", training=True)
    found = recipe(network)
    module = TrainingModule(network, frozen=found.frozen).train()
    solver = Solver(module, found.rules, found.settings)
    images = np.random.default_rng(3).random((IMAGES, 3, 4, 4), dtype=np.float32)
    batch = {"data": torch.from_numpy(images), TRUTH: torch.from_numpy(truths)}
    losses = Criterion(found.objectives)(module, batch, seen=solver.seen)
    losses.total.backward()
    solver.step()
    return images, float(losses.total.detach()), module


@pytest.mark.parametrize(
    ("keys", "activation"),
    [
        ("", "linear"),
        ("sqrt=1\n", "logistic"),
        ("softmax=1\nsqrt=1\n", "logistic"),
        ("rescore=1\nsqrt=1\n", "logistic"),
        ("forced=1\nsqrt=1\n", "logistic"),
        (
            "rescore=1\nsqrt=1\nsoftmax=1\ncoord_scale=5\nobject_scale=1.5\n"
            "noobject_scale=.5\nclass_scale=2\n",
            "logistic",
        ),
    ],
)
def test_the_update_is_that_of_the_library(keys, activation, tmp_path, torch):
    cfg = NET + BODY.replace("ACTIVATION", activation) + HEAD + keys
    files = with_random_weights(tmp_path, cfg, flavour="pjreddie")
    images, cost, module = trained(files, ROWS, torch)
    wanted, path = libdarknet.train(*files, images, cells())
    assert cost / IMAGES == pytest.approx(wanted, rel=1e-5)
    after = load(files[0], path, flavour="pjreddie")
    before = load(*files, flavour="pjreddie")
    for name in ("layer_0/weight", "layer_0/bias"):
        want = after.array(name) - before.array(name)
        assert np.abs(want).max() > 1e-3
        change = module.tensor(name).detach().numpy() - before.array(name)
        np.testing.assert_allclose(change, want, rtol=1e-4, atol=1e-6)
    _, other, module = trained(files, cells(), torch)  # truths in the form of the engine
    assert other == pytest.approx(cost, rel=1e-6)


def deltas(loss: DetectionLoss, values: np.ndarray, rows: np.ndarray, torch, seen: int = 0):
    x = torch.from_numpy(values.astype(np.float32))
    own = loss.deltas(x, x, torch.from_numpy(rows), seen=seen).own
    return own.numpy()


PLAIN = DetectionLoss(classes=1, side=1, num=3)
"""One cell: a class, three numbers of objectness, three boxes."""


def told(values: np.ndarray, torch, **keys) -> list[int]:
    """The boxes that are taught, of a truth in the middle of 0.2 × 0.2."""
    rows = np.array([[[0.5, 0.5, 0.2, 0.2, 0]]], np.float32)
    seen = keys.pop("seen", 0)
    found = deltas(replace(PLAIN, **keys), values, rows, torch, seen)
    return np.flatnonzero(found[0, 4:].reshape(3, 4).any(1)).tolist()


def boxes(*listed: tuple[float, ...]) -> np.ndarray:
    return np.array([[0.3, 0.1, 0.1, 0.1, *np.ravel(listed)]])


def test_of_boxes_that_do_not_overlap_the_nearest_is_taught(torch):
    far, farther, farthest = (3, 3, 0.1, 0.1), (4, 4, 0.1, 0.1), (9, 9, 0.1, 0.1)
    near = (0.55, 0.5, 0.1, 0.2)
    nearer = (0.51, 0.5, 0.2, 0.2)
    assert told(boxes(farther, far, farthest), torch) == [1]
    assert told(boxes(far, near, farther), torch) == [1]
    assert told(boxes(near, far, nearer), torch) == [2]
    assert told(boxes((90, 9, 1, 1), (90, 9, 1, 1), (80, 9, 1, 1)), torch) == []


def test_the_box_is_drawn_at_first(torch):
    values = boxes((3, 3, 1, 1), (0.5, 0.5, 0.2, 0.25), (4, 4, 1, 1))
    drawn = [told(values, torch, drawn=True, seen=seen) for seen in range(40)]
    assert {place for places in drawn for place in places} == {0, 1, 2}
    assert drawn == [told(values, torch, drawn=True, seen=seen) for seen in range(40)]
    assert [told(values, torch, drawn=True, seen=EARLY + k) for k in range(5)] == [[1]] * 5


def test_one_truth_of_a_cell_counts(torch):
    """Which one is drawn; it does not depend on the other images, nor on how rows are filled."""
    rows = np.array([[[0.4, 0.5, 0.2, 0.2, 0], [0.6, 0.5, 0.3, 0.3, 0]]], np.float32)
    values = boxes((0.5, 0.5, 0.2, 0.2), (3, 3, 1, 1), (4, 4, 1, 1))
    found = [deltas(PLAIN, values, rows, torch, seen) for seen in range(20)]
    assert {round(float(each[0, 4]), 3) for each in found} == {-0.1, 0.1}
    longer = np.concatenate([np.zeros((1, 3, 5), np.float32)] * 1, 0)
    padded = np.concatenate([np.concatenate([rows, longer], 1)] * 2, 0)
    for seen, each in enumerate(found):
        both = deltas(PLAIN, np.repeat(values, 2, 0), padded, torch, seen)
        np.testing.assert_array_equal(both, np.repeat(each, 2, 0))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("coords=5\nnum=1\nclasses=1\n", "coords=5 cannot be trained, only 4"),
        ("coords=4\nnum=1\nclasses=2\nforced=1\n", "forced=1 needs a second box"),
    ],
)
def test_heads_that_cannot_be_trained(keys, message, tmp_path):
    cfg = NET + "[connected]\noutput=7\nactivation=linear\n[detection]\nside=1\n" + keys
    files = with_random_weights(tmp_path, cfg, flavour="pjreddie")
    with pytest.raises((FormatError, UnsupportedError), match=message):
        recipe(load(*files, flavour="pjreddie", training=True))


@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_the_size_of_images_stays(flavour, tmp_path):
    """random=1 of this section says how boxes are matched."""
    cfg = NET + BODY.replace("ACTIVATION", "linear") + HEAD + "random=1\njitter=.1\n"
    files = with_random_weights(tmp_path, cfg, flavour=flavour)
    network = load(*files, flavour=flavour, training=True)
    (objective,) = recipe(network).objectives
    assert objective.loss.drawn
    assert objective.loss.least == {"pjreddie": 0.005, "alexeyab": 0.001}[flavour]
    found = augmentation_of(network.source.document, Flavour(flavour))
    assert found.sizes is None
    assert found.geometry.jitter == 0.1
