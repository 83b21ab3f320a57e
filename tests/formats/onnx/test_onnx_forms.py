"""Plain ONNX files in the forms that exporters write: groups written out, pruned, run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data.base import Batch
from secateur.core.ir.network import Network
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from support.graphs import random_removal, shown
from support.onnx_text import model

Expected = dict[str, object]
PAD = "<pads = [1,1,1,1]>"
OUT = "feeds output 'y'"


@dataclass(frozen=True)
class Case:
    """A model in text form and the groups that are expected in it."""

    name: str
    body: str
    weights: dict[str, tuple[int, ...]]
    expected: Expected
    constants: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def proto(self) -> onnx.ModelProto:
        return model(self.body, self.weights, self.constants, **self.options)


def whole(name: str, count: int) -> tuple[tuple[str, ...], int, list[list[int]]]:
    """Return a group of one layer all of whose channels may go."""
    return ((name,), count, [[count]])


def untraced(name: str, kind: str) -> str:
    return f"read by operator '{name}' ({kind}), which is not traced"


A = {"wa": (8, 4, 3, 3), "wo": (2, 8, 3, 3)}
"""Weights of `a`, that reads the input, and of `y`, that makes the output."""

FIRST = f"a = Conv {PAD} (x, wa)\n"
LAST = f"y = Conv {PAD} (z, wo)\n"
PLAIN: Expected = {"Conv:a": whole("Conv:a", 8), "Conv:y": OUT}


def around(
    name: str,
    body: str,
    expected: Expected | None = None,
    weights: dict[str, tuple[int, ...]] | None = None,
    **constants: Any,
) -> Case:
    """Return a case of something between two convolutions, from `a` to `z`."""
    options = {
        key: constants.pop(key) for key in ("opset", "inputs", "domains") if key in constants
    }
    return Case(
        name, FIRST + body + "\n" + LAST, A | (weights or {}), expected or PLAIN, constants, options
    )


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


BN = "z = BatchNormalization (a, s, b, m, var)"
VECTORS = {"s": (8,), "b": (8,), "m": (8,), "var": (8,)}
SHUFFLE = """s = Shape (a)
zero = Constant <value = int64 {0}> ()
n = Gather <axis = 0> (s, zero)
axes = Constant <value = int64[1] {0}> ()
n1 = Unsqueeze (n, axes)
rest = Constant <value = int64[4] {2,4,8,8}> ()
target = Concat <axis = 0> (n1, rest)
r = Reshape (a, target)
t = Transpose <perm = [0,2,1,3,4]> (r)
back = Constant <value = int64[3] {-1,8,8}> ()
target2 = Concat <axis = 0> (n1, back)
z = Reshape (t, target2)"""
HALVES = """s = Shape (a)
one = Constant <value = int64 {1}> ()
c = Gather <axis = 0> (s, one)
plus = Add (c, one)
two = Constant <value = int64 {2}> ()
half = Div (plus, two)
axes = Constant <value = int64[1] {0}> ()
channel = Constant <value = int64[1] {1}> ()
zero = Constant <value = int64[1] {0}> ()
half1 = Unsqueeze (half, axes)
c1 = Unsqueeze (c, axes)
lo = Slice (a, zero, half1, channel)
hi = Slice (a, half1, c1, channel)
sum = Relu (lo)
z = Concat <axis = 1> (hi, sum)"""

CASES = [
    around("relu", "z = Relu (a)"),
    around("clip", "z = Clip (a, lo, hi)", lo=np.float32(0), hi=np.float32(6)),
    around("clip_6", "z = Clip <min = 0.0, max = 6.0> (a)", opset=9),
    around("hard_swish", "z = HardSwish (a)"),
    around("hard_swish_by_hand", """p = Add (a, three)
c = Clip (p, lo, hi)
m = Mul (a, c)
z = Div (m, six)""", three=np.float32(3), lo=np.float32(0), hi=np.float32(6), six=f32(6)),
    around("gelu", """d = Div (a, root)
