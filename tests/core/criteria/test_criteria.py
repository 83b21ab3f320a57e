"""Every criterion: hand-computed scores, determinism, and pruning with the proof holding."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.activations import activations_of, values_read
from secateur.core.criteria.interpolative import pivots
from secateur.core.data import NpzDataset, SyntheticDataset
from secateur.core.data.rebatch import Rebatched
from secateur.core.errors import DataError, PlanError
from secateur.core.ir.rebuild import rebuild
from secateur.core.pruning.prune import prune
from support.graphs import Graph

NAMES = sorted(CRITERIA)
COARSE = ("entropy", "particle")
"""Criteria that count samples or masks, so that few of them leave ties."""

WITH_DATA = [name for name in NAMES if CRITERIA[name].needs_data]


def scores_of(name, network, group, data=None):
    """Return the scores of a group's channels."""
    groups = find_groups(network)
    found = CRITERIA[name].score(ScoreContext(network=network, groups=groups, data=data))
    assert found.shape == (groups.unit_count,)
    chosen = groups.by_name(group)
    return found[list(chosen.units)]


def with_weights(network, **arrays):
    """Return the network with weights given by layer, `a=` the weight and `a_bias=` the bias."""
    suffixes = {True: "/weight_1", False: "/weight"}
    return rebuild(
        network,
        tensors={
            name.removesuffix("_bias") + suffixes[name.endswith("_bias")]: np.asarray(
                array, np.float32
            )
            for name, array in arrays.items()
        },
    )


def pointwise(rows):
    """Return a 1×1 convolution's weight from a matrix."""
    return np.asarray(rows, np.float32)[:, :, None, None]


def two_layers(first, second=None, activation="Relu", channels=2):
    """Return 1×1 convolutions with given weights and an activation between, without biases."""
    g = Graph(channels=channels, size=2)
    a = g.conv("a", g.data, len(first), kernel=1, bias=False)
    second = np.ones((1, len(first))) if second is None else second
    out = g.conv("out", g.op("act", activation, a), len(second), kernel=1, bias=False)
    return with_weights(g.network(y=out), a=pointwise(first), out=pointwise(second))


def samples(tmp_path, network, x, batch=16):
    """Return inputs [samples, channels] as 2×2 images that are the same everywhere."""
    x = np.asarray(x, np.float32)
    path = tmp_path / "data.npz"
    np.savez(path, x=np.broadcast_to(x[:, :, None, None], (*x.shape, 2, 2)))
    return NpzDataset(path, network, batch=batch)


def residual_depthwise_grouped():
    g = Graph()
    a = g.op("relu1", "Relu", g.conv("a", g.data, 12))
    d = g.conv("d", a, 12, group=12)
    b = g.op("sum", "Add", a, g.conv("b", d, 12, kernel=1))
    x = g.op("pool", "MaxPool", g.op("relu2", "Relu", b), kernel_shape=[2, 2], strides=[2, 2])
    c = g.op("relu3", "LeakyRelu", g.conv("c", x, 8, group=2))
    e = g.conv("e", c, 6)
    both = g.op("cat", "Concat", c, e, axis=1)
    fc = g.op("relu4", "Relu", g.gemm("fc", g.op("flat", "Flatten", both), 10))
    return g.network(y=g.gemm("out", fc, 4))


def normalized():
    """A residual sum of two normalised convolutions, one with its factors in a layer of its own."""
    g = Graph(channels=2, size=2)
    a, b = (
        g.conv("a", g.data, 3, kernel=1, bias=False),
        g.conv("b", g.data, 3, kernel=1, bias=False),
    )

    def constant(values):
        return g.builder.constant(values, np.float32)

    zeros, ones = constant([0, 0, 0]), constant([1, 1, 1])
    first = g.op("bn1", "BatchNormalization", a, constant([1, -2, 3]), zeros, zeros, ones)
    second = g.op("bn2", "BatchNormalization", b, ones, zeros, zeros, ones)
    second = g.op("scale", "Mul", second, constant(np.reshape([10, 20, -30], (3, 1, 1))))
    total = g.op("sum", "Add", first, second)
    c = g.conv("c", total, 2, kernel=1, bias=False)
    network = g.network(y=g.conv("out", c, 1, kernel=1))
    return with_weights(network, c=pointwise([[3, 4, 0], [0, 5, 12]]))


