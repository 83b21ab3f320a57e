"""Sessions: what they compute, what they copy, and what they say about data that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest
from threadpoolctl import ThreadpoolController

from secateur.core.engine import cached_session
from secateur.core.engine.session import INLINE_BYTES, Session, _options, _split
from secateur.core.engine.threads import cores, within_cores
from secateur.core.errors import DataError, UnsupportedError
from secateur.core.ir.builder import Builder
from secateur.core.ir.dims import shape_text
from secateur.core.ir.network import Network


def dense(batch: int | str = "N", *, inputs: int = 3, outputs: int = 2, seed: int = 0) -> Network:
    weight = np.random.default_rng(seed).standard_normal((inputs, outputs)).astype(np.float32)
    b = Builder("dense")
    y = b.op("MatMul", b.input("data", (batch, inputs)), b.parameter(weight))
    return Network(name="dense", model=b.finish({"out": y}))


def weight_of(network: Network) -> np.ndarray:
    (value,) = network.graph.initializers.values()
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


@pytest.mark.parametrize("outputs", [2, 700])
def test_computes_with_inline_and_with_external_weights(outputs: int) -> None:
    network = dense(inputs=5, outputs=outputs)
    assert (weight_of(network).nbytes > INLINE_BYTES) == (outputs == 700)
    data = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    result = Session(network).run({"data": data})
    assert list(result) == ["out"]
    np.testing.assert_allclose(result["out"], data @ weight_of(network), rtol=1e-5, atol=1e-5)


def test_large_weights_are_neither_copied_nor_serialised() -> None:
    network = dense(inputs=64, outputs=1000)
    model, arrays = _split(network.model)
    (array,) = arrays.values()
    assert np.shares_memory(array, weight_of(network))
    assert len(model.SerializeToString()) < 1000


def test_read_only_unaligned_and_strided_weights_work() -> None:
    raw = np.arange(3 * 800 + 1, dtype=np.float32).tobytes()
    unaligned = np.frombuffer(raw[1:] + b"\0", np.uint8)[3 : 3 + 3 * 800 * 4].view(np.float32)
    strided = np.arange(2 * 3 * 800, dtype=np.float32).reshape(800, 6)[:, ::2].T
    frozen = np.ones((3, 800), np.float32)
    frozen.flags.writeable = False
    for weight in (unaligned.reshape(3, 800), strided, frozen):
        b = Builder("odd")
        y = b.op("MatMul", b.input("data", ("N", 3)), b.parameter(weight))
        network = Network(name="odd", model=b.finish({"out": y}))
        one = np.array([[0, 1, 0]], np.float32)
        result = Session(network).run({"data": one})["out"]
        np.testing.assert_array_equal(result[0], np.array(weight)[1])


def test_weights_outlive_the_network_they_came_from() -> None:
    data = np.ones((1, 64), np.float32)
    expected = data @ weight_of(dense(inputs=64, outputs=1000))
    session = Session(dense(inputs=64, outputs=1000))
    session.network = dense()
    scribble = [np.full((64, 1000), 7.0, np.float32) for _ in range(8)]
    np.testing.assert_allclose(session.run({"data": data})["out"], expected, rtol=1e-4, atol=1e-4)
    assert len(scribble) == 8


def test_other_numbers_are_converted() -> None:
    session = Session(dense())
    whole = session.run({"data": np.array([[1, 2, 3]])})["out"]
    assert whole.dtype == np.float32
    for dtype in (np.float64, np.float16, np.uint8):
        np.testing.assert_array_equal(
            session.run({"data": np.array([[1, 2, 3]], dtype)})["out"], whole
        )


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'data' of network 'dense' is missing"),
        ({"data": np.ones((1, 3)), "more": np.ones(1)}, "no input 'more'"),
        ({"data": np.ones((1, 4))}, "must be N×3, but is 1×4"),
        ({"data": np.ones(3)}, "must be N×3, but is 3"),
        ({"data": np.float32(1)}, "a single number"),
        ({"data": np.ones((0, 3))}, "is empty"),
        ({"data": np.array([["a", "b", "c"]])}, "not numbers"),
        ({"data": np.ones((1, 3), complex)}, "not numbers"),
    ],
)
def test_data_that_does_not_fit_is_explained(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Session(dense()).run(feeds)


def test_a_fixed_batch_runs_in_slices() -> None:
    data = np.random.default_rng(2).standard_normal((6, 3)).astype(np.float32)
    free = Session(dense()).run({"data": data})["out"]
    np.testing.assert_allclose(Session(dense(2)).run({"data": data})["out"], free, rtol=1e-6)
    with pytest.raises(DataError, match=r"batches of 4, but input 'data' has 6 samples"):
        Session(dense(4)).run({"data": data})


def test_several_inputs_are_sliced_together() -> None:
    b = Builder("two")
    left, right = b.input("left", (2, 3)), b.input("right", (1, 3))
    network = Network(name="two", model=b.finish({"sum": b.op("Add", left, right)}))
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    result = Session(network).run({"left": x, "right": x[:2] * 10})
    np.testing.assert_array_equal(result["sum"], x + np.repeat(x[:2] * 10, 2, axis=0))
    with pytest.raises(DataError, match="different numbers of samples: 'left' has 4, 'right' has"):
        Session(network).run({"left": x, "right": x[:1]})


def test_inputs_with_one_symbolic_batch_must_agree() -> None:
    b = Builder("two")
    model = b.finish({"sum": b.op("Add", b.input("left", ("N", 3)), b.input("right", ("N", 3)))})
    session = Session(Network(name="two", model=model))
    with pytest.raises(DataError, match="'left' has 4, 'right' has 1"):
        session.run({"left": np.ones((4, 3)), "right": np.ones((1, 3))})


def layers(batch: int | str = "N") -> Network:
    b = Builder("layers")
    x = b.op("Relu", b.input("data", (batch, 3)))
    return Network(name="layers", model=b.finish({"neg": b.op("Neg", x), "abs": b.op("Abs", x)}))


@pytest.mark.parametrize("batch", ["N", 2])
def test_inner_values_and_inputs_are_fetched_by_their_own_names(batch: int | str) -> None:
    network = layers(batch)
    (inner,) = (str(node.outputs[0].name) for node in network.graph if node.op_type == "Relu")
    data = np.arange(-6.0, 6.0).reshape(4, 3)
    found = Session(network, fetch=[inner, "abs", "data", inner]).run({"data": data})
    assert list(found) == [inner, "abs", "data"]
    np.testing.assert_array_equal(found[inner], np.maximum(data, 0))
    np.testing.assert_array_equal(found["abs"], found[inner])
    np.testing.assert_array_equal(found["data"], data.astype(np.float32))
    assert found["data"].dtype == np.float32
    assert Session(network, fetch=[]).run({"data": data}) == {}
    assert list(Session(network).run({"data": data})) == ["neg", "abs"]


def test_what_no_node_makes_cannot_be_fetched() -> None:
    with pytest.raises(DataError, match="network 'layers' computes no value 'other'"):
        Session(layers(), fetch=["abs", "other"])


def test_a_part_fetches_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = layers()
    (inner,) = (str(node.outputs[0].name) for node in network.graph if node.op_type == "Relu")
    monkeypatch.setattr(cached_session, "LARGEST_CACHED_VALUE", 24)
    part = cached_session.Part(network, fetch=["data", inner])
    data = np.arange(-9.0, 9.0, dtype=np.float32).reshape(6, 3)
    found = part.compute({"data": data, "more": data})
    assert list(found) == ["data", inner]
    np.testing.assert_array_equal(found["data"], data)
    np.testing.assert_array_equal(found[inner], np.maximum(data, 0))


def test_a_prepared_run_can_be_repeated() -> None:
    session = Session(dense(1))
    data = np.ones((3, 3), np.float32)
    run = session.prepare({"data": data})
    np.testing.assert_array_equal(run()["out"], session.run({"data": data})["out"])
    np.testing.assert_array_equal(run()["out"], run()["out"])


def test_failures_of_onnxruntime_are_ours_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    b = Builder("fixed")
    y = b.op("Reshape", b.input("data", ("N", 3)), b.constant([3]))
    session = Session(Network(name="fixed", model=b.finish({"out": y})))
    with pytest.raises(UnsupportedError, match="failed at network 'fixed'"):
        session.run({"data": np.ones((2, 3))})
    x = ir.Value(name="x", shape=ir.Shape(["N"]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.Node("nowhere", "Strange", [x])
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "y", x.shape, x.type
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18, "nowhere": 1})
    with pytest.raises(UnsupportedError, match=r"does not accept network 'strange'.*Strange"):
        Session(Network(name="strange", model=ir.Model(graph, ir_version=10)))
    assert capfd.readouterr() == ("", "")


def test_words_for_shapes_and_cores() -> None:
    assert shape_text(("N", 3, 8, 8)) == "N×3×8×8"
    assert shape_text(()) == "a single number"
    assert cores() >= 1


def test_a_limit_of_cores_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cores() == 1


def convolution(*, blank: bool) -> Network:
    """A convolution without a bias, normalised and rectified, as Darknet's layers are."""
    rng = np.random.default_rng(0)
    b = Builder("layer")
    kernel = b.parameter(rng.standard_normal((24, 8, 3, 3)).astype(np.float32))
    x = b.op("Conv", b.input("data", ("N", 8, 6, 6)), kernel, pads=[1] * 4)
    ones = [b.parameter(rng.uniform(0.5, 2, 24).astype(np.float32)) for _ in range(4)]
    y = b.op("LeakyRelu", b.op("BatchNormalization", x, *ones), alpha=0.1)
    model = b.finish({"out": y})
    if blank:
        proto = ir.serde.serialize_model(model)
        proto.graph.node[0].input.append("")
        model = ir.serde.deserialize_model(proto)
    return Network(name="layer", model=model)