e = Erf (d)
p = Add (e, one)
m = Mul (a, p)
z = Mul (m, half)""", root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5)),
    around("prelu", "z = PRelu (a, slope)", weights={"slope": (8, 1, 1)}),
    around("prelu_shared", "z = PRelu (a, slope)", weights={"slope": (1,)}),
    around("dropout", "d = Dropout (a, ratio)\nz = Identity (d)", ratio=np.float32(0.5)),
    around("dropout_with_mask", "z, mask = Dropout (a)"),
    around("normalization", BN, weights=VECTORS),
    around("normalization_9", BN, weights=VECTORS, opset=9),
    around("instance_normalization", "z = InstanceNormalization (a, s, b)", weights=VECTORS),
    around("group_normalization", "z = GroupNormalization <num_groups = 2> (a, s, b)",
           {"Conv:a": "mixed by 'GroupNormalization:z' (GroupNormalization)", "Conv:y": OUT},
           weights=VECTORS, opset=21),
    around("layer_normalization_over_channels", """t = Transpose <perm = [0,2,3,1]> (a)
n = LayerNormalization <axis = -1> (t, s, b)
z = Transpose <perm = [0,3,1,2]> (n)""",
           {"Conv:a": "mixed by 'LayerNormalization:n' (LayerNormalization)", "Conv:y": OUT},
           weights=VECTORS),
    around("layer_normalization_over_positions",
           "z = LayerNormalization <axis = 2> (a, s, b)", weights={"s": (8, 8), "b": (8, 8)}),
    around("mean_variance_over_positions", "z = MeanVarianceNormalization <axes = [0,2,3]> (a)",
           {"Conv:a": "mixed by 'MeanVarianceNormalization:z' (MeanVarianceNormalization)",
            "Conv:y": OUT}),
    around("norm_over_columns", "z = LpNormalization <axis = 3> (a)"),
    around("scale_by_vector", "m = Mul (a, v)\nz = Add (m, w)",
           weights={"v": (8, 1, 1), "w": (1, 8, 1, 1)}),
    around("pad_positions", "p = Pad (a, pads)\nz = MaxPool <kernel_shape=[3,3]> (p)",
           pads=i64(0, 0, 1, 1, 0, 0, 1, 1)),
    around("pad_2", 'p = Pad <pads = [0,0,1,1,0,0,1,1]> (a)\nz = MaxPool <kernel_shape=[3,3]> (p)',
           opset=9),
    around("resize", "z = Resize (a, , scales)", scales=f32(1, 1, 2, 2)),
    around("resize_to_sizes", "z = Resize (a, , , sizes)", sizes=i64(1, 8, 16, 16),
           inputs="float[1,4,8,8] x"),
    around("upsample_9", "z = Upsample (a, scales)", scales=f32(1, 1, 2, 2), opset=9),
    around("split_without_sizes", """l, h = Split <axis = 1, num_outputs = 2> (a)
z = Concat <axis = 1> (h, l)"""),
    around("split_uneven", "l, h = Split <axis = 1, num_outputs = 3> (a)".replace("l, h", "l, m, h")
           + "\nz = Concat <axis = 1> (h, m, l)"),
    around("split_2", "l, h = Split <axis = 1> (a)\nz = Concat <axis = 1> (h, l)", opset=11),
    around("split_2_with_sizes",
           "l, h = Split <axis = 1, split = [3,5]> (a)\nz = Concat <axis = 1> (h, l)", opset=11),
    around("slice_1", """l = Slice <axes = [1], starts = [0], ends = [3]> (a)
h = Slice <axes = [1], starts = [3], ends = [1000]> (a)
z = Concat <axis = 1> (h, l)""", opset=9),
    around("slices_that_share_their_ends", """r = Relu (a)
p = Conv (x, wp)
l = Slice (r, zero, three, one)
h = Slice (r, three, end, one)
q = Slice (p, zero, three, one)
k = Slice (p, three, end, one)
s = Concat <axis = 1> (h, l)
t = Concat <axis = 1> (k, q)
u = Conv (t, wu)
z = Add (s, u)""", {"Conv:a": (("Conv:a", "Conv:u"), 8, [[8]]), "Conv:p": whole("Conv:p", 8),
                    "Conv:y": OUT},
           weights={"wp": (8, 4, 1, 1), "wu": (8, 8, 1, 1)},
           zero=i64(0), three=i64(3), end=i64(2**31), one=i64(1)),
    around("shuffle_by_computed_shape", SHUFFLE,
           {"Conv:a": whole("Conv:a", 4), "Conv:y": OUT}),
    around("chunk_by_computed_ends", HALVES),
    around("reshape_with_channel_count", """r = Reshape (a, target)
