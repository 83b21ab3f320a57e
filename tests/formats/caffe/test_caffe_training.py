"""Solver files, snapshots, and what a net says about training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.core.errors import FormatError, SecateurError, UnsupportedError
from secateur.core.training.solvers.adaptive import Adam
from secateur.core.training.solvers.sgd import RatedMomentum
from secateur.core.training.solvers.solver import Progress
from secateur.formats.caffe.reader import load
from secateur.formats.caffe.solver import read_solver
from secateur.formats.caffe.solverstate import SolverState, read_solverstate, solverstate_bytes
from secateur.formats.caffe.training import recipe
from support.random_weights import caffemodel_for
from support.training import GOLDEN, need_torch

BASE = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" '


def solver(folder: Path, text: str):
    path = folder / "solver.prototxt"
    path.write_text(text)
    return read_solver(path)


def test_defaults(tmp_path):
    found = solver(tmp_path, BASE)
    settings = found.settings()
    assert settings.method == RatedMomentum(momentum=0)
    assert (settings.passes, settings.divisor, settings.clip, settings.decay) == (1, 1, None, 0)
    assert found.net == "net.prototxt"
    assert found.test_initialization
    assert found.snapshot_format == "BINARYPROTO"
    assert settings.schedule.base == np.float32(0.1)


def test_the_old_enumeration_of_types(tmp_path):
    for word in ("ADAM", "5"):
        settings = solver(tmp_path, f"{BASE} solver_type: {word} momentum: 0.9").settings()
        assert isinstance(settings.method, Adam)


REFUSED = {
    'type: "Lion"': "unknown solver type 'Lion'",
    'type: "SGD" solver_type: ADAM': "give type or the old solver_type, not both",
    'type: "AdaGrad" momentum: 0.9': "momentum cannot be used with AdaGrad",
    'type: "RMSProp" rms_decay: 1.0': r"rms_decay must lie in \[0, 1\)",
    "iter_size: 0": "iter_size must be positive",
    'regularization_type: "L3"': "regularization_type must be L1 or L2",
    'lr_policy: "step"': "given twice",
    "base_lr: fast": "'fast' is not a number",
    'layer { name: "x" }': "this is a net, not a solver file",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_fields(text, tmp_path):
    with pytest.raises(SecateurError, match=REFUSED[text]) as info:
        solver(tmp_path, (BASE.replace("base_lr: 0.1", "") if "base_lr" in text else BASE) + text
               ).settings()  # fmt: skip
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ('"step"', "lr_policy step needs a positive stepsize"),
        ('"poly"', "lr_policy poly needs a positive max_iter"),
        ('"exp" gamma: -1', "gamma must not be negative"),
        ('"cosine"', "unknown lr_policy 'cosine'"),
        ('""', "unknown lr_policy ''"),
    ],
)
def test_refused_policies(policy, message, tmp_path):
    with pytest.raises(SecateurError, match=message):
        solver(tmp_path, f"base_lr: 0.1 lr_policy: {policy}").settings()


def state() -> SolverState:
    history = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(2.5, np.float32))
    return SolverState(
        progress=Progress(updates=12, step=3, history=history), learned_net="snap_iter_12"
    )


@pytest.mark.parametrize("hdf5", [False, True])
def test_a_snapshot_comes_back(hdf5, tmp_path):
    path = tmp_path / "snap.solverstate"
    path.write_bytes(solverstate_bytes(state(), hdf5=hdf5))
    found = read_solverstate(path)
    assert (found.learned_net, found.progress.updates, found.progress.step) == (
        "snap_iter_12", 12, 3,
    )  # fmt: skip
    for got, want in zip(found.progress.history, state().progress.history, strict=True):
        np.testing.assert_array_equal(got, want)


def test_broken_snapshots_are_refused(tmp_path):
    path = tmp_path / "snap.solverstate"
    whole = solverstate_bytes(state())
    for data, message in (
        (b"", "it holds no iteration"),
        (whole[: len(whole) // 2], "no solver's state"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "the HDF5 file is no solver's state"),
        (whole.replace(b"\x3a\x04\x0a\x02\x02\x03", b"\x3a\x04\x0a\x02\x02\x04"), "holds 6 values"),
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            read_solverstate(path)


def test_snapshots_of_the_engine_come_back_byte_for_byte():
    found = sorted(GOLDEN.glob("caffe/*/*.solverstate"))
    for path in found:
        assert solverstate_bytes(read_solverstate(path)) == path.read_bytes(), path
    assert found or not GOLDEN.is_dir()


NET = """
name: "net"
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 2 dim: 3 }} shape {{ dim: 2 }} }} top: "label" }}
layer {{ name: "first" type: "InnerProduct" bottom: "data" top: "first" {first}
  inner_product_param {{ num_output: 4 }} }}
