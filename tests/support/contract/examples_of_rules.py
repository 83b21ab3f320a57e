"""For every operator with a rule, nodes that use it between trained convolutions.

The network is `f = Conv(x)`, `a = Conv(f)`, the nodes of the example, and `y = Conv(z)`, all on
maps of 8×8 with 8 channels. The nodes read `a` (and `f`, where they read two) and make `z`. All
weights and constants of an example are initializers of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from support.onnx_text import model

__all__ = ["EXAMPLES", "RuleExample"]

Arrays = Mapping[str, Any]

PAD = "<pads = [1,1,1,1]>"
SHAPES = {
    "wf": (8, 4, 3, 3), "wa": (8, 8, 3, 3),
    "wc": (8, 8, 3, 3), "grouped": (8, 4, 3, 3), "depthwise": (8, 1, 3, 3),
    "matrix": (8, 8), "long": (512, 8), "bias": (8,), "slope": (8, 1, 1),
    "s": (8,), "b": (8,), "m": (8,), "all": (8, 8, 8),
}  # fmt: skip
"""Trained weights, of which an example has those that it reads."""
CONSTANTS: Arrays = {
    "zero": np.float32(0), "half": np.float32(0.5), "one": np.float32(1), "two": np.float32(2),
    "k": np.int64([3]), "axis": np.int64([1]), "rows": np.int64([2]), "columns": np.int64([3]),
    "space": np.int64([2, 3]), "picked": np.int64([4, 0, 2]), "factors": np.float32([1, 1, 2, 2]),
    "regions": np.float32([[0, 1, 1, 6, 5], [1, 0, 0, 7, 7]]), "which": np.int64([0, 1]),
    "boxes": np.float32([[1, 1, 6, 5], [0, 0, 7, 7]]),
    "start": np.int64([2]), "end": np.int64([7]), "margins": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    "into": np.int64([0, 2, 4, 8, 8]), "back": np.int64([0, -1, 8, 8]),
    "wide": np.int64([1, 8, 8, 8]), "along": np.int64(3), "repeats": np.int64([1, 1, 2, 2]),
    "var": np.linspace(0.5, 2, 8, dtype=np.float32),
}  # fmt: skip
"""Numbers that belong to no layer, of which an example has those that it reads."""


@dataclass(frozen=True, kw_only=True)
class RuleExample:
    """Nodes with an operator, in ONNX's text form.

    Args:
        body: the nodes, one a line, that lead from `a` to `z`.
        channels: how many channels `z` has.
        fixed: how the reason begins for which the channels of `a` stay; "" where they may leave.
        opset: version of the operators.
    """

    body: str
    channels: int = 8
    fixed: str = ""
    opset: int = 18
    words: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        marks = str.maketrans(dict.fromkeys("(),=<>", " "))
        object.__setattr__(self, "words", frozenset(self.body.translate(marks).split()))

    def proto(self) -> onnx.ModelProto:
        """Return the model; weights shrink with their fan-in, so that values stay near one."""
        random = np.random.default_rng(0)
        shapes = {
            name: shape
            for name, shape in SHAPES.items()
            if name in self.words or name in ("wf", "wa")
        }
        shapes["wo"] = (2, self.channels, 3, 3)
        arrays = {
            name: (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
            for name, shape in shapes.items()
        }
        arrays |= {name: array for name, array in CONSTANTS.items() if name in self.words}
        first = f"f = Conv {PAD} (x, wf)\na = Conv {PAD} (f, wa)"
        body = f"{first}\n{self.body}\ny = Conv {PAD} (z, wo)"
        return model(body, {}, arrays, opset=self.opset, inputs="float[2,4,8,8] x")


def one(body: str, **options: Any) -> tuple[RuleExample, ...]:
    return (RuleExample(body=body, **options),)


def each(operators: Sequence[str], body: str, **options: Any) -> dict[str, tuple[RuleExample, ...]]:
    """Return the same example for operators that differ by their name only (OP)."""
    return {name: one(body.replace("OP", name), **options) for name in operators}


POOLED = "p = GlobalAveragePool (a)\n"
VECTOR = POOLED + "v = Flatten (p)\n"
POSITIVE = "p = Abs (a)\nq = Add (p, half)\n"
SIGNS = "g = Greater (a, zero)\nh = Greater (f, zero)\n"
LARGEST = "v, i = TopK <axis = 3> (a, k)\n"
MIXED = "mixed by"
UNTRACED = "read by operator"

EXAMPLES: Mapping[str, tuple[RuleExample, ...]] = {
    # One operand, every channel alone.
    **each(
        ("Abs", "Atan", "Asinh", "Ceil", "Celu", "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp",
         "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg", "Relu",
         "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tanh",
         "ThresholdedRelu"),
        "z = OP (a)",
    ),
    **each(("Acos", "Asin", "Atanh", "Tan"), "t = Tanh (a)\nh = Mul (t, half)\nz = OP (h)"),
    **each(("Log", "Reciprocal", "Sqrt"), POSITIVE + "z = OP (q)"),
    **each(("IsInf", "IsNaN"), "n = OP (a)\nz = Where (n, zero, a)"),
    "Acosh": one("p = Abs (a)\nq = Add (p, one)\nz = Acosh (q)"),
    "Cast": one("i = Cast <to = 6> (a)\nz = Cast <to = 1> (i)"),
    "CastLike": one("z = CastLike (a, one)"),
    "Clip": one("z = Clip (a, zero, half)"),
    "Gelu": one("z = Gelu (a)", opset=20),
    "Not": one("g = Greater (a, zero)\nn = Not (g)\nz = Cast <to = 1> (n)"),
    # Several operands.
    **each(("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"), "z = OP (a, f)"),
    "Div": (
        RuleExample(body="p = Abs (f)\nq = Add (p, half)\nz = Div (a, q)"),
        RuleExample(body="z = Div (a, two)"),
    ),
    "Pow": one(POSITIVE + "z = Pow (q, f)"),
    "Mod": one("z = Mod <fmod = 1> (a, two)"),
    "PRelu": one("z = PRelu (a, slope)"),
    "Where": one("g = Greater (a, zero)\nz = Where (g, a, f)"),
    **each(
        ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        "g = OP (a, f)\nz = Where (g, a, f)",
    ),
    **each(("And", "Or", "Xor"), SIGNS + "n = OP (g, h)\nz = Where (n, a, f)"),
    # Windows.
    **each(
        ("MaxPool", "AveragePool", "LpPool"),
        "z = OP <kernel_shape = [2,2], strides = [2,2]> (a)",
    ),
    **each(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), "z = OP (a)"),
    "MaxRoiPool": one("z = MaxRoiPool <pooled_shape = [2,2]> (a, regions)"),
    "RoiAlign": one(
        "z = RoiAlign <output_height = 2, output_width = 2> (a, boxes, which)"
    ),
    "MaxUnpool": one(
        "p, i = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)\n"
        "q, j = MaxPool <kernel_shape = [2,2], strides = [2,2]> (f)\n"
        "z = MaxUnpool <kernel_shape = [2,2], strides = [2,2]> (p, j)"
    ),
    # Movement of data.
    "Resize": one('z = Resize <mode = "nearest"> (a, , factors)'),
    "Upsample": one('z = Upsample <mode = "nearest"> (a, factors)', opset=9),
    "Concat": one("z = Concat <axis = 1> (a, f)", channels=16),
    "Split": one("p, q = Split <axis = 1, num_outputs = 2> (a)\nz = Concat <axis = 1> (q, p)"),
    "Slice": one("z = Slice (a, start, end, axis)", channels=5),
    "Gather": (
        RuleExample(body="z = Gather <axis = 2> (a, picked)"),
        RuleExample(body="z = Gather <axis = 1> (a, picked)", channels=3),
    ),
    **each(("GatherElements",), LARGEST + "z = OP <axis = 3> (a, i)"),
    "ScatterElements": one(LARGEST + "n = Neg (v)\nz = ScatterElements <axis = 3> (a, i, n)"),
    "TopK": (
        RuleExample(body=LARGEST + "z = Identity (v)"),
        RuleExample(body="z, i = TopK <axis = 1> (a, k)", channels=3, fixed=MIXED),
    ),
    "Reshape": one(
        "r = Reshape (a, into)\nt = Transpose <perm = [0,2,1,3,4]> (r)\nz = Reshape (t, back)"
    ),
    "Flatten": one("v = Flatten (a)\ng = Gemm (v, long)\nz = Unsqueeze (g, space)"),
    "Squeeze": one(POOLED + "v = Squeeze (p, space)\nz = Unsqueeze (v, space)"),
    "Unsqueeze": one(VECTOR + "z = Unsqueeze (v, space)"),
    "Transpose": one(
        "t = Transpose <perm = [0,2,3,1]> (a)\nr = Relu (t)\nz = Transpose <perm = [0,3,1,2]> (r)"
    ),
    "Expand": one(POOLED + "z = Expand (p, wide)"),
    "Tile": one("z = Tile (a, repeats)"),
    "Pad": one("z = Pad (a, margins)"),
    "SpaceToDepth": one("z = SpaceToDepth <blocksize = 2> (a)", channels=32),
    "DepthToSpace": one(
        "c = Concat <axis = 1> (a, f)\nz = DepthToSpace <blocksize = 2> (c)", channels=4
    ),
    # Trained operators.
    "Conv": (
        RuleExample(body=f"z = Conv {PAD} (a, wc, bias)"),
        RuleExample(body="z = Conv <group = 2, pads = [1,1,1,1]> (a, grouped)"),
        RuleExample(body="z = Conv <group = 8, pads = [1,1,1,1]> (a, depthwise)"),
    ),
    "ConvTranspose": (
        RuleExample(body="z = ConvTranspose (a, wc, bias)"),
        RuleExample(body="z = ConvTranspose <group = 2> (a, grouped)"),
    ),
    "Gemm": (
        RuleExample(body=VECTOR + "g = Gemm (v, matrix, bias)\nz = Unsqueeze (g, space)"),
        RuleExample(body=VECTOR + "g = Gemm <transB = 1> (v, matrix)\nz = Unsqueeze (g, space)"),
    ),
    "MatMul": one(VECTOR + "g = MatMul (v, matrix)\nz = Unsqueeze (g, space)"),
    "BatchNormalization": one("z = BatchNormalization (a, s, b, m, var)"),
    "InstanceNormalization": one("z = InstanceNormalization (a, s, b)"),
    # Across channels, or along other axes.
    **{
        name: (
            RuleExample(body=f"z = {name} <axis = 1> (a)", fixed=MIXED),
            RuleExample(body=f"z = {name} <axis = 3> (a)"),
        )
        for name in ("Softmax", "LogSoftmax", "Hardmax", "LpNormalization")
    },
    "LayerNormalization": one("z = LayerNormalization <axis = 1> (a, all)", fixed=MIXED),
    "RMSNormalization": one("z = RMSNormalization <axis = 1> (a, all)", fixed=MIXED, opset=23),
    "LRN": one("z = LRN <size = 3> (a)", fixed=MIXED),
    "GroupNormalization": one(
        "z = GroupNormalization <num_groups = 2> (a, s, b)", fixed=MIXED, opset=21
    ),
    # The axes are the operator's own default: onnx's check fails where they are left out.
    "MeanVarianceNormalization": one(
        "z = MeanVarianceNormalization <axes = [0,2,3]> (a)", fixed=MIXED
    ),
    "CumSum": one("z = CumSum (a, along)", fixed=MIXED),
    **{
        name: (
            RuleExample(body=POSITIVE + f"z = {name} (q, space)"),
            RuleExample(body=POSITIVE + f"z = {name} (q, axis)", channels=1, fixed=MIXED),
        )
        for name in (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
            "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        )
    },
    **{
        name: (
            RuleExample(body=f"i = {name} <axis = 3> (a)\nz = Cast <to = 1> (i)"),
            RuleExample(
                body=f"i = {name} <axis = 1> (a)\nz = Cast <to = 1> (i)", channels=1, fixed=MIXED
            ),
        )
        for name in ("ArgMax", "ArgMin")
    },
}  # fmt: skip
"""Operator → its examples."""
