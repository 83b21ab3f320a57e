"""What the reader says about a network, and what it says about mistakes."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from secateur.core.cost.describe import describe
from secateur.core.errors import FormatError, SecateurError, UnsupportedError
from secateur.core.ir.heads import AnchorHead
from secateur.formats.adapter import keys_of
from secateur.formats.darknet.activations import ACTIVATIONS
from secateur.formats.darknet.batch_norm import graph_variance, stored_variance
from secateur.formats.darknet.numerals import quotient, read_float, read_int, read_ints
from secateur.formats.darknet.reader import load, load_text
from secateur.formats.darknet.section import SECTIONS
from secateur.formats.saving import save
from support.darknet import HEADER, noise, run, with_random_weights, write

NET = "[net]\nwidth=8\nheight=6\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"


def test_layers_outputs_heads_and_preprocessing(tmp_path: Path) -> None:
    cfg = (
        "[net]\nwidth=8\nheight=8\nchannels=3\nletter_box=1\n"
        + CONV
        + "[dropout]\n[route]\nlayers=0\n[convolutional]\nfilters=7\nactivation=linear\n"
        + "[yolo]\nmask=1\nanchors=1,2, 3.5,4\nnum=2\nclasses=2\nfoo=1\n"
        + "[route]\nlayers=0\n[avgpool]\n[softmax]\n[cost]\n"
    )
    network = load(*with_random_weights(tmp_path, cfg))
    assert network.name == "model"
    assert list(network.inputs.items()) == [("data", ("N", 3, 8, 8))]
    assert set(network.outputs) == {"layer_1", "layer_4", "layer_7"}
    assert [layer.type for layer in network.layers] == [
        "convolutional", "dropout", "route", "convolutional", "yolo", "route", "avgpool", "softmax",
        "cost",
    ]  # fmt: skip
    assert [layer.name for layer in network.layers] == [str(k) for k in range(9)]
    assert network.layers[1].bottoms == network.layers[0].tops == network.layers[1].tops
    assert network.layers[0].bottoms == ("data",)
    assert network.layers[0].line == 6
    assert network.layers[0].stored == 4 + 4 * 3 * 9
    assert {name for layer in network.layers for name in layer.tops} <= set(network.values())
    assert {node.meta["layer"] for node in network.graph} <= {*range(9), None}
    (head,) = network.heads
    assert isinstance(head, AnchorHead)
    assert head.output == "layer_4"
    assert head.anchors == ((1.0, 2.0), (3.5, 4.0))
    assert head.mask == (1,)
    assert (head.width, head.uncertain) == (8, False)
    assert network.notes == ("[yolo]: keys that change nothing: foo",)
    assert network.preprocess.letterbox
    assert (network.preprocess.channels, network.preprocess.scale) == ("rgb", 1 / 255)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ("[net]\nwidth=3\n[dropout]\n", "cfg:1: [net]: [net] gives neither"),
        (NET, "cfg:1: [net]: the network has no layers"),
        (NET + "[cost]\n", "the network has no layers but [cost]"),
        (NET + "[dropout]\n[net]\n", "cfg:6: layer 1 [net]: only the first section can be [net]"),
        (NET + "[convolutinal]\n", "unsupported section 'convolutinal' (hint: did you mean"),
        (NET + "[conv]\nfilters=4x\nstride=0\n", "stride must be positive, got 0"),
        (NET + "[conv]\nfilters=99999999999\n", "cfg:6: layer 0 [conv], field filters: the number"),
        (NET + "[conv]\nfilters=4\nsize=40\n", "19204 values are needed"),
        (NET + "[route]\n", "a route needs layers="),
        (NET + "[dropout]\n[route]\nlayers=1\n", "layer 1 is not before this one"),
        (NET + "[dropout]\n[route]\nlayers=-2\n", "layer -2 is not before this one"),
        (NET + "[route]\nlayers=-1\n", "this is the first"),
        (NET + "[dropout]\n[route]\nlayers=0\ngroups=2\n", "2 groups do not divide 3 channels"),
        (NET + "[dropout]\n[route]\nlayers=0\ngroups=3\ngroup_id=3\n", "there is no group 3"),
        (NET + "[dropout]\n[shortcut]\n", "a shortcut needs from="),
        (NET + "[dropout]\n[sam]\n", "from= is missing"),
        (NET + "[dropout]\n[dropout]\n[scale_channels]\nfrom=0\n", "has 3×6×8 values, not 3×1×1"),
        (NET + "[maxpool]\nsize=2\npadding=-3\n", "do not fit"),
        (NET + "[upsample]\nstride=0\n", "stride must not be 0"),
        (NET + "[softmax]\ngroups=5\n", "5 groups do not divide 144 values"),
        (NET + "[softmax]\ntree=no.tree\n", "no such file beside the cfg"),
        (NET + "[reorg]\nstride=5\n", "6×8 cannot be cut into blocks of 5×5"),
        (NET + "[reorg]\nstride=2\n", "3 channels are no multiple of 2²"),
        (NET + "[crop]\ncrop_width=9\ncrop_height=2\n", "cannot be cut out of"),
        (NET + "[region]\nclasses=3\n", "need 8 channels, the layer before has 3"),
        (NET + "[detection]\nclasses=3\n", "7×7 cells need"),
        (NET + "[yolo]\nmask=3\nnum=2\n", "mask names anchor 3, but num=2"),
        (NET + "[gru]\n", "recurrent layers"),
        ("[net]\nwidth=99999\nheight=99999\nchannels=3\n[dropout]\n", "cannot be"),
        (NET + "[upsample]\nstride=9999\n", "more outputs than Darknet can count"),
        (NET + "[dropout]\n" * 2 + "[shortcut]\nfrom=0\nweights_type=odd\n", "weights_type=odd"),
        (NET + "[iseg]\n", "about training"),
    ],
)
def test_mistakes_are_located(tmp_path: Path, cfg: str, message: str) -> None:
    with pytest.raises(SecateurError) as caught:
        load(*write(tmp_path, cfg))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"", "the file is empty"),
        (b"\0" * 9, "9 bytes hold no header"),
        (b"PK\x03\x04" + b"\0" * 40, "a zip archive"),
        (b"\x7f" * 40, "its version would be"),
        (HEADER + b"\0" * 8, "layer 0 [convolutional]: the weights end too early: 112 values"),
        (HEADER + b"\0" * 449, "1 bytes are left over behind layer 0 [convolutional]"),
        (HEADER, "can be read as a partial one"),
    ],
)
def test_weights_are_counted(tmp_path: Path, weights: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        load(*write(tmp_path, NET + CONV, weights))
    assert message in str(caught.value)
    assert "model.weights" in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    cfg, weights = write(tmp_path, NET + CONV)
    for pair in ((tmp_path / "no.cfg", weights), (cfg, tmp_path / "no.weights"), (cfg, tmp_path)):
        with pytest.raises(FormatError, match="cannot be read"):
            load(*pair)
    with pytest.raises(UnsupportedError, match="flavour"):
        load(cfg, weights, flavour="tensorflow")


@pytest.mark.parametrize(
    ("version", "wide", "flavour", "transposed"),
    [
        ((0, 1, 0), 4, "auto", False),
        ((0, 2, 0), 8, "auto", False),
        ((1, 0, 0), 8, "auto", False),
        ((1001, 0, 0), 8, "alexeyab", True),
        ((1001, 0, 0), 4, "pjreddie", True),
        ((0, 1001, 0), 4, "auto", True),
        ((0, 1001, 0), 8, "auto", True),
    ],
)
def test_headers(
    tmp_path: Path, version: tuple[int, int, int], wide: int, flavour: str, transposed: bool
) -> None:
    cfg = "[net]\ninputs=3\n[connected]\noutput=2\nactivation=linear\n"
    values = np.arange(8, dtype="<f4")
    header = struct.pack("<3i", *version) + bytes(wide)
    network = load(*write(tmp_path, cfg, header + values.tobytes()), flavour=flavour)
    matrix = values[2:].reshape(3, 2).T if transposed else values[2:].reshape(2, 3)
    data = noise(network)
    assert np.allclose(run(network, data)["layer_0"], data @ matrix.T + values[:2], atol=1e-5)
    assert network.source is not None
    assert network.source.render(network)[".weights"] == header + values.tobytes()


def test_flavour_is_chosen_by_what_only_one_knows(tmp_path: Path) -> None:
    strided = CONV + CONV.replace("pad=1", "pad=1\nstride=2") + "[shortcut]\nfrom=0\n"
    for tail, pjreddie in (
        ("[l2norm]\n", True),
        ("[deconvolutional]\nfilters=2\n", True),
        ("[dropout]\n[shortcut]\nfrom=0\nalpha=2\n", True),
        (strided, True),
        (CONV.replace("leaky", "mish"), False),
        ("[reorg3d]\n", False),
    ):
        network = load(*with_random_weights(tmp_path, NET + CONV + tail))
        assert ("read as a network for pjreddie's Darknet" in network.notes) == pjreddie


def test_bad_values_are_noted(tmp_path: Path) -> None:
    values = np.zeros(112, "<f4")
    values[7] = np.nan
    network = load(*write(tmp_path, NET + CONV, HEADER + values.tobytes()))
    assert "the weights hold NaN or infinite values" in network.notes


def test_weights_stay_in_the_file(tmp_path: Path) -> None:
    network = load(*with_random_weights(tmp_path, NET + CONV))
    for value in network.graph.initializers.values():
        if value.meta.get("blobs"):
            assert value.const_value is not None
            array = value.const_value.numpy()
            assert not array.flags.owndata
            assert not array.flags.writeable


def test_variance_of_pjreddie_comes_back() -> None:
    stored = np.array([0, 1e-12, 1e-6, 0.5, 3e4], np.float32)
    there = graph_variance(stored)
    assert np.allclose(np.sqrt(there), np.sqrt(stored) + 1e-6, rtol=1e-6)
    back = stored_variance({"rolling_variance": there}, rooted=True)["rolling_variance"]
    assert np.allclose(back, stored, rtol=1e-6, atol=1e-14)


def test_numbers_are_read_as_c_reads_them() -> None:
    assert [read_int(text) for text in ("3x3", "+3", "-2", "x", "", "1.9", "01")] == [
        3, 3, -2, 0, 0, 1, 1,
    ]  # fmt: skip
    assert [read_float(text) for text in (".5", "1e-3x", "-2.", "nope")] == [0.5, 1e-3, -2.0, 0.0]
    assert read_ints("1,-2,,4") == (1, -2, 0, 4)
    assert [quotient(7, 2), quotient(-1, 2), quotient(-4, 2)] == [3, 0, -2]
    with pytest.raises(FormatError):
        read_int("9" * 1_000_000)


def test_every_section_is_documented() -> None:
    for cls in SECTIONS.values():
        assert cls.__doc__
        assert not cls.__doc__.startswith(cls.__name__ + "(")
        for field, declared in keys_of(cls).values():
            assert field.default is not None
            assert declared.names == () or len(declared.names) == 1
    assert len(ACTIVATIONS) == 23


def test_a_cfg_alone_counts_as_with_its_weights(tmp_path: Path) -> None:
    cfg = (
        f"{NET}{CONV}batch_normalize=1\n[maxpool]\nsize=2\nstride=2\n"
        "[connected]\noutput=5\nactivation=linear\n"
    )
    files = with_random_weights(tmp_path, cfg)
    whole, alone = load(*files), load_text(files[0])
    assert alone.outputs == whole.outputs
    assert alone.notes == whole.notes
    assert [describe(network).cost for network in (alone, whole)] == [describe(whole).cost] * 2
    values = [alone.array(name) for name in alone.graph.initializers]
    assert not any(array.any() for array in values if array.ndim == 4)  # kernels
    with pytest.raises(FormatError):
        save(alone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cfg_alone_takes_no_memory_for_what_it_claims(tmp_path: Path) -> None:
    text = f"{NET}[convolutional]\nfilters={{}}\nsize=1\nactivation=linear\n"
    write(tmp_path, text.format(1 << 21))
    message = (
        "layer 0 \\[convolutional\\]: 2097152 channels or inputs are more than a cfg may claim"
    )
    with pytest.raises(FormatError, match=message):
        load_text(tmp_path / "model.cfg")
    write(tmp_path, text.format(1 << 20).replace("size=1", "size=5"))
    tracemalloc.start()
    found = load_text(tmp_path / "model.cfg")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.array("layer_0/weight").nbytes == (1 << 20) * 75 * 4
    assert peak < 1 << 24


def test_a_main_cfg_is_no_network(tmp_path: Path) -> None:
    files = write(tmp_path, "[pruning]\nworkspace=w\n")
    with pytest.raises(FormatError, match="`secateur pruner` takes it"):
        load(*files)
