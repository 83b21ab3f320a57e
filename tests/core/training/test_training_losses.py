"""Losses against loops, finite differences, and what the graph computes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.core.errors import DataError
from secateur.core.training.losses.anchors import AnchorLoss
from secateur.core.training.losses.boxes import Box, overlap, overlaps, pull
from secateur.core.training.losses.contrastive import ContrastiveLoss
from secateur.core.training.losses.cost import UNKNOWN, CostLoss, EntropyLoss
from secateur.core.training.losses.gaussian import GaussianLoss
from secateur.core.training.losses.hinge import HingeLoss
from secateur.core.training.losses.infogain import InfogainLoss
from secateur.core.training.losses.multibox import MultiBoxLoss
from secateur.core.training.losses.multinomial import MultinomialLoss
from secateur.core.training.losses.region import RegionLoss
from secateur.core.training.losses.sigmoid import SigmoidLoss
from secateur.core.training.losses.smooth_l1 import SmoothL1Loss
from secateur.core.training.losses.softmax import SoftmaxLoss
from support.training import need_torch


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


SMOOTH = [
    (SoftmaxLoss(ignore_label=2), (3, 4, 2), np.array([[0, 2], [3, 1], [2, 2]])),
    (SoftmaxLoss(axis=2, normalization="FULL"), (3, 2, 4), np.array([[0, 2], [3, 1], [2, 2]])),
    (
        SigmoidLoss(ignore_label=-1, normalization="VALID"),
        (2, 3),
        np.array([[0, 1, -1], [1, 0, 1]]),
    ),
    (HingeLoss(squared=True), (3, 4), np.array([0, 3, 1])),
    (InfogainLoss(matrix=random(4, 4, seed=5)), (3, 4), np.array([0, 3, 1])),
]


@pytest.mark.parametrize(("loss", "shape", "labels"), SMOOTH, ids=lambda x: type(x).__name__)
def test_gradients_are_those_of_finite_differences(loss, shape, labels, torch):
    x = torch.tensor(random(*shape), requires_grad=True)
    aims = torch.tensor(labels, dtype=torch.float64)
    loss(x, aims).backward()
    flat = x.detach().clone().reshape(-1)
    for place in range(0, flat.numel(), 3):
        found = []
        for step in (1e-6, -1e-6):
            moved = flat.clone()
            moved[place] += step
            found.append(float(loss(moved.reshape(shape), aims)))
        slope = (found[0] - found[1]) / 2e-6
        assert x.grad.reshape(-1)[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_a_logarithm_is_floored_and_still_pulls(torch):
    x = torch.tensor([[200.0, 0.0]], requires_grad=True)
    value = SoftmaxLoss()(x, torch.tensor([1.0]))
    value.backward()
    assert float(value.detach()) == pytest.approx(-math.log(np.finfo(np.float32).tiny), rel=1e-6)
    np.testing.assert_allclose(x.grad, [[1, -1]])
    p = torch.tensor([[1.0, 0.0]], requires_grad=True)
    MultinomialLoss()(p, torch.tensor([1.0])).backward()
    assert p.grad[0, 1].item() == pytest.approx(-1e20)


def test_all_labels_ignored_gives_no_loss(torch):
    x = torch.ones(2, 3, requires_grad=True)
    value = SoftmaxLoss(ignore_label=255)(x, torch.tensor([255.0, 255.0]))
    value.backward()
    assert float(value.detach()) == 0
    assert x.grad.abs().sum() == 0


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_beyond_the_classes_is_refused(label, torch):
    with pytest.raises(DataError, match=f"label {label} is no class of the 3"):
        SoftmaxLoss()(torch.ones(1, 3), torch.tensor([float(label)]))


def test_labels_of_another_number_are_refused(torch):
    with pytest.raises(DataError, match="the labels are 2, the scores 3×4"):
        SoftmaxLoss()(torch.ones(3, 4), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive_pairs(legacy, torch):
    a, b = random(4, 3), random(4, 3, seed=1)
    alike = np.array([1, 0, 0, 1])
    margin = 2.5
    first = torch.tensor(a, requires_grad=True)
    value = ContrastiveLoss(margin=margin, legacy=legacy)(
        first, torch.tensor(b), torch.tensor(alike)
    )
    value.backward()
    total, gradient = 0.0, np.zeros_like(a)
    for n in range(4):
        square = float(((a[n] - b[n]) ** 2).sum())
        distance = math.sqrt(square)
        short = margin - (square if legacy else distance)
        if alike[n]:
            total += square
            gradient[n] = (a[n] - b[n]) / 4
        elif short > 0:
            total += short if legacy else short**2
            pulled = -1 if legacy else -short / (distance + 1e-4)
            gradient[n] = pulled * (a[n] - b[n]) / 4
    assert float(value.detach()) == pytest.approx(total / 8)
    np.testing.assert_allclose(first.grad, gradient, rtol=1e-6, atol=1e-12)


def test_smooth_l1_with_weights(torch):
    x = torch.tensor([[0.2, 3.0, -2.0]], requires_grad=True)
    weights = torch.tensor([[2.0, 1.0, 0.0]])
    value = SmoothL1Loss()(x, torch.zeros(1, 3), weights)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.5 * 0.16 + 2.5)
    np.testing.assert_allclose(x.grad, [[0.4, 1, 0]])


def test_costs(torch):
    x = torch.tensor([[0.5, -2.0, 4.0]], requires_grad=True)
    truth = torch.tensor([[0.0, 1.0, UNKNOWN]])
    found = CostLoss(kind="masked", scale=2.0).deltas(x.detach(), x.detach(), truth)
    np.testing.assert_allclose(found.own, [[-0.5, 3, 0]])
    np.testing.assert_allclose(found.passed, [[-1, 6, 0]])
    CostLoss(kind="smooth")(x, x.detach(), torch.zeros(1, 3)).backward()
    np.testing.assert_allclose(x.grad, [[0.5, -1, 1]])
    seg = CostLoss(kind="seg", background=0.1).deltas(x.detach(), x.detach(), torch.zeros(1, 3))
    np.testing.assert_allclose(seg.own, [[-0.05, 0.2, -0.4]], rtol=1e-6)
    far = CostLoss(kind="L1", threshold=9.0).deltas(x.detach(), x.detach(), torch.zeros(1, 3))
    assert float(far.cost) == pytest.approx(6.5)
    assert far.own.abs().sum() == 0


def test_unknown_targets_of_a_softmax_do_not_count(torch):
    p = torch.tensor([[0.25, 0.75]])
    found = EntropyLoss(masked=True).deltas(p, p, torch.tensor([[UNKNOWN, 1.0]]))
    np.testing.assert_allclose(found.own, [[0, 0.25]])
    assert float(found.cost) == pytest.approx(-math.log(0.75))


def boxes(seed: int, count: int = 40) -> list[tuple[Box, Box]]:
    drawn = np.random.default_rng(seed).uniform(0.05, 0.6, (count, 8))
    return [(Box(*row[:4]), Box(*row[4:])) for row in drawn]


def test_overlaps_of_many_boxes_are_those_of_single_ones(torch):
    pairs = boxes(0)
    first = torch.tensor([a for a, _ in pairs])
    second = torch.tensor([b for _, b in pairs])
    found = overlaps(first, second)
    for k, (a, _) in enumerate(pairs):
        for j, (_, b) in enumerate(pairs):
            assert found[k, j].item() == pytest.approx(overlap(a, b), abs=1e-6)


def test_the_pull_of_an_overlap_is_its_derivative(torch):
    """By x and y exactly; by width and height twice as much, since the ½ of a side is left out."""
    for kind in ("iou", "giou"):
        checked = 0
        for a, b in boxes(1):
            if overlap(a, b) == 0:
                continue
            found = pull(a, b, kind)
            for place, factor in ((0, 1), (1, 1), (2, 2), (3, 2)):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = list(a)
                    moved[place] += step
                    ends.append(overlap(Box(*moved), b, kind))
                slope = (ends[0] - ends[1]) / 2e-6
                assert found[place] == pytest.approx(factor * slope, rel=1e-3, abs=1e-5)
            checked += 1
        assert checked > 10


def grid(anchors: int, entries: int, seed: int, torch):
    raw = torch.tensor(random(2, anchors * entries, 3, 4, seed=seed), dtype=torch.float32) * 0.7
    truth = np.zeros((2, 5, 6), np.float32)
    drawn = np.random.default_rng(seed).uniform(0.1, 0.9, (2, 3, 4))
    truth[:, :3, :4] = drawn
    truth[:, :3, 4] = [[0, 2, 1], [1, 1, 0]]
    truth[0, 3, :5] = (0.5, 0.5, 0.2, 0.2, 9)  # a class that is not there
    return raw, torch.from_numpy(truth)


ANCHORS = {"classes": 3, "anchors": ((6.0, 9.0), (12.0, 8.0)), "mask": (0, 1)}


def gaussian_output(raw, torch):
    """The output of the head: sigmoids of all but w and h."""
    shown = raw.reshape(2, 2, 12, 3, 4).clone()
    kept = [k for k in range(12) if k not in (4, 6)]
    shown[:, :, kept] = shown[:, :, kept].sigmoid()
    return shown.reshape(raw.shape)


def gaussian_by_loops(x, truths, loss, size):
    """The head's delta, cell by cell."""
    images, anchors, _, rows, columns = x.shape
    delta = np.zeros_like(x)
    delta[:, :, 8] = -x[:, :, 8]
    for image in range(images):
        listed = [row for row in truths[image] if row[0] and row[4] < loss.classes]
        for a in range(anchors):
            for j in range(rows):
                for i in range(columns):
                    e = x[image, a, :, j, i]
                    w, h = loss.anchors[a]
                    shown = Box(
                        (i + e[0]) / columns, (j + e[2]) / rows,
                        math.exp(e[4]) * w / size[0], math.exp(e[6]) * h / size[1],
                    )  # fmt: skip
                    fits = [overlap(shown, Box(*row[:4])) for row in listed]
                    best = max(fits, default=0)
                    if best > loss.ignore and (e[9:] > 0.25).any():
                        d = delta[image, a, :, j, i]
                        d[8] = best**2 - e[8] if loss.smooth_objects else 0
                        if loss.smooth_objects:
                            d[9:] = -e[9:]
                            label = int(listed[int(np.argmax(fits))][4])
                            d[9 + label] = 1 - e[9 + label]
        for row in listed:
            i, j = int(row[0] * columns), int(row[1] * rows)
            fits = [
                overlap(Box(0, 0, w / size[0], h / size[1]), Box(0, 0, row[2], row[3]))
                for w, h in loss.anchors
            ]
            a = int(np.argmax(fits))
            e, d = x[image, a, :, j, i], delta[image, a, :, j, i]
            w, h = loss.anchors[a]
            aims = (
                row[0] * columns - i, row[1] * rows - j,
                math.log(row[2] * size[0] / w), math.log(row[3] * size[1] / h),
            )  # fmt: skip
            for k, aim in enumerate(aims):
                off, spread = aim - e[2 * k], e[2 * k + 1]
                t = off / spread
                p = math.exp(-t * t / 2) / (math.sqrt(2 * math.pi) * (spread + 0.3))
                s = 0.5 * p / (p + 1e-9) * (2 - row[2] * row[3])
                d[2 * k] += s * t / spread * loss.box_factor
                d[2 * k + 1] += s * (t * t / spread - 1 / (spread + 0.3)) * loss.deviation_factor
            d[8] = 1 - e[8]
            label = int(row[4])
            if d[9] == 0:
                d[9:] = -e[9:]
            d[9 + label] = 1 - e[9 + label]
        for a in range(anchors):
            for j in range(rows):
                for i in range(columns):
                    d = delta[image, a, :, j, i]
                    count = int((d[9:] > 0).sum())
                    if count:
                        d[:8] /= count
    return delta


