"""Channels that leave during training, and weights of other moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.errors import DataError, PlanError
from secateur.core.finetune.checkpoint import Checkpoints
from secateur.core.finetune.finetune import finetune as train
from secateur.core.finetune.lessons import Lessons
from secateur.core.finetune.result import Tell
from secateur.core.finetune.rewind import reinitialized, rewound
from secateur.core.ir.network import blob_refs
from secateur.core.plan.plan import removed_units
from secateur.core.training.recipe import Recipe, Start

pytestmark = pytest.mark.usefixtures("one_thread")

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
LABELLED, UNLABELLED = FIXTURES / "shapes.npz", FIXTURES / "calibration.npz"
QUICK = {"steps": 40, "batch_size": 16, "measurements": 4, "learning_rate": 1e-3}
SCHEDULES = ("cubic", "geometric", "greg", "increg", "linear", "spp")


@pytest.fixture(scope="module")
def sparse(network: secateur.Network) -> secateur.PruneResult:
    return secateur.prune(network, rate=0.4, criterion="l1", repair="none", sparse=True)


def labelled(network: secateur.Network, limit: int = 200) -> secateur.Dataset:
    return secateur.open_dataset(LABELLED, network, limit=limit)


def half(method: str, **settings: object) -> secateur.SparsifyOptions:
    return secateur.SparsifyOptions(method=method, rate=0.5, **settings)  # type: ignore[arg-type]


def stored(network: secateur.Network) -> dict[str, np.ndarray]:
    return {
        name: network.array(name)
        for name, value in network.graph.initializers.items()
        if blob_refs(value)
    }


@pytest.mark.parametrize("method", SCHEDULES)
def test_the_rate_is_reached_and_transform_makes_it_small(
    network: secateur.Network, method: str
) -> None:
    result = secateur.finetune(network, labelled(network), sparsify=half(method), **QUICK)
    assert result.plan is not None
    assert result.removed is not None
    assert 0.48 < result.removed <= 0.5
    rates = [entry.removed for entry in result.history]
    assert rates == sorted(rates)  # type: ignore[type-var]  # there are rates
    assert rates[0] == 0.0
    assert {entry.stage for entry in result.history} == {"start", method, "labels"}
    # What has not lost its last channel is not the best, however good it is.
    assert all(entry.removed == result.removed for entry in result.history if entry.best)
    dense = secateur.densify(result.network, result.plan, repair="none")
    assert dense.verification.difference <= 1e-5
    cost = [secateur.measure_cost(n, find_groups(n)).operations for n in (network, dense.network)]
    assert 1 - cost[1] / cost[0] == pytest.approx(result.removed, abs=1e-5)
    assert result.history[-1].held_out < 2.0  # ten classes by chance: ln 10 = 2.3


def test_darknet_and_a_teacher_without_labels(tmp_path: Path) -> None:
    network = secateur.load(*DARKNET)
    data = secateur.open_dataset(UNLABELLED, network)
    result = secateur.finetune(
        network, data, teacher=network, sparsify=half("cubic", ramp=0.4), **QUICK
    )
    assert result.plan is not None
    stages = list(dict.fromkeys(entry.stage for entry in result.history))
    assert stages[:3] == ["start", "cubic", "vectors"]
    assert stages[-1] == "features and outputs"
    secateur.save(result.network, tmp_path)
    again = secateur.load(*(tmp_path / path.name for path in DARKNET))
    assert secateur.densify(again, result.plan, repair="none").verification.difference <= 1e-5


def test_a_sparse_network_loses_more(
    network: secateur.Network, sparse: secateur.PruneResult
) -> None:
    result = secateur.finetune(
        sparse.network, labelled(network), plan=sparse.plan, sparsify=half("spp"), **QUICK
    )
    assert result.plan is not None
    groups = find_groups(network)
    before, after = (removed_units(plan, groups) for plan in (sparse.plan, result.plan))
    assert after[before].all()
    assert after.sum() > before.sum()
    assert 0.38 < result.start.removed <= 0.4  # type: ignore[operator]  # there is a rate
    secateur.densify(result.network, result.plan, repair="none")


class Stopped(Exception):
    """Stands for a kill."""


def stopping(after: int) -> Tell:
    def tell(entry: secateur.FinetuneEntry, _: secateur.Network) -> None:
        if entry.step >= after:
            raise Stopped

    return tell


@pytest.mark.parametrize(
    ("method", "after"), [("cubic", 8), ("spp", 16), ("spp", 32), ("greg", 16), ("increg", 12)]
)
def test_a_resumed_run_ends_with_the_same_bytes(
    network: secateur.Network, tmp_path: Path, method: str, after: int
) -> None:
    options = secateur.FinetuneOptions(
        steps=40, batch_size=16, measurements=10, checkpoint=1e-9, learning_rate=1e-3
    )
    lessons = Lessons(sparsify=half(method, every=2, ramp=0.6))
    data = labelled(network)
    whole = train(network, data, options, lessons=lessons)
    kept = Checkpoints(tmp_path)
    with pytest.raises(Stopped):
        train(network, data, options, lessons=lessons, checkpoints=kept, tell=stopping(after))
    again = train(network, data, options, lessons=lessons, checkpoints=kept, resume=True)
    assert [entry.removed for entry in again.history] == [e.removed for e in whole.history]
    assert [entry.held_out for entry in again.history] == [e.held_out for e in whole.history]
    assert again.plan == whole.plan
    for name in whole.network.graph.initializers:
        np.testing.assert_array_equal(again.network.array(name), whole.network.array(name))


def test_a_checkpoint_with_another_schedule_is_refused(
    network: secateur.Network, tmp_path: Path
) -> None:
    options = secateur.FinetuneOptions(**QUICK, checkpoint=1e-9)
    kept = Checkpoints(tmp_path)
    lessons = Lessons(sparsify=half("cubic"))
    with pytest.raises(Stopped):
        train(network, labelled(network), options, lessons=lessons, checkpoints=kept,
              tell=stopping(10))  # fmt: skip
    other = Lessons(sparsify=half("linear"))
    with pytest.raises(DataError, match="belongs to another training"):
        train(network, labelled(network), options, lessons=other, checkpoints=kept, resume=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_explodes_while_channels_leave_is_an_error(network: secateur.Network) -> None:
    options = {**QUICK, "learning_rate": 1e30, "method": "sgd"}
    with pytest.raises(DataError, match="channels were still to leave: the loss became"):
        secateur.finetune(network, labelled(network), sparsify=half("cubic"), **options)


def test_patience_waits_for_the_last_channel(network: secateur.Network) -> None:
    options = {**QUICK, "steps": 60, "measurements": 12, "patience": 2}
    result = secateur.finetune(network, labelled(network), sparsify=half("cubic"), **options)
    assert result.removed is not None
    assert result.removed > 0.48


def test_rewinding_takes_masks_from_one_and_weights_from_the_other(
    network: secateur.Network, sparse: secateur.PruneResult
) -> None:
    early = reinitialized(network, 5, None)
    groups = find_groups(network)
    removed = removed_units(sparse.plan, groups)
    full = rewound(sparse.network, early, sparse.plan)
    small = rewound(shrink(network, groups, removed), early, sparse.plan)
    for found, expected in ((full, mask), (small, shrink)):
        wanted = stored(expected(early, groups, removed))
        assert stored(found).keys() == wanted.keys()
        for name, array in stored(found).items():
            np.testing.assert_array_equal(array, wanted[name])
    data = labelled(network)
    start = Start(network=early, recipe=Recipe())
    result = secateur.finetune(sparse.network, data, plan=sparse.plan, rewind=start, **QUICK)
    assert result.start.held_out > 1.5  # fresh weights know nothing
    with pytest.raises(PlanError, match="give the early model before pruning, and the plan"):
        rewound(small, early, None)


def test_fresh_weights_are_those_of_he(network: secateur.Network) -> None:
    fresh = reinitialized(network, 1, None)
    name, weight = max(stored(network).items(), key=lambda item: item[1].size)
    assert weight.ndim >= 2
    deviation = np.sqrt(2.0 / np.prod(weight.shape[1:]))
    assert fresh.array(name).std() == pytest.approx(deviation, rel=0.1)
    for node in fresh.graph:
        if node.op_type == "Conv" and len(node.inputs) > 2:
            assert not fresh.array(str(node.inputs[2].name)).any()
    other = reinitialized(network, 2, None)
    assert (other.array(name) != fresh.array(name)).any()
    again = reinitialized(network, 1, None)
    np.testing.assert_array_equal(again.array(name), fresh.array(name))


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_fresh_weights_of_a_sparse_network_keep_its_zeros(files: list[Path]) -> None:
    network = secateur.load(*files)
    pruned = secateur.prune(
        network, rate=0.4, criterion="l1", repair="none", sparse=True,
        limits=secateur.Limits(round_to=1),
    )  # fmt: skip
    result = secateur.finetune(
        pruned.network, labelled(network), plan=pruned.plan, reinitialize=True, **QUICK
    )
    assert result.start.held_out > 1.5
    assert result.best.step > 0
    secateur.densify(result.network, pruned.plan, repair="none")


def test_only_the_schedule_goes_back(network: secateur.Network) -> None:
    data = labelled(network)
    with pytest.raises(DataError, match="there is no early model to go back to"):
        secateur.finetune(network, data, rewind_rate=True, **QUICK)
    start = secateur.begin(*DARKNET)
    with pytest.raises(DataError, match="only the files' schedule has a moment to go back to"):
        secateur.finetune(start, data, rewind=start, rewind_rate=True, **QUICK)
    with pytest.raises(DataError, match="fresh or those of an early model, not both"):
        secateur.finetune(start, data, rewind=start, reinitialize=True, **QUICK)
    with pytest.raises(DataError, match="fresh weights have no earlier moment"):
        secateur.FinetuneOptions(rewind_rate=True, reinitialize=True)
