"""Criteria by gradients, against slow implementations of their formulas on a hand-written model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext, gradients, taylor_second
from secateur.core.criteria.bn_taylor import last_affine
from secateur.core.criteria.gates import find_places, place_counts
from secateur.core.data import NpzDataset
from secateur.core.errors import DataError, UnsupportedError
from secateur.core.ir.network import Network
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph, classes_of

torch = pytest.importorskip("torch")
functional = torch.nn.functional

SAMPLES, BATCH, CLASSES = 40, 16, 4
FAMILY = sorted(name for name, one in CRITERIA.items() if one.gradients)

Gates = dict[str, "torch.Tensor"]
Model = Callable[["torch.Tensor", dict[str, "torch.Tensor"], Gates], "torch.Tensor"]


# -- networks, and the same by hand -----------------------------------------------------------


def coupled() -> Network:
    """A residual sum around a depthwise layer, a grouped layer, a concatenation, a dense layer."""
    g = Graph(seed=3)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 6))
    d = g.conv("d", a, 6, group=6)
    total = g.op("sum", "Add", a, g.conv("b", d, 6, kernel=1))
    x = g.op("pool", "MaxPool", g.op("relu2", "Relu", total), kernel_shape=[2, 2], strides=[2, 2])
    c = g.op("relu3", "LeakyRelu", g.conv("c", x, 4, group=2))
    e = g.conv("e", c, 3)
    fc = g.gemm("fc", g.op("flat", "Flatten", g.op("cat", "Concat", c, e, axis=1)), 5)
    out = g.gemm("out", g.op("relu4", "Relu", fc), CLASSES)
    return classes_of(g.network(prob=g.op("prob", "Softmax", out, axis=1)))


def gate(value: torch.Tensor, gates: Gates, name: str) -> torch.Tensor:
    own = gates.get(name)
    if own is None:
        return value
    return value * (own if own.shape == value.shape else own.reshape(-1, *[1] * (value.dim() - 2)))


def coupled_by_hand(x: torch.Tensor, w: dict[str, torch.Tensor], gates: Gates) -> torch.Tensor:
    def conv(name: str, value: torch.Tensor, padding: int = 1, group: int = 1) -> torch.Tensor:
        made = functional.conv2d(value, w[name], w[f"{name}_bias"], padding=padding, groups=group)
        return gate(made, gates, name)

    a = torch.relu(conv("a", x))
    b = conv("b", conv("d", a, group=6), padding=0)
    pooled = functional.max_pool2d(torch.relu(a + b), 2)
    c = functional.leaky_relu(conv("c", pooled, group=2), 0.01)
    both = torch.cat([c, conv("e", c)], dim=1).flatten(1)
    fc = torch.relu(gate(both @ w["fc"].T + w["fc_bias"], gates, "fc"))
    return fc @ w["out"].T + w["out_bias"]


GATES = {"a": ("a", "b"), "c": ("c",), "e": ("e",), "fc": ("fc",)}
"""Group → its places."""


def normalised() -> Network:
    """Layers with a normalisation, its factors in it or in a layer of their own, and without."""
    g = Graph(channels=2, seed=5)

    def constant(*values: float) -> object:
        return g.builder.constant(values, np.float32)

    first = g.conv("a", g.data, 3, bias=False)
    norm = g.op("bn1", "BatchNormalization", first, constant(1.5, -0.5, 2.0),
                constant(0.1, 0.4, -0.2), constant(0.2, -0.1, 0.3), constant(4, 9, 2),
                epsilon=1e-3)  # fmt: skip
    second = g.conv("b", g.op("relu1", "Relu", norm), 4, bias=False)
    plain = g.op("bn2", "BatchNormalization", second, constant(1, 1, 1, 1),
                 constant(0, 0, 0, 0), constant(0.1, 0.2, -0.3, 0),
                 constant(1, 2, 3, 4))  # fmt: skip
    factor = g.builder.constant(np.reshape([0.5, 2, -1, 1.5], (4, 1, 1)), np.float32)
    shift = g.builder.constant(np.reshape([0.3, -0.2, 0.1, 0.2], (4, 1, 1)), np.float32)
    scaled = g.op("shift", "Add", g.op("scale", "Mul", plain, factor), shift)
    third = g.op("relu3", "Relu", g.conv("c", g.op("relu2", "Relu", scaled), 3))
    out = g.conv("out", third, CLASSES, kernel=1)
    scores = g.op("flat", "Flatten", g.op("mean", "GlobalAveragePool", out))
    return classes_of(g.network(scores=scores), 0.5)


def normalised_by_hand(x: torch.Tensor, w: dict[str, torch.Tensor], gates: Gates) -> torch.Tensor:
    def column(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)

    a = functional.conv2d(x, w["a"], padding=1)
    a = (a - column(0.2, -0.1, 0.3)) / torch.sqrt(column(4, 9, 2) + 1e-3)
    a = gates["a_factor"].reshape(-1, 1, 1) * a + gates["a_shift"].reshape(-1, 1, 1)
    b = functional.conv2d(torch.relu(gate(a, gates, "a")), w["b"], padding=1)
    b = (b - column(0.1, 0.2, -0.3, 0)) / torch.sqrt(column(1, 2, 3, 4) + 1e-5)
    b = gates["b_factor"].reshape(-1, 1, 1) * b + gates["b_shift"].reshape(-1, 1, 1)
    c = functional.conv2d(torch.relu(gate(b, gates, "b")), w["c"], w["c_bias"], padding=1)
    out = functional.conv2d(torch.relu(gate(c, gates, "c")), w["out"], w["out_bias"])
    return out.mean(dim=(2, 3))


AFFINE = {
    "a_factor": [1.5, -0.5, 2.0], "a_shift": [0.1, 0.4, -0.2],
    "b_factor": [0.5, 2, -1, 1.5], "b_shift": [0.3, -0.2, 0.1, 0.2],
}  # fmt: skip


def weights_of(network: Network) -> dict[str, torch.Tensor]:
    """Return weights by layer in double precision; biases as layer_bias."""
    found = {}
    for name in network.graph.initializers:
        layer, _, kind = name.partition("/")
        if kind.startswith("weight"):
            key = f"{layer}_bias" if kind == "weight_1" else layer
            found[key] = torch.from_numpy(network.array(name).astype(np.float64))
    return found


# -- data and formulas ------------------------------------------------------------------------


@pytest.fixture
def batches(tmp_path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Write samples with labels to samples.npz, and return their minibatches."""
    random = np.random.default_rng(11)
    x = random.normal(size=(SAMPLES, 3, 8, 8)).astype(np.float32)
    y = random.integers(0, CLASSES, SAMPLES)
    np.savez(tmp_path / "samples.npz", x=x, y=y)
    np.savez(tmp_path / "two.npz", x=x[:, :2], y=y)
    np.savez(tmp_path / "plain.npz", x=x)
    pairs = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(y)
    return list(zip(*(part.split(BATCH) for part in pairs), strict=True))