# -- weights ---------------------------------------------------------------------------------


def test_l1_and_l2_of_a_filter():
    network = two_layers([[3, -4], [1, 0]])
    assert np.allclose(scores_of("l1", network, "a"), [7, 1])
    assert np.allclose(scores_of("l2", network, "a"), [5, 1])


def test_l2_takes_all_members_of_a_group():
    g = Graph(channels=2, size=2)
    a, b = (g.conv(name, g.data, 2, kernel=1, bias=False) for name in "ab")
    d = g.conv("d", g.op("sum", "Add", a, b), 2, kernel=1, group=2, bias=False)
    network = with_weights(
        g.network(y=g.conv("out", d, 1, kernel=1)),
        a=pointwise([[1, 2], [2, 0]]),
        b=pointwise([[0, 2], [4, 0]]),
        d=pointwise([[4], [5]]),
    )
    assert np.allclose(scores_of("l2", network, "a"), [5, np.sqrt(45)])


def test_scales_of_normalisations_add_up_and_constant_ones_do_not_count():
    network = normalized()
    assert np.allclose(scores_of("bn_scale", network, "a"), [11, 22, 33])
    assert np.allclose(scores_of("bn_scale", network, "c"), [5, 13])  # no scale: the L2 norm


def test_distance_from_the_median_finds_the_filter_between_the_others():
    network = two_layers([[0, 0], [3, 4], [6, 8]])
    assert np.allclose(scores_of("geometric_median", network, "a"), [15, 10, 15])


def test_filters_of_a_grouped_convolution_are_compared_inside_their_group():
    g = Graph(channels=3, size=2)
    a = g.conv("a", g.data, 4, kernel=1, bias=False)
    b = g.conv("b", a, 4, kernel=1, group=2, bias=False)
    network = with_weights(
        g.network(y=g.conv("out", b, 1, kernel=1)), b=pointwise([[0, 0], [3, 4], [1, 0], [1, 1]])
    )
    assert np.allclose(scores_of("geometric_median", network, "b"), [5, 5, 1, 1])


def test_depthwise_filters_count_towards_the_channel_they_filter():
    g = Graph(channels=1, size=2)
    a = g.conv("a", g.data, 3, kernel=1, bias=False)
    d = g.conv("d", a, 3, kernel=1, group=3, bias=False)
    network = with_weights(
        g.network(y=g.conv("out", d, 1, kernel=1)),
        a=pointwise([[0], [1], [2]]),
        d=pointwise([[0], [0], [7]]),
    )
    assert np.allclose(scores_of("geometric_median", network, "a"), [3 + 7, 2 + 7, 3 + 14])


def test_grouped_transposed_filters_are_compared_inside_their_group():
    g = Graph(channels=4, size=2)

    def emit():
        return g.builder.op("ConvTranspose", g.data, g.parameter(4, 2, 1, 1), group=2)

    t = g.layer("t", "ConvTranspose", emit)
    network = with_weights(
        g.network(y=g.conv("out", t, 1, kernel=1)),
        # Rows are inputs, columns the outputs of their group.
        t=pointwise([[0, 3], [0, 4], [1, 1], [1, 3]]),
    )
    assert np.allclose(scores_of("geometric_median", network, "t"), [5, 5, 2, 2])


# -- data ------------------------------------------------------------------------------------


