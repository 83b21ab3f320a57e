"""The caffemodel: every byte is kept, blobs are views, broken files are refused."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import pytest

from secateur.core.errors import FormatError, SecateurError
from secateur.formats.caffe.caffemodel import LayerChange, open_caffemodel
from secateur.formats.caffe.reader import load
from secateur.formats.wire import varint, varint_field
from secateur.proto.caffe import message_class
from support.caffe import GOLDEN, difference, malformed, models, run

MODELS = sorted({weights for _, weights in models()})
CASES = sorted(GOLDEN.glob("cases/*/model.caffemodel"))


def test_every_file_is_kept_and_read_as_protobuf_reads_it(shared):
    for path in [*MODELS, *CASES]:
        model = open_caffemodel(path)
        assert model.replace({}) == path.read_bytes()
        net = message_class("NetParameter")()
        net.ParseFromString(path.read_bytes())
        entries = [*net.layer, *net.layers]
        assert len(entries) == len(model.layers)
        for entry, stored in zip(entries, model.layers, strict=True):
            layer = entry.layer if stored.version == 0 else entry
            assert layer.name == stored.name
            for blob, place in zip(layer.blobs, stored.blobs, strict=True):
                want = np.array(blob.data or blob.double_data, np.float32)
                assert np.array_equal(model.values(place), want, equal_nan=True)
    print(f"\n{len(MODELS) + len(CASES)} caffemodel files kept byte for byte")
    assert len(MODELS) > 10


def test_packed_weights_are_views_of_the_file(shared):
    path = shared / "models/lenet_mnist/lenet_iter_10000.caffemodel"
    model = open_caffemodel(path)
    blobs = [blob for layer in model.layers for blob in layer.blobs]
    assert blobs
    for blob in blobs:
        values = model.values(blob)
        assert not values.flags.owndata
        assert not values.flags.writeable


def build(path, **blob):
    net = message_class("NetParameter")(name="net")
    layer = net.layer.add(name="ip", type="InnerProduct")
    layer.inner_product_param.num_output = 2
    layer.blobs.add(**blob)
    path.write_bytes(net.SerializeToString() + varint_field(9999, 5))
    return open_caffemodel(path)


STYLES = {
    "shape": {"shape": {"dim": [2, 3]}, "data": range(6), "diff": range(6)},
    "legacy": {"num": 1, "channels": 1, "height": 2, "width": 3, "data": range(6)},
    "double": {"shape": {"dim": [2, 3]}, "double_data": range(6)},
    "half": {
        "shape": {"dim": [2, 3]}, "raw_data_type": 2,
        "raw_data": np.arange(6, dtype=np.float16).tobytes(),
    },
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_changed_blobs_are_written_in_the_style_of_the_file(tmp_path, style):
    model = build(tmp_path / "a.caffemodel", **STYLES[style])
    place = model.layers[0].blobs[0]
    assert model.values(place).tolist() == [0, 1, 2, 3, 4, 5]
    assert place.fits((2, 3))
    change = LayerChange(
        blobs={0: np.array([[7, 8, 9]], np.float32)},
        fields={("inner_product_param", "num_output"): (1,)},
    )
    (tmp_path / "b.caffemodel").write_bytes(model.replace({0: change}))
    written = open_caffemodel(tmp_path / "b.caffemodel")
    again = written.layers[0].blobs[0]
    assert again.fits((1, 3))
    assert again.legacy == place.legacy
    assert again.data_field == place.data_field
    assert written.values(again).tolist() == [7, 8, 9]
    net = message_class("NetParameter")()
    net.ParseFromString(bytes(written))
    assert net.layer[0].inner_product_param.num_output == 1
    assert not net.layer[0].blobs[0].diff
    assert bytes(written).endswith(varint_field(9999, 5))


def test_a_run_of_single_values_is_read_at_once(tmp_path):
    count = 300_000
    values = np.arange(count, dtype="<f4")
    single = np.empty((count, 5), np.uint8)
    single[:, 0] = 5 << 3 | 5
    single[:, 1:] = values.view(np.uint8).reshape(count, 4)
    blob = b"\x08\x01\x10\x01\x18\x01\x20" + varint(count) + single.tobytes()
    layer = b"\x3a" + varint(len(blob)) + blob
    path = tmp_path / "a.caffemodel"
    path.write_bytes(b"\xa2\x06" + varint(len(layer)) + layer)
    started = time.process_time()
    model = open_caffemodel(path)
    assert np.array_equal(model.values(model.layers[0].blobs[0]), values)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_cut_files_are_refused_with_an_offset(tmp_path, shared, cut):
    data = (shared / "golden/caffe/malformed/sound/model.caffemodel").read_bytes()
    path = tmp_path / "cut.caffemodel"
    path.write_bytes(data[: len(data) - cut])
    with pytest.raises(FormatError) as caught:
        open_caffemodel(path)
    assert caught.value.where.offset is not None
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("case", malformed())
def test_malformed_cases(case):
    expected = malformed()[case]
    folder = GOLDEN / "malformed" / case
    files = (folder / "model.prototxt", folder / "model.caffemodel")
    started = time.process_time()
    if expected["must_refuse"]:
        with pytest.raises(SecateurError) as caught:
            load(*files)
        assert "model." in str(caught.value.where)
    else:
        network = load(*files)
        io = dict(np.load(folder / "io.npz"))
        outputs = run(network.model, {k[3:]: v for k, v in io.items() if k.startswith("in:")})
        for name, got in outputs.items():
            assert not difference(got, io[f"out:{name}"], 1e-5)
    assert time.process_time() - started < 5
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sys.platform != "linux" or peak < 3_000_000, "memory of the whole test process, in kB"