@pytest.mark.parametrize("smooth", [False, True])
def test_the_gaussian_head_is_that_of_loops(smooth, torch):
    raw, truth = grid(2, 12, 3, torch)
    loss = GaussianLoss(
        **ANCHORS, width=32, height=24, ignore=0.2, deviation_factor=0.7, smooth_objects=smooth
    )
    output = gaussian_output(raw, torch)
    found = loss.deltas(raw, output, truth)
    x = output.double().numpy().reshape(2, 2, 12, 3, 4)
    wanted = gaussian_by_loops(x, truth.double().numpy(), loss, (32, 24))
    np.testing.assert_allclose(
        found.own.numpy().reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5
    )
    assert float(found.cost) == pytest.approx((wanted**2).sum(), rel=1e-4)
    near = (wanted[:, :, 8] != -x[:, :, 8]).sum()
    assert near > 6  # cells beside those of the six truths overlap one
    learning = wanted[:, :, 9:].any(2).sum()
    assert learning == near if smooth else 0 < learning <= 6


def test_the_gaussian_head_pulls_corners_where_it_is_asked(torch):
    raw, truth = grid(2, 12, 4, torch)
    output = gaussian_output(raw, torch)
    found = {}
    for corner in (-1, 0, 1):
        loss = GaussianLoss(**ANCHORS, width=32, height=24, box="giou", corner=corner, limit=0.5)
        found[corner] = loss.deltas(raw, output, truth).own
        boxed = found[corner].reshape(2, 2, 12, 3, 4)[:, :, :8]
        assert boxed.abs().max() > 0
    assert not torch.equal(found[-1], found[1])
    assert not torch.equal(found[0], found[1])


