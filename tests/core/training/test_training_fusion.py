"""Nodes that are computed together compute what they compute one by one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from secateur.core.ir.builder import Builder
from secateur.core.ir.network import BlobRef, LayerInfo, Network
from secateur.core.training.passing import Passing
from secateur.core.training.recipe import Statistics
from support.training import need_torch

CHANNELS = 4


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def module_of(network, **settings):
    from secateur.core.training.module import TrainingModule

    return TrainingModule(network, **settings)


class Net(Builder):
    """A batch normalisation in the middle of something."""

    def __init__(self, *, affine: bool = False):
        super().__init__("net")
        self.layer, self.scope = 0, "layer"
        self.random = np.random.default_rng(3)
        self.x = self.input("x", ["N", 2, 6, CHANNELS])
        y = self.op("Conv", self.x, self.weight("weight", (CHANNELS, 2, 3, 3)), pads=[1, 1, 1, 1])
        if affine:
            own = [self.weight(name, (CHANNELS,)) for name in ("own", "shift")]
        else:
            own = [self.constant(fill(CHANNELS), np.float32) for fill in (np.ones, np.zeros)]
        statistics = [self.weight("mean", (CHANNELS,)), self.weight("variance", (CHANNELS,))]
        self.norm = self.op("BatchNormalization", y, *own, *statistics)

    def weight(self, name: str, shape: tuple[int, ...]) -> ir.Value:
        array = np.abs(self.random.normal(size=shape)) + 0.1
        sign = 1.0 if name in ("variance", "own") else np.sign(self.random.normal(size=shape))
        return self.parameter(
            (array * sign).astype(np.float32), BlobRef(0, len(self._initializers), name)
        )

    def network(self, *outputs: ir.Value) -> Network:
        model = self.finish({f"y{k}": value for k, value in enumerate(outputs)})
        info = LayerInfo(name="layer", type="Test", tops=("y0",))
        return Network(name="net", model=model, layers=(info,))


def scaled(shape: tuple[int, ...], *, affine: bool = False) -> Network:
    net = Net(affine=affine)
    y = net.op("Mul", net.norm, net.weight("gamma", shape))
    y = net.op("Add", net.weight("beta", shape), y)
    return net.network(net.op("Relu", y))


def steps(module, *, also=()):
    return len(module._compile(("y0",), tuple(also)).steps)


def inner(network: Network) -> list[str]:
    """The values between the input and the last output."""
    return [str(node.outputs[0].name) for node in network.graph][:-1]


def trained(module, torch, also=()):
    """The output, all gradients, and all tensors after a pass forth and back."""
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 2, 6, CHANNELS)))
    y = module(x.to(module.tensor("layer/weight").dtype), ["y0"], also)["y0"]
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    return y.detach(), gradients, dict(module.state_dict())


SHAPES = [(CHANNELS, 1, 1), (1, CHANNELS, 1, 1)]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["train", "eval", "frozen", "team"])
def test_a_factor_behind_a_normalisation_is_computed_with_it(kind, shape, affine, torch):
    network = scaled(shape, affine=affine)
    key = inner(network)[1]
    rule = Statistics(frozen=kind == "frozen", fraction=0.8)
    module, other = (
        module_of(network, statistics={key: rule}).double().train(kind != "eval") for _ in range(2)
    )
    if kind == "team":
        module.mode.summed = other.mode.summed = lambda tensor: tensor * 2
    assert steps(module) == 3  # convolution, normalisation, activation
    assert steps(other, also=inner(network)) == 5
    found, wanted = trained(module, torch), trained(other, torch, inner(network))
    torch.testing.assert_close(found, wanted)
    assert found[1]["layer/gamma"].shape == shape
    assert found[1]["layer/gamma"].abs().max() > 0


def test_weights_go_back_under_their_names(torch):
    network = scaled(SHAPES[0])
    module = module_of(network).train()
    trained(module, torch)
    with torch.no_grad():
        module.tensor("layer/gamma").add_(1)
    back = module.network()
    assert back.array("layer/gamma").shape == SHAPES[0]
    np.testing.assert_array_equal(back.array("layer/gamma"), network.array("layer/gamma") + 1)
    assert (
        back.graph.initializers["layer/beta"].const_value
        is network.graph.initializers["layer/beta"].const_value
    )


@pytest.mark.parametrize("shape", [(CHANNELS,), (1, 1, 1, CHANNELS), (1,), (CHANNELS, 6, 1)])
def test_what_is_no_number_a_channel_stays_by_itself(shape, torch):
    network = scaled(shape)
    assert steps(module_of(network)) == 5
    found = trained(module_of(network).train(), torch)
    wanted = trained(module_of(network).train(), torch, inner(network))
    torch.testing.assert_close(found, wanted)


def test_a_normalisation_that_another_reads_stays_by_itself(torch):
    net = Net()
    y = net.op("Mul", net.norm, net.weight("gamma", SHAPES[0]))
    network = net.network(net.op("Add", y, net.op("Sigmoid", net.norm)))
    assert steps(module_of(network)) == 5
    found = trained(module_of(network).train(), torch)
    torch.testing.assert_close(found, trained(module_of(network).train(), torch, inner(network)))


def test_a_factor_that_is_computed_stays_by_itself(torch):
    net = Net()
    gate = net.op("Sigmoid", net.weight("gamma", SHAPES[0]))
    network = net.network(net.op("Mul", net.norm, gate))
    assert steps(module_of(network)) == 4
    trained(module_of(network).train(), torch)


def test_a_value_with_a_gradient_of_its_own_stays(torch):
    network = scaled(SHAPES[0])
    norm, product, summed = inner(network)[1:]
    for passings in ({product: Passing(kind="straight", source=norm)},
                     {"y0": Passing(kind="straight", source=summed)}):  # fmt: skip
        module = module_of(network, passings=passings).train()
        found = trained(module, torch)
        wanted = trained(module_of(network, passings=passings).train(), torch, inner(network))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("operator", ["Relu", "LeakyRelu"])
@pytest.mark.parametrize("slope", [0.1, -0.1])
def test_an_activation_writes_over_what_nobody_else_reads(operator, slope, torch):
    net = Net()
    attributes = {"alpha": slope} if operator == "LeakyRelu" else {}
    network = net.network(net.op(operator, net.norm, **attributes))
    module = module_of(network).train()
    found = trained(module, torch)
    wanted = trained(module_of(network).train(), torch, inner(network))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("operator", ["Relu", "LeakyRelu"])
def test_an_activation_leaves_what_others_read(operator, torch):
    net = Net()
    network = net.network(net.op(operator, net.norm), net.op("Neg", net.norm))
    module = module_of(network).eval()
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 2, 6, CHANNELS))).float()
    with torch.no_grad():
        found = module(x, ["y0", "y1"])
        assert torch.equal(found["y1"], -module(x, inner(network))[inner(network)[1]])
        wanted = module(x, ["y0", *inner(network)])
    assert (wanted[inner(network)[1]] < 0).any()
    assert torch.equal(wanted["y0"], found["y0"])


def test_an_activation_leaves_what_a_gradient_needs(torch):
    net = Net()
    network = net.network(net.op("Relu", net.op("Tanh", net.norm)))
    found = trained(module_of(network).train(), torch)
    wanted = trained(module_of(network).train(), torch, inner(network))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_an_activation_leaves_the_data(torch):
    net = Net()
    same = net.op("Relu", net.op("Reshape", net.x, net.constant([0, 0, 0, 0])))
    network = net.network(net.op("Add", net.norm, net.op("ReduceMean", same)))
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 2, 6, CHANNELS))).float()
    before = x.clone()
    module_of(network)(x)
    assert torch.equal(x, before)
