"""Plain ONNX files at the edges: subgraphs, quantized and half-precision weights, external data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

import secateur
from secateur.core.coupling import find_groups
from secateur.core.errors import FormatError, SecateurError, UnsupportedError
from secateur.core.ir.network import Network
from secateur.formats.onnx.writer import check, skeleton
from support.graphs import shown
from support.onnx_text import model

OUT = "feeds output 'y'"
FIRST = "a = Conv <pads = [1,1,1,1]> (x, wa)\nr = Relu (a)\n"
CHAIN = FIRST + "b = Conv <pads = [1,1,1,1]> (r, wb)\ns = Relu (b)\ny = Conv (s, wo)"
WEIGHTS = {"wa": (8, 4, 3, 3), "wb": (8, 8, 3, 3), "wo": (2, 8, 3, 3)}


def loaded(proto: onnx.ModelProto, folder: Path) -> Network:
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return secateur.load(path)


def whole(name: str, count: int) -> tuple[tuple[str, ...], int, list[list[int]]]:
    return ((name,), count, [[count]])


def pruned(network: Network, folder: Path) -> Network:
    """Prune by a tenth, write, read again."""
    dense = secateur.prune(network, rate=0.1, criterion="l1")
    secateur.save(dense, folder / "out.onnx")
    return secateur.load(folder / "out.onnx")


BRANCHES = """
m = ReduceMax <keepdims = 0> (r)
c = Greater (m, zero)
z = If (c) <
    then_branch = yes () => (float[N,8,8,8] t) { t = Mul (r, two) },
    else_branch = no () => (float[N,8,8,8] e) { e = Sub (r, shift) }
>
b = Conv (z, wb)
s = Relu (b)
y = Conv (s, wo)"""


def test_what_a_branch_reads_is_fixed(tmp_path: Path) -> None:
    proto = model(
        FIRST + BRANCHES, WEIGHTS | {"shift": (8, 1, 1)},
        {"zero": np.float32(0), "two": np.float32(2)},
    )  # fmt: skip
    network = loaded(proto, tmp_path)
    groups = shown(find_groups(network))
    assert groups == {
        "Conv:a": "mixed by 'ReduceMax:m' (ReduceMax)",
        "Conv:b": whole("Conv:b", 8),
        "Conv:y": OUT,
    }
    again = pruned(network, tmp_path)
    assert shown(find_groups(again))["Conv:b"][1] < 8  # type: ignore[index]


def test_a_weight_that_a_branch_reads_is_not_cut(tmp_path: Path) -> None:
    body = """q = Clip (x, zero, zero)
m = ReduceMax <keepdims = 0> (q)
c = Greater (m, zero)
k = If (c) <
    then_branch = yes () => (float[8,8,3,3] t) { t = Identity (wb) },
    else_branch = no () => (float[8,8,3,3] e) { e = Neg (wb) }
>
a = Conv <pads = [1,1,1,1]> (x, wa)
b = Conv <pads = [1,1,1,1]> (a, wb)
u = ReduceMax <keepdims = 0> (k)
v = Mul (b, u)
y = Conv (v, wo)"""
    network = loaded(model(body, WEIGHTS, {"zero": np.float32(0)}), tmp_path)
    reason = "read by operator 'If:k' (If), which is not traced"
    groups = shown(find_groups(network))
    assert groups["Conv:a"] == reason
    assert groups["Conv:b"] == reason


def test_a_loop_is_fixed_and_still_runs(tmp_path: Path) -> None:
    body = (
        FIRST
        + """z = Loop (three, yes, r) <body = again
        (int64 i, bool go, float[N,8,8,8] v) => (bool on, float[N,8,8,8] w)
        { on = Identity (go)
          w = Mul (v, half) }>
b = Conv (z, wb)
y = Conv (b, wo)"""
    )
    constants = {"three": np.int64(3), "yes": np.ones((), np.bool_), "half": np.float32(0.5)}
    network = loaded(model(body, WEIGHTS, constants), tmp_path)
    assert shown(find_groups(network)) == {
        "Conv:a": "read by operator 'Loop:z' (Loop), which is not traced",
        "Conv:y": OUT,
    }  # what a Loop makes has no shape that is known beforehand, so that `b` is read untraced
    with pytest.raises(SecateurError) as caught:
        secateur.prune(network, rate=0.3, criterion="l1")
    assert "\n" not in str(caught.value)


def quantized() -> onnx.ModelProto:
    """Return a network in QDQ form: int8 weights that are dequantized before use."""
    body = """xq = QuantizeLinear (x, sx, zx)
