"""Boxes that hold something: which layers make them, and how often they count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.evaluation.metrics.confidence import boxes_of, confidence, has_confidence
from secateur.core.evaluation.metrics.decode import decode
from secateur.core.ir.heads import AnchorHead, GridHead, RegionHead
from secateur.core.ir.network import Network
from secateur.core.ir.rebuild import rebuild
from secateur.core.plan.limits import Limits
from secateur.core.pruning.choose import choose
from secateur.core.pruning.options import PruneOptions
from secateur.core.repair import output_error as output_error_module
from secateur.core.repair.boxes import box_heads_of, counts
from secateur.core.repair.output_error import ErrorMeter, output_error
from secateur.core.repair.refit import refit
from secateur.core.statistics.moments import SplitHalf
from secateur.core.statistics.operators import find_operators
from support.darknet import with_random_weights
from support.graphs import Graph

SIDE, ANCHORS, CLASSES = 32, 2, 3

HEADS = {
    "anchors": (5, "[yolo]\nmask=0,1\nscale_x_y=1.1\n"),
    "uncertain anchors": (9, "[Gaussian_yolo]\nmask=0,1\n"),
    "region": (5, "[region]\ncoords=4\nsoftmax=1\n"),
}


def detector(
    folder: Path, kind: str, flavour: str = "alexeyab", *, between: str = "", less: int = 1
) -> Network:
    entries, head = HEADS[kind]
    filters = ANCHORS * (entries + CLASSES) // less
    cfg = (
        f"[net]\nwidth={SIDE}\nheight={SIDE}\nchannels=3\n"
        "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\n"
        "activation=leaky\n"
        f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear\n"
        f"{between}{head}classes={CLASSES}\nnum={ANCHORS}\nanchors=4,4, 9,9\n"
    )
    return secateur.load(*with_random_weights(folder, cfg, flavour=flavour), flavour=flavour)


def outputs(network: Network, samples: int = 3) -> tuple[GridHead, np.ndarray]:
    (head,) = network.heads
    data = SyntheticDataset(network, samples=samples)
    made = [Session(network, 1).run(batch.inputs)[head.output] for batch in data]
    return head, np.concatenate(made)


@pytest.mark.parametrize(
    ("kind", "flavour"),
    [*((kind, "alexeyab") for kind in HEADS), ("anchors", "pjreddie"), ("region", "pjreddie")],
)
def test_a_box_is_as_sure_as_decoding_says(tmp_path: Path, kind: str, flavour: str) -> None:
    head, array = outputs(detector(tmp_path, kind, flavour))
    assert isinstance(head, RegionHead if kind == "region" else AnchorHead)
    sure = confidence(head, array)
    assert sure.shape == (3, ANCHORS, SIDE // 2, SIDE // 2)
    assert boxes_of(head, array).shape[1:3] == (ANCHORS, HEADS[kind][0] + CLASSES)
    limit = float(np.median(sure))
    # No box can score more than it is sure, and decoding looks at those above a limit only.
    (all_of_one,) = decode([head], {head.output: array[:1]}, score=limit, suppress=False)
    assert len(all_of_one) <= CLASSES * int((sure[0] > limit).sum())
    assert len(all_of_one) == 0 or float(all_of_one.scores.max()) <= float(sure[0].max())


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_the_layer_before_a_head_is_found(tmp_path: Path, kind: str) -> None:
    network = detector(tmp_path, kind)
    operators = find_operators(network)
    assert list(box_heads_of(network, [o.y for o in operators])) == [operators[-1].y]


def test_a_layer_whose_positions_are_moved_makes_no_boxes(tmp_path: Path) -> None:
    network = detector(tmp_path, "region", between="[reorg]\nstride=2\n", less=4)
    assert box_heads_of(network, [operator.y for operator in find_operators(network)]) == {}


def test_only_what_a_layer_alone_makes_is_its_own(shared: Path) -> None:
    folder = shared / "models/mobilenetv2_yolo_fastest_voc"
    network = secateur.load(*sorted(folder.glob("*.cfg")), *sorted(folder.glob("*.weights")))
    ys = [operator.y for operator in find_operators(network)]
    found = box_heads_of(network, ys)
    assert [head.output for head in found.values()] == [head.output for head in network.heads]
    # Without the layers themselves, what is before them reaches the heads through activations.
    assert box_heads_of(network, [y for y in ys if y not in found]) == {}


def test_no_other_head_has_boxes_of_its_own(shared: Path) -> None:
    folder = shared / "models/lenet_mnist"
    network = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    assert not any(map(has_confidence, network.heads))
    assert box_heads_of(network, [operator.y for operator in find_operators(network)]) == {}


def test_what_holds_something_counts_as_much_as_everything(tmp_path: Path) -> None:
    network = detector(tmp_path, "anchors")
    head, array = outputs(network, samples=5)
    found = counts(head, [array[:2], array[2:]])
    assert [part.shape[0] for part in found] == [2, 3]
    often = np.concatenate(found)
    assert often.min() >= 1
    np.testing.assert_allclose(often.mean(axis=(0, 2, 3)), 2, rtol=1e-5)


def test_counting_is_repeating() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((1, 12, 4)), random.standard_normal((1, 12, 2))
    often = random.integers(1, 4, (1, 12))
    counted, repeated = SplitHalf(), SplitHalf()
    counted.add(6, x, y, often.astype(np.float64))
    for sample in range(6):
        rows = np.repeat(np.arange(2 * sample, 2 * sample + 2), often[0, 2 * sample :][:2])
        repeated.add(1, x[:, rows], y[:, rows])
    one, other = counted.joined(), repeated.joined()
    for mine, wanted in zip(one.means(), other.means(), strict=True):
        np.testing.assert_allclose(mine, wanted)
    np.testing.assert_allclose(
        one.moments(centred=True).covariance, other.moments(centred=True).covariance
    )
    assert one.count == other.count == often.sum()


def test_the_judge_without_boxes_is_the_fidelity() -> None:
    g = Graph(seed=1)
    network = g.network(y=g.conv("b", g.op("relu", "Relu", g.conv("a", g.data, 6)), 4))
    name = find_operators(network)[0].weight
    moved = rebuild(network, tensors={name: network.array(name) * np.float32(1.3)})
    data = SyntheticDataset(network, samples=9)
    assert output_error(network, moved, data) == pytest.approx(fidelity(network, moved, data).error)
    assert output_error(network, network, data) == 0.0
    broken = rebuild(network, tensors={name: network.array(name) * np.float32(np.nan)})
    assert output_error(network, broken, data) == np.inf


@pytest.mark.parametrize("room", [0, 1 << 28])
def test_the_judge_computes_the_original_once_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    g = Graph(seed=1)
    network = g.network(y=g.conv("b", g.op("relu", "Relu", g.conv("a", g.data, 6)), 4))
    name = find_operators(network)[0].weight
    others = [
        rebuild(network, tensors={name: network.array(name) * np.float32(factor)})
        for factor in (1.3, 0.5, 0.9)
    ]
    data = SyntheticDataset(network, samples=9)
    ran: list[str] = []
    real = output_error_module.sessions

    def counted(networks, threads):  # type: ignore[no-untyped-def]
        ran.extend("original" if one is network else "other" for one in networks)
        return real(networks, threads)

    monkeypatch.setattr("secateur.core.evaluation.kept_outputs.KEPT_BYTES", room)
    monkeypatch.setattr(output_error_module, "sessions", counted)
    meter = ErrorMeter(network, data)
    found = [meter.error(one) for one in others]
    assert found == [output_error(network, one, data) for one in others]
    assert ran == (["other", "other"] if room else [])


def test_the_judge_counts_boxes_that_hold_something(tmp_path: Path) -> None:
    network = detector(tmp_path, "anchors")
    (head,) = network.heads
    data = SyntheticDataset(network, samples=4)
    session = Session(network, 1)
    before = np.concatenate([session.run(batch.inputs)[head.output] for batch in data])
    bias = find_operators(network)[-1].shift.parameter
    moved = rebuild(network, tensors={bias: network.array(bias) + np.float32(0.1)})
    session = Session(moved, 1)
    after = np.concatenate([session.run(batch.inputs)[head.output] for batch in data])
    often = np.concatenate(counts(head, [before]))[:, :, None]
    off, own = ((often * boxes_of(head, np.square(a))).sum() for a in (before - after, before))
    assert output_error(network, moved, data) == pytest.approx(np.sqrt(off / own), rel=1e-4)


def test_a_detector_finds_more_of_what_it_found(shared: Path) -> None:
    """The refit of a real detector, with and without knowing where its boxes are."""
    folder = shared / "models/mobilenetv2_yolo_fastest_voc"
    network = secateur.load(*sorted(folder.glob("*.cfg")), *sorted(folder.glob("*.weights")))
    images = shared / "data/coco"
    seen = secateur.open_dataset(images / "train2017/images", network, limit=40)
    unseen = secateur.open_dataset(images / "val2017/images", network)
    groups = find_groups(network)
    options = PruneOptions(rate=0.1, criterion="l1", limits=Limits(round_to=1))
    state = choose(network, groups, options, data=seen).state
    dense = state.dense()
    plain = refit(replace(state, original=replace(network, heads=())), dense)
    counted = refit(state, dense)
    results = [fidelity(network, one, unseen) for one in (plain, counted)]
    assert output_error(network, counted, unseen) < output_error(network, plain, unseen)
    assert results[1].detections.value > results[0].detections.value + 0.02