def score(name: str, network: Network, data: Path) -> dict[str, np.ndarray]:
    """Return group → scores of its channels."""
    groups = find_groups(network)
    context = ScoreContext(network=network, groups=groups, data=NpzDataset(data, network, batch=7))
    found = CRITERIA[name].score(context)
    assert found.shape == (groups.unit_count,)
    return {group.name: found[list(group.units)] for group in groups.groups if group.prunable}


def fresh(sizes: dict[str, int], places: dict[str, tuple[str, ...]]) -> tuple[Gates, Gates]:
    """Return a gate for each group, and the gate of each place."""
    own = {
        group: torch.ones(sizes[group], dtype=torch.float64, requires_grad=True) for group in places
    }
    return own, {place: own[group] for group, each in places.items() for place in each}


SIZES = {"a": 6, "c": 4, "e": 3, "fc": 5}


def formula(name: str, batches: list) -> dict[str, np.ndarray]:
    """Return the scores of the coupled network by their formulas, with plain autograd."""
    network = coupled()
    weights = weights_of(network)
    total = {group: np.zeros(size) for group, size in SIZES.items()}
    for x, y in batches:
        own, gates = fresh(SIZES, GATES)
        loss = functional.cross_entropy(coupled_by_hand(x, weights, gates), y)
        for group in SIZES:
            (g,) = torch.autograd.grad(loss, own[group], create_graph=True)
            if name == "taylor":
                total[group] += g.detach().numpy() ** 2
            elif name in ("taylor-sample", "sensitivity"):
                total[group] += by_sample(name, group, x, y, weights)
            else:
                h = np.array(
                    [float(torch.autograd.grad(g[k], own[group], retain_graph=True)[0][k])
                     for k in range(len(g))]
                )  # fmt: skip
                first = g.detach().numpy()
                total[group] += (h / 2 - first) ** 2 if name == "taylor-second" else h
    return {group: own / len(batches) / len(GATES[group]) for group, own in total.items()}


def by_sample(name: str, group: str, x: object, y: object, weights: object) -> np.ndarray:
    """Return what single samples add up to in one minibatch."""
    rows = []
    for k in range(len(x)):
        own, gates = fresh(SIZES, GATES)
        loss = functional.cross_entropy(coupled_by_hand(x[k : k + 1], weights, gates), y[k : k + 1])
        rows.append(torch.autograd.grad(loss, own[group])[0].numpy())
    if name == "sensitivity":
        return np.abs(rows).mean(axis=0)
    return np.square(np.array(rows) / len(x)).sum(axis=0)


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for group, expected in wanted.items():
        np.testing.assert_allclose(
            found[group], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=group
        )