def test_a_head_hands_its_delta_back(torch):
    raw, truth = grid(2, 8, 5, torch)
    raw.requires_grad_()
    loss = AnchorLoss(**ANCHORS, width=32, height=24, passed_factor=0.5)
    shown = raw.detach().reshape(2, 2, 8, 3, 4).clone()
    shown[:, :, [0, 1, 4, 5, 6, 7]] = shown[:, :, [0, 1, 4, 5, 6, 7]].sigmoid()
    output = shown.reshape(raw.shape)
    value = loss(raw, output, truth)
    (3 * value).backward()
    own = loss.deltas(raw.detach(), output, truth)
    np.testing.assert_allclose(raw.grad, -3 * 0.5 * own.own, rtol=1e-6)
    assert float(value.detach()) == float(own.cost)


def test_truths_at_the_far_edge_fall_into_the_next_cell(torch):
    raw = torch.zeros(1, 8, 2, 2)
    truth = torch.tensor([[[1.0, 0.2, 0.3, 0.3, 0.0, 0.0], [0.2, 1.0, 0.3, 0.3, 0.0, 0.0]]])
    loss = AnchorLoss(classes=3, anchors=((8.0, 8.0),), mask=(0,), width=24, height=24)
    own = loss.deltas(raw, raw + 0.5, truth).own.reshape(8, 2, 2)
    assert own[4].flatten().tolist() == [-0.5, -0.5, 0.5, -0.5]  # row 1, column 0; and none