def test_mean_activation_is_what_consumers_read(tmp_path):
    network = two_layers([[1, 0], [0, -1], [2, 1]])
    data = samples(tmp_path, network, [[1, 2], [3, -4]])
    # ReLU of (1, −2, 4) and (3, 4, 2).
    assert np.allclose(scores_of("activation_mean", network, "a", data), [2, 2, 3])


def test_mean_activation_behind_a_depthwise_convolution(tmp_path):
    g = Graph(channels=2, size=2)
    a = g.conv("a", g.data, 2, kernel=1, bias=False)
    d = g.conv("d", a, 2, kernel=1, group=2, bias=False)
    network = with_weights(
        g.network(y=g.conv("out", d, 1, kernel=1)),
        a=pointwise(np.eye(2)),
        d=pointwise([[-10], [1]]),
    )
    data = samples(tmp_path, network, [[1, 2], [3, 4]])
    assert np.allclose(scores_of("activation_mean", network, "a", data), [20, 3])


@pytest.mark.parametrize("name", ["activation_mean", "apoz", "entropy", "interpolative"])
def test_activations_that_are_no_numbers_are_an_error_in_one_line(tmp_path, name):
    network = two_layers([[1, 0], [0, 1], [2, 2]])
    data = samples(tmp_path, network, [[1, 2], [3e38, 3e38], [1, 0]])
    with pytest.raises(DataError, match="'act/Relu' of 'net' is infinite or no number") as info:
        scores_of(name, network, "a", data)
    assert "--mean" in str(info.value.hint)


def test_apoz_counts_what_is_above_zero(tmp_path):
    network = two_layers([[1, 0], [0, 1], [-1, -1]])
    data = samples(tmp_path, network, [[1, 2], [3, -4], [-1, -5], [1, 1]])
    assert np.allclose(scores_of("apoz", network, "a", data), [0.75, 0.5, 0.5])


def test_apoz_looks_before_pooling(tmp_path):
    g = Graph(channels=1, size=2)
    a = g.op("act", "Relu", g.conv("a", g.data, 2, kernel=1, bias=False))
    pooled = g.op("pool", "MaxPool", a, kernel_shape=[2, 2])
    flat = g.op("flat", "Flatten", pooled)
    network = with_weights(g.network(y=g.gemm("out", flat, 1)), a=pointwise([[1], [-1]]))
    np.savez(tmp_path / "d.npz", x=np.array([1, 2, 3, -4], np.float32).reshape(1, 1, 2, 2))
    data = NpzDataset(tmp_path / "d.npz", network)
    assert np.allclose(scores_of("apoz", network, "a", data), [0.75, 0.25])


def test_thinet_removes_what_adds_least_to_what_is_gone(tmp_path):
    # Contributions of the channels to the one output are x, 3x, −3x − y/8 and 4y.
    network = two_layers(
        [[1, 0], [3, 0], [-3, -0.125], [0, 4]], second=[[1, 1, 1, 1]], activation="Identity"
    )
    data = samples(tmp_path, network, [[1, 1], [1, -1]])
    # First x alone (energy 1). Then 4x, −2x − y/8, x + 4y cost 16, 4.02, 17: the third. Of what is
    # left −2x − y/8 plus 3x or 4y costs 1.02 or 19.
    assert np.allclose(scores_of("thinet", network, "a", data), [0, 0.5, 0.25, 0.75])


def test_thinet_takes_in_all_taps_and_outputs(tmp_path):
    # Two outputs; energies of single channels: (1+4)·1, (9)·0.25, 16·0.0625 with E x² given below.
    network = two_layers(
        np.eye(3), second=[[1, 3, 0], [2, 0, 4]], activation="Identity", channels=3
    )
    x = np.array([[1, 0.5, 0.25], [1, -0.5, 0.25], [-1, 0.5, 0.25], [-1, -0.5, 0.25]])
    data = samples(tmp_path, network, x)
    # 5, 2.25, 1 and no cross terms: they leave in the order 2, 1, 0.
    assert np.allclose(scores_of("thinet", network, "a", data), [2 / 3, 1 / 3, 0])