xd = DequantizeLinear (xq, sx, zx)
wd = DequantizeLinear <axis = 0> (wq, sw, zw)
a = Conv <pads = [1,1,1,1]> (xd, wd)
r = Relu (a)
rq = QuantizeLinear (r, sx, zx)
rd = DequantizeLinear (rq, sx, zx)
y = Conv (rd, wo)"""
    random = np.random.default_rng(0)
    return model(body, {"wo": (2, 8, 3, 3)}, {
        "wq": random.integers(-127, 127, (8, 4, 3, 3)).astype(np.int8),
        "sw": random.uniform(0.01, 0.02, 8).astype(np.float32),
        "zw": np.zeros(8, np.int8), "sx": np.float32(2), "zx": np.int8(0),
    })  # fmt: skip


def test_quantized_layers_are_fixed_and_said_to_be(tmp_path: Path) -> None:
    network = loaded(quantized(), tmp_path)
    (reason,) = {
        str(group.reason) for group in find_groups(network).groups if group.name != "Conv:y"
    }
    assert "DequantizeLinear" in reason or "QuantizeLinear" in reason
    with pytest.raises(SecateurError) as caught:
        secateur.prune(network, rate=0.3, criterion="l1")
    assert "\n" not in str(caught.value)


def half_precision() -> onnx.ModelProto:
    proto = model(CHAIN, {}, inputs="float16[N,4,8,8] x", outputs="float16[] y")
    random = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        array = (random.normal(size=shape) / 8).astype(np.float16)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    inferred = onnx.shape_inference.infer_shapes(proto)
    proto.graph.output[0].CopyFrom(inferred.graph.output[0])
    return proto


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    network = loaded(half_precision(), tmp_path)
    assert shown(find_groups(network)) == {
        "Conv:a": whole("Conv:a", 8), "Conv:b": whole("Conv:b", 8), "Conv:y": OUT,
    }  # fmt: skip
    pruned(network, tmp_path)
    written = onnx.load(tmp_path / "out.onnx")
    assert {t.data_type for t in written.graph.initializer} == {TensorProto.FLOAT16}
    assert written.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


def test_external_data_comes_in_and_goes_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    onnx.save(
        model(CHAIN, WEIGHTS), str(folder / "net.onnx"), save_as_external_data=True,
        location="net.onnx.data", size_threshold=64,
    )  # fmt: skip
    network = secateur.load(folder / "net.onnx")
    dense = secateur.prune(network, rate=0.5, criterion="l1").network
    saved = secateur.save(dense, tmp_path / "out" / "small.onnx")
    assert [path.name for path in saved.paths] == ["small.onnx", "small.onnx.data"]
    assert saved.size == sum(path.stat().st_size for path in (tmp_path / "out").glob("small*"))
    bare = onnx.load(tmp_path / "out" / "small.onnx", load_external_data=False)
    large = [t for t in bare.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    assert {t.name for t in large} == {n for n in WEIGHTS if dense.array(n).nbytes > 1024} != set()
    onnx.checker.check_model(str(tmp_path / "out" / "small.onnx"), full_check=True)
    again = secateur.load(tmp_path / "out" / "small.onnx")
    for name in WEIGHTS:
        assert np.array_equal(again.array(name), dense.array(name))
    elsewhere = secateur.save(dense, tmp_path / "folder")
    assert [path.name for path in elsewhere.paths] == ["net.onnx", "net.onnx.data"]
    with pytest.raises(FormatError, match="would overwrite the input"):
        secateur.save(dense, folder)


def test_external_data_is_mapped_and_not_copied(tmp_path: Path) -> None:
    onnx.save(
        model(CHAIN, WEIGHTS), str(tmp_path / "net.onnx"), save_as_external_data=True,
        location="weights", size_threshold=64,
    )  # fmt: skip
    array = secateur.load(tmp_path / "net.onnx").array("wb")
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"location": "../weights"}, "outside"),
        ({"location": "/etc/passwd"}, "outside"),
        ({"location": ""}, "outside"),
        ({"location": "missing"}, "missing"),
        ({"offset": "999999"}, "holds"),
        ({"offset": "-4"}, "impossible offset: '-4'"),
        ({"length": "x"}, "impossible length: 'x'"),
        ({"length": "4"}, "has 4 bytes"),
    ],
)
def test_bad_external_data_is_refused(change: dict[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(
        model(CHAIN, WEIGHTS), str(path), save_as_external_data=True, location="weights",
        size_threshold=64,
    )  # fmt: skip
    proto = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry for entry in proto.graph.initializer[0].external_data}
    for key, value in change.items():
        entries[key].value = value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match=says) as caught:
        secateur.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("opset", "says"), [(6, "opset 6 is earlier than 7"), (1000, "opset 1000 is later than")]
)
def test_opsets_that_cannot_be_run_are_refused(opset: int, says: str, tmp_path: Path) -> None:
    proto = model(CHAIN, WEIGHTS)
    proto.opset_import[0].version = opset
    with pytest.raises(UnsupportedError, match=says):
        loaded(proto, tmp_path)


def test_training_form_of_normalization(tmp_path: Path) -> None:
    body = (
        FIRST
        + """n, m1, v1 = BatchNormalization <training_mode = 1> (r, s, b, m, var)