def test_a_tree_of_classes_learns_the_way_to_its_root(torch):
    parents = (-1, -1, 0, 0, 1)
    loss = RegionLoss(classes=5, anchors=((1.0, 1.0),), parents=parents, softmax=True)
    raw = torch.zeros(1, 10, 2, 2)
    output = torch.full((1, 2, 2, 10), 0.5)
    truth = torch.tensor([[[0.25, 0.25, 0.5, 0.5, 3.0]]])
    own = loss.deltas(raw, output, truth, seen=20000).own.reshape(10, 2, 2)
    assert own[5:, 0, 0].tolist() == [0.5, -0.5, -0.5, 0.5, 0]
    assert own[5:, 1, 1].abs().sum() == 0
    whole = torch.tensor([[[200000.0, 200000.0, 0.0, 0.0, 4.0]]])
    own = loss.deltas(raw, output, whole, seen=20000).own.reshape(10, 2, 2)
    assert (own[4] == 0).all()
    assert own[5:, 0, 0].tolist() == [-0.5, 0.5, 0, 0, 0.5]


PRIORS = np.array([[0.0, 0.0, 0.5, 0.5], [0.4, 0.4, 0.9, 0.9], [0.5, 0.0, 1.0, 0.5],
                   [0.15, 0.15, 0.65, 0.65], [0.6, 0.6, 1.1, 1.1]])  # fmt: skip