def read_in_two_groups(rows):
    """Return a layer of four channels of which two convolution groups read two each."""
    g = Graph(channels=2, size=2)
    a = g.conv("a", g.data, 4, kernel=1, bias=False)
    b = g.conv("b", a, 2, kernel=1, group=2, bias=False)
    network = g.network(y=g.conv("out", b, 1, kernel=1))
    return with_weights(network, a=pointwise(rows), b=pointwise(np.ones((2, 2))))


def test_channels_of_different_shares_do_not_stand_for_one_another(tmp_path):
    network = read_in_two_groups([[3, 0], [0, 1], [3, 0], [0, 2]])
    data = samples(tmp_path, network, np.eye(2))
    assert np.allclose(scores_of("interpolative", network, "a", data), [1, 0.5, 1, 0.5])


def test_thinet_chooses_in_every_share(tmp_path):
    network = read_in_two_groups([[1, 0], [2, 0], [0, 3], [0, 1]])
    data = samples(tmp_path, network, [[1, 1], [1, -1]])
    assert np.allclose(scores_of("thinet", network, "a", data), [0, 0.5, 0.5, 0])


def test_thinet_weighs_consumers_by_their_own_energy(tmp_path):
    g = Graph(channels=2, size=2)
    a = g.conv("a", g.data, 2, kernel=1, bias=False)
    one, two = (g.conv(name, a, 1, kernel=1, bias=False) for name in ("one", "two"))
    network = with_weights(
        g.network(y=one, z=two),
        a=pointwise(np.eye(2)),
        one=pointwise([[1, 3]]),
        two=pointwise([[2000, 1000]]),
    )
    data = samples(tmp_path, network, [[1, 1], [1, -1]])
    # 1/10 + 4/5 against 9/10 + 1/5.
    assert np.allclose(scores_of("thinet", network, "a", data), [0, 0.5])


def test_pivots_are_those_of_the_definition():
    matrix = np.array([[3.0, 0, 3, 1], [0, 2, 2, 0], [0, 0, 0.5, 0]])
    # ‖columns‖² = 9, 4, 13.25, 1. After the third, the first keeps 9 − (9/3.64)² = 2.89 and the
    # second 4 − (4/3.64)² = 2.79. Then the second, and the last depends on the first.
    assert pivots(matrix) == [2, 0, 1, 3]
    assert pivots(np.zeros((2, 2))) == [0, 1]


def test_interpolative_lets_a_copy_go_first(tmp_path):
    rows = [[1, 0, 0], [0, 3, 0], [0, 3, 0.25], [0, 0, 2]]
    network = two_layers(rows, activation="Identity", channels=3)
    data = samples(tmp_path, network, np.eye(3))
    # Pivots: the third (9.06), the last (4 less a little), the first (1), what is left is small.
    assert np.allclose(scores_of("interpolative", network, "a", data), [0.5, 0.25, 1, 0.75])