layer {{ name: "second" type: "InnerProduct" bottom: "first" top: "second" {second}
  inner_product_param {{ num_output: 4 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "second" bottom: "label" top: "loss" {loss} }}
"""


def net(folder: Path, text: str, *, training: bool = True):
    files = folder / "net.prototxt", folder / "net.caffemodel"
    files[0].write_text(text)
    files[1].write_bytes(caffemodel_for(text.encode()))
    return load(*files, phase="TRAIN", training=training)


def test_factors_of_blobs(tmp_path):
    first = "param { lr_mult: 0 } param { lr_mult: 2 decay_mult: 0 }"
    network = net(tmp_path, NET.format(first=first, second="", loss="loss_weight: 0.3"))
    found = recipe(network)
    assert [(r.name, r.rate, r.decay) for r in found.rules] == [
        ("first/weight", 0, 1), ("first/bias", 2, 0),
        ("second/weight", 1, 1), ("second/bias", 1, 1),
    ]  # fmt: skip
    assert found.frozen == {"first/weight"}
    (objective,) = found.objectives
    assert (objective.name, objective.weight) == ("loss", 0.3)
    assert objective.reads == (network.layers[2].tops[0], "label")


def test_factors_of_old_layers(tmp_path):
    text = """
input: "data" input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1
layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0 inner_product_param { num_output: 2 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""
    found = recipe(net(tmp_path, text))
    assert [(r.rate, r.decay) for r in found.rules] == [(1, 1), (2, 0)]
    assert found.objectives == ()


def test_shared_blobs_have_one_rule(tmp_path):
    one, other = 'param { name: "w" lr_mult: 3 }', 'param { name: "w" }'
    text = NET.replace("dim: 3", "dim: 4")
    found = recipe(net(tmp_path, text.format(first=one, second=other, loss="")))
    assert [(r.name, r.rate) for r in found.rules] == [
        ("first/weight", 3), ("first/bias", 1), ("second/bias", 1),
    ]  # fmt: skip
    with pytest.raises(FormatError, match="layers that share a blob give it different lr_mult"):
        recipe(net(tmp_path, text.format(
            first=one, second='param { name: "w" lr_mult: 2 }', loss=""
        )))  # fmt: skip


def test_any_top_may_be_minimised(tmp_path):
    text = NET.format(first="", second="loss_weight: 0.5", loss="loss_weight: 0")
    (objective,) = recipe(net(tmp_path, text)).objectives
    assert (objective.name, objective.weight) == ("second", 0.5)
    with pytest.raises(FormatError, match="2 loss_weight for 1 tops"):
        recipe(net(tmp_path, NET.format(first="", second="loss_weight: [1, 2]", loss="")))


def test_labels_of_data_layers_are_read_from_the_batch(tmp_path):
    torch = need_torch()
    from secateur.core.errors import DataError
    from secateur.core.training.criterion import Criterion
    from secateur.core.training.module import TrainingModule

    text = """
layer { name: "d" type: "MemoryData" top: "data" top: "target"
  memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "target" top: "loss" }
"""
    network = net(tmp_path, text)
    found = recipe(network)
    assert found.objectives[0].reads == (network.layers[1].tops[0], "target")
    module, criterion = TrainingModule(network).train(), Criterion(found.objectives)
    data = torch.ones(2, 3, 1, 1)
    losses = criterion(module, {"data": data, "target": torch.tensor([0.0, 3.0])})
    losses.total.backward()
    assert module.tensor("fc/weight").grad.abs().sum() > 0
    with pytest.raises(DataError, match="the data holds no 'target', which loss 'loss' reads"):
        criterion(module, {"data": data})


def test_only_a_network_read_for_training_has_a_recipe(tmp_path):
    text = NET.format(first="", second="", loss="")
    with pytest.raises(FormatError, match="read for inference"):
        recipe(net(tmp_path, text, training=False))


DROP = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 4 } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" dropout_param { dropout_ratio: RATIO } }
layer { name: "bn" type: "BatchNorm" bottom: "fc" top: "bn" STATS }
"""


def test_dropout_and_statistics_are_in_the_graph_for_training_only(tmp_path):
    text = DROP.replace("RATIO", "0.3").replace(
        "STATS", "batch_norm_param { use_global_stats: false }"
    )
    plain, trained = (net(tmp_path, text, training=training) for training in (False, True))
    kinds = [{node.op_type for node in network.graph} for network in (plain, trained)]
    assert kinds[0] & {"Dropout", "BatchNormalization"} == set()
    assert kinds[1] == {"Gemm", "Dropout", "BatchNormalization"}
    assert "bn/factor" in trained.graph.initializers
    found = recipe(trained)
    (rule,) = found.statistics.values()
    assert (rule.frozen, rule.fraction, rule.factor) == (False, 0.999, "bn/factor")
    assert [r.rate for r in found.rules] == [1, 1, 0, 0, 0]
    source = trained.source
    assert source.render(trained) == {
        path.suffix: path.read_bytes() for path in source.paths.values()
    }


def test_frozen_statistics(tmp_path):
    text = DROP.replace("RATIO", "0.3").replace(
        "STATS", "batch_norm_param { use_global_stats: true }"
    )
    (rule,) = recipe(net(tmp_path, text)).statistics.values()
    assert rule.frozen
    with pytest.raises(FormatError, match="their lr_mult must be 0"):
        recipe(net(tmp_path, DROP.replace("RATIO", "0.3").replace("STATS", "param { lr_mult: 1 }")))


def test_a_dropout_of_nothing_or_everything_is_refused(tmp_path):
    for ratio in ("0", "1"):
        with pytest.raises(FormatError, match="dropout_ratio must lie between 0 and 1"):
            net(tmp_path, DROP.replace("RATIO", ratio).replace("STATS", ""))


def test_losses_that_are_not_supported_say_so(tmp_path):
    text = """
layer { name: "d" type: "MemoryData" top: "data" top: "gt"
  memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 8 } }
layer { name: "loss" type: "MultiBoxLoss" bottom: "fc" bottom: "fc" bottom: "fc" bottom: "gt"
  top: "loss" multibox_loss_param { num_classes: 3 MORE } }
"""
    for more, message in (
        ("share_location: false", "share_location: false goes with mining_type: NONE alone"),
        ("nms_param { nms_threshold: 0.5 }", "mining with nms_param cannot be trained"),
        ("do_neg_mining: false", "do_neg_mining contradicts mining_type"),
    ):
        with pytest.raises((UnsupportedError, FormatError), match=message):
            recipe(net(tmp_path, text.replace("MORE", more)))
    (objective,) = recipe(net(tmp_path, text.replace("MORE", "neg_pos_ratio: 2"))).objectives
    assert objective.loss.ratio == 2
    assert objective.loss.shared
    more = "share_location: false mining_type: NONE"
    (objective,) = recipe(net(tmp_path, text.replace("MORE", more))).objectives
    assert not objective.loss.shared
    assert objective.reads == (*[objective.reads[0]] * 3, "gt")