VARIANCES = np.tile([0.1, 0.1, 0.2, 0.2], (5, 1))


def multibox(loss, torch, truths, seed: int = 0):
    offsets = torch.tensor(random(2, 20, seed=seed), requires_grad=True)
    scores = torch.tensor(random(2, 15, seed=seed + 1), requires_grad=True)
    priors = torch.tensor(np.stack([PRIORS.ravel(), VARIANCES.ravel()])[None])
    value = loss(offsets, scores, priors, torch.tensor(truths, dtype=torch.float64))
    value.backward()
    return float(value.detach()), offsets, scores


TRUTH = [[[[0, 1, 0, 0.05, 0.05, 0.5, 0.5, 0], [0, 2, 0, 0.45, 0.4, 0.9, 0.95, 0]]]]


def test_prior_boxes_match_and_the_hardest_negatives_count(torch):
    loss = MultiBoxLoss(classes=3, code="CENTER_SIZE", ratio=1.0)
    value, offsets, scores = multibox(loss, torch, TRUTH)
    # Boxes 0 and 1 are the best ones of the truths; no other overlaps one by half.
    raw = scores.detach().numpy().reshape(2, 5, 3)
    logs = raw - np.log(np.exp(raw).sum(2, keepdims=True))
    eligible = sorted((2, 3, 4), key=lambda k: logs[0, k, 0])[:2]
    wanted = -logs[0, 0, 1] - logs[0, 1, 2] - sum(logs[0, k, 0] for k in eligible)
    for prior, truth in ((0, TRUTH[0][0][0][3:7]), (1, TRUTH[0][0][1][3:7])):
        box = PRIORS[prior]
        size, middle = box[2:] - box[:2], (box[2:] + box[:2]) / 2
        sides = np.subtract(truth[2:], truth[:2])
        centre = np.add(truth[2:], truth[:2]) / 2
        aim = np.concatenate([(centre - middle) / size / 0.1, np.log(sides / size) / 0.2])
        off = np.abs(offsets.detach().numpy()[0].reshape(5, 4)[prior] - aim)
        wanted += np.where(off < 1, off**2 / 2, off - 0.5).sum()
    assert value == pytest.approx(wanted / 2, rel=1e-6)
    touched = np.flatnonzero(scores.grad.numpy().reshape(10, 3).any(1))
    assert sorted(touched) == sorted([0, 1, *eligible])
    assert not offsets.grad.numpy()[1].any()


def test_all_negatives_count_without_mining(torch):
    loss = MultiBoxLoss(classes=3, mining="NONE", each=False, squared=True)
    _, offsets, scores = multibox(loss, torch, TRUTH)
    assert scores.grad.numpy().reshape(10, 3).any(1).all()
    assert np.flatnonzero(offsets.grad.numpy().reshape(10, 4).any(1)).tolist() == [0, 1]


def test_the_hardest_examples_are_kept(torch):
    loss = MultiBoxLoss(classes=3, mining="HARD_EXAMPLE", samples=1, logistic=True)
    _, offsets, scores = multibox(loss, torch, TRUTH)
    rows = scores.grad.numpy().reshape(10, 3).any(1)
    assert rows.sum() == 1
    assert offsets.grad.numpy().reshape(10, 4).any(1).sum() <= 1


def by_class(loss, torch, truths, seed: int = 0):
    """Three boxes for each prior box: value, offsets (images × priors × classes × 4), scores."""
    offsets = torch.tensor(random(2, 60, seed=seed) / 4, requires_grad=True)
    scores = torch.tensor(random(2, 15, seed=seed + 1), requires_grad=True)
    priors = torch.tensor(np.stack([PRIORS.ravel(), VARIANCES.ravel()])[None])
    value = loss(offsets, scores, priors, torch.tensor(truths, dtype=torch.float64))
    value.backward()
    shape = (2, 5, 3, 4)
    return (
        value.item(),
        offsets.detach().numpy().reshape(shape),
        offsets.grad.numpy().reshape(shape),
        scores.grad.numpy().reshape(2, 5, 3),
    )


