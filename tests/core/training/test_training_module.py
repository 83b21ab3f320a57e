"""A network as a PyTorch module: what it computes, what it trains, and its way back to files."""

from __future__ import annotations

import copy

import numpy as np
import onnx_ir as ir
import pytest

from secateur.core.engine.session import Session
from secateur.core.errors import UnsupportedError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import BlobRef, LayerInfo, Network
from secateur.core.training.recipe import Statistics
from support.training import need_torch

FLOAT = int(ir.DataType.FLOAT)


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def module_of(network, **settings):
    from secateur.core.training.module import TrainingModule

    return TrainingModule(network, **settings)


class Net(Builder):
    """A graph with parameters of layer 0."""

    def __init__(self):
        super().__init__("net")
        self.layer = 0
        self.scope = "layer"

    def weight(self, name: str, array: np.ndarray) -> ir.Value:
        return self.parameter(array.astype(np.float32), BlobRef(0, len(self._initializers), name))

    def network(self, *outputs: ir.Value) -> Network:
        model = self.finish({f"y{k}": value for k, value in enumerate(outputs)})
        info = LayerInfo(
            name="layer", type="Test", tops=tuple(f"y{k}" for k in range(len(outputs)))
        )
        return Network(name="net", model=model, layers=(info,))


def convolution(seed: int = 0) -> Network:
    random = np.random.default_rng(seed)
    net = Net()
    x = net.input("x", ["N", 2, 6, 6])
    weight = net.weight("weight", random.normal(size=(3, 2, 3, 3)))
    bias = net.weight("bias", random.normal(size=3))
    y = net.op("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1, 0, 0, 1], strides=[2, 1])
    return net.network(net.op("Relu", y))


def test_an_unchanged_network_stays_the_same_object(torch):
    network = convolution()
    module = module_of(network).train()
    module(torch.zeros(1, 2, 6, 6))
    assert module.network() is network


def test_only_what_was_trained_gets_a_new_tensor(torch):
    network = convolution()
    module = module_of(network)
    with torch.no_grad():
        module.tensor("layer/bias").add_(1)
    back = module.network()
    before, after = network.graph.initializers, back.graph.initializers
    assert after["layer/weight"].const_value is before["layer/weight"].const_value
    np.testing.assert_array_equal(back.array("layer/bias"), network.array("layer/bias") + 1)
    assert sorted(module.state_dict()) == ["layer/bias", "layer/weight"]


def test_gradients_are_those_of_finite_differences(torch):
    network = convolution()
    module = module_of(network).double()
    x = torch.rand(2, 2, 6, 6, dtype=torch.float64)
    weight = module.tensor("layer/weight")

    def loss():
        return module(x)["y0"].square().sum()

    loss().backward()
    with torch.no_grad():
        for place in [(0, 0, 0, 0), (2, 1, 1, 2), (1, 0, 2, 1)]:
            step, found = 1e-6, []
            for sign in (1, -1):
                weight[place] += sign * step
                found.append(float(loss()))
                weight[place] -= sign * step
            slope = (found[0] - found[1]) / (2 * step)
            assert weight.grad[place].item() == pytest.approx(slope, rel=1e-5)


def test_names_with_dots_are_kept(torch):
    net = Net()
    net.scope = "block.0"
    x = net.input("x", ["N", 3])
    network = net.network(net.op("MatMul", x, net.weight("weight", np.eye(3))))
    module = module_of(network)
    assert [name for name, _ in module.named_parameters()] == ["block.0/weight"]
    again = module_of(network)
    again.load_state_dict(module.state_dict())


def test_a_copy_is_independent(torch):
    module = module_of(convolution(), frozen=["layer/bias"]).train()
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.tensor("layer/weight").zero_()
    assert module.tensor("layer/weight").abs().sum() > 0
    assert not other.tensor("layer/bias").requires_grad
    assert other.training


def threshold_net(*, behind: bool) -> Network:
    """A comparison with a trained layer before it, or behind it only."""
    net = Net()
    x = net.input("x", ["N", 3])
    if not behind:
        x = net.op("MatMul", x, net.weight("first", np.eye(3)))
    hard = net.op("Cast", net.op("Greater", x, net.constant(0.5, np.float32)), to=FLOAT)
    return net.network(net.op("MatMul", hard, net.weight("last", np.eye(3))))


def test_an_operator_without_gradient_is_refused_by_name(torch):
    module = module_of(threshold_net(behind=False)).train()
    with pytest.raises(UnsupportedError, match=r"layer 'layer'.*Greater.*'layer/first'"):
        module(torch.ones(1, 3))
    with torch.no_grad():
        assert module(torch.ones(1, 3))["y0"].sum() == 3
    assert module.eval()(torch.ones(1, 3))["y0"].sum() == 3


def test_an_operator_without_gradient_is_computed_where_none_passes(torch):
    for module in (
        module_of(threshold_net(behind=True)),
        module_of(threshold_net(behind=False), frozen=["layer/first"]),
    ):
        module.train()(torch.ones(1, 3))["y0"].sum().backward()
        np.testing.assert_array_equal(module.tensor("layer/last").grad, np.ones((3, 3)))


def test_a_mask_does_not_stand_in_the_way_of_what_it_masks(torch):
    net = Net()
    x = net.op("MatMul", net.input("x", ["N", 2]), net.weight("weight", np.eye(2)))
    mask = net.op("Cast", net.op("Greater", x, net.constant(0.5, np.float32)), to=FLOAT)
    module = module_of(net.network(net.op("Mul", x, mask))).train()
    module(torch.tensor([[1.0, 0.0]]))["y0"].sum().backward()
    np.testing.assert_array_equal(module.tensor("layer/weight").grad, [[1, 0], [0, 0]])


def test_an_unknown_operator_is_refused_only_where_it_is_needed(torch):
    net = Net()
    x = net.input("x", ["N", 4])
    y = net.op("MatMul", x, net.weight("weight", np.eye(4)))
    network = net.network(net.op("Det", net.op("Reshape", y, net.constant([2, 2]))), y)
    module = module_of(network)
    assert module(torch.ones(1, 4), ["y1"])["y1"].sum() == 4
    with pytest.raises(UnsupportedError, match="operator Det cannot be trained"):
        module(torch.ones(1, 4))


def normalised(epsilon: float = 1e-5) -> Network:
    net = Net()
    x = net.input("x", ["N", 2, 3, 3])
    vectors = [
        net.weight("scale", np.array([1.5, 0.5])), net.weight("shift", np.array([0.1, -0.2])),
        net.weight("mean", np.array([0.3, -0.1])), net.weight("variance", np.array([1.2, 0.7])),
    ]  # fmt: skip
    net.weight("factor", np.array([3.0]))
    return net.network(net.op("BatchNormalization", x, *vectors, epsilon=epsilon))


def batch(torch):
    return torch.from_numpy(np.random.default_rng(0).normal(1, 2, (4, 2, 3, 3)).astype(np.float32))


def test_batch_norm_moves_its_statistics_by_a_fixed_share(torch):
    rule = Statistics(fraction=0.99, epsilon=1e-3)
    module = module_of(normalised(), statistics={"y0": rule}).train()
    x = batch(torch)
    y = module(x)["y0"].detach().numpy()
    mean, variance = x.mean((0, 2, 3)).numpy(), x.var((0, 2, 3), unbiased=False).numpy()
    column = (1, 2, 1, 1)
    unit = (x.numpy() - mean.reshape(column)) / np.sqrt(variance.reshape(column) + 1e-3)
    wanted = unit * np.array([1.5, 0.5]).reshape(column) + np.array([0.1, -0.2]).reshape(column)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    corrected = variance * 36 / 35
    np.testing.assert_allclose(
        module.tensor("layer/mean"), 0.99 * np.array([0.3, -0.1]) + 0.01 * mean, rtol=1e-5
    )
    np.testing.assert_allclose(
        module.tensor("layer/variance"), 0.99 * np.array([1.2, 0.7]) + 0.01 * corrected, rtol=1e-5
    )


def test_batch_norm_moves_its_statistics_by_a_weighted_mean(torch):
    rule = Statistics(fraction=0.9, factor="layer/factor")
    module = module_of(normalised(), statistics={"y0": rule}).train()
    x = batch(torch)
    module(x)
    sums = 0.9 * 3 * np.array([0.3, -0.1]) + x.mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(module.tensor("layer/factor"), [0.9 * 3 + 1], rtol=1e-6)
    np.testing.assert_allclose(module.stored("layer/mean"), sums, rtol=1e-5)


def test_frozen_statistics_stay(torch):
    module = module_of(normalised(), statistics={"y0": Statistics(frozen=True)}).train()
    before = module.eval()(batch(torch))["y0"]
    after = module.train()(batch(torch))["y0"]
    assert torch.equal(before, after)
    assert module.network() is module.source


def test_one_value_a_channel_is_its_own_mean(torch):
    net = Net()
    x = net.input("x", ["N", 2])
    ones = [net.weight(name, np.ones(2)) for name in ("scale", "shift", "mean", "variance")]
    module = module_of(net.network(net.op("BatchNormalization", x, *ones))).train()
    y = module(torch.tensor([[3.0, 4.0]]))["y0"]
    np.testing.assert_array_equal(y.detach(), [[1, 1]])
    np.testing.assert_allclose(module.tensor("layer/mean"), [1.2, 1.3], rtol=1e-6)


def test_dropout_drops_in_training_only(torch):
    net = Net()
    x = net.input("x", ["N", 1000])
    network = net.network(net.op("Dropout", x, net.constant(0.3, np.float32)))
    module = module_of(network)
    ones = torch.ones(1, 1000)
    assert torch.equal(module.eval()(ones)["y0"], ones)
    torch.manual_seed(0)
    y = module.train()(ones)["y0"]
    assert y.unique().tolist() == [0, pytest.approx(1 / 0.7)]
    assert 600 < int((y > 0).sum()) < 800
    kept = torch.zeros(1, 1000)
    kept[:, :10] = 1
    module.mode.draw = lambda _key, _x, ratio: kept if ratio == pytest.approx(0.3) else None
    assert int((module(ones)["y0"] > 0).sum()) == 10


def test_inner_memory_is_freed_without_gradients(torch):
    module = module_of(convolution())
    plan = module._compile(("y0",), ())
    assert [step.done for step in plan.steps] != [()] * len(plan.steps)
    with torch.no_grad():
        assert module(torch.zeros(1, 2, 6, 6))["y0"].shape == (1, 3, 3, 5)


def test_channels_last_computes_the_same(torch):
    network = convolution()
    x = torch.rand(2, 2, 6, 6)
    found = []
    for last in (False, True):
        module = module_of(network, channels_last=last)
        y = module(x)["y0"]
        y.square().sum().backward()
        found.append((y.detach(), module.tensor("layer/weight").grad))
        assert module.network() is network
    assert module.tensor("layer/weight").is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsampling_by_whole_numbers(mode, torch):
    net = Net()
    x = net.input("x", ["N", 1, 2, 3])
    scales = net.constant([1, 1, 2, 3], np.float32)
    y = net.op(
        "Resize", x, None, scales, mode=mode, nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    network = net.network(y)
    data = np.random.default_rng(0).random((2, 1, 2, 3), dtype=np.float32)
    wanted = Session(network, threads=1).run({"x": data})["y0"]
    feed = torch.from_numpy(data).requires_grad_()
    found = module_of(network)(feed)["y0"]
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-6)
    found.sum().backward()
    assert feed.grad.sum().item() == pytest.approx(2 * 36)
    if mode == "nearest":
        np.testing.assert_array_equal(feed.grad, np.full((2, 1, 2, 3), 6))