t = Relu (r)
z = Reshape (t, back)""", target=i64(0, 8, 64), back=i64(0, 8, 8, 8)),
    around("expand", "p = GlobalAveragePool (a)\nz = Expand (p, target)", target=i64(1, 8, 8, 8)),
    around("space_to_depth", "s = SpaceToDepth <blocksize = 2> (a)\nz = Conv (s, ws)",
           {"Conv:a": whole("Conv:a", 8), "Conv:z": whole("Conv:z", 8), "Conv:y": OUT},
           weights={"ws": (8, 32, 1, 1)}),
    around("depth_to_space_crd", """d = DepthToSpace <blocksize = 2, mode = "CRD"> (a)
z = Conv (d, wd)""", {"Conv:a": whole("Conv:a", 2), "Conv:z": whole("Conv:z", 8), "Conv:y": OUT},
           weights={"wd": (8, 2, 1, 1)}),
    around("transposed_in_groups", """t = ConvTranspose <group = 2, strides = [2,2]> (a, wt, bt)
z = Conv (t, wz)""", {"Conv:a": (("Conv:a",), 8, [[4, 4]]),
                      "ConvTranspose:t": (("ConvTranspose:t",), 6, [[3, 3]]),
                      "Conv:z": whole("Conv:z", 8), "Conv:y": OUT},
           weights={"wt": (8, 3, 2, 2), "bt": (6,), "wz": (8, 6, 1, 1)}),
    around("pooled_by_mean", """m = ReduceMean (a, axes)
z = Mul (a, m)""", axes=i64(2, 3)),
    around("pooled_by_mean_1", "m = ReduceMean <axes = [2,3]> (a)\nz = Mul (a, m)", opset=13),
    around("squeeze_and_excite_by_products", """m = ReduceMean <keepdims = 0> (a, axes)
f = MatMul (m, w1)
g = Add (f, b1)
h = Relu (g)
k = MatMul (h, w2)
s = Sigmoid (k)
u = Unsqueeze (s, axes)
z = Mul (a, u)""", {"Conv:a": (("Conv:a", "MatMul:k"), 8, [[8]]), "MatMul:f": whole("MatMul:f", 3),
                    "Conv:y": OUT},
           weights={"w1": (8, 3), "b1": (3,), "w2": (3, 8)}, axes=i64(2, 3)),
    around("einsum", 'z = Einsum <equation = "nchw->nchw"> (a)',
           {"Conv:a": untraced("Einsum:z", "Einsum"), "Conv:y": OUT}),
    around("softmax_over_channels", "z = Softmax <axis = 1> (a)",
           {"Conv:a": "mixed by 'Softmax:z' (Softmax)", "Conv:y": OUT}),
    around("softmax_over_columns", "z = Softmax <axis = 3> (a)"),
    around("softmax_11_flattens", "z = Softmax <axis = 1> (a)",
           {"Conv:a": "mixed by 'Softmax:z' (Softmax)", "Conv:y": OUT}, opset=11),
    around("softmax_11_over_positions", "z = Softmax <axis = 2> (a)", opset=11),
    around("channels_picked", "z = Gather <axis = 1> (a, order)",
           order=i64(7, 6, 5, 4, 3, 2, 1, 0)),
    around("channels_picked_twice", "z = Gather <axis = 1> (a, order)",
           order=i64(3, 0, 3, 6, 5, 1, 1, 1)),
    around("channels_picked_from_the_end", "z = Gather <axis = 1> (a, order)",
           {"Conv:a": untraced("Gather:z", "Gather"), "Conv:y": OUT},
           order=i64(-1, -2, -3, -4, -5, -6, -7, -8)),
    around("weights_by_identity", """w2 = Identity (wi)
c = Conv (a, w2)
z = Relu (c)""", PLAIN | {"Conv:c": whole("Conv:c", 8)}, weights={"wi": (8, 8, 1, 1)}),
    around("bias_shared_by_accident", """c = Conv (a, wc, s)
d = Conv (c, wd, s)
z = Relu (d)""", PLAIN | {"Conv:c": whole("Conv:c", 8), "Conv:d": whole("Conv:d", 8)},
           weights={"wc": (8, 8, 1, 1), "wd": (8, 8, 1, 1), "s": (8,)}),
    around("weights_shared_on_purpose", """c = Conv (a, wc)
d = Conv (c, wc)
z = Relu (d)""", {"Conv:a": (("Conv:a", "Conv:c", "Conv:d"), 8, [[8]]), "Conv:y": OUT},
           weights={"wc": (8, 8, 1, 1)}),
    around("weights_computed_from_the_input", """p = GlobalAveragePool (x)