@pytest.mark.parametrize("name", ["taylor", "taylor-sample", "sensitivity", "taylor-second", "obd"])
def test_gates_of_coupled_layers_follow_the_formula(name, batches, tmp_path):
    found = score(name, coupled(), tmp_path / "samples.npz")
    assert_same(found, formula(name, batches))


def test_the_gradient_of_a_gate_is_what_the_loss_changes_by(batches, tmp_path):
    """Central differences in double precision, of the mean loss of each minibatch."""
    weights = weights_of(coupled())
    expected = np.zeros(SIZES["a"])
    for x, y in batches:
        for k in range(SIZES["a"]):
            losses = []
            for size in (1 + 1e-5, 1 - 1e-5):
                z = torch.ones(6, dtype=torch.float64)
                z[k] = size
                scores = coupled_by_hand(x, weights, {"a": z, "b": z})
                losses.append(float(functional.cross_entropy(scores, y)))
            expected[k] += ((losses[0] - losses[1]) / 2e-5) ** 2 / len(batches) / 2
    found = score("taylor", coupled(), tmp_path / "samples.npz")["a"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_weights_are_squared_one_by_one_and_filters_of_a_unit_averaged(batches, tmp_path):
    weights = weights_of(coupled())
    filters = {"a": ("a", "b", "d"), "c": ("c",), "e": ("e",), "fc": ("fc",)}
    expected = {group: np.zeros(size) for group, size in SIZES.items()}
    for x, y in batches:
        tracked = {name: w.clone().requires_grad_() for name, w in weights.items()}
        loss = functional.cross_entropy(coupled_by_hand(x, tracked, {}), y)
        loss.backward()
        for group, layers in filters.items():
            for layer in layers:
                w = tracked[layer]
                own = (w * w.grad).detach().square().flatten(1).sum(dim=1).numpy()
                expected[group] += own / len(layers) / len(batches)
    assert_same(score("taylor-weight", coupled(), tmp_path / "samples.npz"), expected)


def test_activations_times_their_gradients_are_normalised_by_group(batches, tmp_path):
    weights = weights_of(coupled())
    expected = {group: np.zeros(size) for group, size in SIZES.items()}
    shapes = {"a": (6, 8, 8), "b": (6, 8, 8), "c": (4, 4, 4), "e": (3, 4, 4), "fc": (5,)}
    for x, y in batches:
        whole = {  # a gate for each number: its gradient is the number times its own
            place: torch.ones((len(x), *shape), dtype=torch.float64, requires_grad=True)
            for place, shape in shapes.items()
        }
        functional.cross_entropy(coupled_by_hand(x, weights, whole), y).backward()
        for group, places in GATES.items():
            for place in places:
                product = whole[place].grad.abs()
                mean = product.mean(dim=[axis for axis in range(product.dim()) if axis != 1])
                expected[group] += mean.numpy() / len(places) / len(batches)
    expected = {group: own / np.linalg.norm(own) for group, own in expected.items()}
    assert_same(score("taylor-output", coupled(), tmp_path / "samples.npz"), expected)


def test_factors_and_shifts_together_are_the_gate(batches, tmp_path):
    """γ·∂γ + β·∂β by plain autograd; a layer without factors has its gate."""
    network = normalised()
    weights = weights_of(network)
    expected = {"a": np.zeros(3), "b": np.zeros(4), "c": np.zeros(3)}
    for x, y in batches:
        gates = {
            name: torch.tensor(own, dtype=torch.float64, requires_grad=True)
            for name, own in (*AFFINE.items(), ("c", [1.0, 1.0, 1.0]))
        }
        functional.cross_entropy(normalised_by_hand(x[:, :2], weights, gates), y).backward()
        for group in "ab":
            parts = [gates[f"{group}_{kind}"] for kind in ("factor", "shift")]
            change = sum((own * own.grad).detach().numpy() for own in parts)
            expected[group] += change**2 / len(batches)
        expected["c"] += gates["c"].grad.numpy() ** 2 / len(batches)
    assert_same(score("bn-taylor", network, tmp_path / "two.npz"), expected)
    assert_same(score("taylor", network, tmp_path / "two.npz"), expected)


def test_the_last_factor_and_the_shifts_behind_it_are_found():
    network = normalised()
    places = {place.nodes[0].name: place for place in find_places(network, find_groups(network))}
    lengths = {len(place.nodes): len(last_affine(place)) for place in places.values()}
    assert lengths == {2: 2, 4: 2, 1: 0}  # with a normalisation; with factors apart; without


def test_a_depthwise_layer_is_no_place_of_its_own():
    network = coupled()
    groups = find_groups(network)
    places = find_places(network, groups)
    assert len(places) == 5  # a, b, c, e, fc
    counts = place_counts(groups, places)
    assert [int(counts[groups.by_name(name).units[0]]) for name in ("a", "c", "e", "fc")] == [
        2, 1, 1, 1,
    ]  # fmt: skip


# -- without labels ---------------------------------------------------------------------------


def test_without_labels_classes_are_drawn_so_that_squares_are_the_fisher_information(
    batches, tmp_path, monkeypatch
):
    """Exact: the mean over classes, by their shares, of the squared gradient of each sample."""
    monkeypatch.setattr(gradients, "DRAWN", 120)
    weights = weights_of(coupled())
    expected = np.zeros(SIZES["a"])
    for x, _ in batches:
        for k in range(len(x)):
            own, gates = fresh(SIZES, GATES)
            logs = torch.log_softmax(coupled_by_hand(x[k : k + 1], weights, gates), dim=1)[0]
            for log in logs:
                (g,) = torch.autograd.grad(log, own["a"], retain_graph=True)
                expected += float(log.detach().exp()) * (g.numpy() / len(x)) ** 2 / len(batches) / 2
    found = score("taylor-sample", coupled(), tmp_path / "plain.npz")["a"]
    np.testing.assert_allclose(found, expected, rtol=0.3)


def image_network() -> Network:
    """A network without classes: its output is a map."""
    g = Graph(seed=2)
    a = g.op("relu", "Relu", g.conv("a", g.data, 5))
    return g.network(y=g.conv("out", a, 2))


def test_other_outputs_get_noise_so_that_squares_are_the_gauss_newton_matrix(
    batches, tmp_path, monkeypatch
):
    monkeypatch.setattr(gradients, "DRAWN", 120)
    weights = weights_of(image_network())
    expected = np.zeros(5)
    for x, _ in batches:
        z = torch.ones(5, dtype=torch.float64)

        def outputs(z: torch.Tensor, x: torch.Tensor = x) -> torch.Tensor:
            a = functional.conv2d(x, weights["a"], weights["a_bias"], padding=1)
            inner = torch.relu(a * z.reshape(-1, 1, 1))
            return functional.conv2d(inner, weights["out"], weights["out_bias"], padding=1)

        square = outputs(z).square().sum() / len(x)
        steps = [outputs(z + 1e-6 * one) - outputs(z - 1e-6 * one) for one in torch.eye(5)]
        own = torch.stack([(step / 2e-6).square().sum() for step in steps])
        own = own / square / len(x) ** 2
        expected += own.numpy() / len(batches)
    found = score("taylor-sample", image_network(), tmp_path / "plain.npz")["a"]
    np.testing.assert_allclose(found, expected, rtol=0.3)


@pytest.mark.parametrize("name", FAMILY)
def test_scores_are_the_same_each_time_and_not_zero_without_labels(
    name, batches, tmp_path, monkeypatch
):
    monkeypatch.setattr(gradients, "DRAWN", 4)
    first, second = (score(name, coupled(), tmp_path / "plain.npz") for _ in range(2))
    for group, own in first.items():
        np.testing.assert_array_equal(own, second[group])
        assert len(np.unique(own)) == len(own)


# -- the estimated diagonal, and what cannot be differentiated --------------------------------


def test_an_estimated_diagonal_comes_near_the_exact_one(batches, tmp_path, monkeypatch):
    exact = score("obd", coupled(), tmp_path / "samples.npz")
    monkeypatch.setattr(taylor_second, "EXACT", 0)
    monkeypatch.setattr(taylor_second, "PROBES", 150)
    estimated = score("obd", coupled(), tmp_path / "samples.npz")
    first, second = (np.concatenate(list(own.values())) for own in (exact, estimated))
    assert np.linalg.norm(second - first) < 0.2 * np.linalg.norm(first)
    assert (first != second).any()


def test_outputs_that_are_no_numbers_are_refused(batches, tmp_path):
    network = coupled()
    broken = np.full_like(network.array("fc/weight"), np.inf)
    with pytest.raises(DataError, match=f"the loss of '{network.name}' has no finite gradient"):
        score("taylor", rebuild(network, tensors={"fc/weight": broken}), tmp_path / "samples.npz")


def test_every_criterion_by_gradients_says_that_it_needs_pytorch(monkeypatch):
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    assert len(FAMILY) == 8
    for name in FAMILY:
        with pytest.raises(UnsupportedError, match=f"criterion '{name}' needs PyTorch") as info:
            CRITERIA[name].check()
        assert "pip install 'secateur[train]'" in str(info.value)
    CRITERIA["l1"].check()
    CRITERIA["oracle"].check()