def test_an_optional_input_without_a_name_does_not_keep_layers_from_being_fused(
    tmp_path: Path,
) -> None:
    plain, odd = convolution(blank=False), convolution(blank=True)
    assert [len(next(iter(n.graph)).inputs) for n in (plain, odd)] == [2, 3]
    for network in (plain, odd):
        options = _options(1)
        options.optimized_model_filepath = str(tmp_path / "run.onnx")
        model, arrays = _split(network.model)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        left = {node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node}
        assert not left & {"BatchNormalization", "LeakyRelu"}
    data = np.random.default_rng(1).standard_normal((2, 8, 6, 6)).astype(np.float32)
    wanted = onnx.reference.ReferenceEvaluator(ir.serde.serialize_model(plain.model)).run(
        None, {"data": data}
    )
    found = [Session(network).run({"data": data})["out"] for network in (plain, odd)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)


def test_the_builder_leaves_out_what_is_left_out_at_the_end() -> None:
    b = Builder("ends")
    x = b.input("data", ("N", 3, 4, 4))
    kernel = b.parameter(np.ones((2, 3, 1, 1), np.float32))
    b.finish({"out": b.op("Conv", x, kernel, None)})
    y = b.op("Clip", x, None, b.constant(6.0, np.float32))
    assert [len(node.inputs) for node in b._nodes] == [2, 3]
    assert y.producer().inputs[1] is None


def test_products_of_matrices_take_no_more_threads_than_there_are_cores(monkeypatch):
    def threads() -> list[int]:
        libraries = ThreadpoolController().select(user_api="blas").info()
        return [library["num_threads"] for library in libraries]

    before = threads()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    with within_cores():
        assert before
        assert set(threads()) == {1}
    assert threads() == before
