"""Fine-tuning: it learns, holds what is to be held, and goes on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import DataError, PlanError
from secateur.core.finetune.checkpoint import Checkpoints
from secateur.core.finetune.finetune import finetune as train
from secateur.core.finetune.lessons import Lessons
from secateur.core.finetune.result import Tell
from secateur.core.finetune.teacher import _matched, _planned, comparisons
from secateur.core.ir.network import blob_refs

pytestmark = pytest.mark.usefixtures("one_thread")

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
LABELLED, UNLABELLED = FIXTURES / "shapes.npz", FIXTURES / "calibration.npz"
QUICK = {"steps": 30, "batch_size": 16, "measurements": 3, "learning_rate": 1e-3}
BRIEF = {**QUICK, "steps": 4, "measurements": 1}


@pytest.fixture(scope="module")
def pruned(network: secateur.Network) -> secateur.PruneResult:
    return secateur.prune(network, rate=0.6, criterion="l1", repair="none")


def labelled(network: secateur.Network, limit: int = 200) -> secateur.Dataset:
    return secateur.open_dataset(LABELLED, network, limit=limit)


def unlabelled(network: secateur.Network) -> secateur.Dataset:
    return secateur.open_dataset(UNLABELLED, network)


def test_labels_make_a_pruned_network_better(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    result = secateur.finetune(pruned.network, labelled(network), **QUICK)
    assert result.best.held_out < 0.8 * result.start.held_out
    assert result.best.step > 0
    assert (result.samples, result.held_out) == (180, 20)
    before = secateur.evaluate(pruned.network, labelled(network)).value
    assert secateur.evaluate(result.network, labelled(network)).value > before


def test_a_teacher_makes_it_better_without_labels(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    result = secateur.finetune(
        pruned.network, unlabelled(network), teacher=network, plan=pruned.plan, **QUICK
    )
    assert {entry.stage for entry in result.history} == {
        "start", "vectors", "features", "features and outputs",
    }  # fmt: skip
    assert result.best.held_out < 0.8 * result.start.held_out
    before, after = (
        secateur.fidelity(network, net, unlabelled(network)).error
        for net in (pruned.network, result.network)
    )
    assert after < before


def test_validation_data_decides_where_it_is_given(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    validation = labelled(network, 60)
    result = secateur.finetune(pruned.network, labelled(network), validation=validation, **QUICK)
    assert result.metric == "Accuracy"
    values = [entry.value for entry in result.history]
    assert result.best.value == max(values)
    assert secateur.evaluate(result.network, validation).value == result.best.value


def test_channels_are_told_apart_as_the_plan_says(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    planned = _planned(network, pruned.plan)
    mine, theirs = pruned.network.values(), network.values()
    # The first convolution alone: behind it, removed channels change the values as well.
    name = next(str(node.outputs[0].name) for node in network.graph if node.op_type == "Conv")
    assert mine[name].shape != theirs[name].shape
    batches = [batch for batch, _ in zip(unlabelled(network), range(2), strict=False)]
    assert _matched(pruned.network, network, [name], batches) == {name: planned[name]}


def test_frozen_layers_and_their_bytes_stay(
    network: secateur.Network, pruned: secateur.PruneResult, tmp_path: Path
) -> None:
    first = next(info.name for info in network.layers if info.stored)
    result = secateur.finetune(pruned.network, labelled(network), freeze=[first], **QUICK)
    for name, value in pruned.network.graph.initializers.items():
        refs = blob_refs(value)
        if not refs:
            continue
        same = result.network.graph.initializers[name].const_value is value.const_value
        assert same == (network.layers[refs[0].layer].name == first)
    assert secateur.save(result.network, tmp_path).difference <= 1e-5


def test_zeros_of_a_sparse_network_stay(network: secateur.Network) -> None:
    sparse = secateur.prune(
        network, rate=0.4, criterion="l1", repair="none", sparse=True,
        limits=secateur.Limits(round_to=1),
    )  # fmt: skip
    result = secateur.finetune(sparse.network, labelled(network), plan=sparse.plan, **QUICK)
    changed = 0
    for name, value in sparse.network.graph.initializers.items():
        if blob_refs(value):
            before, after = sparse.network.array(name), result.network.array(name)
            assert not after[before == 0].any()
            changed += int((before != after).sum())
    assert changed
    dense = secateur.densify(result.network, sparse.plan, repair="none")
    assert dense.verification.difference <= 1e-5


def zeros(network: secateur.Network) -> dict[str, np.ndarray]:
    """Return where the weights of convolutions are 0."""
    names = {str(node.inputs[1].name) for node in network.graph if node.op_type == "Conv"}
    return {name: network.array(name) == 0 for name in sorted(names)}


def test_kernels_that_are_zero_stay_so(network: secateur.Network, tmp_path: Path) -> None:
    sparse = secateur.prune_kernels(network, 0.3)
    held = secateur.finetune(sparse, labelled(network), hold_zeros=True, **BRIEF).network
    free = secateur.finetune(sparse, labelled(network), **BRIEF).network
    before = zeros(sparse)
    assert sum(int(mask.sum()) for mask in before.values()) > 1000
    for name, mask in before.items():
        assert not held.array(name)[mask].any()
        assert (held.array(name)[~mask] != sparse.array(name)[~mask]).any()
    assert any(free.array(name)[mask].any() for name, mask in before.items())
    secateur.save(held, tmp_path)
    again = zeros(secateur.load(*sorted(tmp_path.glob("*.prototxt")), *tmp_path.glob("*model")))
    assert sum(int(mask.sum()) for mask in again.values()) >= sum(
        int(mask.sum()) for mask in before.values()
    )


def test_zeros_are_held_with_fresh_and_with_early_weights(network: secateur.Network) -> None:
    sparse = secateur.prune_kernels(network, 0.3)
    before = zeros(sparse)
    fresh = train(
        sparse, labelled(network), hold_zeros=True, reinitialize=True, **BRIEF
    ).network  # fmt: skip
    early = train(
        sparse, labelled(network), hold_zeros=True, lessons=Lessons(early=network), **BRIEF
    ).network
    for name, mask in before.items():
        for trained in (fresh, early):
            assert not trained.array(name)[mask].any()
            assert trained.array(name)[~mask].all()


def test_zeros_are_held_beside_those_of_a_plan(network: secateur.Network) -> None:
    sparse = secateur.prune(network, rate=0.4, criterion="l1", repair="none", sparse=True)
    both = secateur.prune_kernels(sparse.network, 0.3)
    result = secateur.finetune(
        both, labelled(network), plan=sparse.plan, hold_zeros=True, **BRIEF
    ).network  # fmt: skip
    for name, mask in zeros(both).items():
        assert not result.array(name)[mask].any()
    secateur.densify(result, sparse.plan, repair="none")


def test_there_must_be_zeros_to_hold(network: secateur.Network) -> None:
    with pytest.raises(DataError, match="no weight of the network is 0") as caught:
        secateur.finetune(network, labelled(network), hold_zeros=True, **BRIEF)
    assert caught.value.option == "hold_zeros"
    sparsify = secateur.SparsifyOptions(method="cubic", rate=0.5)
    sparse = secateur.prune_kernels(network, 0.3)
    with pytest.raises(DataError, match="or channels leave during training, not both"):
        secateur.finetune(sparse, labelled(network), hold_zeros=True, sparsify=sparsify, **BRIEF)


class Stopped(Exception):
    """Stands for a kill."""


def stopping(after: int) -> Tell:
    def tell(entry: secateur.FinetuneEntry, network: secateur.Network) -> None:
        if entry.step >= after:
            raise Stopped

    return tell


@pytest.mark.parametrize("after", [10, 20, 30])
@pytest.mark.parametrize("taught", [False, True])
def test_a_resumed_run_ends_with_the_same_bytes(
    network: secateur.Network,
    pruned: secateur.PruneResult,
    tmp_path: Path,
    after: int,
    taught: bool,
) -> None:
    data = unlabelled(network) if taught else labelled(network)
    lessons = Lessons(teacher=network, plan=pruned.plan) if taught else Lessons()
    options = secateur.FinetuneOptions(
        steps=30, batch_size=16, measurements=3, checkpoint=1e-9, augment="usual"
    )
    whole = train(pruned.network, data, options, lessons=lessons)
    kept = Checkpoints(tmp_path)
    with pytest.raises(Stopped):
        train(
            pruned.network, data, options, lessons=lessons, checkpoints=kept, tell=stopping(after)
        )
    assert 1 <= len(list(tmp_path.iterdir())) <= 2
    again = train(pruned.network, data, options, lessons=lessons, checkpoints=kept, resume=True)
    assert again.steps == whole.steps == 30
    assert [entry.held_out for entry in again.history] == [e.held_out for e in whole.history]
    for name in whole.network.graph.initializers:
        np.testing.assert_array_equal(again.network.array(name), whole.network.array(name))


def test_a_checkpoint_of_another_training_is_refused(
    network: secateur.Network, pruned: secateur.PruneResult, tmp_path: Path
) -> None:
    kept = Checkpoints(tmp_path)
    options = secateur.FinetuneOptions(**QUICK, checkpoint=1e-9)
    with pytest.raises(Stopped):
        train(pruned.network, labelled(network), options, checkpoints=kept, tell=stopping(10))
    with pytest.raises(DataError, match="belongs to another training"):
        train(network, labelled(network), options, checkpoints=kept, resume=True)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        train(pruned.network, labelled(network), options, checkpoints=kept, resume=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_explodes_ends_training_with_the_best_before(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    options = {**QUICK, "learning_rate": 1e30, "method": "sgd"}
    result = secateur.finetune(pruned.network, labelled(network), **options)
    assert any("a lower --learning-rate helps" in note for note in result.notes)
    assert all(
        np.isfinite(result.network.array(n)).all() for n in result.network.graph.initializers
    )


@pytest.mark.parametrize("time", [1.0, None])
def test_a_time_ends_with_what_more_of_it_would_bring(
    network: secateur.Network, pruned: secateur.PruneResult, time: float | None
) -> None:
    options = {**QUICK, "steps": 3 if time is None else None, "time": time}
    result = secateur.finetune(pruned.network, labelled(network, 80), **options)
    told = [note for note in result.notes if note.startswith("more time: ")]
    assert len(told) == (time is not None)


def test_what_cannot_be_learned_from_is_refused(network: secateur.Network) -> None:
    with pytest.raises(DataError, match="there is nothing to learn from"):
        secateur.finetune(network, unlabelled(network), **QUICK)
    with pytest.raises(DataError, match="there is no teacher to learn from"):
        secateur.finetune(network, labelled(network), distill=0.5, **QUICK)
    with pytest.raises(PlanError, match="cannot freeze 'nowhere'"):
        secateur.finetune(network, labelled(network), freeze=["nowhere"], **QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "steps": 2}, "give one of epochs, steps and a time"),
        ({"steps": 0}, "must be over 0, got 0"),
        ({"momentum": 1.0}, "from 0 to below 1, got 1"),
        ({"distill": 2.0}, "a share is from 0 to 1, got 2"),
        ({"method": "adma"}, "it is adam or sgd, not adma"),
    ],
)
def test_options_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        secateur.FinetuneOptions(**settings)  # type: ignore[arg-type]  # what users may write


def test_every_layer_can_be_compared(
    network: secateur.Network, pruned: secateur.PruneResult
) -> None:
    result = secateur.finetune(
        pruned.network, unlabelled(network),
        teacher=network, plan=pruned.plan, match="layers", **QUICK,
    )  # fmt: skip
    assert {entry.stage for entry in result.history} == {"start", "vectors", "teacher"}
    weighted = [n for n in network.graph if n.op_type in ("Conv", "Gemm", "MatMul")]
    found = comparisons(pruned.network, network, [], plan=pruned.plan, layers=True)
    assert len(found.layers) == len(weighted)
    assert sum(one.weight for one in found.layers) == pytest.approx(1.0)
    assert result.best.held_out < result.start.held_out