def corner_loss(offsets: np.ndarray, box: np.ndarray, truth: list[float]) -> float:
    off = np.abs(offsets - (np.array(truth) - box) / VARIANCES[0])
    return float(np.where(off < 1, off**2 / 2, off - 0.5).sum())


@pytest.mark.parametrize("logistic", [False, True])
def test_each_class_has_a_box_of_its_own(logistic, torch):
    """A match teaches the box of the truth's class alone."""
    loss = MultiBoxLoss(classes=3, mining="NONE", shared=False, logistic=logistic)
    value, offsets, pull, scores = by_class(loss, torch, TRUTH)
    assert np.argwhere(pull.any(3)).tolist() == [[0, 0, 1], [0, 1, 2]]
    told = corner_loss(offsets[0, 0, 1], PRIORS[0], TRUTH[0][0][0][3:7])
    told += corner_loss(offsets[0, 1, 2], PRIORS[1], TRUTH[0][0][1][3:7])
    same = MultiBoxLoss(classes=3, mining="NONE", logistic=logistic)
    other, plain, _ = multibox(same, torch, TRUTH)
    shown = plain.detach().numpy().reshape(2, 5, 4)
    once = corner_loss(shown[0, 0], PRIORS[0], TRUTH[0][0][0][3:7])
    once += corner_loss(shown[0, 1], PRIORS[1], TRUTH[0][0][1][3:7])
    assert value - told / 2 == pytest.approx(other - once / 2, rel=1e-9)
    assert scores.any(2).all()


@pytest.mark.parametrize("logistic", [False, True])
def test_predictions_of_each_class_match_truths_of_that_class(logistic, torch):
    """One prior box can match truths of two classes at once."""
    truths = [[[[1, 1, 0, 0.0, 0.0, 0.5, 0.5, 0], [1, 2, 0, 0.02, 0.0, 0.5, 0.5, 0]]]]
    loss = MultiBoxLoss(
        classes=3, mining="NONE", shared=False, by_prior=False, each=False, logistic=logistic,
        normalization="NONE",
    )  # fmt: skip
    _, offsets, pull, scores = by_class(loss, torch, truths)
    boxes = PRIORS[:, None] + offsets[1] * VARIANCES[0]
    best = [
        int(np.argmax([overlap(corners(box), corners(row[3:7])) for box in boxes[:, label]]))
        for label, row in ((1, truths[0][0][0]), (2, truths[0][0][1]))
    ]
    assert np.argwhere(pull.any(3)).tolist() == sorted([[1, best[0], 1], [1, best[1], 2]])
    assert best[0] == best[1] == 0
    signs = np.sign(scores[1, 0]).tolist()
    assert signs == ([1, -1, -1] if logistic else [1, 1, -1])  # a softmax is told the last class


def corners(row: list[float]) -> Box:
    left, top, right, bottom = (float(number) for number in row)
    return Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def test_sigmoids_need_no_class_of_nothing(torch):
    loss = MultiBoxLoss(classes=3, background=-1, logistic=True)
    truth = [[[[0, 0, 0, 0.05, 0.05, 0.5, 0.5, 0]]]]
    value, _, scores = multibox(loss, torch, truth)
    assert np.isfinite(value)
    assert scores.grad.numpy().reshape(2, 5, 3)[0, 0, 0] < 0


def test_no_truth_gives_no_loss(torch):
    value, offsets, scores = multibox(MultiBoxLoss(classes=3), torch, [[[[-1.0] * 8]]])
    assert value == 0
    assert not offsets.grad.any()
    assert not scores.grad.any()


def test_truths_that_do_not_fit_are_refused(torch):
    with pytest.raises(DataError, match="label 3 is no class of the 3"):
        multibox(MultiBoxLoss(classes=3), torch, [[[[0, 3, 0, 0, 0, 1, 1, 0]]]])