def test_interpolative_is_the_qr_of_all_samples_at_once(tmp_path):
    g = Graph(channels=3, size=4)
    a = g.op("act", "Relu", g.conv("a", g.data, 8))
    network = g.network(y=g.gemm("out", g.op("flat", "Flatten", a), 3))
    x = np.random.default_rng(1).normal(size=(40, 3, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    data = NpzDataset(tmp_path / "d.npz", network)
    from secateur.core.engine.session import Session
    from secateur.core.ir.partial import between

    name = str(a.name)
    (z,) = Session(between(network, ["data"], [name])).run({"data": x}).values()
    whole = z.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, 8)
    got = scores_of("interpolative", network, "a", data)
    assert np.argsort(-got).tolist() == list(pivots(whole))


# -- properties of all -----------------------------------------------------------------------


def test_what_consumers_read_is_found():
    network = residual_depthwise_grouped()
    groups = find_groups(network)
    layers = [name.split("/")[0] for name in values_read(network, groups)]
    assert layers == ["d", "pool", "relu3", "flat", "relu4"]
    made = [
        name.split("/")[0] for name in activations_of(network, groups, values_read(network, groups))
    ]
    assert made == ["d", "relu2", "relu3", "e", "relu4"]


def test_even_batches_hold_the_same_samples():
    network = residual_depthwise_grouped()
    data = SyntheticDataset(network, samples=11, batch=4)
    whole = np.concatenate([batch.inputs["data"] for batch in data])
    even = list(Rebatched(data, 6))
    assert [batch.size for batch in even] == [6, 5]
    assert np.array_equal(np.concatenate([batch.inputs["data"] for batch in even]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_deterministic_and_independent_of_the_batch(name, tmp_path):
    network = residual_depthwise_grouped()
    groups = find_groups(network)
    x = np.random.default_rng(0).normal(size=(37, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    found = [
        CRITERIA[name].score(ScoreContext(network=network, groups=groups, data=data))
        for data in (NpzDataset(tmp_path / "d.npz", network, batch=b) for b in (16, 16, 5, 37))
    ]
    assert np.isfinite(found[0]).all()
    assert all(np.array_equal(found[0], other) for other in found[1:])
    chosen = groups.by_name("a")
    assert len(set(found[0][list(chosen.units)])) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("repair", [True, False])
def test_a_mixed_network_is_pruned_with_the_proof_holding(name, repair):
    network = residual_depthwise_grouped()
    data = SyntheticDataset(network, samples=24)
    pruned = prune(network, rate=0.5, criterion=name, data=data, repair=repair)
    assert pruned.plan.provenance["criterion"] == name
    assert pruned.plan.provenance["proof"]["masked_equals_dense"] < 1e-4
    assert 0.4 <= pruned.plan.provenance["rate"]["achieved"] <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_normalised_channels_are_pruned_with_the_proof_holding(name):
    network = normalized()
    data = SyntheticDataset(network, samples=8)
    pruned = prune(network, rate=0.4, criterion=name, data=data)
    assert pruned.plan.provenance["proof"]["masked_equals_dense"] < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_channels_that_only_a_transposed_convolution_reads_get_scores(name):
    g = Graph(channels=3, size=4)
    a = g.op("act", "Relu", g.conv("a", g.data, 6))

    def emit():
        return g.builder.op("ConvTranspose", a, g.parameter(6, 4, 2, 2), strides=[2, 2])

    t = g.layer("t", "ConvTranspose", emit)
    network = g.network(y=g.conv("out", t, 2))
    scores = scores_of(name, network, "a", SyntheticDataset(network, samples=8))
    assert len(set(scores)) >= (2 if name in COARSE else 6)


@pytest.mark.parametrize("name", WITH_DATA)
def test_a_criterion_that_needs_data_says_so(name):
    with pytest.raises(PlanError, match=f"criterion '{name}' needs data"):
        prune(residual_depthwise_grouped(), rate=0.3, criterion=name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_DATA])
def test_a_criterion_on_weights_needs_no_data(name):
    pruned = prune(residual_depthwise_grouped(), rate=0.3, criterion=name)
    assert pruned.plan.provenance["rate"]["achieved"] > 0.2


def test_the_table_of_criteria_names_its_sources():
    with_data = {"activation_mean", "apoz", "entropy", "interpolative", "particle", "thinet"}
    alone = {
        "bn_scale", "dfpc", "geometric_median", "l1", "l2", "lamp", "lean", "random", "similarity",
        "synflow",
    }  # fmt: skip
    assert with_data | alone <= set(NAMES)
    assert with_data <= set(WITH_DATA)
    assert not alone & set(WITH_DATA)
    assert all(entry.summary and entry.source for entry in CRITERIA.values())
