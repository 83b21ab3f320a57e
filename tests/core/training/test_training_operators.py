"""Every operator of the table against onnxruntime, and its gradient against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from secateur.core.engine.session import Session
from secateur.core.errors import UnsupportedError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network
from support.training import need_torch

F, WHOLE = np.float32, np.int64
X = (2, 3, 4, 5)
"""Shape of the input."""


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def case(
    op: str, *more: Any, shape: tuple[int, ...] = X, outputs: int = 1, name: str = "",
    low: float = -2, high: float = 2, smooth: bool = True, **attributes: Any,
) -> Any:  # fmt: skip
    """Declare a node that reads the input, then constants; `smooth`: it has a derivative."""
    values = (op, more, shape, outputs, (low, high), smooth, attributes)
    return pytest.param(values, id=f"{op}{'-' if name else ''}{name}")


def w(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(F)


def n(*numbers: int) -> np.ndarray:
    return np.array(numbers, WHOLE)


ONE = F(0.5)
CASES = [
    *(case(op) for op in (
        "Abs", "Asinh", "Atan", "Cos", "Cosh", "Elu", "Erf", "Exp", "Identity", "LeakyRelu", "Neg",
        "Relu", "Selu", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh", "Celu",
        "HardSwish", "HardSigmoid", "ThresholdedRelu", "Mish", "Hardmax", "Softmax", "LogSoftmax",
        "Flatten", "GlobalAveragePool", "GlobalMaxPool",
    ) if op not in ("Tan", "Hardmax")),
    case("Tan", low=-1, high=1),
    case("Hardmax", smooth=False),
    *(case(op, low=-0.9, high=0.9) for op in ("Acos", "Asin", "Atanh")),
    *(case(op, low=0.2) for op in ("Log", "Sqrt", "Reciprocal")),
    case("Acosh", low=1.1),
    *(case(op, smooth=False) for op in ("Ceil", "Floor", "Round", "Sign", "IsNaN", "IsInf")),
    *(case(op, w(3, 1, 1)) for op in ("Add", "Sub", "Mul", "Div", "Sum", "Mean")),
    *(case(op, w(3, 1, 1)) for op in ("Max", "Min")),
    case("Max", w(2, 3, 4, 5), w(5), name="three"),
    case("Pow", F(2)),
    case("Pow", F(-1.5), low=0.3, name="root"),
    case("Pow", np.abs(w(5)), low=0.3, name="many"),
    *(case(op, w(5), smooth=False)
      for op in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")),
    case("PRelu", w(3, 1, 1)),
    case("PRelu", w(5), name="last"),
    case("Clip", F(-0.5), F(1)),
    case("Clip", None, F(1), name="above"),
    case("Clip", name="open"),
    case("Cast", to=int(ir.DataType.DOUBLE)),
    case("Cast", to=int(ir.DataType.INT64), smooth=False, name="whole"),
    case("CastLike", np.zeros(1, np.float64)),
    case("Dropout", F(0.4)),
    case("Shrink", bias=0.3, lambd=0.6),
    case("Conv", w(4, 3, 3, 2), w(4), kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 1],
         dilations=[1, 2]),
    case("Conv", w(6, 1, 3, 3), kernel_shape=[3, 3], group=3, auto_pad="SAME_LOWER", name="same"),
    case("Conv", w(4, 3, 3), shape=(2, 3, 7), kernel_shape=[3], name="line"),
    case("ConvTranspose", w(3, 2, 3, 3), w(2), kernel_shape=[3, 3], strides=[2, 1],
         pads=[1, 1, 1, 1], output_padding=[1, 0]),
    case("ConvTranspose", w(3, 2, 3, 3), w(2), kernel_shape=[3, 3], strides=[2, 2],
         pads=[0, 1, 1, 0], name="uneven"),
    case("Gemm", w(4, 5), w(4), shape=(2, 5), transB=1),
    case("Gemm", w(5, 4), w(2, 4), shape=(5, 2), transA=1, alpha=0.5, beta=2.0, name="scaled"),
    case("MatMul", w(5, 6)),
    case("Einsum", w(5, 6), equation="abcd,de->abce"),
    case("MaxPool", kernel_shape=[2, 3], strides=[1, 2], pads=[1, 0, 0, 1]),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, name="ceil"),
    case("MaxPool", kernel_shape=[2, 2], strides=[2, 2], outputs=2, name="where"),
    case("MaxPool", kernel_shape=[3], shape=(2, 3, 7), name="line"),
    case("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    case("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1,
         name="counted"),
    case("AveragePool", kernel_shape=[2, 2], pads=[1, 0, 0, 0], name="uneven"),
    case("LRN", size=3, alpha=0.5, beta=0.6, bias=1.5),
    case("BatchNormalization", w(3), w(3), w(3), np.abs(w(3))),
    case("InstanceNormalization", w(3), w(3)),
    case("LayerNormalization", w(4, 5), w(4, 5), axis=2),
    case("MeanVarianceNormalization", axes=[0, 2]),
    case("LpNormalization", axis=1),
    *(case(op, n(1, 3)) for op in (
        "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
        "ReduceProd", "ReduceSum", "ReduceSumSquare",
    )),
    case("ReduceLogSum", n(2), low=0.1),
    case("ReduceSum", name="all", keepdims=0),
    case("ReduceSum", name="none", noop_with_empty_axes=1),
    case("ArgMax", axis=2, keepdims=0, smooth=False),
    case("ArgMin", axis=1, select_last_index=1, smooth=False),
    case("TopK", n(2), axis=3, outputs=2),
    case("CumSum", n(2)),
    case("Reshape", n(0, -1, 2)),
    case("Transpose", perm=[0, 2, 3, 1]),
    case("Transpose", name="all"),
    case("Concat", w(2, 1, 4, 5), axis=1),
    case("Split", n(1, 3), axis=2, outputs=2),
    case("Split", axis=3, num_outputs=2, outputs=2, name="uneven"),
    case("Slice", n(1, -3), n(3, 100), n(2, -1), n(1, 2)),
    case("Slice", n(-1), n(-100), n(3), n(-2), name="back"),
    case("Squeeze", n(1), shape=(2, 1, 4)),
    case("Unsqueeze", n(1, -1)),
    case("Expand", n(3, 2, 1, 4, 5)),
    case("Tile", n(1, 2, 1, 3)),
    case("Pad", n(0, 0, 1, 2, 0, 1, 0, -1), F(0.7)),
    case("Pad", n(1, 2), None, n(3), name="axes"),
    case("Pad", n(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect", name="reflect"),
    case("Pad", n(0, 0, 1, 2, 0, 0, 2, 1), mode="edge", name="edge"),
    case("Gather", np.array([[2, -1], [0, 1]], WHOLE), axis=1),
    case("GatherElements", np.random.default_rng(0).integers(-3, 3, X), axis=1),
    case("GatherND", np.array([[0, 2], [1, -1]], WHOLE)),
    case("ScatterElements", np.array([[[[0]]], [[[2]]]], WHOLE), w(2, 1, 1, 1), axis=1),
    case("ScatterND", np.array([[0, 2], [1, 0]], WHOLE), w(2, 4, 5)),
    case("DepthToSpace", shape=(1, 8, 2, 3), blocksize=2),
    case("DepthToSpace", shape=(1, 8, 2, 3), blocksize=2, mode="CRD", name="columns"),
    case("SpaceToDepth", shape=(1, 2, 4, 6), blocksize=2),
    case("Shape", smooth=False),
    case("Size", smooth=False),
    *(case("Resize", None, np.array([1, 1, 1.6, 2.3], F), mode=mode,
           coordinate_transformation_mode=form, name=f"{mode}-{form}")
      for mode in ("nearest", "linear", "cubic")
      for form in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")),
    *(case("Resize", None, None, n(2, 3, 3, 8), mode="nearest", nearest_mode=form, name=form)
      for form in ("floor", "ceil", "round_prefer_ceil", "round_prefer_floor")),
]  # fmt: skip

ELSEWHERE = {
    "And", "Or", "Xor", "Not", "Where", "Mod", "Constant", "ConstantOfShape", "Range", "Upsample",
    "Gelu", "GroupNormalization",
}  # fmt: skip
"""Operators with tests of their own below, or with none in this opset."""


def built(values: Any) -> Network:
    op, more, shape, outputs, _, _, attributes = values
    net = Builder("net")
    x = net.input("x", shape)
    constants = [None if one is None else net.constant(one, np.asarray(one).dtype) for one in more]
    made = net.ops(op, x, *constants, count=outputs, **attributes)
    return Network(name="net", model=net.finish({f"y{k}": v for k, v in enumerate(made)}))


@pytest.mark.parametrize("values", CASES)
def test_an_operator(values, torch):
    from secateur.core.training.module import TrainingModule

    _, _, shape, _, (low, high), smooth, _ = values
    network = built(values)
    x = np.random.default_rng(0).uniform(low, high, shape).astype(F)
    wanted = Session(network, threads=1).run({"x": x})
    module = TrainingModule(network).eval()
    feed = torch.from_numpy(x).requires_grad_()
    got = module(feed)
    for name, want in wanted.items():
        have = got[name].detach().numpy()
        assert have.shape == want.shape
        assert have.dtype == want.dtype
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=2e-6, equal_nan=True)
    if smooth:
        slopes(module, network, feed, torch)


def slopes(module, network, feed, torch):
    """Compare the derivative of a weighted sum along one direction."""
    module = module.double()
    random = torch.Generator().manual_seed(1)
    x = feed.detach().double().requires_grad_()
    names = [name for name, y in module(x).items() if y.is_floating_point()]
    weights = {
        name: torch.rand(module(x)[name].shape, generator=random, dtype=torch.float64)
        for name in names
    }

    def total(value):
        found = module(value)
        return sum((found[name] * weights[name]).sum() for name in names)

    total(x).backward()
    way = torch.rand(x.shape, generator=random, dtype=torch.float64) - 0.5
    with torch.no_grad():
        slope = (total(x + 1e-7 * way) - total(x - 1e-7 * way)) / 2e-7
    assert (x.grad * way).sum().item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-5)


def test_every_operator_of_the_table_is_tested():
    from secateur.core.training.operators import OPERATORS

    tested = {param.values[0][0] for param in CASES} | ELSEWHERE
    assert set(OPERATORS) == tested


def check_graph(make, torch, **feeds):
    """Build a graph, compare it with onnxruntime, return what it gave."""
    from secateur.core.training.module import TrainingModule

    net = Builder("net")
    inputs = {name: net.input(name, array.shape) for name, array in feeds.items()}
    network = Network(name="net", model=net.finish({"y": make(net, **inputs)}))
    wanted = Session(network, threads=1).run(dict(feeds))["y"]
    got = TrainingModule(network)({k: torch.from_numpy(v) for k, v in feeds.items()})["y"]
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-5, atol=1e-6)
    return got


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op, torch):
    def make(net, x):
        ahead = net.op("Greater", x, net.constant(0.0, F))
        behind = net.op("Not", net.op("Greater", x, net.constant(0.5, F)))
        joined = net.op(op, ahead, behind)
        return net.op("Where", joined, x, net.constant(7.0, F))

    check_graph(make, torch, x=w(3, 4))


def test_remainders(torch):
    for fmod in (0, 1):
        check_graph(
            lambda net, x, fmod=fmod: net.op(
                "Cast",
                net.op(
                    "Mod", net.op("Cast", x, to=int(ir.DataType.INT64)), net.constant(3), fmod=fmod
                ),
                to=1,
            ),
            torch,
            x=np.arange(-5, 6, dtype=F),
        )


def test_shapes_that_are_computed(torch):
    def make(net, x):
        shape = net.op("Shape", x)
        rows = net.op("Gather", shape, net.constant(0), axis=0)
        target = net.op(
            "Concat", net.op("Unsqueeze", rows, net.constant([0])), net.constant([-1]), axis=0
        )
        return net.op("Reshape", x, target)

    assert check_graph(make, torch, x=w(2, 3, 4)).shape == (2, 12)


def test_constants_that_are_made(torch):
    def make(net, x):
        steps = net.op("Range", net.constant(0), net.constant(4), net.constant(1))
        filled = net.op(
            "ConstantOfShape", net.constant([3, 4]), value=ir.tensor(np.array([2.5], F))
        )
        return net.op("Add", net.op("Mul", x, filled), net.op("Cast", steps, to=1))

    check_graph(make, torch, x=w(3, 4))


def test_a_form_that_cannot_be_trained_is_named(torch):
    from secateur.core.training.module import TrainingModule

    net = Builder("net")
    x = net.input("x", [1, 4])
    network = Network(
        name="net", model=net.finish({"y": net.op("CumSum", x, net.constant(1), reverse=1)})
    )
    with pytest.raises(UnsupportedError, match="operator CumSum with exclusive or reverse"):
        TrainingModule(network)(torch.ones(1, 4))