y = Conv (n, wo)"""
    )
    vectors = dict.fromkeys(("s", "b", "m", "var"), (8,))
    weights = {"wa": (8, 4, 3, 3), "wo": (2, 8, 3, 3)}
    network = loaded(model(body, weights | vectors), tmp_path)
    assert shown(find_groups(network)) == {"Conv:a": whole("Conv:a", 8), "Conv:y": OUT}


def test_normalization_with_default_axes_is_written(tmp_path: Path) -> None:
    """onnx's own inference fails for this valid operator."""
    body = CHAIN.replace("s = Relu (b)", "n = MeanVarianceNormalization (b)\ns = Relu (n)")
    network = loaded(model(body, WEIGHTS), tmp_path)
    secateur.save(secateur.prune(network, rate=0.3, criterion="l1"), tmp_path / "out.onnx")
    again = secateur.load(tmp_path / "out.onnx")
    assert [node.op_type for node in again.graph].count("MeanVarianceNormalization") == 1
    assert again.array("wa").shape[0] < 8


def test_a_contradiction_beside_such_a_normalization_is_still_found(tmp_path: Path) -> None:
    body = CHAIN.replace("s = Relu (b)", "n = MeanVarianceNormalization (b)\ns = Relu (n)")
    network = loaded(model(body, WEIGHTS), tmp_path)
    proto, large = skeleton(network.model)
    next(value for value in proto.graph.value_info if value.name == "s").type.CopyFrom(
        helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 9, 8, 8])
    )
    with pytest.raises(onnx.shape_inference.InferenceError, match="Relu"):
        check(proto, large)


def test_inputs_that_are_no_images(tmp_path: Path) -> None:
    """An embedding is read by numbers; it is fixed, what follows is not."""
    body = """e = Gather (table, ids)
m = ReduceMean <keepdims = 0> (e, one)
h = MatMul (m, wh)
r = Relu (h)
y = MatMul (r, wy)"""
    weights = {"table": (20, 6), "wh": (6, 8), "wy": (8, 2)}
    proto = model(body, weights, {"one": np.array([1])}, inputs="int64[N,5] ids")
    network = loaded(proto, tmp_path)
    assert shown(find_groups(network)) == {"MatMul:h": whole("MatMul:h", 8), "MatMul:y": OUT}
    pruned(network, tmp_path)


def test_a_sequence_as_output_is_refused(tmp_path: Path) -> None:
    proto = model("a = Conv (x, wa)\ny = Identity (a)", WEIGHTS)
    graph = proto.graph
    graph.node.append(helper.make_node("SequenceConstruct", ["a"], ["q"]))
    value = helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)
    graph.output.append(value)
    with pytest.raises(UnsupportedError, match="output 'q' is no tensor"):
        loaded(proto, tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"], name="layer_0")],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    path = tmp_path / "broken.onnx"
    path.write_bytes(model.SerializeToString().replace(b"layer_0", b"lay\x80r_0"))
    with pytest.raises(secateur.FormatError, match=r"broken\.onnx.*'name' .* is no UTF-8"):
        secateur.load(path)