v = Mul (p, k)
w = Reshape (v, target)
c = Conv <pads = [1,1,1,1]> (a, w)
z = Concat <axis = 1> (a, c)""",
           {"Conv:a": untraced("Conv:c", "Conv"), "Conv:y": OUT},
           weights={"k": (1, 4, 6, 3), "wo": (2, 9, 3, 3)}, target=i64(1, 8, 3, 3),
           inputs="float[1,4,8,8] x"),
    around("attention_by_two_activations", """f = Reshape (a, target)
t = Transpose <perm = [0,2,1]> (f)
m = MatMul (f, t)
s = Softmax <axis = -1> (m)
v = MatMul (s, f)
z = Reshape (v, back)""", {"Conv:a": untraced("MatMul:m", "MatMul"), "Conv:y": OUT},
           target=i64(0, 8, 64), back=i64(0, 8, 8, 8)),
    around("operator_of_another_domain", "z = com.microsoft.FastGelu (a)",
           {"Conv:a": untraced("FastGelu:z", "FastGelu"), "Conv:y": OUT},
           domains=', "com.microsoft": 1'),
    Case("linear_in_both_orders", """f = Flatten (x)
a = Gemm (f, wa, ba)
r = Relu (a)
b = Gemm <transB = 1> (r, wb, bb)
s = Tanh (b)
c = MatMul (s, wc)
d = Add (c, bc)
y = Gemm <transB = 1, alpha = 0.5> (d, wy)""",
         {"wa": (256, 7), "ba": (7,), "wb": (6, 7), "bb": (6,), "wc": (6, 5), "bc": (5,),
          "wy": (3, 5)},
         {"Gemm:a": whole("Gemm:a", 7), "Gemm:b": whole("Gemm:b", 6),
          "MatMul:c": whole("MatMul:c", 5), "Gemm:y": OUT}),
    Case("transposed_input_of_a_product", """f = Flatten (x)
a = Gemm <transB = 1> (f, wa)
t = Transpose <perm = [1,0]> (a)
y = Gemm <transA = 1, transB = 1> (t, wy)""",
         {"wa": (7, 256), "wy": (3, 7)},
         {"Gemm:a": untraced("Gemm:y", "Gemm")}),
    Case("flatten_by_reshape", f"""{FIRST}p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a)
f = Reshape (p, target)
y = Gemm <transB = 1> (f, wy)""", {"wa": (8, 4, 3, 3), "wy": (3, 128)},
         {"Conv:a": whole("Conv:a", 8), "Gemm:y": OUT}, {"target": i64(-1, 128)}),
    Case("recurrent", f"""{FIRST}f = Reshape (a, target)
t = Transpose <perm = [2,0,1]> (f)
l, h, c = LSTM <hidden_size = 3> (t, wl, rl)
y = Identity (h)""", {"wa": (8, 4, 3, 3), "wl": (1, 12, 8), "rl": (1, 12, 3)},
         {"Conv:a": untraced("LSTM:l", "LSTM")}, {"target": i64(0, 8, 64)}),
    Case("symbolic_height_and_width", f"""{FIRST}p = GlobalAveragePool (a)
f = Flatten (p)
y = Gemm <transB = 1> (f, wy)""", {"wa": (8, 4, 3, 3), "wy": (3, 8)},
         {"Conv:a": whole("Conv:a", 8), "Gemm:y": OUT},
         options={"inputs": "float[N,4,H,W] x"}),
    Case("symbolic_positions_into_a_product", f"""{FIRST}f = Flatten (a)
