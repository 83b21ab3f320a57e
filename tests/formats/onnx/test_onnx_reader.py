"""ONNX files: read without copying weights, written in parts, recognised as the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import secateur
from secateur.core.errors import FormatError, SecateurError
from secateur.core.ir.rebuild import rebuild
from secateur.core.verify.identity import same
from secateur.formats.onnx.mapped import open_onnx
from secateur.formats.onnx.reader import load
from secateur.formats.onnx.writer import to_pieces

WEIGHT = np.random.default_rng(0).normal(size=(16, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(16, dtype=np.float32)


def model(opset: int = 18, *, raw: bool = True, as_inputs: bool = False) -> onnx.ModelProto:
    """Return Conv → Relu with a weight that is large enough to stay in the file."""
    weight = (
        numpy_helper.from_array(WEIGHT, "w")
        if raw
        else helper.make_tensor("w", TensorProto.FLOAT, WEIGHT.shape, WEIGHT.ravel().tolist())
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])]
    if as_inputs:
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3]),
         helper.make_node("Relu", ["c"], ["y"])],
        "net",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16, 6, 6])],
        [weight, numpy_helper.from_array(BIAS, "b")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def test_large_weights_are_views_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.onnx", model())
    mapped = open_onnx(path)
    assert list(mapped.large) == ["w"]
    assert [tensor.name for tensor in mapped.proto.graph.initializer] == ["b"]
    network = load(path)
    tensor = network.graph.initializers["w"].const_value
    assert tensor is not None
    assert np.array_equal(tensor.numpy(), WEIGHT)
    assert not tensor.numpy().flags.owndata
    assert not tensor.numpy().flags.writeable
    assert list(network.inputs) == ["x"]


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("as_inputs", [True, False])
def test_every_form_computes_the_same(
    opset: int, raw: bool, as_inputs: bool, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.onnx", model(opset, raw=raw, as_inputs=as_inputs))
    network = secateur.load(path)
    assert list(network.inputs) == ["x"]
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    other = secateur.load(written(tmp_path / "b.onnx", model()))
    got = secateur.Session(network).run({"x": x})["y"]
    assert np.array_equal(got, secateur.Session(other).run({"x": x})["y"])


def test_external_data_is_read_from_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(model(), str(path), save_as_external_data=True, location="a.bin", size_threshold=100)
    assert (tmp_path / "a.bin").exists()
    tensor = load(path).graph.initializers["w"].const_value
    assert tensor is not None
    assert np.array_equal(tensor.numpy(), WEIGHT)
    (tmp_path / "a.bin").unlink()
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_the_parts_are_the_file_that_onnx_reads(tmp_path: Path) -> None:
    network = load(written(tmp_path / "a.onnx", model()))
    parts = to_pieces(network, "a.onnx")[".onnx"]
    assert any(len(part) == WEIGHT.nbytes for part in parts)
    proto = onnx.ModelProto.FromString(b"".join(parts))
    onnx.checker.check_model(proto, full_check=True)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert np.array_equal(found["w"], WEIGHT)
    assert np.array_equal(found["b"], BIAS)
    assert [value.name for value in proto.graph.input] == ["x"]


def change_weight(proto: onnx.ModelProto) -> None:
    array = WEIGHT.copy()
    array[-1, -1, -1, -1] = np.nextafter(array[-1, -1, -1, -1], 9, dtype=np.float32)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w"))


def change_bias(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(-BIAS, "b"))


def change_attribute(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("strides", [2, 2]))
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 3
    proto.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 3


def change_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Sigmoid"


def change_name(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].output[0] = proto.graph.output[0].name = "z"


@pytest.mark.parametrize(
    "change", [change_weight, change_bias, change_attribute, change_operator, change_name]
)
def test_a_difference_is_noticed(change: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    network = load(written(tmp_path / "a.onnx", model()))
    proto = model()
    change(proto)
    released: list[int] = []
    other = load(written(tmp_path / "b.onnx", proto))
    assert not same(network, other, lambda: released.append(1))
    assert same(network, load(tmp_path / "a.onnx"), lambda: released.append(1))
    assert same(network, rebuild(network), lambda: None)


def test_what_was_not_written_rightly_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof by identity falls back to running both networks."""
    network = load(written(tmp_path / "a.onnx", model()))
    bad = model()
    change_bias(bad)
    monkeypatch.setattr(
        "secateur.formats.onnx.writer.to_pieces",
        lambda *_: {".onnx": [bad.SerializeToString()]},
    )
    with pytest.raises(SecateurError, match="written = dense"):
        secateur.save(network, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\x08garbage", model().SerializeToString()[:-700]],
    ids=["empty", "garbage", "cut"],
)
def test_broken_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        secateur.load(path)
    assert str(path) in str(caught.value)


def test_a_tensor_that_claims_another_size_is_refused(tmp_path: Path) -> None:
    proto = model()
    proto.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(FormatError, match="holds 1728 bytes"):
        load(written(tmp_path / "a.onnx", proto))
