"""Companions, weights in HDF5, a header that forgets what it saw, and notes that are shown."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import secateur
from secateur.cli.terminal import Terminal
from secateur.core.errors import FormatError, SecateurError, UnsupportedError
from secateur.core.ir.network import Caution
from support.darknet import read_document as read_cfg
from support.darknet import smaller, with_random_weights, write

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"


def cifar(shared: Path) -> tuple[Path, Path, Path]:
    folder = shared / "models" / "cifar10_quick"
    return (
        folder / "cifar10_quick.prototxt",
        folder / "cifar10_quick_iter_4000.caffemodel",
        folder / "cifar10_quick_train_test.prototxt",
    )


def test_a_companion_gets_the_same_changes(shared: Path, tmp_path: Path) -> None:
    deploy, weights, train_val = cifar(shared)
    pruned = secateur.prune(secateur.load(deploy, weights, companions=[train_val]), rate=0.4)
    saved = secateur.save(pruned, tmp_path)
    assert saved.companions == (tmp_path / train_val.name,)
    before, after = train_val.read_text(), saved.companions[0].read_text()
    assert before != after
    old, new = before.splitlines(), after.splitlines()
    assert len(old) == len(new)
    pairs = zip(old, new, strict=True)
    assert {a.split(":")[0].strip() for a, b in pairs if a != b} == {"num_output"}
    # The weights fit it, and it computes what the deploy net does.
    network = secateur.load(
        saved.companions[0], tmp_path / weights.name, input_shapes={"cifar": (3, 32, 32),
                                                                    "data": (3, 32, 32)}
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    got = secateur.Session(network).run({next(iter(network.inputs)): x})
    want = secateur.Session(pruned.network).run({next(iter(pruned.network.inputs)): x})
    assert np.allclose(next(iter(got.values())), next(iter(want.values())), atol=1e-5)


def test_companions_that_do_not_fit_are_refused(shared: Path, tmp_path: Path) -> None:
    deploy, weights, train_val = cifar(shared)
    wrong = tmp_path / "wrong.prototxt"
    wrong.write_text(train_val.read_text().replace("num_output: 32", "num_output: 33", 1))
    other = shared / "structures/BVLC+caffe/examples__mnist__mnist_autoencoder.prototxt"
    typed = tmp_path / "typed.prototxt"
    typed.write_text(train_val.read_text().replace('type: "InnerProduct"', 'type: "Convolution"'))
    for companion, message in (
        (wrong, "num_output is 33, and 32 in the network"),
        (typed, "'ip1'.*its type is Convolution, and InnerProduct in the network"),
        (other, "no layer of the network that has weights"),
        (tmp_path / "nowhere.prototxt", "cannot be read"),
    ):
        with pytest.raises(FormatError, match=message) as caught:
            secateur.load(deploy, weights, companions=[companion])
        assert str(companion) in str(caught.value)
    out = tmp_path / "out"
    with pytest.raises(FormatError, match="bears the same name"):
        secateur.save(secateur.load(deploy, weights, companions=[deploy]), out)
    assert not out.exists()
    (tmp_path / "train.prototxt").write_text(train_val.read_text())
    again = secateur.load(deploy, weights, companions=[tmp_path / "train.prototxt"])
    with pytest.raises(FormatError, match="would overwrite"):
        secateur.save(secateur.prune(again, rate=0.4), tmp_path)
    assert not (tmp_path / deploy.name).exists()


def test_a_companion_of_a_cfg(tmp_path: Path) -> None:
    head = "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n"
    cfg, weights = with_random_weights(tmp_path, NET + CONV + CONV + head)
    test = tmp_path / "test.cfg"
    test.write_text(cfg.read_text().replace("[net]\n", "[net]\nbatch=1 # at test\nangle=7\n"))
    pruned = secateur.prune(secateur.load(cfg, weights, companions=[test]), rate=0.4)
    saved = secateur.save(pruned, tmp_path / "out")
    text = saved.companions[0].read_text()
    assert "batch=1 # at test\nangle=7\n" in text
    own = (tmp_path / "out" / cfg.name).read_text()
    assert text.replace("batch=1 # at test\nangle=7\n", "") == own
    assert own != cfg.read_text()
    written = secateur.load(saved.companions[0], tmp_path / "out" / weights.name)
    assert written.outputs == pruned.network.outputs
    for text, message in (
        (NET + CONV, "sections are not those"),
        (cfg.read_text() + head, "sections are not those"),
        (cfg.read_text().replace("filters=8", "filters=9", 1), "filters of section 1 is not"),
        (cfg.read_text().replace("size=1", "size=5"), "read with the companion test.cfg"),
    ):
        test.write_text(text)
        with pytest.raises(FormatError, match=message):
            secateur.load(cfg, weights, companions=[test])


def test_an_onnx_file_has_no_companions(tmp_path: Path) -> None:
    secateur.save(secateur.load(*with_random_weights(tmp_path, NET + CONV)), tmp_path / "a.onnx")
    with pytest.raises(UnsupportedError, match="companions"):
        secateur.load(tmp_path / "a.onnx", companions=[tmp_path / "a.onnx"])
    cfg, weights = with_random_weights(tmp_path, NET + CONV)
    test = tmp_path / "test.cfg"
    test.write_text(cfg.read_text())
    with pytest.raises(UnsupportedError, match="companions"):
        secateur.save(secateur.load(cfg, weights, companions=[test]), tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(
    "header",
    [struct.pack("<3iq", 0, 2, 5, 32013312), struct.pack("<4i", 0, 1, 0, 641)],
    ids=["0.2.5", "0.1"],
)
def test_seen_is_kept_or_reset(header: bytes, tmp_path: Path) -> None:
    cfg, weights = with_random_weights(tmp_path, NET + CONV)
    values = weights.read_bytes()[20:]
    weights.write_bytes(header + values)
    for reset, expected in ((False, header), (True, header[:12] + bytes(len(header) - 12))):
        network = secateur.load(cfg, weights, reset_seen=reset)
        out = tmp_path / f"out{reset}"
        secateur.save(network, out)
        assert (out / weights.name).read_bytes() == expected + values


def test_hdf5_weights_are_those_of_the_caffemodel(shared: Path, tmp_path: Path) -> None:
    # The HDF5 file in the collection is of a later iteration than its twin: both are compared
    # through a file with the twin's values.
    prototxt, caffemodel, _ = cifar(shared)
    twin = secateur.load(prototxt, caffemodel)
    weights = tmp_path / "cifar10.caffemodel.h5"
    stored = {
        str(name): value.const_value.numpy() for name, value in twin.graph.initializers.items()
    }  # fmt: skip
    with h5py.File(weights, "w") as file:
        for layer in ("conv1", "conv2", "conv3", "ip1", "ip2"):
            for number, blob in enumerate(("weight", "bias")):
                file[f"data/{layer}/{number}"] = stored[f"{layer}/{blob}"]
    network = secateur.load(prototxt, weights)
    for name, value in network.graph.initializers.items():
        assert value.const_value is not None
        assert np.array_equal(value.const_value.numpy(), stored[str(name)]), name
    saved = secateur.save(network, tmp_path / "out")
    assert {path.name for path in saved.paths} == {prototxt.name, "cifar10.caffemodel"}
    assert saved.difference == 0


def test_hdf5_weights_of_caffe_load(shared: Path) -> None:
    prototxt, caffemodel, _ = cifar(shared)
    twin = secateur.load(prototxt, caffemodel)
    network = secateur.load(prototxt, caffemodel.with_name("cifar10_quick_iter_5000.caffemodel.h5"))
    for name, value in network.graph.initializers.items():
        assert value.const_value is not None
        other = twin.graph.initializers[name].const_value
        assert other is not None
        a, b = value.const_value.numpy(), other.numpy()
        assert a.shape == b.shape
        # A thousand iterations at the smallest learning rate apart.
        assert np.abs(a - b).max() < 0.1 * np.abs(b).max()


def test_broken_hdf5_is_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prototxt, _, _ = cifar(shared)
    weights = tmp_path / "broken.caffemodel.h5"
    good = (prototxt.parent / "cifar10_quick_iter_5000.caffemodel.h5").read_bytes()
    for content in (good[:5000], good[:8] + bytes(300) + good[308:]):
        weights.write_bytes(content)
        with pytest.raises(FormatError) as caught:
            secateur.load(prototxt, weights)
        assert str(weights) in str(caught.value)
    with h5py.File(weights, "w") as file:
        file.create_dataset("data/conv1/0", shape=(1 << 16, 1 << 16), dtype="f4", chunks=True)
    with pytest.raises(FormatError, match="is no blob"):
        secateur.load(prototxt, weights)
    with h5py.File(weights, "w") as file:
        file["data/conv1/1"] = np.zeros(3, np.float32)
    with pytest.raises(FormatError, match="missing"):
        secateur.load(prototxt, weights)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'secateur\[hdf5\]'"):
        secateur.load(prototxt, weights)


def test_assumptions_are_shown_without_asking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = CONV.replace("leaky", "leeky").replace("pad=1", "pad=1\ncolour=7")
    cfg, weights = with_random_weights(tmp_path, NET + odd)
    network = secateur.load(cfg, weights)
    (caution,) = (note for note in network.notes if isinstance(note, Caution))
    assert "leeky" in caution
    assert any("colour" in note for note in network.notes)
    Terminal().notes(network.notes)
    shown = capsys.readouterr().err
    assert "warning: activation 'leeky' is unknown" in shown
    assert "colour" not in shown
    Terminal(verbose=True).notes(network.notes)
    assert "note: [convolutional]: keys that change nothing: colour" in capsys.readouterr().err


def test_an_assumed_flavour_is_shown(shared: Path, tmp_path: Path) -> None:
    cfg = smaller(read_cfg(shared / "structures/AlexeyAB+darknet/resnet50.cfg"), 16, 64)
    files = with_random_weights(tmp_path, cfg, flavour="pjreddie")
    assumed = secateur.load(*files).notes
    told = secateur.load(*files, flavour="pjreddie").notes
    wanted = "read as a network for pjreddie's Darknet"
    assert [type(note) for note in assumed if note == wanted] == [Caution]
    assert [type(note) for note in told if note == wanted] == [str]


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="seen"):
        secateur.load(*write(tmp_path, NET + CONV), seen=0)
    with pytest.raises(SecateurError):
        secateur.load(*write(tmp_path, NET + CONV), reset_seen=True)