y = Gemm <transB = 1> (f, wy)""", {"wa": (8, 4, 3, 3), "wy": (3, 512)},
         {"Conv:a": untraced("Flatten:f", "Flatten"), "Gemm:y": OUT},
         options={"inputs": "float[N,4,H,W] x"}),
    Case("one_dimension", "a = Conv (x, wa)\nr = Relu (a)\ny = Conv (r, wo)",
         {"wa": (8, 4, 3), "wo": (2, 8, 3)}, PLAIN, options={"inputs": "float[N,4,9] x"}),
    Case("three_dimensions", "a = Conv (x, wa)\nr = Relu (a)\ny = Conv (r, wo)",
         {"wa": (8, 4, 2, 2, 2), "wo": (2, 8, 2, 2, 2)}, PLAIN,
         options={"inputs": "float[N,4,5,5,5] x"}),
    Case("automatic_padding", 'a = Conv <auto_pad = "SAME_UPPER"> (x, wa)\n'
         'y = Conv <auto_pad = "SAME_LOWER", strides = [2,2]> (a, wo)', A, PLAIN),
    Case("two_inputs", "a = Conv (x, wa)\nb = Conv (v, wb)\nz = Add (a, b)\ny = Conv (z, wo)",
         A | {"wb": (8, 2, 3, 3)}, {"Conv:a": (("Conv:a", "Conv:b"), 8, [[8]]), "Conv:y": OUT},
         options={"inputs": "float[N,4,8,8] x, float[N,2,8,8] v"}),
]  # fmt: skip

BY_NAME = {case.name: case for case in CASES}
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def loaded(proto: onnx.ModelProto, folder: Path) -> Network:
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return secateur.load(path)


def run(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    # onnxruntime 1.18 gives two nodes one name when it fuses what has none.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(None, feeds)
    return results


@dataclass
class Noise:
    """A dataset of one batch of noise; symbolic sizes but the batch are 8."""

    network: Network
    samples: int
    name = "noise"
    labelled = False
    problems: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Batch]:
        random = np.random.default_rng(0)
        shapes = {
            name: [self.samples, *(size if isinstance(size, int) else 8 for size in shape[1:])]
            for name, shape in self.network.inputs.items()
        }
        yield Batch(inputs={n: random.normal(size=s).astype(np.float32) for n, s in shapes.items()})


@each_case
def test_groups(case: Case, tmp_path: Path) -> None:
    assert shown(find_groups(loaded(case.proto(), tmp_path))) == case.expected


@each_case
def test_nothing_pruned_computes_what_the_file_does(case: Case, tmp_path: Path) -> None:
    network = loaded(case.proto(), tmp_path)
    feeds = next(iter(Noise(network, 1))).inputs
    want = run(tmp_path / "net.onnx", feeds)
    secateur.save(network, tmp_path / "out.onnx", data=Noise(network, 1))
    for a, b in zip(run(tmp_path / "out.onnx", feeds), want, strict=True):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


@each_case
def test_masked_equals_dense_and_dense_equals_written(case: Case, tmp_path: Path) -> None:
    network = loaded(case.proto(), tmp_path)
    groups = find_groups(network)
    data = Noise(network, 2)
    random = np.random.default_rng(0)
    shrunk = False
    for number in range(3):
        removed = random_removal(groups, random)
        dense = shrink(network, groups, removed)
        full, narrow = mask(network, groups, removed), narrowed(groups, removed)
        verify_equal("masked = dense", full, dense, data, narrow=narrow)
        shrunk = shrunk or removed.any()
        target = tmp_path / f"out{number}.onnx"
        secateur.save(dense, target, data=data)
        again = secateur.load(target)
        verify_equal("written = dense", dense, again, data)
        assert {n: len(s) for n, s in again.outputs.items()} == {
            n: len(s) for n, s in network.outputs.items()
        }
        assert find_groups(again).unit_count <= groups.unit_count
    assert shrunk or not any(group.prunable for group in groups.groups)


@each_case
def test_the_written_file_keeps_names_and_versions(case: Case, tmp_path: Path) -> None:
    proto = case.proto()
    proto.producer_name, proto.producer_version, proto.domain = "exporter", "7.1", "org.example"
    proto.model_version, proto.doc_string = 42, "what it is"
    proto.metadata_props.add(key="classes", value="cat,dog")
    proto.graph.doc_string = "a graph"
    proto.graph.node[0].doc_string = "the first node"
    network = loaded(proto, tmp_path)
    groups = find_groups(network)
    removed = random_removal(groups, np.random.default_rng(1))
    dense = shrink(network, groups, removed)
    secateur.save(dense, tmp_path / "out.onnx", data=Noise(network, 1))
    written = onnx.load(tmp_path / "out.onnx")
    for field_name in ("producer_name", "producer_version", "domain", "model_version",
                       "doc_string", "ir_version"):  # fmt: skip
        assert getattr(written, field_name) == getattr(proto, field_name), field_name
    assert list(written.opset_import) == list(proto.opset_import)
    assert list(written.metadata_props) == list(proto.metadata_props)
    assert written.graph.name == proto.graph.name
    assert written.graph.doc_string == "a graph"
    assert written.graph.node[0].doc_string == "the first node"
    assert [v.name for v in written.graph.input] == [v.name for v in proto.graph.input]
    assert [v.name for v in written.graph.output] == [v.name for v in proto.graph.output]
    assert {t.name for t in proto.graph.initializer} & set(case.weights) <= {
        t.name for t in written.graph.initializer
    } | {"wi"}
